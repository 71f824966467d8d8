"""Tasks made and ended, timers, and a call by future."""

from __future__ import annotations

import asyncio
from time import perf_counter_ns
from typing import Any

from benchmarks.peers.asyncio_peer.loops import run
from benchmarks.side import Params, Result


async def nothing() -> None:
    pass


async def spawn_many(count: int) -> int:
    """In batches of 200 (about what a scheduler lets a spawner do in one go)."""
    start = perf_counter_ns()
    for _ in range(count // 200):
        tasks = [asyncio.create_task(nothing()) for _ in range(200)]
        await tasks[-1]
    return perf_counter_ns() - start


async def spawn_many_warm(count: int) -> float:
    await spawn_many(max(200, count // 10))
    return await spawn_many(count) / (count // 200 * 200)


async def spawn_and_wait(count: int) -> int:
    start = perf_counter_ns()
    for _ in range(count):
        await asyncio.create_task(nothing())
    return perf_counter_ns() - start


async def spawn_and_wait_warm(count: int) -> float:
    await spawn_and_wait(count // 10)
    return await spawn_and_wait(count) / count


def late() -> None:
    pass


async def set_and_cancel(count: int) -> int:
    loop = asyncio.get_running_loop()
    start = perf_counter_ns()
    for _ in range(count):
        timer = loop.call_later(10.0, late)
        timer.cancel()
    return perf_counter_ns() - start


async def set_and_cancel_warm(count: int) -> float:
    """Blocks of 1,000: a cancelled timer is only swept away when the loop turns."""
    await set_and_cancel(1000)
    total = 0
    for _ in range(count // 1000):
        start = perf_counter_ns()
        await set_and_cancel(1000)
        await asyncio.sleep(0)
        total += perf_counter_ns() - start
    return total / (count // 1000 * 1000)


async def server(inbox: asyncio.Queue[Any]) -> None:
    while True:
        reply, n = await inbox.get()
        reply.set_result(n)


async def calls(to: asyncio.Queue[Any], count: int) -> float:
    loop = asyncio.get_running_loop()
    start = perf_counter_ns()
    for n in range(count):
        reply = loop.create_future()
        to.put_nowait((reply, n))
        await reply
    return (perf_counter_ns() - start) / count


async def calls_warm(count: int) -> float:
    inbox: asyncio.Queue[Any] = asyncio.Queue()
    task = asyncio.create_task(server(inbox))
    await calls(inbox, count)
    result = await calls(inbox, count * 3)
    task.cancel()
    return result


def spawn_exit(params: Params) -> Result:
    return {"ns": run(spawn_many_warm(params.int("n")), params)}


def spawn_down(params: Params) -> Result:
    return {"ns": run(spawn_and_wait_warm(params.int("n")), params)}


def timer(params: Params) -> Result:
    return {"ns": run(set_and_cancel_warm(params.int("n")), params)}


def call(params: Params) -> Result:
    return {"ns": run(calls_warm(params.int("n")), params)}
