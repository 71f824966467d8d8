"""Semantics 1.7: timers."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest
from support import all_down, apply, in_node, info, is_, nothing, reason_of, returns, scaled, take, until, waits

import transom
from transom import (
    alias,
    cancel_timer,
    current_pid,
    kill,
    make_ref,
    read_timer,
    receive,
    register,
    send,
    send_after,
    sleep,
    spawn,
    spawn_monitor,
    unalias,
    unregister,
)


@in_node()
async def test_send_after_delivers_once() -> None:
    """send_after(ms, pid|name, msg)"""
    me = current_pid()
    register("clock", me)
    ref = alias()
    for dest in (me, "clock", ref):
        before = time.monotonic()
        send_after(0.01, dest, ("tick", 1))
        assert await take() == ("tick", 1)
        assert time.monotonic() - before >= 0.01
    await nothing()
    unregister("clock")
    unalias(ref)


@pytest.mark.parametrize("delay", [0, 0.0, 2**33 / 1000, 1e6])
@in_node()
async def test_accepted_delays(delay: float) -> None:
    """2^33 ms accepted."""
    timer = send_after(delay, current_pid(), "tick")
    if delay:
        left = read_timer(timer)
        assert left is not None and delay - 5 < left <= delay
        left = cancel_timer(timer)
        assert left is not None and delay - 5 < left <= delay
    else:
        assert await take() == "tick"


@pytest.mark.parametrize("delay", [-1, -0.001, 2.0**64, float("nan"), float("inf"), -float("inf")])
@in_node()
async def test_refused_delays(delay: float) -> None:
    """2^64, negative -> badarg."""
    with pytest.raises((ValueError, OverflowError)):
        send_after(delay, current_pid(), "tick")
    with pytest.raises((ValueError, OverflowError)):
        await sleep(delay)


@pytest.mark.parametrize("delay", ["1", None, (), object()])
@in_node()
async def test_delays_of_a_wrong_type(delay: Any) -> None:
    """atom time -> badarg."""
    with pytest.raises(TypeError):
        send_after(delay, current_pid(), "tick")
    with pytest.raises(TypeError):
        await sleep(delay)


@pytest.mark.parametrize("dest", [None, 7, [], object()])
@in_node()
async def test_destinations_of_a_wrong_type(dest: Any) -> None:
    """send_after(ms, pid|name, msg): any other destination -> badarg."""
    with pytest.raises(TypeError):
        send_after(0.01, dest, "tick")


@in_node()
async def test_cancel_timer_tells_what_was_left() -> None:
    """cancel_timer(ref) -> ms left, or false if fired/cancelled/unknown (L: 989, then false)."""
    timer = send_after(10, current_pid(), "tick")
    left = cancel_timer(timer)
    assert isinstance(left, float) and 5 < left <= 10
    assert cancel_timer(timer) is None
    assert read_timer(timer) is None
    fired = send_after(0, current_pid(), "tick")
    assert await take() == "tick"
    assert cancel_timer(fired) is None
    assert read_timer(fired) is None


@in_node()
async def test_read_timer_leaves_the_timer() -> None:
    """read_timer the same without cancelling."""
    timer = send_after(0.05, current_pid(), "tick")
    last = 0.05
    while (left := read_timer(timer)) is not None:
        assert 0 <= left <= last
        last = left
        await sleep(0.005)
    assert await take() == "tick"


@pytest.mark.race
@in_node()
async def test_nothing_comes_after_a_cancel_in_time(rng: random.Random) -> None:
    """After cancel returns an integer the message will not arrive; after false it may already be in the mailbox (test for
    it)."""
    me = current_pid()
    cancelled = fired = 0
    for _ in range(20):
        timers = [send_after(rng.random() * 0.006, me, n) for n in range(scaled(500))]
        order = list(range(len(timers)))
        rng.shuffle(order)
        expected = set()
        for n in order:
            if n == order[0] or rng.random() < 0.02:  # in each round once, or too few fire when there are few timers
                await sleep(0.001)
            if cancel_timer(timers[n]) is None:
                fired += 1
                # It has fired: the message is here or on its way.
                assert await take(is_(n)) == n
            else:
                cancelled += 1
                expected.add(n)
        await sleep(0.008)
        await nothing()
    assert cancelled and fired, (cancelled, fired)


@in_node()
async def test_cancel_from_another_process() -> None:
    """cancel_timer: any process may cancel a timer it knows."""
    me = current_pid()
    timer = send_after(10, me, "tick")

    async def cancels() -> float | None:
        return cancel_timer(timer)

    left = await apply(cancels)
    assert left is not None and 5 < left <= 10
    assert read_timer(timer) is None


@in_node()
async def test_a_timer_outlives_the_process_that_set_it() -> None:
    """A timer belongs to its destination: it fires when the process that set it is gone."""
    me = current_pid()

    async def sets() -> None:
        send_after(0.02, me, "tick")

    await apply(sets)
    assert await take() == "tick"


@in_node()
async def test_a_timer_aimed_at_a_pid_is_dropped_with_it() -> None:
    """A timer aimed at a pid is dropped when that pid dies (L: read false)."""
    pid, ref = spawn_monitor(waits)
    timers = [send_after(10 + n, pid, "tick") for n in range(20)]
    assert all(read_timer(timer) is not None for timer in timers)
    kill(pid)
    assert await reason_of(ref) == "killed"
    await until(lambda: [read_timer(timer) for timer in timers] == [None] * 20)
    assert [cancel_timer(timer) for timer in timers] == [None] * 20
    dead = send_after(10, pid, "tick")
    assert cancel_timer(dead) is None


@in_node()
async def test_a_timer_aimed_at_a_name_is_resolved_at_expiry() -> None:
    """aimed at a name is resolved at expiry."""
    me = current_pid()
    send_after(0.05, "clock", "tick")
    timer = send_after(0.05, "nobody-here", "tick")
    register("clock", me)
    assert await take() == "tick"
    unregister("clock")
    await until(lambda: read_timer(timer) is None)

    pid, ref = spawn_monitor(waits)
    register("clock", pid)
    send_after(0.03, "clock", "tock")
    kill(pid)
    assert await reason_of(ref) == "killed"
    register("clock", me)
    assert await take() == "tock"
    unregister("clock")


@pytest.mark.parametrize("seconds", [0.001, 0.003, 0.01, 0.05])
@in_node()
async def test_sleep_is_never_early(seconds: float) -> None:
    """Never early: a 10 ms sleep took 11.05 ms."""

    async def sleeps() -> None:
        for _ in range(20):
            before = time.monotonic()
            await sleep(seconds)
            assert time.monotonic() - before >= seconds

    refs = [spawn_monitor(sleeps)[1] for _ in range(20)]
    assert await all_down(refs) == ["normal"] * 20


@in_node()
async def test_timers_are_never_early_and_all_come(rng: random.Random) -> None:
    """Never early; none is lost."""
    me = current_pid()
    count = scaled(5_000)
    for n in range(count):
        delay = rng.random() * 0.3
        send_after(delay, me, (n, time.monotonic() + delay))
    seen = set()
    for _ in range(count):
        n, due = await take(tuple)
        assert time.monotonic() >= due
        seen.add(n)
    assert len(seen) == count


@in_node()
async def test_timers_of_different_milliseconds_keep_their_order() -> None:
    """Two timers with the same expiry have no order guarantee; different ms expiries do."""
    me = current_pid()
    for _ in range(5):
        for n in reversed(range(50)):
            send_after(0.02 + 0.002 * n, me, n)
        assert [await take() for _ in range(50)] == list(range(50))


@in_node()
async def test_sleep_zero_gives_way() -> None:
    """A sleep of nothing returns, and others run meanwhile."""
    me = current_pid()

    async def other() -> None:
        send(me, "ran")

    spawn(other)
    await until(lambda: info(me, "message_queue_len") == 1)
    for _ in range(1_000):
        await sleep(0)
    assert await take() == "ran"


@in_node()
async def test_sleep_leaves_the_mailbox_alone() -> None:
    """A sleep is not a receive: what arrives meanwhile stays, in order, and does not wake the sleeper."""
    me = current_pid()
    for n in range(5):
        send_after(0.002 * n, me, n)
    before = time.monotonic()
    await sleep(0.05)
    assert time.monotonic() - before >= 0.05
    assert [await take() for _ in range(5)] == list(range(5))


@in_node()
async def test_timers_of_the_dead_do_not_reach_a_new_process() -> None:
    """A timer aimed at a pid is dropped when that pid dies: also when its place in the table is used again."""
    for _ in range(200):
        pid, ref = spawn_monitor(returns)
        send_after(0.001, pid, "tick")
        assert await reason_of(ref) == "normal"
    me = current_pid()

    async def listens() -> None:
        try:
            send(me, await receive(timeout=0.02))
        except TimeoutError:
            send(me, "nothing")

    for _ in range(200):
        spawn(listens)
    assert {await take(str) for _ in range(200)} == {"nothing"}


@in_node()
async def test_cancel_timer_wants_a_timer() -> None:
    """cancel_timer and read_timer of anything else -> badarg."""
    for bad in (None, 7, "timer", current_pid(), make_ref()):
        with pytest.raises(TypeError):
            cancel_timer(bad)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            read_timer(bad)  # type: ignore[arg-type]


@pytest.mark.race
@in_node()
async def test_set_and_cancel_leave_nothing(rng: random.Random) -> None:
    """cancel_timer: thousands of timers set and cancelled at random leave none behind."""
    me = current_pid()
    live: list[tuple[transom.Timer, int]] = []
    for n in range(scaled(20_000)):
        if live and rng.random() < 0.5:
            timer, _ = live.pop(rng.randrange(len(live)))
            assert cancel_timer(timer) is not None
        else:
            live.append((send_after(5 + rng.random() * 1000, me, n), n))
    for timer, _ in live:
        assert cancel_timer(timer) is not None
    await nothing()


@in_node()
async def test_a_message_is_copied_when_the_timer_is_set() -> None:
    """A message is copied on send: what the sender does to it afterwards does not reach the receiver."""
    things: list[int] = [1]
    send_after(0.01, current_pid(), things)
    things.append(2)
    received = await take(list)
    assert received == [1] and received is not things


async def sleep_long() -> None:
    await sleep(3600)


@in_node()
async def test_sleepers_can_be_killed_and_their_timers_go() -> None:
    """A sleeping process is ended at once, its sleep wakes nobody."""
    started = [spawn_monitor(sleep_long) for _ in range(100)]
    for pid, _ in started:
        await until(lambda pid=pid: info(pid, "status") == "waiting")
        kill(pid)
    assert await all_down([ref for _, ref in started]) == ["killed"] * 100
