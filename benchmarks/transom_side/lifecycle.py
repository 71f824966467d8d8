"""Birth and death of processes and timers."""

from __future__ import annotations

from time import perf_counter_ns

from benchmarks.side import Params, Result
from transom import (
    cancel_timer,
    current_pid,
    node_info,
    receive,
    run,
    send_after,
    sleep,
    spawn,
    spawn_monitor,
)


async def nothing() -> None:
    pass


async def spawn_many(count: int) -> int:
    """Spawns and lets go; the clock stops when all of them have ended."""
    before = node_info()["processes"]
    start = perf_counter_ns()
    for _ in range(count):
        spawn(nothing)
    while node_info()["processes"] > before:
        await sleep(0)
    return perf_counter_ns() - start


async def spawn_and_wait(count: int) -> int:
    """Spawns one at a time and waits for the news of its end."""
    start = perf_counter_ns()
    for _ in range(count):
        _pid, ref = spawn_monitor(nothing)
        await receive(ref)
    return perf_counter_ns() - start


async def set_and_cancel(count: int) -> int:
    me = current_pid()
    start = perf_counter_ns()
    for _ in range(count):
        timer = send_after(10.0, me, "late")
        cancel_timer(timer)
    return perf_counter_ns() - start


async def spawn_many_warm(count: int) -> float:
    await spawn_many(count // 10)
    return await spawn_many(count) / count


async def spawn_and_wait_warm(count: int) -> float:
    await spawn_and_wait(count // 10)
    return await spawn_and_wait(count) / count


async def set_and_cancel_warm(count: int) -> float:
    await set_and_cancel(count // 10)
    return await set_and_cancel(count) / count


def spawn_exit(params: Params) -> Result:
    return {"ns": run(spawn_many_warm, params.int("n"), schedulers=params.int("slots"))}


def spawn_down(params: Params) -> Result:
    return {"ns": run(spawn_and_wait_warm, params.int("n"), schedulers=params.int("slots"))}


def timer(params: Params) -> Result:
    return {"ns": run(set_and_cancel_warm, params.int("n"), schedulers=params.int("slots"))}
