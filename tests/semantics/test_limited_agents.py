"""max_heap and max_queue of agents."""

from __future__ import annotations

import gc

import pytest
from support import in_node, take

import transom
from transom import Agent, CallError, Down, QueueFull, kill, monitor, pid_of, process_info, receive, send

LIMIT = 1_000_000


class Hoard(Agent):
    def init(self) -> None:
        self.rows: list[bytearray] = []

    def keep(self, n: int) -> int:
        self.rows += [bytearray(1_000) for _ in range(n)]
        return len(self.rows)

    async def keep_slowly(self, n: int) -> int:
        for _ in range(n):
            self.rows.append(bytearray(1_000))
            await transom.sleep(0)
        return len(self.rows)

    def huge(self) -> int:
        try:
            return len(bytearray(100 * LIMIT))
        except MemoryError:
            return -1

    def drop(self) -> None:
        self.rows.clear()


async def ended(ref: transom.Ref) -> Down:
    down: Down = await take(ref)
    return down


@in_node()
async def test_an_agent_over_its_limit_is_killed_and_its_caller_told() -> None:
    hoard = await Hoard.options(max_heap=LIMIT).start()
    ref = monitor(pid_of(hoard))
    assert await hoard.keep(100) == 100
    with pytest.raises(CallError) as caught:
        await hoard.keep(5_000)
    assert caught.value.reason == "killed"
    assert (await ended(ref)).reason == "killed"


@in_node()
async def test_state_that_grows_over_many_small_calls_counts() -> None:
    hoard = await Hoard.options(max_heap=LIMIT).start()
    ref = monitor(pid_of(hoard))
    with pytest.raises(CallError):
        for _ in range(3_000):
            await hoard.keep(1)
    assert (await ended(ref)).reason == "killed"


@in_node()
async def test_over_the_limit_by_casts_it_ends_without_another_message() -> None:
    hoard = await Hoard.options(max_heap=LIMIT).start()
    ref = monitor(pid_of(hoard))
    hoard.keep.cast(2_000)
    assert (await ended(ref)).reason == "killed"


@in_node()
async def test_an_async_handler_over_the_limit_is_killed() -> None:
    hoard = await Hoard.options(max_heap=LIMIT).start()
    ref = monitor(pid_of(hoard))
    with pytest.raises(CallError):
        await hoard.keep_slowly.options(timeout=60)(5_000)
    assert (await ended(ref)).reason == "killed"


@in_node()
async def test_what_it_drops_is_not_held_against_it() -> None:
    hoard = await Hoard.options(max_heap=LIMIT).start()
    for _ in range(20):
        assert await hoard.keep(500) == 500
        await hoard.drop()
    kill(pid_of(hoard))


@in_node()
async def test_one_huge_request_fails_in_the_agent_alone() -> None:
    hoard = await Hoard.options(max_heap=LIMIT).start()
    assert await hoard.huge() == -1
    assert len(bytearray(100 * LIMIT)) == 100 * LIMIT
    assert await hoard.keep(1) == 1
    kill(pid_of(hoard))


@in_node()
async def test_many_limited_agents_come_and_go_and_leave_nothing() -> None:
    async def round_of_them() -> None:
        hoards = [await Hoard.options(max_heap=LIMIT).start() for _ in range(50)]
        for n, hoard in enumerate(hoards):
            ref = monitor(pid_of(hoard))
            hoard.keep.cast(2_000 if n % 2 else 10)
            if n % 2 == 0:
                kill(pid_of(hoard))
            assert (await ended(ref)).reason == "killed"

    for _ in range(5):
        await round_of_them()
        gc.collect()
    assert len(transom.processes()) == 1


# -- bounded queues ---------------------------------------------------------------------------------------------------


class Slow(Agent):
    async def work(self) -> str:
        await receive(lambda m: m == "go")
        return "done"

    def touch(self) -> str:
        return "touched"


async def busy(on_full: str) -> tuple[Slow, transom.Call[str]]:
    """A Slow at work, with its queue of 2 full."""
    slow = await Slow.options(max_queue=2, on_full=on_full).start()
    call = slow.work()
    call.send()
    while (found := process_info(pid_of(slow), "message_queue_len", "status")) and found != {
        "message_queue_len": 0,
        "status": "waiting",
    }:
        await transom.sleep(0)
    send(pid_of(slow), "one")
    send(pid_of(slow), "two")
    return slow, call


async def end(slow: Slow, *calls: transom.Call[str]) -> None:
    kill(pid_of(slow))
    for call in calls:
        with pytest.raises(CallError, match="killed"):
            await call


@in_node()
async def test_a_call_to_a_full_agent_is_refused_at_once() -> None:
    slow, first = await busy("reject")
    with pytest.raises(CallError) as caught:
        await slow.touch()
    assert caught.value.reason == "queue_full" and "max_queue" in str(caught.value)
    with pytest.raises(QueueFull):
        slow.touch.cast()
    assert process_info(pid_of(slow), "message_queue_len") == {"message_queue_len": 2}
    assert (process_info(pid_of(slow), "monitored_by") or {})["monitored_by"] == [transom.current_pid()]  # the first call's
    await end(slow, first)


@in_node()
async def test_a_call_waits_in_its_own_way_where_senders_wait() -> None:
    slow, first = await busy("wait")
    call = slow.touch()
    call.send()
    assert process_info(pid_of(slow), "message_queue_len") == {"message_queue_len": 3}
    await end(slow, first, call)


@in_node()
async def test_a_call_to_a_full_agent_that_ends_for_it_fails_with_killed() -> None:
    slow, first = await busy("kill")
    for call in (slow.touch(), first):
        with pytest.raises(CallError) as caught:
            await call
        assert caught.value.reason == "killed"


@in_node()
async def test_a_dropped_call_times_out() -> None:
    slow, first = await busy("drop")
    with pytest.raises(transom.CallTimeout):
        await slow.touch.options(timeout=0.01)()
    assert process_info(pid_of(slow), "dropped") == {"dropped": 1}
    await end(slow, first)
