"""Semantics 1.11: DynamicSupervisor and PartitionSupervisor; agents as children; sys."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest
from supervised import close, desk, eventually, gone, kid, spec, stubborn, up
from support import in_node, reason_of, scaled, spin, tagged, take

import transom
from transom import (
    CallError,
    ChildSpec,
    DynamicSupervisor,
    NoChild,
    NoProcess,
    PartitionSupervisor,
    Pid,
    StartError,
    Supervisor,
    Task,
    TooManyChildren,
    is_alive,
    monitor,
    send,
    sys,
    trap_exit,
)


class Counter(transom.Agent):
    def init(self, start: int = 0) -> None:
        self.n = start

    def add(self, k: int) -> int:
        self.n += k
        return self.n

    def crash(self) -> None:
        raise ZeroDivisionError("on purpose")


async def dynamic(**options: Any) -> Any:
    trap_exit(True)
    return await DynamicSupervisor.start_link(**options)


async def children(ref: Any) -> list[Any]:
    return [state for _, state, _ in await ref.which_children()]


@in_node()
async def test_children_by_pid() -> None:
    """Children addressed by pid; ids need not be unique; an end for good is forgotten."""
    ref = await dynamic()
    pids = [await ref.start_child(spec("same", restart="transient")) for _ in range(3)]
    for _ in pids:
        await up("same")
    assert await children(ref) == pids[::-1]
    send(pids[0], ("end", "normal"))
    await eventually(lambda: children(ref), [pids[2], pids[1]])
    await ref.terminate_child(pids[1])
    assert not is_alive(pids[1])
    with pytest.raises(NoChild):
        await ref.terminate_child(pids[1])
    send(pids[2], ("end", "crash"))
    again = await up("same")
    assert await children(ref) == [again]
    assert await ref.count_children() == {"specs": 1, "active": 1, "supervisors": 0, "workers": 1}
    await close(ref)
    assert not is_alive(again)


@in_node()
async def test_a_child_whose_restart_says_that_it_is_not_needed_is_forgotten() -> None:
    """A child returning ignore is kept as undefined unless temporary/dynamic."""
    ref, me = await dynamic(), transom.current_pid()
    starts = iter([lambda: transom.spawn_link(kid, me, "a"), lambda: None])
    pid = await ref.start_child(ChildSpec(id="a", start=lambda: next(starts)()))
    assert await up("a") == pid
    send(pid, ("end", "crash"))
    await eventually(ref.count_children, {"specs": 0, "active": 0, "supervisors": 0, "workers": 0})
    await close(ref)


@in_node()
async def test_max_children_and_failing_starts() -> None:
    """max_children -> error max_children; a child that fails to start is not counted."""
    ref = await dynamic(max_children=1)
    with pytest.raises(ValueError, match="significant"):
        await ref.start_child(spec("a", restart="temporary", significant=True))

    def broken() -> Pid:
        raise StartError("no luck")

    for _ in range(3):
        with pytest.raises(StartError, match="no luck"):
            await ref.start_child(ChildSpec(id="x", start=broken))
    assert await ref.start_child(ChildSpec(id="n", start=lambda: None)) is None
    await ref.start_child(spec("a"))
    await up("a")
    with pytest.raises(TooManyChildren) as full:
        await ref.start_child(spec("b"))
    assert full.value.limit == 1
    for options in ({"max_children": -1}, {"max_restarts": -1}, {"max_seconds": 0}):
        with pytest.raises(StartError, match=next(iter(options))):
            await DynamicSupervisor.start(**options)
    await close(ref)


@in_node()
async def test_all_are_stopped_side_by_side() -> None:
    """Stopped in parallel with one shared timeout: twenty stubborn ones take as long as one."""
    ref = await dynamic()
    for n in range(20):
        await ref.start_child(spec(n, stubborn, shutdown=0.5))
    pids = [await up(n) for n in range(20)]
    downs = [monitor(pid) for pid in pids]
    begun = time.monotonic()
    await close(ref)
    assert time.monotonic() - begun < 20 * 0.5
    assert [await reason_of(down) for down in downs] == ["killed"] * 20
    assert sorted([(await take(tagged("told")))[1] for _ in pids]) == list(range(20))


@in_node()
async def test_the_intensity_is_that_of_all() -> None:
    ref = await dynamic(max_restarts=2)
    for n in range(3):
        send(await ref.start_child(spec(n)), ("end", "crash"))
        await up(n)
        if n < 2:
            await up(n)
    await gone(ref, reason="shutdown")


@pytest.mark.race
@in_node()
async def test_many_crash_at_once(rng: random.Random) -> None:
    """Each is restarted once for each crash, none lost and none doubled."""
    for _ in range(scaled(5)):
        ref = await dynamic(max_restarts=10**6)
        for n in range(200):
            await ref.start_child(spec(n))
        pids = {n: await up(n) for n in range(200)}
        for _ in range(3):
            victims = rng.sample(range(200), 100)
            for n in victims:
                send(pids[n], ("end", rng.choice(["crash", "killed", "normal"])))
            for n in victims:
                pids[n] = await up(n)
        assert sorted(await children(ref)) == sorted(pids.values())
        await close(ref)


# -- agents as children -----------------------------------------------------------------------------------------------


@in_node()
async def test_agents_as_children() -> None:
    """start_child gives the reference; a named agent is reached by its name after a restart; state begins anew."""
    trap_exit(True)
    ref = await Supervisor.start_link(
        children=[Counter.child(10).options(id="c", name="counter"), Counter.child().options(id="d")]
    )
    counter = Counter.at("counter")
    assert await counter.add(1) == 11
    before = transom.pid_of(counter)
    with pytest.raises(CallError):
        await counter.crash()
    await eventually(lambda: named(before), True)
    assert await counter.add(1) == 11
    assert transom.pid_of(await ref.get_child("c")) == transom.whereis("counter")
    extra = await ref.start_child(Counter.child(5).options(id="e"))
    assert await extra.add(1) == 6
    assert [id for id, _, _ in await ref.which_children()] == ["e", "d", "c"]
    await close(ref)
    dyn = await dynamic()
    one = await dyn.start_child(Counter.child(1))
    assert await one.add(1) == 2
    await dyn.terminate_child(one)
    with pytest.raises(CallError):
        await one.add(1)
    await close(dyn)


async def named(before: Pid) -> bool:
    now = transom.whereis("counter")
    return now is not None and now != before


@in_node()
async def test_an_agent_that_cannot_start() -> None:
    class Broken(transom.Agent):
        def init(self) -> None:
            raise KeyError("settings")

    with pytest.raises(StartError) as failed:
        await Supervisor.start_link(children=[Counter.child(), Broken.child()])
    assert failed.value.reason[1][:2] == ("failed_to_start_child", "Broken")
    assert isinstance(failed.value.reason[1][2].exception, KeyError)


# -- partitions -------------------------------------------------------------------------------------------------------


@in_node()
async def test_partitions() -> None:
    """Integer keys modulo partitions, other keys hashed; default partitions = schedulers."""
    trap_exit(True)
    ref = await PartitionSupervisor.options(name="parts").start_link(Counter.child(), partitions=4)
    assert ref.partitions() == 4
    assert [id for id, _, _ in await ref.which_children()] == [3, 2, 1, 0]
    for key in range(-8, 8):
        assert ref.at(key) == await_child(ref, key % 4)
    for key in ("anna", ("a", 1), None, True):
        assert ref.at(key) == ref.at(key) == await_child(ref, hash(key) % 4)
    for n in range(4):
        assert await PartitionSupervisor.at("parts").at(n).add(n) == n
    old = ref.at(2)
    with pytest.raises(CallError):
        await old.crash()
    await eventually(lambda: same(ref, old), False)
    assert await ref.at(2).add(7) == 7
    await close(ref)
    with pytest.raises(NoProcess):
        ref.at(1)
    with pytest.raises(NoProcess):
        PartitionSupervisor.at("parts").at(1)
    ref = await PartitionSupervisor.start_link(Counter.child())
    assert ref.partitions() == transom.node_info()["slots"]
    await close(ref)
    for options in ({"partitions": 0}, {"strategy": "all"}):
        with pytest.raises(StartError, match=next(iter(options))):
            await PartitionSupervisor.start_link(Counter.child(), **options)
    with pytest.raises(StartError, match="name must be None"):
        await PartitionSupervisor.start_link(Counter.options(name="x").child())


def await_child(ref: Any, number: int) -> Any:
    from transom._supervisor_partition import _tables

    return _tables[ref.pid].started[number]


async def same(ref: Any, old: Any) -> bool:
    return bool(ref.at(2) == old)


@in_node()
async def test_resize() -> None:
    """resize! only downward from the start count."""
    trap_exit(True)
    ref = await PartitionSupervisor.start_link(Counter.child(), partitions=4)
    assert await ref.resize(2) == 4
    assert await ref.count_children() == {"specs": 4, "active": 2, "supervisors": 0, "workers": 4}
    assert ref.at(3) == ref.at(1)
    assert await ref.resize(3) == 2
    assert await ref.at(2).add(1) == 1
    for wrong in (0, 5):
        with pytest.raises(ValueError, match="1 to 4"):
            ref.resize(wrong)
    assert ref.partitions() == 3
    await close(ref)


def test_no_table_is_left() -> None:
    from transom._supervisor_partition import _tables

    async def main() -> None:
        trap_exit(True)
        ref = await PartitionSupervisor.start_link(Task.child(kid, transom.current_pid(), 1), partitions=2)
        transom.kill(ref.pid)
        await take(transom.Exit)

    transom.run(main)
    assert _tables == {}


# -- sys --------------------------------------------------------------------------------------------------------------


@in_node()
async def test_sys() -> None:
    """get_state, get_status, suspend, resume and terminate work on supervisors."""
    ref, pids = await desk([spec("a")], strategy="one_for_all")
    state = await sys.get_state(ref)
    assert (state["strategy"], state["children"]) == ("one_for_all", [("a", pids["a"], "worker")])
    assert (await sys.get_status(ref))["status"] == "running"
    await sys.suspend(ref)
    assert (await sys.get_status(ref))["status"] == "suspended"
    send(pids["a"], ("end", "crash"))
    with pytest.raises(TimeoutError):
        await transom.receive(tagged("up"), timeout=0.02)
    await sys.resume(ref)
    again = await up("a")
    with pytest.raises(CallError, match="does not offer"):
        await sys.replace_state(ref, lambda state: state)
    await sys.terminate(ref, "enough")
    await gone(ref, reason="enough")
    assert not is_alive(again)


@pytest.mark.race
@in_node()
async def test_terminate_child_races_with_the_restart(rng: random.Random) -> None:
    """Either the old pid is still known, and the child is stopped, or it has been restarted under another."""
    for _ in range(scaled(200)):
        ref = await dynamic(max_restarts=5)
        pid = await ref.start_child(spec("a"))
        await up("a")
        send(pid, ("end", "crash"))
        spin(rng.randrange(1000))
        try:
            await ref.terminate_child(pid)
        except NoChild:
            again = await up("a")
            assert await children(ref) == [again]
        else:
            assert await children(ref) == []
        await close(ref)
