"""Agents: the round trip of a call, and what an idle one costs."""

from __future__ import annotations

import gc
from time import perf_counter_ns
from typing import Any

from benchmarks.side import Params, Result, rss_bytes
from transom import Agent, run, sleep


class Counter(Agent):
    """The state is three small attributes."""

    def init(self, start: int) -> None:
        self.n = start
        self.name = "counter"
        self.limit = 100

    def add(self, k: int) -> int:
        self.n += k
        return self.n


async def calls(count: int) -> Result:
    counter: Any = await Counter.start_link(0)
    for _ in range(count // 10):
        await counter.add(1)
    start = perf_counter_ns()
    for _ in range(count):
        await counter.add(1)
    took = perf_counter_ns() - start
    assert await counter.add(0) == count + count // 10
    return {"ns": took / count}


def call(params: Params) -> Result:
    return run(calls, params.int("n"), schedulers=params.int("slots"))


async def crowd(count: int) -> Result:
    for n in range(1000):
        await Counter.start(n)
    await sleep(0.2)
    gc.collect()
    before, start = rss_bytes(), perf_counter_ns()
    for n in range(count):
        await Counter.start(n)
    took = perf_counter_ns() - start
    await sleep(0.5)
    gc.collect()
    return {"bytes": (rss_bytes() - before) / count, "start_ns": took / count}


def idle_bytes(params: Params) -> Result:
    return run(crowd, params.int("n"), schedulers=params.int("slots"))
