"""Tables, and one message for many."""

from __future__ import annotations

from random import Random
from time import perf_counter_ns

from benchmarks.side import Params, Result
from transom import Pid, PubSub, Table, current_pid, receive, run, send, spawn


def shuffled(keys: int, count: int, seed: int) -> list[int]:
    random = Random(seed)
    return [random.randrange(keys) for _ in range(count)]


async def insert(keys: int, count: int) -> float:
    table, order = Table(), shuffled(keys, count, 1)
    for key in range(keys):
        table.insert((key, 0))
    start = perf_counter_ns()
    for key in order:
        table.insert((key, key))
    return (perf_counter_ns() - start) / count


async def lookup(keys: int, count: int) -> float:
    table, order = Table(), shuffled(keys, count, 1)
    for key in range(keys):
        table.insert((key, 0))
    start = perf_counter_ns()
    for key in order:
        table.lookup(key)
    return (perf_counter_ns() - start) / count


async def counter(keys: int, count: int) -> float:
    table, order = Table(), shuffled(keys, count, 1)
    for key in range(keys):
        table.insert((key, 0))
    start = perf_counter_ns()
    for key in order:
        table.update_counter(key, 1)
    return (perf_counter_ns() - start) / count


async def insert_floor(keys: int, count: int) -> float:
    """What the interpreter needs for such a loop: the method of an empty list finds nothing to count."""
    nothing: list[object] = []
    order = shuffled(keys, count, 1)
    start = perf_counter_ns()
    for key in order:
        nothing.count((key, key))
    return (perf_counter_ns() - start) / count


async def lookup_floor(keys: int, count: int) -> float:
    """As insert_floor, and a list of a row."""
    nothing: list[object] = []
    order = shuffled(keys, count, 1)
    start = perf_counter_ns()
    for key in order:
        nothing.count(key)
        _ = [(key, 0)]
    return (perf_counter_ns() - start) / count


async def counter_floor(keys: int, count: int) -> float:
    """As insert_floor."""
    nothing: list[object] = []
    order = shuffled(keys, count, 1)
    start = perf_counter_ns()
    for key in order:
        nothing.count(key)
    return (perf_counter_ns() - start) / count


def one(params: Params) -> Result:
    kinds = {
        "insert": insert, "insert floor": insert_floor,
        "lookup": lookup, "lookup floor": lookup_floor,
        "counter": counter, "counter floor": counter_floor,
    }  # fmt: skip
    kind = kinds[params.text("op")]
    return {"ns": run(kind, params.int("keys"), params.int("n"), schedulers=params.int("slots"))}


async def reader(boss: Pid, table: Table, keys: int, count: int, seed: int) -> None:
    order = shuffled(keys, count, seed)
    send(boss, "ready")
    await receive()
    for key in order:
        table.lookup(key)
    send(boss, "done")


async def readers(keys: int, count: int, crowd: int) -> float:
    """Wall time divided by the lookups of all."""
    table, me = Table(), current_pid()
    for key in range(keys):
        table.insert((key, 0))
    pids = [spawn(reader, me, table, keys, count // crowd, seed) for seed in range(crowd)]
    for _ in pids:
        await receive()
    start = perf_counter_ns()
    for pid in pids:
        send(pid, "go")
    for _ in pids:
        await receive()
    return (perf_counter_ns() - start) / count


def scaling(params: Params) -> Result:
    keys, count, crowd = params.int("keys"), params.int("n"), params.int("readers")
    return {"ns": run(readers, keys, count, crowd, schedulers=params.int("slots"))}


async def subscriber(boss: Pid, rounds: int) -> None:
    PubSub().subscribe("news")
    send(boss, "ready")
    for _ in range(rounds):
        await receive()
    send(boss, "done")


async def broadcast(subscribers: int, rounds: int) -> float:
    """From the first broadcast until the last subscriber has got the last one."""
    news, me = PubSub(), current_pid()
    for _ in range(subscribers):
        spawn(subscriber, me, rounds)
    for _ in range(subscribers):
        await receive()
    start = perf_counter_ns()
    for n in range(rounds):
        news.broadcast("news", ("news", n))
    for _ in range(subscribers):
        await receive()
    return (perf_counter_ns() - start) / (subscribers * rounds)


def fanout(params: Params) -> Result:
    return {"ns": run(broadcast, params.int("subscribers"), params.int("n"), schedulers=params.int("slots"))}
