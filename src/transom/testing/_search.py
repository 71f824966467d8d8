"""Searching schedules: one test run under many of them.

A deterministic run (transom/_replay.py) is a list of choices. Random and priority-based search take a seed a run;
exhaustive search goes through all lists with a bounded number of interruptions, the plainest first, and does not branch
in a state it has been in before. A list that fails is shrunk: ever more of its choices become 0 (whoever was ready first runs,
and is not interrupted) while the run still fails in the same way.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from transom import _core, _errors, _gc, _replay
from transom.testing._context import Node
from transom.testing._run import Run

STRATEGIES = ("random", "pct", "exhaustive")
SHRINK_RUNS = 200
DEMOTIONS = (1, 2, 3, 4)  # of priority-based search, in turn: bugs of so many steps in the wrong order
FIRST_STEPS = 1000


class LostMessage(AssertionError):
    """Messages of a test were sent to processes that had ended, or never were."""


@dataclass(frozen=True)
class Finding:
    """A schedule under which the test fails.

    Attributes:
        schedule: Text that replays it: ``run_test(test, node=Node(deterministic=schedule))``, or ``--transom-seed``.
        error: What the test failed with, with the tail of the trace as a note.
        runs: How many schedules were tried until it was found.
        seconds: How long that took.
        seed: The seed that found it; None in exhaustive search.
    """

    schedule: str
    error: BaseException
    runs: int
    seconds: float
    seed: int | None


@dataclass(frozen=True)
class Search:
    """What a search came to.

    Attributes:
        runs: Schedules tried, without those of shrinking.
        seconds: How long it took, shrinking included.
        finding: The first schedule that fails, or None.
        complete: Exhaustive search saw all schedules within its bound that differ in what any process sees.
        states: Exhaustive search: different states in which there was a choice.
        spoiled: Why a run may not have been repeatable, or "".
    """

    runs: int
    seconds: float
    finding: Finding | None
    complete: bool = False
    states: int = 0
    spoiled: str = ""


class _Subject:
    """The test, and how to run it under a schedule."""

    def __init__(self, fn: Callable[..., Any], node: Node, preemptions: int, lost: bool) -> None:
        self.fn, self.node, self.preemptions, self.lost = fn, node, preemptions, lost

    def fails(self, replay: _replay.Replay) -> BaseException | None:
        """What it failed with, explained; None: it did not."""
        run = Run(self.fn, (), {}, self.node, replay)
        logger = logging.getLogger("transom")
        logger.addFilter(_silence)  # crashes are counted by the run; hundreds of reports are of no use
        try:
            run.go()
        finally:
            logger.removeFilter(_silence)
        failure = run.failure()
        if failure is None and self.lost and replay.lost:
            failure = LostMessage(f"{replay.lost} messages were sent to processes that had ended")
            failure.add_note(replay.note())
        return failure

    def replay(self, choices: list[int]) -> _replay.Replay:
        return _replay.Replay(_replay.text_of(choices), preemptions=self.preemptions)


def _silence(record: logging.LogRecord) -> bool:
    return False


def _shrunk(subject: _Subject, choices: list[int], error: BaseException) -> tuple[str, BaseException]:
    """Ever smaller pieces of the list become 0 while the run fails with the same type of error."""
    best, best_error, left = choices, error, SHRINK_RUNS
    size = max(1, len(best))
    while size and left:
        for at in range(0, len(best), size):
            piece = best[at : at + size]
            if left and any(piece):
                left -= 1
                tried = [*best[:at], *[0] * len(piece), *best[at + size :]]
                failed = subject.fails(subject.replay(tried))
                if failed is not None and type(failed) is type(error):
                    best, best_error = tried, failed
        size //= 2
    return _replay.text_of(best), best_error


@dataclass
class _Branch:
    """What else could have been chosen, the choices before it being the same."""

    chosen: list[int]  # by the run in which it was met; shared by all its branches
    at: int
    way: int  # the next to be tried
    ways: int


class _Tree:
    """Exhaustive search: of all schedules not tried yet the plainest.

    That is the one with the fewest interruptions; of these the one with the fewest choices other than 0 (whoever was ready
    first runs). Most bugs take one interruption and a few odd choices, at any place of the run; going depth-first would
    try all that can come of its last choices first.
    """

    def __init__(self, prune: bool) -> None:
        self.prune = prune
        self.seen: set[int] = set()
        self._branches: dict[tuple[int, int], deque[_Branch]] = {}  # by interruptions and choices other than 0
        self._cost = (0, 0)  # of the last script
        self._length = 0

    def next(self, choices: list[tuple[int, int, int, int]]) -> list[int] | None:
        """The next script, after a run that made these choices; None: all are done."""
        chosen = [choice[1] for choice in choices]
        interruptions, odd = self._cost
        for at in range(self._length, len(choices)):
            ways, _, is_slice, state = choices[at]
            if self.prune and state in self.seen:
                break  # what can come of it is tried where it was met first
            if state:
                self.seen.add(state)
            if ways > 1:
                cost = (interruptions + bool(is_slice), odd + 1)
                self._branches.setdefault(cost, deque()).append(_Branch(chosen, at, 1, ways))
        return self._plainest()

    def _plainest(self) -> list[int] | None:
        if not self._branches:
            return None
        self._cost = min(self._branches)
        branches = self._branches[self._cost]
        branch = branches[0]
        script = [*branch.chosen[: branch.at], branch.way]
        branch.way += 1
        if branch.way == branch.ways:
            branches.popleft()
            if not branches:
                del self._branches[self._cost]
        self._length = len(script)
        return script


def _randomly(subject: _Subject, first_seed: int) -> Iterator[tuple[_replay.Replay, Any]]:
    for seed in itertools.count(first_seed):
        replay = _replay.Replay(seed, preemptions=subject.preemptions)
        yield replay, subject.fails(replay)


def _by_priority(subject: _Subject, first_seed: int) -> Iterator[tuple[_replay.Replay, Any]]:
    steps = FIRST_STEPS
    for number, seed in enumerate(itertools.count(first_seed)):
        demotions = DEMOTIONS[number % len(DEMOTIONS)]
        replay = _replay.Replay(seed, preemptions=subject.preemptions, demotions=demotions, steps=steps)
        yield replay, subject.fails(replay)
        steps = max(replay.reductions, 1)


def _all(subject: _Subject, tree: _Tree) -> Iterator[tuple[_replay.Replay, Any]]:
    script: list[int] | None = []
    while script is not None:
        replay = subject.replay(script)
        yield replay, subject.fails(replay)
        script = tree.next(replay.choices)


def explore(
    fn: Callable[..., Any],
    *,
    schedules: int = 200,
    strategy: str = "random",
    max_preemptions: int | None = None,
    seed: int = 0,
    prune: bool = True,
    lost_messages: bool = False,
    node: Node | None = None,
) -> Search:
    """Run a test under many schedules, until one fails.

    A schedule fails as a test does: what it raises, a crash that it does not expect, a process it leaves behind; and
    a deadlock: every process waits and no timer is set. Time is virtual. Blocks the calling thread; no node may be
    running. With pytest: ``@pytest.mark.transom(schedules=200)``.

    Args:
        fn: Coroutine function or plain function without arguments. Called once for each schedule, so it starts
            from a state of its own.
        schedules: How many at most, at least 1.
        strategy: ``"random"``: one seed after another. ``"pct"``: processes have priorities, and a few times in a run
            whoever runs gets the lowest; finds what takes few steps in an odd order, in long runs too.
            ``"exhaustive"``: all there are, for small tests; the fewest interruptions and odd choices first.
        max_preemptions: How often running code may be interrupted in one run, >= 0. Default: any number; in exhaustive
            search 0, for there each interruption multiplies the schedules.
        seed: The first seed of random and priority-based search.
        prune: Exhaustive search does not branch again in a state in which every process has been through the same
            before. It knows messages, names and deaths; where there are tables, groups or counters it tries all. State that
            processes share behind its back, such as a module's globals, it does not know: then say False.
        lost_messages: True: a message to a process that has ended, or to none, is a failure, too.
        node: How the test's node is set up, as for run_test; ``schedulers`` must be None or 1.

    Returns:
        Search: how many were tried, and the first finding, shrunk.

    Raises:
        ValueError: An argument out of range.
        AlreadyRunning: A node runs in this OS process.

    Example:
        >>> import transom
        >>> from transom.testing import explore
        >>> async def store():
        ...     value = 0
        ...     while True:
        ...         match await transom.receive():
        ...             case ("get", pid): transom.send(pid, value)
        ...             case ("put", new): value = new
        >>> async def add(to, done):
        ...     transom.send(to, ("get", transom.current_pid()))
        ...     transom.send(to, ("put", await transom.receive() + 1))
        ...     transom.send(done, "done")
        >>> async def test():
        ...     me, to = transom.current_pid(), transom.spawn_link(store)
        ...     for _ in range(2):
        ...         transom.spawn_link(add, to, me)
        ...     for _ in range(2):
        ...         await transom.receive(str)
        ...     transom.send(to, ("get", me))
        ...     assert await transom.receive(int) == 2
        >>> type(explore(test).finding.error).__name__
        'AssertionError'

    Source: S. Burckhardt et al. 2010 (PCT), M. Musuvathi and S. Qadeer 2007 (CHESS), and the BEAM's Concuerror.
    """
    if strategy not in STRATEGIES:
        raise ValueError(f"strategy must be one of {', '.join(STRATEGIES)}, not {strategy!r}")
    _check("schedules", schedules, 1)
    _check("seed", seed, 0)
    if max_preemptions is not None:
        _check("max_preemptions", max_preemptions, 0)
    if _core._is_running():
        raise _errors.AlreadyRunning("a node is running in this program already; stop() it first")
    preemptions = (0 if strategy == "exhaustive" else _replay.UNLIMITED) if max_preemptions is None else max_preemptions
    setting = replace(node if node is not None else Node(), deterministic=True)
    subject = _Subject(fn, setting, min(preemptions, _replay.UNLIMITED), lost_messages)
    tree = _Tree(prune)
    match strategy:
        case "random":
            tries = _randomly(subject, seed)
        case "pct":
            tries = _by_priority(subject, seed)
        case _:
            tries = _all(subject, tree)
    with _gc.held():
        return _searched(subject, tries, tree, schedules, strategy == "exhaustive")


def _searched(
    subject: _Subject, tries: Iterator[tuple[_replay.Replay, Any]], tree: _Tree, schedules: int, exhaustive: bool
) -> Search:
    began = time.perf_counter()
    runs, spoiled = 0, ""
    for runs, (replay, error) in enumerate(itertools.islice(tries, schedules), 1):
        spoiled = spoiled or replay.spoiled
        if error is not None:
            seconds = time.perf_counter() - began
            schedule, shown = _shrunk(subject, [choice[1] for choice in replay.choices], error)
            finding = Finding(schedule, shown, runs, seconds, replay.seed)
            return Search(runs, time.perf_counter() - began, finding, False, len(tree.seen), spoiled)
    # The generator ends by itself when there is no other script; that costs a run more when there is one.
    complete = exhaustive and (runs < schedules or next(tries, None) is None)
    return Search(runs, time.perf_counter() - began, None, complete, len(tree.seen), spoiled)


def _check(name: str, value: Any, low: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    if value < low:
        raise ValueError(f"{name} must be at least {low}, not {value}")
