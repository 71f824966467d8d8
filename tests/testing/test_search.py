"""Searching schedules finds planted bugs of the classic kinds, and passes what is right."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import planted_bugs
import pytest

import transom
from transom import _core
from transom.testing import LeakedProcesses, LostMessage, Node, UnexpectedCrash, _search, explore, run_test

# Random search would need thousands of schedules for those that take one step long before another.
SOON = {
    "random": [name for name in planted_bugs.PLANTED if name.__name__ not in ("lost_update", "leaked_worker")],
    "pct": planted_bugs.PLANTED,
    "exhaustive": planted_bugs.PLANTED,
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("strategy", "bug"), [(strategy, bug) for strategy in SOON for bug in SOON[strategy]])
def test_planted_bugs_are_found_and_replayed(strategy: str, bug: Callable[..., Any]) -> None:
    most = 1 if strategy == "exhaustive" else None
    search = explore(bug, schedules=2000, strategy=strategy, max_preemptions=most)
    assert search.finding is not None
    assert search.spoiled == ""
    assert (search.finding.seed is None) == (strategy == "exhaustive")
    with pytest.raises(type(search.finding.error)) as again:
        run_test(bug, node=Node(deterministic=search.finding.schedule))
    assert "deterministic run s" in "".join(again.value.__notes__)


def test_a_deadlock_a_crash_a_leak_and_a_lost_message_are_findings() -> None:
    async def deadlock() -> None:
        await transom.receive()

    async def crash() -> None:
        transom.spawn(_fails)
        await transom.sleep(1.0)

    async def leak() -> None:
        transom.spawn(_waits)

    async def lost() -> None:
        pid, ref = transom.spawn_monitor(_ends)
        await transom.receive(ref)
        transom.send(pid, "too late")

    def found(test: Callable[..., Any], **options: Any) -> Any:
        finding = explore(test, schedules=3, **options).finding
        return None if finding is None else type(finding.error)

    assert found(deadlock).__name__ == "Deadlock"
    assert found(crash) is UnexpectedCrash
    assert found(crash, node=Node(allow_crashes=ZeroDivisionError)) is None
    assert found(leak) is LeakedProcesses
    assert found(lost) is None
    assert found(lost, lost_messages=True) is LostMessage


async def _fails() -> None:
    1 / 0  # noqa: B018


async def _waits() -> None:
    await transom.receive()


async def _ends() -> None:
    pass


async def _right() -> None:
    me = transom.current_pid()
    for _ in range(2):
        transom.spawn_link(_echo, me)
    assert [await transom.receive() for _ in range(2)] == ["echo"] * 2


async def _echo(to: transom.Pid) -> None:
    transom.send(to, "echo")


def test_what_is_right_passes_every_schedule() -> None:
    assert explore(_right, schedules=50).finding is None
    search = explore(_right, schedules=3000, strategy="exhaustive")
    assert search.finding is None
    assert search.complete
    assert search.runs > 1


def test_exhaustive_search_interrupts_everywhere_once() -> None:
    """A lost update that takes one interruption, late in a turn."""
    box = [0]

    def adds(parent: transom.Pid) -> None:
        for _ in range(20):
            pass
        value = box[0]
        for _ in range(5):
            pass
        box[0] = value + 1
        transom.send(parent, "done")

    async def main() -> None:
        box[0] = 0
        for _ in range(2):
            transom.spawn_link(adds, transom.current_pid())
        for _ in range(2):
            await transom.receive()
        assert box[0] == 2

    assert explore(main, schedules=3000, strategy="exhaustive").complete
    search = explore(main, schedules=3000, strategy="exhaustive", max_preemptions=1)
    assert search.finding is not None
    assert 20 < search.runs < 500


def test_a_bounded_search_that_stops_early_is_not_complete() -> None:
    assert not explore(_right, schedules=1, strategy="exhaustive").complete


@pytest.mark.parametrize("options", [{"schedules": 0}, {"strategy": "luck"}, {"max_preemptions": -1}])
def test_bad_options_are_named(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        explore(_right, **options)


# -- pruning: what two schedules have in common is tried once, and nothing is missed -----------------------------------


def _program(seed: int) -> tuple[Callable[..., Any], list[str]]:
    """A few processes that send, wait, look, spawn and take names, and the list that their sights are added to."""
    rng = random.Random(seed)
    count = rng.randint(2, 3)
    kinds = ("send", "send", "receive", "poll", "spawn", "register", "look", "alive")
    scripts = [[(rng.choice(kinds), rng.randrange(4)) for _ in range(rng.randint(1, 3))] for _ in range(count)]
    sights: list[str] = []

    async def child(to: transom.Pid, number: int) -> None:
        transom.send(to, ("child", number))

    async def actor(number: int, boss: transom.Pid) -> None:
        seen: list[Any] = []
        peers = await transom.receive(list)
        for what, k in scripts[number]:
            peer = peers[k % len(peers)]
            match what:
                case "send":
                    transom.send(peer, (number, k))
                case "receive" | "poll":
                    try:
                        seen.append(await transom.receive(tuple, timeout=1.0 if what == "receive" else 0))
                    except TimeoutError:
                        seen.append("none")
                case "spawn":
                    transom.spawn(child, peer, number)
                case "register":
                    try:
                        transom.register(f"name{k % 2}", transom.current_pid())
                        seen.append("mine")
                    except transom.TransomError as error:
                        seen.append(type(error).__name__)
                case "look":
                    seen.append(transom.whereis(f"name{k % 2}") is not None)
                case "alive":
                    seen.append(transom.is_alive(peer))
        transom.send(boss, (number, seen))

    async def main() -> None:
        pids = [transom.spawn(actor, number, transom.current_pid()) for number in range(count)]
        for pid in pids:
            transom.send(pid, pids)
        sights.append(repr(sorted([repr(await transom.receive(tuple)) for _ in pids])))

    return main, sights


def _all_sights(seed: int, prune: bool) -> tuple[set[str], int] | None:
    test, sights = _program(seed)
    node = Node(deterministic=True, allow_leaks=True)
    subject = _search._Subject(test, node, 0, lost=False)
    runs = 0
    for runs, (_, error) in enumerate(_search._all(subject, _search._Tree(prune)), 1):
        assert error is None
        if runs == 250:
            return None  # too large a program for this test
    return set(sights), runs


@pytest.mark.timeout(300)
def test_pruning_leaves_out_runs_but_no_outcome() -> None:
    compared, all_runs, fewer_runs = 0, 0, 0
    for seed in range(9):
        plain = _all_sights(seed, prune=False)
        if plain is not None:
            pruned = _all_sights(seed, prune=True)
            assert pruned is not None
            assert pruned[0] == plain[0], f"program {seed}"
            compared += 1
            all_runs += plain[1]
            fewer_runs += pruned[1]
    assert compared >= 4
    assert fewer_runs < all_runs


def test_a_table_makes_every_schedule_count() -> None:
    async def writes(table: Any, n: int) -> None:
        table.insert(("row", n))

    async def main() -> None:
        table = transom.Table()
        refs = [transom.spawn_monitor(writes, table, n)[1] for n in range(2)]
        for ref in refs:
            await transom.receive(ref)

    plain, pruned = (
        explore(main, strategy="exhaustive", schedules=5000, node=Node(allow_crashes=True), prune=prune)
        for prune in (False, True)
    )
    assert plain.complete and pruned.complete
    assert pruned.runs == plain.runs


def test_no_node_may_be_running() -> None:
    transom.start()
    try:
        with pytest.raises(transom.AlreadyRunning):
            explore(_right)
    finally:
        transom.stop()
    assert not _core._is_running()
