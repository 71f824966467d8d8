"""Tokens that wander through a mesh of processes, so that no placement keeps the traffic local."""

from __future__ import annotations

from itertools import cycle
from random import Random
from time import perf_counter_ns

from benchmarks.side import Params, Result
from transom import Pid, current_pid, exit, receive, run, send, spawn


async def relay(boss: Pid) -> None:
    """Passes each token on to the next of its neighbours; a token that is used up goes home."""
    me = current_pid()
    neighbours: list[Pid] = await receive()
    for neighbour in cycle(neighbours):
        _who, n = await receive()
        if n == 0:
            send(boss, "done")
        else:
            send(neighbour, (me, n - 1))


async def wander(relays: int, tokens: int, hops: int) -> int:
    me, random = current_pid(), Random(1)
    pids = [spawn(relay, me) for _ in range(relays)]
    for pid in pids:
        send(pid, random.sample(pids, 16))
    start = perf_counter_ns()
    for pid in pids[:tokens]:
        send(pid, (me, hops - 1))
    for _ in range(tokens):
        await receive()
    took = perf_counter_ns() - start
    for pid in pids:
        exit(pid, "shutdown")
    return took


async def wander_warm(relays: int, tokens: int, messages: int) -> float:
    hops = messages // tokens
    await wander(relays, tokens, max(1, hops // 10))
    return await wander(relays, tokens, hops) / (hops * tokens)


def mesh(params: Params) -> Result:
    relays, tokens, slots = params.int("relays"), params.int("tokens"), params.int("slots")
    return {"ns": run(wander_warm, relays, tokens, params.int("n"), schedulers=slots)}
