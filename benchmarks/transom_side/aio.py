"""aio() on an awaitable that is ready: one at a time, a thousand in flight; items of a stream."""

from __future__ import annotations

from collections.abc import AsyncIterator
from time import perf_counter_ns

from benchmarks.side import Params, Result
from transom import aio, receive, run, spawn_monitor


async def ready() -> int:
    return 1


async def items(count: int) -> AsyncIterator[int]:
    for i in range(count):
        yield i


async def some(count: int) -> None:
    for _ in range(count):
        await aio(ready())


async def measure(count: int, flight: int) -> Result:
    await some(1000)
    start = perf_counter_ns()
    await some(count)
    one = (perf_counter_ns() - start) / count
    each = count // flight
    start = perf_counter_ns()
    refs = [spawn_monitor(some, each)[1] for _ in range(flight)]
    for ref in refs:
        await receive(ref)
    many = (perf_counter_ns() - start) / (each * flight)
    start = perf_counter_ns()
    async for _ in aio(items(count)):
        pass
    return {"ns": one, "flight_ns": many, "item_ns": (perf_counter_ns() - start) / count}


def round_trip(params: Params) -> Result:
    return run(measure, params.int("n"), params.int("flight"), schedulers=params.int("slots"))
