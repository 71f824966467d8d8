"""Messages: one pair, many independent pairs, four senders to one receiver."""

from __future__ import annotations

from time import perf_counter_ns

from benchmarks.side import Params, Result
from transom import Pid, current_pid, exit, receive, run, send, spawn


async def pong() -> None:
    me = current_pid()
    while True:
        who, n = await receive()
        send(who, (me, n))


async def ping(boss: Pid, peer: Pid, count: int) -> None:
    """Waits for its start, does `count` round trips, reports."""
    me = current_pid()
    await receive()
    for n in range(count):
        send(peer, (me, n))
        await receive()
    send(boss, "done")


async def play(pairs: int, round_trips: int) -> int:
    """The time in which that many pairs each do their round trips."""
    me = current_pid()
    pongs = [spawn(pong) for _ in range(pairs)]
    players = [spawn(ping, me, peer, round_trips) for peer in pongs]
    start = perf_counter_ns()
    for player in players:
        send(player, "go")
    for _ in players:
        await receive()
    took = perf_counter_ns() - start
    for peer in pongs:
        exit(peer, "shutdown")
    return took


async def play_warm(pairs: int, hops: int) -> float:
    """Nanoseconds a hop (one message sent and received), over all pairs."""
    round_trips = hops // 2 // pairs
    await play(pairs, max(1, round_trips // 10))
    return await play(pairs, round_trips) / (2 * round_trips * pairs)


def hop(params: Params) -> Result:
    return {"ns": run(play_warm, 1, params.int("n"), schedulers=params.int("slots"))}


def pairs(params: Params) -> Result:
    hops, count = params.int("n"), params.int("pairs")
    return {"ns": run(play_warm, count, hops, schedulers=params.int("slots"))}


async def producer(consumer: Pid, count: int) -> None:
    me = current_pid()
    await receive()
    for n in range(count):
        send(consumer, (me, n))


async def consumer(boss: Pid, count: int) -> None:
    total = 0
    for _ in range(count):
        _who, n = await receive()
        total += n
    send(boss, total)


async def gather(producers: int, each: int) -> int:
    sink = spawn(consumer, current_pid(), producers * each)
    sources = [spawn(producer, sink, each) for _ in range(producers)]
    start = perf_counter_ns()
    for source in sources:
        send(source, "go")
    total = await receive()
    took = perf_counter_ns() - start
    assert total == producers * (each * (each - 1) // 2), "a message was lost or doubled"
    return took


async def gather_warm(producers: int, messages: int) -> float:
    each = messages // producers
    await gather(producers, max(1, each // 10))
    return await gather(producers, each) / (each * producers)


def fanin(params: Params) -> Result:
    return {"ns": run(gather_warm, 4, params.int("n"), schedulers=params.int("slots"))}
