"""Pauses: what a process that ticks every millisecond sees beside a crowd that works, crashes and is restarted."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from random import Random
from time import perf_counter, perf_counter_ns
from typing import Any

from benchmarks.side import Params, Result
from transom import Pid, current_pid, gc_info, node_info, receive, run, send, sleep, spawn, spawn_monitor

TICK = 0.001
TURN = 0.002  # every so many seconds MESSAGES are sent and CRASHES restarted
MESSAGES = 40
CRASHES = 2


class State:
    """Three small attributes, as an agent has."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.seen = 0
        self.last: Any = None


async def worker(number: int) -> None:
    """Crashes with a cycle in its state, as code that keeps its errors does."""
    state = State(number)
    me = [state]
    while True:
        message = await receive()
        if message is None:
            state.last = me  # a cycle: state, me, state
            raise ValueError(number)
        state.seen += 1
        state.last = message[1]
        send(message[0], state.seen)


async def ticker(seconds: float, to: Pid) -> None:
    gaps: list[int] = []
    until = perf_counter() + seconds
    last = perf_counter_ns()
    while perf_counter() < until:
        await sleep(TICK)
        now = perf_counter_ns()
        gaps.append(now - last)
        last = now
    send(to, ("gaps", gaps))


async def churn(count: int, seconds: float) -> Result:
    random = Random(1)
    me = current_pid()
    pids = [spawn(worker, n) for n in range(count)]
    await sleep(1.0)
    while node_info()["run_queue"] > 10:
        await sleep(0.1)
    built = gc_info()
    spawn(ticker, seconds, me)
    turns = answers = restarts = 0
    due = perf_counter()
    result: Any = None
    while result is None:
        for _ in range(MESSAGES):
            send(pids[random.randrange(count)], (me, (turns, "text")))
        for _ in range(CRASHES):
            place = random.randrange(count)
            send(pids[place], None)
            pids[place] = spawn(worker, place)
            restarts += 1
        turns += 1
        due += TURN
        while (left := due - perf_counter()) > 0 and result is None:
            try:
                message = await receive(timeout=left)
            except TimeoutError:
                break
            if isinstance(message, tuple):
                result = message[1]
            else:
                answers += 1
    info = gc_info()
    return {
        "samples": result,
        "collections": info["collections"] - built["collections"],
        "gc_build": built["collections"],
        "gc_build_max_ms": built["max_seconds"] * 1000,
        "gc_max_ms": max(info["recent"][-(info["collections"] - built["collections"]) :], default=0.0) * 1000
        if info["collections"] > built["collections"]
        else 0.0,
        "answers": answers,
        "restarts": restarts,
    }


def pauses(params: Params) -> Result:
    logging.getLogger("transom").setLevel(logging.CRITICAL)
    return run(churn, params.int("n"), float(params.int("seconds")), schedulers=params.int("slots"))


# ---- memory after many lives with cyclic state, nobody collecting ----


async def life(number: int) -> None:
    first, second = State(number), State(number)
    first.last, second.last = second, [first, {"back": second}]


async def lives(count: int, resident: Callable[[], int]) -> Result:
    for _ in range(min(count, 100_000)):
        await receive(spawn_monitor(life, 1)[1])
    before = resident()
    start = perf_counter_ns()
    for n in range(count):
        await receive(spawn_monitor(life, n)[1])
    end = perf_counter_ns()
    after = resident()
    return {"growth_percent": 100 * (after - before) / before, "ns": (end - start) / count, "before_mb": before / 1e6}


def rounds(params: Params) -> Result:
    from benchmarks.side import rss_bytes

    gc.disable()  # before the node starts: the node does not collect, either
    result: Result = run(lives, params.int("n"), rss_bytes, schedulers=params.int("slots"))
    return result
