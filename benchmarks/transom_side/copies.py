"""Messages that have to be copied: a batch of them to a process that answers when it has them all."""

from __future__ import annotations

from time import perf_counter_ns

from benchmarks import terms
from benchmarks.side import Params, Result
from transom import Pid, current_pid, receive, run, send, spawn

BATCH = 100


async def sink(boss: Pid) -> None:
    while True:
        for _ in range(BATCH):
            await receive()
        send(boss, "got them")


async def post(kind: str, count: int) -> float:
    """Nanoseconds a message, sent, copied, received and dropped."""
    message = terms.TERMS[kind]()  # made by the process that sends it
    to = spawn(sink, current_pid())
    for _ in range(max(1, count // BATCH // 10)):
        await one_batch(to, message)
    rounds = count // BATCH
    start = perf_counter_ns()
    for _ in range(rounds):
        await one_batch(to, message)
    return (perf_counter_ns() - start) / (rounds * BATCH)


async def one_batch(to: Pid, message: object) -> None:
    for _ in range(BATCH):
        send(to, message)
    await receive()


def copies(params: Params) -> Result:
    return {"ns": run(post, params.text("kind"), params.int("n"), schedulers=params.int("slots"))}
