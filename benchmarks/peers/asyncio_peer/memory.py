"""What tasks that wait on a queue of their own cost, and a million of them in one run."""

from __future__ import annotations

import asyncio
import gc
from time import perf_counter_ns, process_time
from typing import Any

from benchmarks.peers.asyncio_peer.loops import run
from benchmarks.side import Params, Result, emit_and_leave, rss_bytes

Mailbox = asyncio.Queue[Any]


async def waits(inbox: Mailbox) -> None:
    while True:
        await inbox.get()


async def crowd(count: int) -> None:
    """The list of tasks is asyncio's due: it holds tasks by weak references only."""
    keep = [asyncio.create_task(waits(Mailbox())) for _ in range(1000)]
    await asyncio.sleep(0.2)
    gc.collect()
    before = rss_bytes()
    keep += [asyncio.create_task(waits(Mailbox())) for _ in range(count)]
    await asyncio.sleep(0.5)
    gc.collect()
    emit_and_leave({"bytes": (rss_bytes() - before) / count})


def idle_bytes(params: Params) -> Result:
    run(crowd(params.int("n")), params)
    raise AssertionError("crowd leaves the process")


async def member(inbox: Mailbox) -> None:
    who, n = await inbox.get()
    who.put_nowait(n + 1)


async def million_lives(count: int) -> Result:
    start = perf_counter_ns()
    inboxes = [Mailbox() for _ in range(count)]
    tasks = [asyncio.create_task(member(inbox)) for inbox in inboxes]
    await asyncio.sleep(0)
    created = perf_counter_ns()
    live = sum(not task.done() for task in tasks)
    me = Mailbox()
    for n, inbox in enumerate(inboxes):
        inbox.put_nowait((me, n))
    total = 0
    for _ in range(count):
        total += await me.get()
    await asyncio.gather(*tasks)
    end = perf_counter_ns()
    assert total == count * (count + 1) // 2
    return {"seconds": (end - start) / 1e9, "create_s": (created - start) / 1e9, "live": live}


def million(params: Params) -> Result:
    return run(million_lives(params.int("n")), params)


async def rest(seconds: float) -> float:
    await asyncio.sleep(0.5)
    before = process_time()
    await asyncio.sleep(seconds)
    return 100 * (process_time() - before) / seconds


def idle_cpu(params: Params) -> Result:
    return {"percent": run(rest(params.int("seconds")), params)}
