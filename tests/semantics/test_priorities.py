"""Semantics 1.6: priorities. Work is counted in reductions or loop turns, so that a busy machine changes nothing."""

from __future__ import annotations

from typing import Any

import pytest
from support import all_down, apply, in_node, info, is_, reason_of, take, waits

import transom
from transom import Pid, SpawnOptions, current_pid, kill, node_info, process_info, send, set_priority, sleep, spawn_opt


async def counts(counter: list[int]) -> None:
    """Count turns for ever. The counter is shared on purpose (a closure, not a message), but with no other hog: waiting
    for the lock of a shared list is blocking, and a slot does not wait with the one it blocks."""
    while True:
        counter[0] += 1


async def work_of(priorities: list[str], seconds: float) -> list[int]:
    """Loop turns that hogs of these priorities did on this node in about so long."""
    counters = [[0] for _ in priorities]

    def hog(n: int) -> Any:
        async def body() -> None:
            await counts(counters[n])

        return body

    set_priority("max")
    started = [
        spawn_opt(SpawnOptions(priority=priority, monitor=True), hog(n)) for n, priority in enumerate(priorities)
    ]
    await sleep(seconds)
    result = [counter[0] for counter in counters]
    for pid, _ in started:
        kill(pid)
    assert await all_down([ref for _, ref in started]) == ["killed"] * len(started)
    set_priority("normal")
    return result


async def undisturbed_work_of(priorities: list[str], seconds: float) -> list[int]:
    """work_of, of a stretch in which no slot was taken from a process that runs pure Python.

    A hog whose thread the machine stops for long is taken for one in native code and loses its slot (tier 3): such a
    stretch says nothing about priorities, and the node counts them."""
    for _ in range(20):
        before = node_info()["handovers"]
        work = await work_of(priorities, seconds)
        if node_info()["handovers"] == before:
            return work
    pytest.fail(f"not {seconds} s in 20 without a slot taken from a process that runs pure Python")


@in_node(schedulers=1)
async def test_low_runs_one_of_eight_turns() -> None:
    """low runs 1 of 8 turns against normal (L: 25.9M vs 3.24M = 8.0:1)."""
    low, normal = await undisturbed_work_of(["low", "normal"], 0.8)
    assert low > 0
    assert 5.5 < normal / low < 11, (low, normal)


@in_node(schedulers=1)
async def test_two_normals_share_equally() -> None:
    """two normals equal to 0.01%."""
    first, second = await undisturbed_work_of(["normal", "normal"], 0.5)
    assert 0.8 < first / second < 1.25, (first, second)


@in_node(schedulers=1)
async def test_two_lows_alone_share_equally() -> None:
    """Low and normal share one queue: low is slow only beside normal."""
    first, second = await undisturbed_work_of(["low", "low"], 0.3)
    assert 0.7 < first / second < 1.4, (first, second)


@pytest.mark.parametrize(("strict", "starved"), [("high", "normal"), ("max", "high"), ("max", "low"), ("high", "low")])
@in_node(schedulers=1)
async def test_high_and_max_are_strict(strict: str, starved: str) -> None:
    """max > high strict (normal work gets NOTHING while a high process is runnable, L: 28.6M vs 0 loops)."""
    first, second = await undisturbed_work_of([strict, starved], 0.3)
    assert first > 0
    assert second == 0, (first, second)


@in_node(schedulers=2)
async def test_high_is_strict_on_every_slot() -> None:
    """max > high strict: with two slots and two high hogs, normal work gets nothing on either, once they are spread."""
    *high, normal = await work_of(["high", "high", "normal"], 0.4)
    assert min(high) > 0
    # Strict is each slot's own order, as in the BEAM: until the high ones are spread one slot may hold both of them. A runtime
    # that took no heed of the priority would give the normal one a third.
    assert normal < 0.1 * sum(high), (high, normal)


@in_node(schedulers=1)
async def test_high_wakes_before_normal() -> None:
    """max > high > normal: among processes woken at once the more urgent runs first."""
    order: list[str] = []

    async def waiter(name: str) -> None:
        await take(is_("go"))
        order.append(name)

    started = []
    for priority in ("low", "normal", "high", "max"):
        started.append(spawn_opt(SpawnOptions(priority=priority, monitor=True), waiter, priority))
    for pid, _ in started:
        while info(pid, "status") != "waiting":
            await sleep(0.001)
    set_priority("max")
    for pid, _ in started:
        send(pid, "go")
    assert await all_down([ref for _, ref in started]) == ["normal"] * 4
    assert order == ["max", "high", "normal", "low"]


@in_node()
async def test_set_priority_returns_the_old_one() -> None:
    """set_priority(p) -> the old one; a child starts as normal whatever its parent is."""
    assert set_priority("high") == "normal"
    assert set_priority("max") == "high"
    assert info(current_pid(), "priority") == "max"

    async def child() -> str:
        found = process_info(current_pid(), "priority")
        assert found is not None
        return str(found["priority"])

    assert await apply(child) == "normal"
    assert set_priority("low") == "max"
    assert set_priority("normal") == "low"


@pytest.mark.parametrize("bad", ["urgent", "", "NORMAL"])
@in_node()
async def test_unknown_priorities(bad: str) -> None:
    """An unknown priority is a named error, and nothing changes."""
    with pytest.raises(ValueError, match="priority"):
        set_priority(bad)
    with pytest.raises(ValueError, match="priority"):
        spawn_opt(SpawnOptions(priority=bad), waits)
    assert info(current_pid(), "priority") == "normal"
    with pytest.raises((TypeError, ValueError)):
        set_priority(3)  # type: ignore[arg-type]


@in_node(schedulers=1)
async def test_a_low_process_is_not_starved_by_messages() -> None:
    """low runs 1 of 8 turns: a low process answers while normal ones keep the slot busy."""

    async def echo(owner: Pid) -> None:
        while True:
            await take(is_("ping"))
            send(owner, "pong")

    low, low_ref = spawn_opt(SpawnOptions(priority="low", monitor=True), echo, current_pid())
    counters = [0, 0]

    async def hog() -> None:
        await counts(counters)

    hogs = [spawn_opt(SpawnOptions(monitor=True), hog) for _ in range(2)]
    for _ in range(10):
        send(low, "ping")
        await take(is_("pong"))
    for pid, _ in [(low, low_ref), *hogs]:
        transom.kill(pid)
    assert await reason_of(low_ref) == "killed"
    assert await all_down([ref for _, ref in hogs]) == ["killed"] * 2
