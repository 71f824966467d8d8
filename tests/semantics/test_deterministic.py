"""run(main, deterministic=seed): the seed decides who runs when; time is virtual."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from typing import Any

import pytest

import transom
from transom import _core, _replay, _runtime


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


def _recorded(main: Any, what: int | str) -> tuple[Any, _replay.Replay]:
    """The value and the record of a run."""
    replay = _replay.Replay(what)
    value = _runtime._run_deterministic(main, (), replay, {})
    return value, replay


@pytest.mark.parametrize("main", [_collect, _count_all])
def test_the_same_seed_gives_the_same_run_event_for_event(main: Any) -> None:
    value, first = _recorded(main, 7)
    for _ in range(3):
        again, other = _recorded(main, 7)
        assert again == value
        assert other.trace() == first.trace()
        assert other.choices == first.choices
    assert len(first.trace()) > 40
    assert first.spoiled == ""


def test_seeds_differ() -> None:
    assert len({tuple(transom.run(_collect, deterministic=seed)) for seed in range(8)}) > 1


def test_code_that_never_waits_is_interrupted_where_the_seed_says() -> None:
    runs = [_recorded(_count_all, seed) for seed in range(4)]
    assert any("preempt" in line for _, replay in runs for line in replay.trace())
    assert any(value != sorted(value) for value, _ in runs)


def test_a_schedule_replays_a_run_without_the_seed() -> None:
    value, first = _recorded(_count_all, 3)
    again, other = _recorded(_count_all, first.schedule)
    assert again == value
    assert other.choices == first.choices
    assert other.trace() == first.trace()


PROGRAM = """
import sys; sys.path[:0] = [{folder!r}]
from test_deterministic import _recorded, _collect, _count_all
for main in (_collect, _count_all):
    value, replay = _recorded(main, 11)
    print(value, *replay.trace(), sep="\\n")
"""


def test_the_same_seed_gives_the_same_run_in_another_os_process() -> None:
    program = PROGRAM.format(folder=__file__.rpartition("/")[0])
    texts = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        ).stdout
        for hash_seed in ("1", "2")
    ]
    assert texts[0] == texts[1]
    assert texts[0].count("\n") > 200


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
