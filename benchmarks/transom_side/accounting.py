"""What a memory account costs: the same work in a process with and without max_heap, and beside one that has it."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from time import perf_counter_ns

from benchmarks.side import Params, Result
from transom import Pid, SpawnOptions, current_pid, receive, run, send, spawn_opt

LIMIT = 100_000_000


class Point:
    def __init__(self, x: int, y: int) -> None:
        self.x = x
        self.y = y


def objects(count: int) -> None:
    """Lists, dicts, instances, str, floats: what agent code makes and drops."""
    for n in range(count):
        row = [n, n + 1]
        table = {"a": row, "b": n}
        point = Point(n, n)
        text = "item " + str(n)
        _ = (table, point, text, n * 0.5)


def raw(count: int) -> None:
    """Nothing but blocks of 200 bytes."""
    for _ in range(count):
        bytearray(200)


async def work(to: Pid, fn: Callable[[int], None], count: int) -> None:
    fn(count)
    start = perf_counter_ns()
    fn(count)
    send(to, (perf_counter_ns() - start) / count)


async def waits() -> None:
    await receive()


async def one(fn: Callable[[int], None], count: int, limit: int | None, beside: bool) -> float:
    other = spawn_opt(SpawnOptions(max_heap=LIMIT), waits) if beside else None
    spawn_opt(SpawnOptions(max_heap=limit), work, current_pid(), fn, count)
    ns: float = await receive(float)
    if other is not None:
        send(other, "end")
    return ns


async def measure(count: int, blocks: int) -> Result:
    """Off, beside and on in turn, so that drift of the machine meets all of them."""
    result: Result = {}
    for name, fn in (("objects", objects), ("raw", raw)):
        off, beside, on = [], [], []
        for _ in range(blocks):
            off.append(await one(fn, count, None, False))
            beside.append(await one(fn, count, None, True))
            on.append(await one(fn, count, LIMIT, False))
        result[f"{name}_off"] = median(off)
        result[f"{name}_on"] = median(on)
        result[f"{name}_beside_ratio"] = median(b / a for a, b in zip(off, beside, strict=True))
        result[f"{name}_ratio"] = median(b / a for a, b in zip(off, on, strict=True))
    return result


def accounting(params: Params) -> Result:
    return run(measure, params.int("n"), params.int("blocks"), schedulers=params.int("slots"))
