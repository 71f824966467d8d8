"""When the node collects, and that the program keeps the last word on it."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
from support import in_node

import transom
from transom import _gc  # type: ignore[attr-defined, unused-ignore]


class World:
    """What due looks at, made up."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.containers = self.switches = self.processes = 0
        self.threshold, self.enabled, self.pressed = 2000, False, False
        self.collected: list[str] = []
        monkeypatch.setattr(_gc, "gc", self)
        monkeypatch.setattr(_gc, "_core", self)
        monkeypatch.setattr(_gc, "_under_pressure", lambda: self.pressed)
        for name in ("_live", "_explained", "_processes", "_grown", "_switches", "_quiet", "_growing"):
            monkeypatch.setattr(_gc, name, 0)
        monkeypatch.setattr(_gc, "_was_enabled", True)

    def get_count(self) -> tuple[int, int, int]:
        return self.containers, 0, 0

    def get_threshold(self) -> tuple[int, int, int]:
        return self.threshold, 0, 0

    def isenabled(self) -> bool:
        return self.enabled

    def unfreeze(self) -> None:
        self.collected.append("unfreeze")

    def _activity(self) -> tuple[int, int]:
        return self.switches, self.processes

    def collect(self, found: int = 0) -> None:
        self.collected.append(_gc._by)
        _gc._note("start", {"collected": 0})
        self.containers = 0
        _gc._note("stop", {"collected": found})

    def busy(self, looks: int = 1) -> list[str]:
        for _ in range(looks):
            self.switches += 10_000
            if _gc.due():
                _gc.collect()
        return self.collected

    def idle(self, looks: int) -> list[str]:
        for _ in range(looks):
            if _gc.due():
                _gc.collect()
        return self.collected


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def test_growth_that_new_processes_explain_is_no_reason(world: World) -> None:
    for _ in range(100):
        world.processes += 10_000
        world.containers += 30_000
        assert world.busy() == []


def test_growth_that_nothing_explains_is(world: World) -> None:
    world.processes = 1000
    world.containers = 3000
    assert world.busy() == []
    world.containers += _gc.DUE
    assert world.busy() == []
    world.containers += 10_000
    assert world.busy(_gc.LOOKS - 1) == []
    assert world.busy() == ["growth"]
    assert world.busy(10) == ["growth"]


def test_the_more_lives_the_rarer(world: World) -> None:
    """A pause grows with what lives, so do the pauses between them."""
    world.processes, world.containers = 100_000, 1_000_000
    world.busy()
    world.containers += 900_000
    assert world.busy(_gc.LOOKS) == []
    world.containers += 200_000
    assert world.busy(_gc.LOOKS) == ["growth"]
    world.containers += 2_000_000
    assert world.busy(_gc.LOOKS) == ["growth"]
    world.containers += 200_000
    assert world.busy(_gc.LOOKS) == ["growth", "growth"]


def test_what_has_gone_before_the_world_could_be_stopped_is_no_reason(world: World) -> None:
    """A parser in native code makes containers by the hundred thousand, and drops them when it is done."""
    world.containers = _gc.DUE + 10_000
    assert world.busy(_gc.LOOKS - 1) == []
    assert _gc.due()
    world.containers = 0
    _gc.collect()
    assert world.collected == []
    for _ in range(10):  # one that works again and again
        world.containers = _gc.DUE + 10_000
        assert world.busy(_gc.LOOKS - 1) == []
        world.containers = 0
        assert world.busy() == []
    world.containers = _gc.DUE + 10_000
    assert world.busy(_gc.LOOKS) == ["growth"]


def test_what_grows_without_end_is_looked_at(world: World) -> None:
    for _ in range(500):
        world.processes += 10_000
        world.containers += 30_000
        world.busy()
    assert 1 <= len(world.collected) <= 3


