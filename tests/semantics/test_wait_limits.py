"""A wait with a limit never ends before it, and not much later, whether or not an earlier wait left its timer."""

from __future__ import annotations

import time

import pytest
from support import in_node

import transom
import transom.sync

LIMIT = 0.4  # seconds
LATE = 0.15  # less than half of it


async def gone(limit: float) -> float:
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        await transom.receive(timeout=limit)
    return time.monotonic() - began


async def leave_a_timer(limit: float) -> None:
    """A wait that ends early, half of its time ago."""
    me = transom.current_pid()
    transom.send_after(limit / 2, me, "go on")
    assert await transom.receive(timeout=limit) == "go on"


def hog(until: float) -> None:
    while time.monotonic() < until:
        pass


async def chatter(peer: transom.Pid | None) -> None:
    if peer is not None:
        peer.send(transom.current_pid())
    while True:
        other = await transom.receive()
        other.send(transom.current_pid())


def talk() -> None:
    transom.spawn_link(chatter, transom.spawn_link(chatter, None))


@in_node()
async def test_beside_an_idle_node() -> None:
    await leave_a_timer(LIMIT)
    assert LIMIT <= await gone(LIMIT) < LIMIT + LATE


@pytest.mark.parametrize("load", ["none", "talk", "hogs"])
def test_beside_others_on_one_scheduler(load: str) -> None:
    async def main() -> None:
        if load == "talk":
            talk()
        elif load == "hogs":
            for _ in range(3):
                transom.spawn_link(hog, time.monotonic() + 4 * LIMIT)
        await leave_a_timer(LIMIT)
        assert LIMIT <= await gone(LIMIT) < LIMIT + LATE

    transom.run(main, schedulers=1)


def test_short_waits_beside_a_busy_slot() -> None:
    async def main() -> None:
        talk()
        for _ in range(50):
            assert await gone(0.003) >= 0.003

    transom.run(main, schedulers=1)


def test_many_wait_at_once() -> None:
    """More than a slot notes between two looks at the clock."""

    async def one(boss: transom.Pid) -> None:
        await leave_a_timer(LIMIT)
        boss.send(await gone(LIMIT))

    async def main() -> None:
        me = transom.current_pid()
        for _ in range(100):
            transom.spawn_link(one, me)
        took = [await transom.receive() for _ in range(100)]
        assert LIMIT <= min(took) and max(took) < LIMIT + LATE

    transom.run(main, schedulers=1)


def test_a_plain_function_that_keeps_its_thread() -> None:
    def blocks(boss: transom.Pid) -> None:
        me = transom.current_pid()
        transom.send_after(LIMIT / 2, me, "go on")
        assert transom.sync.receive(timeout=LIMIT) == "go on"
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            transom.sync.receive(timeout=LIMIT)
        boss.send(time.monotonic() - began)

    async def main() -> None:
        transom.spawn_link(blocks, transom.current_pid())
        assert LIMIT <= await transom.receive() < LIMIT + LATE

    transom.run(main, schedulers=1)


class Slow(transom.Agent):
    async def sleep(self, seconds: float) -> None:
        await transom.sleep(seconds)

    def touch(self) -> None:
        pass


@pytest.mark.parametrize("schedulers", [1, 2])
def test_a_call(schedulers: int) -> None:
    async def main() -> None:
        slow = await Slow.start_link()
        for _ in range(20):
            await slow.touch.options(timeout=LIMIT)()
        await transom.sleep(LIMIT / 2)
        began = time.monotonic()
        with pytest.raises(transom.CallError):
            await slow.sleep.options(timeout=LIMIT)(3 * LIMIT)
        assert LIMIT <= time.monotonic() - began < LIMIT + LATE
        with pytest.raises(transom.CallError):  # a shorter one than the timer that was left
            await slow.touch.options(timeout=0.01)()

    transom.run(main, schedulers=schedulers)


def test_a_very_long_limit_is_kept_as_it_is() -> None:
    async def main() -> None:
        me = transom.current_pid()
        for limit in (5.0, 1e5, 8e9, 5.0):
            me.send("here")
            assert await transom.receive(timeout=limit) == "here"
            transom.send_after(0.01, me, "later")
            assert await transom.receive(timeout=limit) == "later"

    transom.run(main, schedulers=1)
