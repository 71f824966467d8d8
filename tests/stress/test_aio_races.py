"""Races of operations on event loops: kills, time-outs, stops; many at once; nothing is left behind."""

from __future__ import annotations

import asyncio
import gc
import random
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import transom
from tests.support import in_node, run_script, scaled, take, until
from transom import _loop_agent, _loop_thread, aio


def loops_are_idle() -> bool:
    return not any(thread.tasks or thread.homes for thread in _loop_thread.running())


class Balance:
    """What began and what ended, counted on the loop."""

    def __init__(self) -> None:
        self.begun = self.ended = 0

    async def wait(self, rounds: int) -> int:
        self.begun += 1
        try:
            for _ in range(rounds):
                await asyncio.sleep(0)
            return rounds
        finally:
            self.ended += 1

    async def items(self, n: int) -> AsyncIterator[int]:
        self.begun += 1
        try:
            for i in range(n):
                if i % 3 == 0:
                    await asyncio.sleep(0)
                yield i
        finally:
            self.ended += 1


@in_node()
async def test_ten_thousand_at_once() -> None:
    balance = Balance()
    me = transom.current_pid()
    gate = asyncio.Event()

    async def held(i: int) -> int:
        balance.begun += 1
        await gate.wait()
        return i

    async def body(i: int) -> None:
        me.send(await aio(held(i)))

    for i in range(10_000):
        transom.spawn(body, i)
    await until(lambda: balance.begun == 10_000)
    assert transom.io_info()[0]["tasks"] == 10_000
    _loop_thread.loop_thread(0).call(gate.set)
    assert sorted([await take(int) for _ in range(10_000)]) == list(range(10_000))
    await until(loops_are_idle)


@in_node()
async def test_others_change_what_is_handed_over() -> None:
    """The loop walks through a result to give up its count; another thread has it from a cache, and changes it."""
    cache: dict[str, Any] = {}
    over = threading.Event()

    def change() -> None:
        while not over.is_set():
            made = cache.get("made")
            if isinstance(made, list):
                made.clear()
                made.extend([float(i)] for i in range(2000))
            elif made is not None:
                made.clear()
                made.update((float(i), [i]) for i in range(2000))
            del made
            time.sleep(0)

    async def make(turn: int) -> Any:
        if turn % 2 == 0:
            cache["made"] = [[float(i)] for i in range(20_000)]
        else:
            cache["made"] = {float(i): [i] for i in range(20_000)}
        return cache["made"]

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for turn in range(scaled(1000)):
            assert await aio(make(turn)) is cache["made"]
    finally:
        over.set()
        thread.join()


@pytest.mark.race
@in_node()
async def test_kill_at_any_moment() -> None:
    rng = random.Random(7)
    balance = Balance()

    async def body(rounds: int, kind: int) -> None:
        if kind == 0:
            assert await aio(balance.wait(rounds)) == rounds
        elif kind == 1:
            assert [i async for i in aio(balance.items(rounds))] == list(range(rounds))
        else:
            async for _ in aio(balance.items(rounds), window=2):
                await transom.sleep(0)

    for _ in range(scaled(20)):
        started = [transom.spawn_monitor(body, rng.randrange(60), rng.randrange(3)) for _ in range(50)]
        for pid, _ in rng.sample(started, 35):
            for _ in range(rng.randrange(20)):
                await transom.sleep(0)
            transom.kill(pid)
        for _, ref in started:
            assert (await take(ref)).reason in ("normal", "killed", "noproc")
    await until(loops_are_idle)
    await until(lambda: balance.begun == balance.ended)


