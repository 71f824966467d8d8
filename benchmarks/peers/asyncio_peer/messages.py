"""Messages through asyncio queues."""

from __future__ import annotations

from asyncio import Queue, create_task
from time import perf_counter_ns
from typing import Any

from benchmarks.peers.asyncio_peer.loops import run
from benchmarks.side import Params, Result

Mailbox = Queue[Any]


async def pong(inbox: Mailbox) -> None:
    while True:
        who, n = await inbox.get()
        who.put_nowait((inbox, n))


async def ping(inbox: Mailbox, peer: Mailbox, count: int) -> None:
    for n in range(count):
        peer.put_nowait((inbox, n))
        await inbox.get()


async def play(round_trips: int) -> int:
    inbox, peer = Mailbox(), Mailbox()
    echo = create_task(pong(peer))
    start = perf_counter_ns()
    await create_task(ping(inbox, peer, round_trips))
    took = perf_counter_ns() - start
    echo.cancel()
    return took


async def play_warm(hops: int) -> float:
    await play(max(1, hops // 20))
    return await play(hops // 2) / (hops // 2 * 2)


def hop(params: Params) -> Result:
    return {"ns": run(play_warm(params.int("n")), params)}


async def producer(sink: Mailbox, count: int) -> None:
    me = Mailbox()
    for n in range(count):
        sink.put_nowait((me, n))


async def consumer(inbox: Mailbox, count: int) -> int:
    total = 0
    for _ in range(count):
        _who, n = await inbox.get()
        total += n
    return total


async def gather(producers: int, each: int) -> int:
    sink = Mailbox()
    start = perf_counter_ns()
    reader = create_task(consumer(sink, producers * each))
    writers = [create_task(producer(sink, each)) for _ in range(producers)]
    total = await reader
    took = perf_counter_ns() - start
    assert total == len(writers) * (each * (each - 1) // 2)
    return took


async def gather_warm(messages: int) -> float:
    each = messages // 4
    await gather(4, max(1, each // 10))
    return await gather(4, each) / (each * 4)


def fanin(params: Params) -> Result:
    return {"ns": run(gather_warm(params.int("n")), params)}
