"""What processes cost while they do nothing, and a million of them in one run."""

from __future__ import annotations

import gc
from time import perf_counter_ns, process_time

from benchmarks.side import Params, Result, rss_bytes
from transom import Pid, current_pid, gc_info, node_info, receive, run, send, sleep, spawn


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


class State:
    """Three small attributes, as an agent has."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.seen = 0
        self.last: object = None


async def keeps(number: int) -> None:
    state = State(number)
    while True:
        state.last = await receive()
        state.seen += 1


async def crowd_with_state(count: int) -> float:
    for n in range(1000):
        spawn(keeps, n)
    await sleep(0.2)
    before = rss_bytes()
    for n in range(count):
        spawn(keeps, n)
    await sleep(0.5)
    return (rss_bytes() - before) / count


def state_bytes(params: Params) -> Result:
    return {"bytes": run(crowd_with_state, params.int("n"), schedulers=params.int("slots"))}


async def echo() -> None:
    while True:
        who, n = await receive()
        send(who, n + 1)


async def all_live(count: int) -> Result:
    """As many alive at once as are asked for, each receives one message and answers it, then all are counted again."""
    me, before, resident = current_pid(), node_info()["processes"], rss_bytes()
    start = perf_counter_ns()
    # The pids of ten million would be a gigabyte of their own: they are asked for in portions.
    portion, total, created = 10_000, 0, 0
    pids: list[Pid] = []
    for done in range(0, count, portion):
        pids = [spawn(echo) for _ in range(min(portion, count - done))]
        await sleep(0)
        created += len(pids)
        for n, pid in enumerate(pids):
            send(pid, (me, n))
        for _ in pids:
            total += await receive()
    end = perf_counter_ns()
    live = node_info()["processes"] - before
    portions = [portion] * (count // portion) + [count % portion]
    assert total == sum(size * (size + 1) // 2 for size in portions), "a message was lost or doubled"
    return {
        "live": live,
        "bytes": (rss_bytes() - resident) / count,
        "seconds": (end - start) / 1e9,
        "collections": gc_info()["collections"],
    }


def live(params: Params) -> Result:
    count = params.int("n")
    return run(all_live, count, schedulers=params.int("slots"), max_processes=count + 1000)
