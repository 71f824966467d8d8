"""How long a small request takes while hogs want every core."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from time import perf_counter_ns

from benchmarks import hogs
from benchmarks.side import Params, Result
from transom import Pid, current_pid, receive, run, send, sleep, spawn


async def echo() -> None:
    while True:
        who, n = await receive()
        send(who, n)


async def hog(unit: Callable[[int], None], size: int) -> None:
    while True:
        unit(size)


async def ask(to: Pid, count: int) -> tuple[list[int], list[int]]:
    """Times of the request, and the same counted from when the request was due."""
    me, random = current_pid(), Random(1)
    samples: list[int] = []
    due: list[int] = []
    for n in range(count):
        pause = random.uniform(0.0005, 0.0025)
        before = perf_counter_ns()
        await sleep(pause)
        start = perf_counter_ns()
        send(to, (me, n))
        await receive()
        end = perf_counter_ns()
        samples.append(end - start)
        due.append(end - before - int(pause * 1e9))
    return samples, due


async def measure(kind: str, each: int, size: int, count: int) -> Result:
    server = spawn(echo)
    await ask(server, 50)
    quiet, _ = await ask(server, min(count, 300))
    for unit in hogs.chosen(kind, each):
        spawn(hog, unit, size)
    await sleep(0.5)
    samples, due = await ask(server, count)
    return {"samples": samples, "due": due, "quiet": quiet}


def latency(params: Params) -> Result:
    kind, each, size = params.text("kind"), params.int("hogs"), params.int("size")
    return run(measure, kind, each, size, params.int("n"), schedulers=params.int("slots"))
