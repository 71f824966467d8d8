"""Supervised children: started, and restarted after a kill."""

from __future__ import annotations

import logging
from time import perf_counter_ns
from typing import Any

from benchmarks.side import Params, Result
from transom import Agent, Pid, Supervisor, current_pid, kill, receive, run, send

BATCH = 100  # restarts of one supervisor: OTP keeps a list of them, and walks it


class Child(Agent):
    """Tells when it runs."""

    def init(self, boss: Pid) -> None:
        send(boss, ("up", current_pid()))


class Quiet(Agent):
    def init(self, number: int) -> None:
        self.number = number


async def kills(count: int) -> int:
    """Kills of one child, one after the other; a supervisor of its own for each hundred of them."""
    taken = 0
    for _ in range(count // BATCH):
        ref = await Supervisor.start_link(children=[Child.child(current_pid())], max_restarts=BATCH)
        _, victim = await receive(tuple)
        start = perf_counter_ns()
        for _ in range(BATCH):
            kill(victim)
            _, victim = await receive(tuple)
        taken += perf_counter_ns() - start
        await ref.stop()
    return taken


async def restarts(count: int) -> float:
    logging.getLogger("transom").setLevel(logging.CRITICAL + 1)
    await kills(count // 10)
    return await kills(count) / count


async def start_many(count: int) -> tuple[float, Any]:
    children = [Quiet.child(number).options(id=number) for number in range(count)]
    start = perf_counter_ns()
    ref = await Supervisor.start_link(children=children)
    taken = perf_counter_ns() - start
    assert (await ref.count_children())["active"] == count
    return taken / count, ref


async def starts(count: int) -> float:
    _, ref = await start_many(count // 10)
    await ref.stop()
    return (await start_many(count))[0]


def restart(params: Params) -> Result:
    return {"ns": run(restarts, params.int("n"), schedulers=params.int("slots"))}


def children(params: Params) -> Result:
    return {"ns": run(starts, params.int("n"), schedulers=params.int("slots"))}
