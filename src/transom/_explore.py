"""Searching schedules: one test run under many of them.

A deterministic run (_replay.py) is a list of choices. Random search takes a seed a run; exhaustive search goes
depth-first through all lists with a bounded number of interruptions. A list that fails is shrunk: ever more of its
choices become 0 (whoever was ready first runs, and is not interrupted) while the run still fails in the same way.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from transom import _errors, _replay, _runtime

STRATEGIES = ("random", "exhaustive")
SHRINK_RUNS = 200


@dataclass(frozen=True)
class Finding:
    """A schedule under which the test fails.

    Attributes:
        schedule: Text that replays it: ``transom.run(test, deterministic=schedule)``.
        error: What the run raised, with the tail of the trace as a note.
        runs: How many schedules were tried until it was found.
        seed: The seed that found it; None in exhaustive search.
    """

    schedule: str
    error: BaseException
    runs: int
    seed: int | None


@dataclass(frozen=True)
class Search:
    """What a search came to.

    Attributes:
        runs: Schedules tried, without those of shrinking.
        finding: The first schedule that fails, or None.
        complete: Exhaustive search saw all schedules within its bound.
    """

    runs: int
    finding: Finding | None
    complete: bool


def _attempt(fn: Callable[..., Any], replay: _replay.Replay) -> BaseException | None:
    try:
        _runtime._run_deterministic(fn, (), replay, {})
    except (_errors.AlreadyRunning, KeyboardInterrupt):
        raise
    except Exception as error:
        return error
    return None


def _shrunk(
    fn: Callable[..., Any], choices: list[int], error: BaseException, preemptions: int
) -> tuple[str, BaseException]:
    """Ever smaller pieces of the list become 0 while the run fails with the same type of error."""
    best, best_error, left = choices, error, SHRINK_RUNS
    size = max(1, len(best))
    while size and left:
        for at in range(0, len(best), size):
            piece = best[at : at + size]
            if left and any(piece):
                left -= 1
                tried = [*best[:at], *[0] * len(piece), *best[at + size :]]
                replay = _replay.Replay(_replay.text_of(tried), preemptions=preemptions)
                failed = _attempt(fn, replay)
                if failed is not None and type(failed) is type(error):
                    best, best_error = tried, failed
        size //= 2
    return _replay.text_of(best), best_error


def _next_script(choices: list[tuple[int, int, int]], ways: list[int]) -> list[int] | None:
    """Depth-first: the last choice that has another way takes it.

    ways: how many each choice of the last script had when it was first met; brought up to date. Only a turn that was not
    interrupted tells how many places there are to interrupt it.
    """
    ways += [options for options, _, _ in choices[len(ways) :]]
    for at in range(len(choices) - 1, -1, -1):
        chosen = choices[at][1]
        if chosen + 1 < ways[at]:
            del ways[at + 1 :]
            return [*(c for _, c, _ in choices[:at]), chosen + 1]
    return None


def _randomly(fn: Callable[..., Any], first_seed: int, preemptions: int) -> Iterator[tuple[_replay.Replay, Any]]:
    for seed in itertools.count(first_seed):
        replay = _replay.Replay(seed, preemptions=preemptions)
        yield replay, _attempt(fn, replay)


def _all(fn: Callable[..., Any], preemptions: int) -> Iterator[tuple[_replay.Replay, Any]]:
    script: list[int] | None = []
    ways: list[int] = []
    while script is not None:
        replay = _replay.Replay(_replay.text_of(script), preemptions=preemptions)
        yield replay, _attempt(fn, replay)
        script = _next_script(replay.choices, ways)


def explore(
    fn: Callable[..., Any],
    *,
    schedules: int = 200,
    strategy: str = "random",
    max_preemptions: int | None = None,
    seed: int = 0,
) -> Search:
    """Run fn() as the main process of a deterministic run under many schedules, until one fails.

    What raises out of fn is a failure, and so is a deadlock: every process waits and no timer is set. Blocks the
    calling thread; no node may be running.

    Args:
        fn: Coroutine function or plain function without arguments. Called once for each schedule, so it starts
            from a state of its own.
        schedules: How many at most, at least 1.
        strategy: ``"random"``: one seed after another. ``"exhaustive"``: all there are, for small tests.
        max_preemptions: How often running code may be interrupted in one run. Default: any number in random
            search, 0 in exhaustive search, where each interruption multiplies the schedules.
        seed: The first seed of random search.

    Returns:
        Search: how many were tried, and the first finding, shrunk.

    Raises:
        ValueError: An argument out of range.
        AlreadyRunning: A node runs in this OS process.

    Source: S. Burckhardt et al. 2010, and the BEAM's Concuerror.
    """
    if strategy not in STRATEGIES:
        raise ValueError(f"strategy must be one of {', '.join(STRATEGIES)}, not {strategy!r}")
    _runtime._check("schedules", schedules, 1, 1 << 40)
    if max_preemptions is not None:
        _runtime._check("max_preemptions", max_preemptions, 0, _replay.UNLIMITED)
    default = _replay.UNLIMITED if strategy == "random" else 0
    preemptions = default if max_preemptions is None else max_preemptions
    tries = _randomly(fn, seed, preemptions) if strategy == "random" else _all(fn, preemptions)
    runs = 0
    for runs, (replay, error) in enumerate(itertools.islice(tries, schedules), 1):
        if error is not None:
            chosen = [c for _, c, _ in replay.choices]
            schedule, shown = _shrunk(fn, chosen, error, preemptions)
            return Search(runs, Finding(schedule, shown, runs, replay.seed), False)
    complete = strategy == "exhaustive" and runs <= schedules and next(tries, None) is None
    return Search(runs, None, complete)
