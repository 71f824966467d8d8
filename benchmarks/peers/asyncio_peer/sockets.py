"""Echo over loopback with asyncio's streams: round trips, and a stream of 64 KB pieces one way, length in front."""

from __future__ import annotations

import asyncio
from time import perf_counter_ns

from benchmarks.peers.asyncio_peer.loops import run
from benchmarks.side import Params, Result

CHUNK = bytes(1 << 16)


async def send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(len(data).to_bytes(4, "big") + data)
    await writer.drain()


async def recv(reader: asyncio.StreamReader) -> bytes:
    return await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big"))


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            data = await recv(reader)
            if len(data) <= 100:
                await send(writer, data)
    except asyncio.IncompleteReadError:
        writer.close()


async def trips(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, count: int) -> None:
    for _ in range(count):
        await send(writer, b"ping")
        await recv(reader)


async def measure(count: int, chunks: int) -> Result:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    await trips(reader, writer, count // 10)
    start = perf_counter_ns()
    await trips(reader, writer, count)
    trip = (perf_counter_ns() - start) / count
    start = perf_counter_ns()
    for _ in range(chunks):
        await send(writer, CHUNK)
    await trips(reader, writer, 1)
    rate = chunks * len(CHUNK) / ((perf_counter_ns() - start) / 1e3)
    writer.close()
    server.close()
    return {"ns": trip, "mb_s": rate}


def echo(params: Params) -> Result:
    return run(measure(params.int("n"), params.int("chunks")), params)
