"""Echo over loopback: round trips, and a stream of 64 KB pieces one way. Client and server in this one OS process."""

from __future__ import annotations

from time import perf_counter_ns
from typing import Any

from benchmarks.side import Params, Result
from transom import ports, receive, run, spawn_link
from transom.ports import Closed, Data, Stream

CHUNK = bytes(1 << 16)


async def server(listener: ports.Listener) -> None:
    """Echo frames; what is longer than a word is only counted, and the count answered at the end."""

    conn = await listener.accept()
    await conn.set_active("once")
    while True:
        match await receive(Data, Closed):
            case Data(Stream() as port, data):
                if len(data) <= 100:
                    await port.send(data)
                await port.set_active("once")
            case Closed():
                return


async def measure(count: int, chunks: int) -> Result:
    async with await ports.listen(packet=4) as listener:
        spawn_link(server, listener)
        async with await ports.connect(*listener.address, packet=4) as conn:
            await trips(conn, count // 10)
            start = perf_counter_ns()
            await trips(conn, count)
            trip = (perf_counter_ns() - start) / count
            start = perf_counter_ns()
            for _ in range(chunks):
                await conn.send(CHUNK)
            await trips(conn, 1)
            return {"ns": trip, "mb_s": chunks * len(CHUNK) / ((perf_counter_ns() - start) / 1e3)}


async def trips(conn: Any, count: int) -> None:
    for _ in range(count):
        await conn.send(b"ping")
        await conn.recv()


def echo(params: Params) -> Result:
    return run(measure, params.int("n"), params.int("chunks"), schedulers=params.int("slots"))