@pytest.mark.race
@in_node()
async def test_time_out_against_completion() -> None:
    rng = random.Random(11)
    outcomes: list[str] = []

    async def wait(seconds: float) -> str:
        await asyncio.sleep(seconds)
        return "done"

    async def body() -> None:
        for _ in range(20):
            seconds = rng.random() / 100
            try:
                outcomes.append(await aio(wait(seconds), timeout=0.005))
            except TimeoutError:
                outcomes.append("late")
        with pytest.raises(TimeoutError):
            await transom.receive(timeout=0)  # nothing came too late

    for _, ref in [transom.spawn_monitor(body) for _ in range(scaled(20))]:
        assert (await take(ref)).reason == "normal"
    assert len(outcomes) == 20 * scaled(20)
    await until(loops_are_idle)


class Nest(transom.Agent, loop=True):
    async def work(self, rounds: int) -> int:
        self.task = asyncio.create_task(asyncio.Event().wait())
        for i in range(rounds):
            if i % 5 == 0:
                await transom.in_process(transom.current_pid)
            else:
                await asyncio.sleep(0)
        return rounds


@pytest.mark.race
@in_node(check=False)
async def test_killing_agents_on_the_loop_at_any_moment() -> None:
    rng = random.Random(13)
    for _ in range(scaled(10)):
        nests = [await Nest.start() for _ in range(20)]
        refs = [transom.monitor(transom.pid_of(nest)) for nest in nests]
        for nest in nests:
            nest.work.cast(rng.randrange(50))
        rng.shuffle(nests)
        for nest in nests:
            for _ in range(rng.randrange(10)):
                await transom.sleep(0)
            transom.kill(transom.pid_of(nest))
        for ref in refs:
            assert (await take(ref)).reason == "killed"
    await until(loops_are_idle)


STOPPED = """
import asyncio, sys, time, transom
from transom import aio

class Waiter(transom.Agent, loop=True):
    async def wait(self):
        asyncio.create_task(asyncio.sleep(1000))
        await asyncio.sleep(1000)

async def endless():
    while True:
        await asyncio.sleep(0)
        yield 1

async def body(i):
    if i % 3 == 0:
        await aio(asyncio.sleep(1000))
    elif i % 3 == 1:
        async for _ in aio(endless()):
            await transom.sleep(0.01)
    else:
        w = await Waiter.start_link()
        await w.wait.options(timeout=None)()

def blocked():
    aio(asyncio.sleep(1000)).result()

async def main(n):
    for i in range(n):
        transom.spawn(body, i)
    for i in range(20):
        transom.spawn(blocked)
    while transom.io_info() == [] or transom.io_info()[0]["tasks"] < n:
        await transom.sleep(0.01)

for n in (3000, 300, 30, 0):
    transom.run(main, n)
assert not [t for t in asyncio.all_tasks(asyncio.new_event_loop())]
print("done")
"""


def test_stopping_a_node_with_thousands_in_flight_is_quiet(tmp_path: Path) -> None:
    script = tmp_path / "stopped.py"
    script.write_text(STOPPED)
    child = run_script(script)
    assert child.stdout.strip() == "done"
    assert child.stderr == ""


@in_node()
async def test_memory_comes_back() -> None:
    async def one(i: int) -> Any:
        return {"page": bytearray(1000), "i": i}

    async def body() -> None:
        for i in range(50):
            await aio(one(i))
            async for _ in aio(Balance().items(5)):
                pass

    counts = []
    for _ in range(6):
        for _, ref in [transom.spawn_monitor(body) for _ in range(10)]:
            await take(ref)
        await until(loops_are_idle)
        await aio(asyncio.sleep(0.01))
        gc.collect()
        counts.append(len(gc.get_objects()))
    assert counts[-1] - counts[1] < 500, counts


@in_node(check=False)
async def test_homes_of_agents_go() -> None:
    def homes() -> int:
        gc.collect()
        return sum(type(thing) is _loop_agent.Home for thing in gc.get_objects())

    for _ in range(4):
        nests = [await Nest.start() for _ in range(50)]
        for nest in nests:
            nest.work.cast(5)
            transom.kill(transom.pid_of(nest))
    await until(loops_are_idle)
    await until(lambda: homes() < 60)
