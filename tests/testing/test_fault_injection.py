"""Faults put into deterministic runs do what they say, the same for the same seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import transom
from transom import _replay, _runtime
from transom.testing import explore, faults


async def _numbers(count: int) -> list[int]:
    """What arrives of so many messages to oneself."""
    me = transom.current_pid()
    for n in range(count):
        transom.send(me, n)
    got = []
    while True:
        try:
            got.append(await transom.receive(int, timeout=1.0))
        except TimeoutError:
            return got


def test_messages_are_dropped_counted_and_traced() -> None:
    async def main() -> Any:
        fault = faults.drop(to=transom.current_pid(), skip=1, times=2)
        got = await _numbers(5)
        return got, fault.hits

    replay = _replay.Replay(1)
    value = _runtime._run_deterministic(main, (), replay, {})
    assert value == ([0, 3, 4], 2)
    assert sum("FAULT: drop" in line for line in replay.trace()) == 2


def test_a_fault_holds_between_the_pair_it_names_until_it_is_stopped() -> None:
    async def says(to: transom.Pid, word: str) -> None:
        await transom.receive(int)
        transom.send(to, word)

    async def main() -> Any:
        me = transom.current_pid()
        one, two = transom.spawn_link(says, me, "one"), transom.spawn_link(says, me, "two")
        fault = faults.drop(one, me)
        for pid in (one, two):
            transom.send(pid, 1)
        first = await transom.receive(str)
        fault.stop()
        fault.stop()
        transom.send(me, "three")
        return first, await transom.receive(str), fault.hits, repr(fault)

    assert transom.run(main, deterministic=3) == ("two", "three", 1, "<messages are dropped, struck 1 times>")


def test_a_delayed_message_is_overtaken() -> None:
    async def main() -> Any:
        faults.delay(to=transom.current_pid(), seconds=0.5, times=1)
        began = transom.reductions()
        assert began >= 0
        return await _numbers(3)

    assert transom.run(main, deterministic=1) == [1, 2, 0]


def test_messages_are_reordered_as_the_seed_says_and_none_is_lost() -> None:
    async def main() -> list[int]:
        faults.reorder(to=transom.current_pid(), window=0.5)
        return await _numbers(8)

    orders = [tuple(transom.run(main, deterministic=seed)) for seed in range(6)]
    assert all(sorted(order) == list(range(8)) for order in orders)
    assert len(set(orders)) > 1
    assert orders[0] == tuple(transom.run(main, deterministic=0))


def test_doubled_messages_are_copies_of_their_own() -> None:
    async def main() -> Any:
        me = transom.current_pid()
        fault = faults.duplicate(to=me, times=1)
        transom.send(me, ["a"])
        transom.send(me, ["b"])
        first = await transom.receive(list)
        first.append("changed")
        return first, await transom.receive(list), await transom.receive(list), fault.hits

    assert transom.run(main, deterministic=1) == (["a", "changed"], ["a"], ["b"], 1)


class Slow(transom.Agent):
    def ask(self) -> str:
        return "answer"


def test_a_lost_answer_is_a_timeout_and_calls_are_not_doubled() -> None:
    async def main() -> Any:
        slow = await Slow.start_link()
        double = faults.duplicate(to=slow)
        assert await slow.ask() == "answer"
        assert double.hits == 0
        lost = faults.drop(slow, transom.current_pid(), times=1)
        with pytest.raises(transom.CallTimeout):
            await slow.ask()
        return lost.hits, await slow.ask()

    assert transom.run(main, deterministic=1) == (1, "answer")


def test_a_failing_allocation_is_a_memory_error_and_nothing_is_sent() -> None:
    async def main() -> Any:
        me = transom.current_pid()
        faults.fail_allocation(me, skip=1)
        transom.send(me, 1)
        with pytest.raises(MemoryError):
            transom.send(me, 2)
        transom.send(me, 3)
        return [await transom.receive(int), await transom.receive(int)]

    assert transom.run(main, deterministic=1) == [1, 3]


def test_a_process_is_killed_at_its_nth_reduction() -> None:
    def counts(parent: transom.Pid) -> None:
        for n in range(1000):
            transom.send(parent, n)

    async def main(reductions: int) -> int:
        pid, ref = transom.spawn_monitor(counts, transom.current_pid())
        faults.kill_at(pid, reductions)
        assert (await transom.receive(ref)).reason == "killed"
        got = 0
        while True:
            try:
                got = await transom.receive(int, timeout=0) + 1
            except TimeoutError:
                return got

    few, more = (transom.run(main, reductions, deterministic=7) for reductions in (100, 1000))
    assert 10 < few < more < 1000
    assert few == transom.run(main, 100, deterministic=7)


def test_the_clock_jumps() -> None:
    async def main() -> str:
        transom.send_after(3600.0, transom.current_pid(), "due")
        faults.skew(3601.0)
        return str(await transom.receive(str, timeout=1.0))

    assert transom.run(main, deterministic=1) == "due"


def test_exhaustive_search_tries_with_and_without_a_fault() -> None:
    async def main() -> None:
        me = transom.current_pid()
        faults.drop(to=me, chance=0.01)
        transom.send(me, 1)
        assert await transom.receive(int, timeout=1.0) == 1

    search = explore(main, strategy="exhaustive")
    assert search.finding is not None
    assert isinstance(search.finding.error, TimeoutError)
    assert search.runs == 2


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: faults.drop(chance=0), ValueError, "chance"),
        (lambda: faults.drop(skip=-1), ValueError, "skip"),
        (lambda: faults.drop(times=True), ValueError, "times"),
        (lambda: faults.drop("nobody"), ValueError, "nobody"),
        (lambda: faults.drop(3), TypeError, "int"),
        (lambda: faults.delay(seconds=-1), ValueError, "seconds"),
        (lambda: faults.kill_at(None, 1), ValueError, "process"),
        (lambda: faults.kill_at(transom.current_pid(), 0), ValueError, "reductions"),
        (lambda: faults.skew(-1), ValueError, "seconds"),
        (lambda: [faults.drop(times=0) for _ in range(65)], RuntimeError, "64 faults"),
    ],
)
def test_bad_arguments_are_named(call: Callable[[], Any], error: type[Exception], text: str) -> None:
    async def main() -> None:
        with pytest.raises(error, match=text):
            call()

    transom.run(main, deterministic=1)


def test_other_runs_and_other_threads_are_refused() -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match="deterministic runs only"):
            faults.drop()
        with pytest.raises(RuntimeError, match="deterministic runs only"):
            faults.skew(1.0)
        with pytest.raises(RuntimeError, match="deterministic runs only"):
            faults.kill_at(transom.current_pid(), 1)

    transom.run(main)
    with pytest.raises(RuntimeError, match="deterministic runs only"):
        faults.drop()


def test_faults_end_with_their_run() -> None:
    async def faulty() -> None:
        faults.drop()

    async def main() -> list[int]:
        return await _numbers(2)

    transom.run(faulty, deterministic=1)
    assert transom.run(main, deterministic=1) == [0, 1]
    assert transom.run(main) == [0, 1]
