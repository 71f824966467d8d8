"""run(main, deterministic=seed): the seed decides who runs when; time is virtual."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import threading
import time
from typing import Any

import deterministic_programs
import pytest
from deterministic_programs import recorded

import transom
from transom import _core, _replay


async def _chatter(parent: transom.Pid, n: int) -> None:
    for i in range(5):
        transom.send(parent, ("hi", n, i))
        await transom.sleep(n * 10.0)


async def _collect() -> list[tuple[int, int]]:
    for n in range(4):
        transom.spawn_link(_chatter, transom.current_pid(), n)
    return [(await transom.receive())[1:] for _ in range(20)]


def _count(parent: transom.Pid, n: int) -> None:
    for i in range(40):
        for _ in range(20):
            pass
        transom.send(parent, (n, i))


async def _count_all() -> list[tuple[int, int]]:
    for n in range(3):
        transom.spawn_link(_count, transom.current_pid(), n)
    return [await transom.receive() for _ in range(120)]


@pytest.mark.parametrize("main", [_collect, _count_all])
def test_the_same_seed_gives_the_same_run_event_for_event(main: Any) -> None:
    value, first = recorded(main, 7)
    for _ in range(3):
        again, other = recorded(main, 7)
        assert again == value
        assert other.trace() == first.trace()
        assert other.choices == first.choices
    assert len(first.trace()) > 40
    assert first.spoiled == ""


def test_seeds_differ() -> None:
    assert len({tuple(transom.run(_collect, deterministic=seed)) for seed in range(8)}) > 1


def test_code_that_never_waits_is_interrupted_where_the_seed_says() -> None:
    runs = [recorded(_count_all, seed) for seed in range(4)]
    assert any("preempt" in line for _, replay in runs for line in replay.trace())
    assert any(value != sorted(value) for value, _ in runs)


def test_a_schedule_replays_a_run_without_the_seed() -> None:
    value, first = recorded(_count_all, 3)
    again, other = recorded(_count_all, first.schedule)
    assert again == value
    assert other.choices == first.choices
    assert other.trace() == first.trace()


def _lines(hash_seed: str, *seeds: str) -> list[str]:
    """What deterministic_programs prints in a program of its own."""
    done = subprocess.run(
        [sys.executable, deterministic_programs.__file__, *seeds],
        env={"PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return sorted(done.stdout.splitlines())


def test_the_same_seed_gives_the_same_run_in_other_programs_and_after_other_runs() -> None:
    lines = _lines("1", "0", "12")
    assert len(lines) == 12 * len(deterministic_programs.PROGRAMS)
    assert len({line.split()[-1] for line in lines}) > 24
    assert _lines("2", "0", "12") == lines
    assert _lines("3", "12", "0") == lines


def test_time_is_virtual() -> None:
    async def main() -> tuple[float, float]:
        before = _core._monotonic()
        transom.send_after(3600.0, transom.current_pid(), "late")
        with pytest.raises(TimeoutError):
            await transom.receive(int, timeout=1800.0)
        half = _core._monotonic() - before
        assert await transom.receive() == "late"
        return half, _core._monotonic() - before

    began = time.monotonic()
    half, whole = transom.run(main, deterministic=1)
    assert 1800 <= half < 1801
    assert 3600 <= whole < 3601
    assert time.monotonic() - began < 600


def test_the_real_clock_is_back_after_a_run() -> None:
    async def far() -> None:
        await transom.sleep(10_000_000.0)

    async def near() -> float:
        before = time.monotonic()
        await transom.sleep(0.05)
        return time.monotonic() - before

    transom.run(far, deterministic=1)
    assert 0.05 <= transom.run(near)
    assert transom.run(_collect, deterministic=5) == transom.run(_collect, deterministic=5)


def test_a_deadlock_is_an_error_that_shows_the_trace() -> None:
    async def main() -> None:
        transom.spawn(_chatter, transom.current_pid(), 1)
        await transom.receive(str)

    with pytest.raises(transom.TransomError, match="every process waits") as caught:
        transom.run(main, deterministic=2)
    note = caught.value.__notes__[0]
    assert "seed 2" in note
    assert "P2 -> P1  ('hi', ...)" in note


def test_a_deadlock_of_plain_functions_is_found_and_all_are_named() -> None:
    def first(other: transom.Pid) -> None:
        transom.set_label("first")
        transom.sync.receive(int)

    def main() -> None:
        transom.set_label("second")
        transom.spawn_link(first, transom.current_pid())
        transom.sync.receive(float)

    with pytest.raises(transom.TransomError, match="every process waits") as caught:
        transom.run(main, deterministic=3)
    assert "'first'" in str(caught.value)
    assert "'second'" in str(caught.value)


async def _patient(seconds: float | None = 3600.0) -> Any:
    """Who waits so long in virtual time ends at once, unless somebody outside is waited for."""
    return await transom.receive(str, timeout=seconds)


def test_a_thread_that_will_send_is_waited_for_with_the_real_clock() -> None:
    async def main(timeout: float | None) -> Any:
        me = transom.current_pid()
        threading.Timer(0.05, lambda: transom.send(me, "from outside")).start()
        return await transom.receive(str, timeout=timeout)

    for timeout in (None, 3600.0):
        assert transom.run(main, timeout, deterministic=1) == "from outside"


def test_when_the_thread_has_ended_time_jumps_again() -> None:
    async def main() -> Any:
        threading.Timer(0.01, lambda: None).start()
        return await _patient()

    with pytest.raises(TimeoutError):
        transom.run(main, deterministic=1)


def test_threads_that_were_there_before_are_not_waited_for() -> None:
    hold = threading.Event()
    idle = threading.Thread(target=hold.wait, name="an idle thread")
    idle.start()
    try:
        with pytest.raises(TimeoutError):
            transom.run(_patient, deterministic=1)
        with pytest.raises(transom.TransomError, match="an idle thread"):
            transom.run(_patient, None, deterministic=1)
    finally:
        hold.set()
        idle.join()


def test_a_process_in_a_native_call_is_waited_for() -> None:
    """It loses its slot after a while; then time does not jump, and there is no deadlock."""
    ready = threading.Event()

    def blocked(parent: transom.Pid) -> None:
        ready.wait()
        transom.send(parent, "done")

    async def waker() -> None:
        await transom.sleep(0)
        ready.set()

    async def main() -> Any:
        transom.spawn_link(blocked, transom.current_pid())
        transom.spawn_link(waker)
        return await _patient()

    value, replay = recorded(main, "s1")  # the blocked one first
    assert value == "done"
    assert replay.spoiled != ""


@pytest.mark.parametrize("seconds", [None, 3600.0])
def test_an_event_loop_is_waited_for_while_it_is_at_work(seconds: float | None) -> None:
    async def asks(parent: transom.Pid) -> None:
        await transom.aio(asyncio.sleep(0.05))
        transom.send(parent, "slept")

    async def main() -> Any:
        transom.spawn_link(asks, transom.current_pid())
        first = await transom.receive(str, timeout=seconds)
        with pytest.raises(TimeoutError):
            await _patient()
        return first

    assert transom.run(main, deterministic=1) == "slept"


def test_agents_at_rest_on_an_event_loop_hold_nothing_up() -> None:
    class OnLoop(transom.Agent, loop=True):
        async def nap(self) -> str:
            await asyncio.sleep(0.02)
            return "rested"

    async def main() -> Any:
        agent = await OnLoop.start_link()
        rested = await agent.nap()
        with pytest.raises(TimeoutError):
            await _patient()
        return rested

    assert transom.run(main, deterministic=1) == "rested"


def test_isolated_calls_are_waited_for() -> None:
    async def main() -> Any:
        value = await transom.isolated(abs, -3)
        with pytest.raises(TimeoutError):
            await _patient()
        return value

    assert transom.run(main, deterministic=1) == 3


def test_polling_reaches_the_next_timer_soon() -> None:
    async def main() -> int:
        transom.send_after(3600.0, transom.current_pid(), "late")
        for turn in range(100_000):
            try:
                await transom.receive(str, timeout=0)
            except TimeoutError:
                await transom.sleep(0)
            else:
                return turn
        raise AssertionError("time does not move")

    assert transom.run(main, deterministic=1) < 5000


def test_code_that_computes_takes_time() -> None:
    async def main() -> float:
        before = _core._monotonic()
        for _ in range(100_000):
            pass
        await transom.sleep(0)
        return _core._monotonic() - before

    assert 0.001 < transom.run(main, deterministic=1) < 0.1


def test_interruptions_come_early_and_late_in_a_turn() -> None:
    places = [
        chosen
        for seed in range(40)
        for _, chosen, is_slice, _ in recorded(_count_all, seed)[1].choices
        if is_slice and chosen
    ]
    assert min(places) < 8
    assert max(places) > 2000
    assert len({place.bit_length() for place in places}) == 12


def test_reductions_add_up_under_any_seed() -> None:
    async def main() -> list[int]:
        pids = [transom.spawn_monitor(_count, transom.current_pid(), n) for n in range(3)]
        for _ in range(3 * 40):
            await transom.receive(tuple)
        return [transom.reductions(), len(pids)]

    counts = {transom.run(main, deterministic=seed)[0] for seed in range(20)}
    assert 100 < min(counts)
    assert max(counts) < 20_000


def test_main_that_is_killed_ends_the_run() -> None:
    async def killer(pid: transom.Pid) -> None:
        transom.kill(pid)

    async def main() -> None:
        transom.spawn(killer, transom.current_pid())
        await transom.receive()

    for seed in range(5):
        with pytest.raises(transom.Exited, match="killed"):
            transom.run(main, deterministic=seed)


def test_a_failing_run_tells_its_seed() -> None:
    async def main() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        transom.run(main, deterministic=99)
    assert "seed 99" in caught.value.__notes__[0]


def test_the_random_module_is_seeded_and_given_back() -> None:
    async def main() -> float:
        return random.random()

    state = random.getstate()
    assert transom.run(main, deterministic=4) == transom.run(main, deterministic=4)
    assert random.getstate() == state


@pytest.mark.parametrize("what", [-1, 1 << 64, "x", "s1..2", "s70000", "s1x99999999999"])
def test_bad_seeds_are_named(what: Any) -> None:
    with pytest.raises(ValueError, match="deterministic"):
        transom.run(_collect, deterministic=what)


@pytest.mark.parametrize("what", [1.5, True, b"1"])
def test_seeds_of_other_types_are_refused(what: Any) -> None:
    with pytest.raises(TypeError, match="deterministic"):
        transom.run(_collect, deterministic=what)


def test_more_schedulers_are_refused() -> None:
    with pytest.raises(ValueError, match="one scheduler"):
        transom.run(_collect, deterministic=1, schedulers=2)


@pytest.mark.parametrize("choices", [[], [0, 0, 12, 3, 0], [1], [5, 5, 5, 0, 0, 1]])
def test_text_of_schedules(choices: list[int]) -> None:
    seed, back = _replay.parse(_replay.text_of(choices))
    assert seed is None
    assert back == choices[: len(choices) - next((i for i, c in enumerate(reversed(choices)) if c), len(choices))]