def test_idleness_makes_less_enough(world: World) -> None:
    world.containers = _gc.IDLE_DUE + 1
    assert world.idle(_gc.LOOKS - 1) == []
    world.switches += _gc.IDLE_SWITCHES + 1
    assert world.idle(1) == []
    assert world.idle(_gc.LOOKS) == ["idle"]
    assert world.idle(20) == ["idle"]


def test_pressure(world: World) -> None:
    """With memory short, what was there before the start is looked at, too."""
    world.processes, world.containers = 100_000, 1_000_000
    world.busy()
    world.pressed = True
    assert world.busy() == []
    world.containers += _gc.DUE + 1
    assert world.busy() == ["unfreeze", "pressure"]


def test_the_program_switched_it_off(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.containers = 10**9
    monkeypatch.setattr(_gc, "_was_enabled", False)
    assert world.busy() == []
    monkeypatch.setattr(_gc, "_was_enabled", True)
    world.threshold = 0
    assert world.busy() == []
    world.threshold = 2 * 10**9
    monkeypatch.setattr(_gc, "HARD_DUE", 2 * 10**9)
    assert world.busy() == []
    world.threshold = 2000
    assert world.busy(_gc.LOOKS) == ["growth"]


def test_the_program_switched_the_interpreters_own_on(world: World) -> None:
    world.containers, world.enabled = 10**9, True
    assert world.busy() == []


@pytest.fixture
def collector_as_it_was() -> Iterator[None]:
    enabled = gc.isenabled()
    yield
    (gc.enable if enabled else gc.disable)()


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("during", [None, True])
def test_stop_leaves_it_as_it_was(before: bool, during: bool | None, collector_as_it_was: None) -> None:
    frozen = gc.get_freeze_count()
    (gc.enable if before else gc.disable)()

    async def main() -> None:
        assert not gc.isenabled()
        if during:
            gc.enable()
            assert not transom.gc_info()["automatic"]

    transom.run(main, schedulers=1)
    assert gc.isenabled() == (during or before)
    assert gc.get_freeze_count() == frozen
    assert _gc._note not in gc.callbacks


@in_node(schedulers=1)
async def test_the_programs_own_collections() -> None:
    class Node:
        pass

    one: Any = Node()
    one.self = one
    before = transom.gc_info()
    del one
    assert gc.collect() >= 1
    after = transom.gc_info()
    assert after["program"] == before["program"] + 1
    assert after["collections"] == before["collections"] + 1
    assert len(after["recent"]) == after["collections"]
    assert 0 < after["p50_seconds"] <= after["p999_seconds"] <= after["max_seconds"] <= after["total_seconds"]


@in_node(schedulers=1)
async def test_a_collection_whose_start_was_lost_has_no_length() -> None:
    """A kill may be raised where the interpreter tells of it, and is dropped there."""
    gc.collect()
    before = transom.gc_info()
    _gc._note("stop", {"collected": 0})
    after = transom.gc_info()
    assert after["collections"] == before["collections"] + 1
    assert (after["recent"], after["max_seconds"]) == (before["recent"], before["max_seconds"])


def test_held_freezes_once_for_many_nodes() -> None:
    with _gc.held():
        frozen = gc.get_freeze_count()
        assert frozen > 0
        for _ in range(2):
            kept = [[] for _ in range(1000)]  # not frozen by the next start
            transom.start(schedulers=1)
            assert gc.get_freeze_count() <= frozen
            transom.stop()
            assert len(kept) == 1000
        assert gc.isenabled()
        assert gc.get_freeze_count() > 0
    assert gc.get_freeze_count() == 0


def test_a_start_that_is_interrupted_leaves_no_node(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_gc, "take_over", interrupted)
        with pytest.raises(KeyboardInterrupt):
            transom.start(schedulers=1)
        with pytest.raises(transom.NotRunning):
            transom.stop()
    assert gc.get_freeze_count() == 0
    assert gc.isenabled()
    transom.start(schedulers=1)
    transom.stop()
