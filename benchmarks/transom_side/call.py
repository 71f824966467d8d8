"""A call (request, monitored reply) with an empty mailbox and with junk waiting in it."""

from __future__ import annotations

from statistics import median
from time import perf_counter_ns

from benchmarks.side import Params, Result
from transom import Down, Pid, current_pid, monitor, receive, run, send, spawn


async def server() -> None:
    while True:
        reply_to, n = await receive()
        send(reply_to, (reply_to, n))


async def ask(to: Pid, n: int) -> object:
    """What an agent call does: one Ref is the monitor, the reply address and the match."""
    ref = monitor(to, alias="reply_demonitor")
    send(to, (ref, n))
    answer = await receive(ref)
    if isinstance(answer, Down):
        raise ConnectionError(f"the server is gone: {answer.reason}")
    return answer


async def calls(to: Pid, count: int) -> float:
    start = perf_counter_ns()
    for n in range(count):
        await ask(to, n)
    return (perf_counter_ns() - start) / count


async def measure(count: int, junk: int, blocks: int) -> Result:
    """Blocks of calls, empty and full in turn, so that drift of the machine meets both."""
    me, to = current_pid(), spawn(server)
    await calls(to, count)
    empty, full = [], []
    for _ in range(blocks):
        empty.append(await calls(to, count))
        for n in range(junk):
            send(me, ("junk", n))
        full.append(await calls(to, count))
        for _ in range(junk):
            await receive()
    ratio = median(b / a for a, b in zip(empty, full, strict=True))
    return {"ns": median(empty), "junk_ns": median(full), "junk_ratio": ratio}


def call(params: Params) -> Result:
    count, junk, blocks = params.int("n"), params.int("junk"), params.int("blocks")
    return run(measure, count, junk, blocks, schedulers=params.int("slots"))
