"""The small request beside hogs: as tasks of the loop, or moved to threads by hand.

As tasks the hogs stop the loop, so a guard thread ends the run after `budget` seconds; the request
that is still waiting then counts with the time it has waited so far, a lower bound.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from threading import Thread
from time import perf_counter_ns, sleep
from typing import Any

from benchmarks import hogs
from benchmarks.peers.asyncio_peer.loops import run
from benchmarks.side import Params, Result, emit_and_leave

Mailbox = asyncio.Queue[Any]


class Record:
    """What the client has seen so far; the guard thread reads it when time is up."""

    def __init__(self) -> None:
        self.samples: list[int] = []
        self.due: list[int] = []
        self.quiet: list[int] = []
        self.due_at = 0

    def result(self) -> Result:
        return {"samples": self.samples, "due": self.due, "quiet": self.quiet}

    def guard(self, budget: int) -> None:
        """Ends this process after `budget` seconds, with what there is."""
        sleep(budget)
        waited = perf_counter_ns() - self.due_at
        self.samples.append(waited)
        self.due.append(waited)
        emit_and_leave({**self.result(), "unanswered": 1})


async def echo(inbox: Mailbox) -> None:
    while True:
        who, n = await inbox.get()
        who.put_nowait(n)


async def hog(unit: Callable[[int], None], size: int) -> None:
    """Gives way between units, which a hog of transom's side never does."""
    while True:
        unit(size)
        await asyncio.sleep(0)


def hog_thread(unit: Callable[[int], None], size: int) -> None:
    while True:
        unit(size)


async def ask(to: Mailbox, count: int, record: Record) -> None:
    inbox, random = Mailbox(), Random(1)
    for n in range(count):
        pause = random.uniform(0.0005, 0.0025)
        record.due_at = perf_counter_ns() + int(pause * 1e9)
        await asyncio.sleep(pause)
        start = perf_counter_ns()
        to.put_nowait((inbox, n))
        await inbox.get()
        end = perf_counter_ns()
        record.samples.append(end - start)
        record.due.append(end - record.due_at)


async def measure(params: Params) -> None:
    record, inbox = Record(), Mailbox()
    server = asyncio.create_task(echo(inbox))
    await ask(inbox, 300, record)
    record.quiet, record.samples, record.due = record.samples, [], []
    size, threads = params.int("size"), params.text("hogs_in") == "threads"
    Thread(target=record.guard, args=(params.int("budget"),), daemon=True).start()
    tasks = []
    for unit in hogs.chosen(params.text("kind"), params.int("hogs")):
        if threads:
            Thread(target=hog_thread, args=(unit, size), daemon=True).start()
        else:
            tasks.append(asyncio.create_task(hog(unit, size)))
    if threads:
        await asyncio.sleep(0.5)  # as tasks the hogs would eat this, and the first request is due
    await ask(inbox, params.int("n"), record)
    assert not server.done()
    emit_and_leave(record.result())


def latency(params: Params) -> Result:
    run(measure(params), params)
    raise AssertionError("measure leaves the process")
