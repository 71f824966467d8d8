"""Searching schedules finds planted bugs of the classic kinds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import transom
from transom.testing import Node, explore, run_test


async def _store(value: int) -> None:
    while True:
        match await transom.receive():
            case ("get", pid):
                transom.send(pid, ("value", value))
            case ("put", value):
                pass


async def _increment(store: transom.Pid, done: transom.Pid) -> None:
    transom.send(store, ("get", transom.current_pid()))
    _, value = await transom.receive()
    transom.send(store, ("put", value + 1))
    transom.send(done, "done")


async def lost_update() -> None:
    """Read, then write: another may write in between."""
    store = transom.spawn_link(_store, 0)
    transom.spawn_link(_increment, store, transom.current_pid())
    for _ in range(4):
        await transom.sleep(0)  # by then the first is done, nearly always
    transom.spawn_link(_increment, store, transom.current_pid())
    for _ in range(2):
        assert await transom.receive() == "done"
    transom.send(store, ("get", transom.current_pid()))
    assert (await transom.receive())[1] == 2


async def _short() -> None:
    pass


async def _sleeps() -> None:
    await transom.sleep(1.0)


async def monitor_after_death() -> None:
    """The reason is lost when the monitor comes after the death."""
    pid = transom.spawn(_sleeps)
    await transom.sleep(1.0)
    transom.monitor(pid)
    assert (await transom.receive(transom.Down)).reason == "normal"


async def _answers() -> None:
    while True:
        pid, question, delay = await transom.receive()
        await transom.sleep(delay)
        transom.send(pid, question)


async def late_reply() -> None:
    """An answer that came after its timeout is taken for the next one."""
    server = transom.spawn_link(_answers)
    for question, delay in (("a", 1.0), ("b", 0.5)):
        transom.send(server, (transom.current_pid(), question, delay))
        try:
            answer = await transom.receive(timeout=1.0)
        except TimeoutError:
            continue
        assert answer == question


async def _registers() -> None:
    transom.register("service", transom.current_pid())
    await transom.receive()


async def start_race() -> None:
    """A name is used before its owner has registered it."""
    transom.spawn_link(_registers)
    transom.spawn_link(_short)
    await transom.sleep(0)
    assert transom.whereis("service") is not None


async def _asks(peer: str, name: str, boss: transom.Pid) -> None:
    transom.register(name, transom.current_pid())
    transom.send(boss, "ready")
    assert await transom.receive(str) == "go"
    transom.send(peer, ("ask", transom.current_pid()))
    assert await transom.receive() == "answer"
    transom.send(boss, "done")


async def late_question() -> None:
    """a waits for b, b has ended without answering a."""
    boss = transom.current_pid()
    pids = [transom.spawn_link(_asks, "b", "a", boss), transom.spawn_link(_quick, "b", boss)]
    for _ in pids:
        await transom.receive()
    for pid in pids:
        transom.send(pid, "go")
    for _ in pids:
        await transom.receive()


async def _quick(name: str, boss: transom.Pid) -> None:
    transom.register(name, transom.current_pid())
    transom.send(boss, "ready")
    assert await transom.receive(str) == "go"
    try:
        _, pid = await transom.receive(tuple, timeout=0)
        transom.send(pid, "answer")
    except TimeoutError:
        pass
    transom.send(boss, "done")
    await transom.receive(int)


PLANTED = [lost_update, monitor_after_death, late_reply, start_race, late_question]


@pytest.mark.parametrize("bug", PLANTED)
def test_random_search_finds_planted_bugs(bug: Callable[..., Any]) -> None:
    search = explore(bug, schedules=300)
    assert search.finding is not None
    with pytest.raises(type(search.finding.error)):
        run_test(bug, node=Node(deterministic=search.finding.schedule))


@pytest.mark.parametrize("bug", PLANTED)
def test_exhaustive_search_finds_planted_bugs(bug: Callable[..., Any]) -> None:
    search = explore(bug, schedules=3000, strategy="exhaustive")
    assert search.finding is not None
    assert search.finding.seed is None


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
