"""A ready awaitable: as a task of the same loop, and from another thread by run_coroutine_threadsafe."""

from __future__ import annotations

import asyncio
import threading
from time import perf_counter_ns

from benchmarks.peers.asyncio_peer import loops
from benchmarks.side import Params, Result


async def ready() -> int:
    return 1


async def some(count: int) -> None:
    for _ in range(count):
        await asyncio.create_task(ready())


async def tasks(count: int, flight: int) -> Result:
    await some(1000)
    start = perf_counter_ns()
    await some(count)
    one = (perf_counter_ns() - start) / count
    start = perf_counter_ns()
    await asyncio.gather(*(some(count // flight) for _ in range(flight)))
    return {"ns": one, "flight_ns": (perf_counter_ns() - start) / (count // flight * flight)}


async def other_loop(loop: asyncio.AbstractEventLoop, count: int, flight: int) -> Result:
    async def some(count: int) -> None:
        for _ in range(count):
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(ready(), loop))

    await some(1000)
    start = perf_counter_ns()
    await some(count)
    one = (perf_counter_ns() - start) / count
    start = perf_counter_ns()
    await asyncio.gather(*(some(count // flight) for _ in range(flight)))
    return {"ns": one, "flight_ns": (perf_counter_ns() - start) / (count // flight * flight)}


def task(params: Params) -> Result:
    return loops.run(tasks(params.int("n"), params.int("flight")), params)


def threadsafe(params: Params) -> Result:
    ready_to_go, over = threading.Event(), threading.Event()
    found: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        found.append(asyncio.get_running_loop())
        ready_to_go.set()
        await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=lambda: loops.run(serve(), params))
    thread.start()
    ready_to_go.wait()
    try:
        return loops.run(other_loop(found[0], params.int("n"), params.int("flight")), params)
    finally:
        over.set()
        thread.join()
