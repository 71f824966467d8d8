"""What processes cost while they do nothing, and a million of them in one run."""

from __future__ import annotations

import gc
from time import perf_counter_ns, process_time

from benchmarks.side import Params, Result, rss_bytes
from transom import Pid, current_pid, node_info, receive, run, send, sleep, spawn


async def waits() -> None:
    while True:
        await receive()


async def crowd(count: int) -> float:
    """Growth of resident memory, shared by the processes that wait in their first receive."""
    for _ in range(1000):
        spawn(waits)
    await sleep(0.2)
    gc.collect()
    before = rss_bytes()
    for _ in range(count):
        spawn(waits)
    await sleep(0.5)
    gc.collect()
    return (rss_bytes() - before) / count


def idle_bytes(params: Params) -> Result:
    return {"bytes": run(crowd, params.int("n"), schedulers=params.int("slots"))}


async def member() -> None:
    who, n = await receive()
    send(who, n + 1)


async def million_lives(count: int) -> Result:
    me, before = current_pid(), node_info()["processes"]
    start = perf_counter_ns()
    pids: list[Pid] = [spawn(member) for _ in range(count)]
    created = perf_counter_ns()
    live = node_info()["processes"] - before
    for n, pid in enumerate(pids):
        send(pid, (me, n))
    total = 0
    for _ in range(count):
        total += await receive()
    while node_info()["processes"] > before:
        await sleep(0)
    end = perf_counter_ns()
    assert total == count * (count + 1) // 2, "a message was lost or doubled"
    return {"seconds": (end - start) / 1e9, "create_s": (created - start) / 1e9, "live": live}


def million(params: Params) -> Result:
    return run(million_lives, params.int("n"), schedulers=params.int("slots"))


async def rest(seconds: float) -> float:
    await sleep(0.5)
    before = process_time()
    await sleep(seconds)
    return 100 * (process_time() - before) / seconds


def idle_cpu(params: Params) -> Result:
    return {"percent": run(rest, params.int("seconds"), schedulers=params.int("slots"))}
