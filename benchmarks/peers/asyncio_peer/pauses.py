"""Pauses: what a task that ticks every millisecond sees beside a crowd that works, crashes and is restarted.

The collector is as asyncio's users have it: on, with its default thresholds.
"""

from __future__ import annotations

import asyncio
import gc
from random import Random
from time import perf_counter, perf_counter_ns
from typing import Any

from benchmarks.peers.asyncio_peer.loops import run
from benchmarks.side import Params, Result, emit_and_leave, rss_bytes

TICK = 0.001
TURN = 0.002
MESSAGES = 40
CRASHES = 2

Mailbox = asyncio.Queue[Any]


class State:
    def __init__(self, number: int) -> None:
        self.number = number
        self.seen = 0
        self.last: Any = None


async def worker(number: int, inbox: Mailbox) -> None:
    state = State(number)
    me = [state]
    while True:
        message = await inbox.get()
        if message is None:
            state.last = me
            raise ValueError(number)
        state.seen += 1
        state.last = message[1]
        message[0].put_nowait(state.seen)


async def ticker(seconds: float) -> list[int]:
    gaps: list[int] = []
    until = perf_counter() + seconds
    last = perf_counter_ns()
    while perf_counter() < until:
        await asyncio.sleep(TICK)
        now = perf_counter_ns()
        gaps.append(now - last)
        last = now
    return gaps


def start(number: int) -> tuple[Mailbox, asyncio.Task[None]]:
    inbox = Mailbox()
    return inbox, asyncio.create_task(worker(number, inbox))


async def churn(count: int, seconds: float) -> None:
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    pauses: list[int] = []
    began = 0

    def note(phase: str, info: dict[str, int]) -> None:
        nonlocal began
        if phase == "start":
            began = perf_counter_ns()
        else:
            pauses.append(perf_counter_ns() - began)

    random = Random(1)
    me = Mailbox()
    gc.callbacks.append(note)
    crowd = [start(n) for n in range(count)]
    await asyncio.sleep(1.0)
    build, build_max = len(pauses), max(pauses, default=0)
    pauses.clear()
    ticking = asyncio.create_task(ticker(seconds))
    turns = answers = restarts = 0
    due = perf_counter()
    while not ticking.done():
        for _ in range(MESSAGES):
            crowd[random.randrange(count)][0].put_nowait((me, (turns, "text")))
        for _ in range(CRASHES):
            place = random.randrange(count)
            crowd[place][0].put_nowait(None)
            crowd[place] = start(place)
            restarts += 1
        turns += 1
        due += TURN
        await asyncio.sleep(max(0.0, due - perf_counter()))
        while not me.empty():
            me.get_nowait()
            answers += 1
    emit_and_leave(
        {
            "samples": ticking.result(),
            "collections": len(pauses),
            "gc_max_ms": max(pauses, default=0) / 1e6,
            "gc_build": build,
            "gc_build_max_ms": build_max / 1e6,
            "answers": answers,
            "restarts": restarts,
        }
    )


def pauses(params: Params) -> Result:
    run(churn(params.int("n"), params.int("seconds")), params)
    raise AssertionError("churn leaves the process")


async def life(number: int) -> None:
    first, second = State(number), State(number)
    first.last, second.last = second, [first, {"back": second}]


async def lives(count: int) -> Result:
    for n in range(min(count, 100_000)):
        await asyncio.create_task(life(n))
    before = rss_bytes()
    begin = perf_counter_ns()
    for n in range(count):
        await asyncio.create_task(life(n))
    end = perf_counter_ns()
    growth = 100 * (rss_bytes() - before) / before
    return {"growth_percent": growth, "ns": (end - begin) / count, "before_mb": before / 1e6}


def rounds(params: Params) -> Result:
    if params.text("gc") == "off":
        gc.disable()
    return run(lives(params.int("n")), params)
