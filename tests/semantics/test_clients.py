"""Real asyncio clients: one httpx client for many processes, anyio's scopes in agents on the loop."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

import transom
from tests.support import in_node, take, until
from transom import aio


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A web server: /stream comes in ten lines, /never does not come."""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while head := await reader.readuntil(b"\r\n\r\n"):
            path = head.split()[1].decode()
            if path == "/never":
                await asyncio.Event().wait()
            lines = [f"line {i}\n".encode() for i in range(10)] if path == "/stream" else [path.encode()]
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % sum(map(len, lines)))
            for line in lines:
                writer.write(line)
                await asyncio.sleep(0)
            await writer.drain()
    writer.close()


@contextlib.asynccontextmanager
async def web() -> AsyncIterator[str]:
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@in_node()
async def test_one_httpx_client_for_many_processes() -> None:
    httpx = pytest.importorskip("httpx")
    assert not sys._is_gil_enabled()

    async with aio(web()) as url, aio(lambda: httpx.AsyncClient(base_url=url, timeout=20)) as client:

        async def body(client: Any, i: int) -> None:
            response = await aio(client.get(f"/{i}"))
            assert response.text == f"/{i}"
            async with aio(client.stream("GET", "/stream")) as response:
                lines = [line async for line in aio(response.aiter_lines())]
            assert lines == [f"line {i}" for i in range(10)]

        refs = [transom.spawn_monitor(body, transom.share(client), i)[1] for i in range(50)]
        for ref in refs:
            assert (await take(ref)).reason == "normal"
        with pytest.raises(TimeoutError):
            await aio(client.get("/never"), timeout=0.05)
        with pytest.raises(httpx.ConnectError):
            await aio(client.get("http://127.0.0.1:1/"))


@in_node()
async def test_killing_a_process_closes_its_request() -> None:
    httpx = pytest.importorskip("httpx")

    async with aio(web()) as url, aio(lambda: httpx.AsyncClient(timeout=None)) as client:

        async def body(client: Any) -> None:
            await aio(client.get(f"{url}/never"))

        pids = [transom.spawn(body, transom.share(client)) for _ in range(10)]
        pool = client._transport._pool
        await until(lambda: len(pool.connections) == 10)
        for pid in pids:
            transom.kill(pid)
        await until(lambda: len(pool.connections) == 0)


@in_node(check=False)
async def test_anyio_scopes_open_in_init_and_close_in_terminate() -> None:
    anyio = pytest.importorskip("anyio")
    log: list[str] = []

    class Session(transom.Agent, loop=True):
        async def init(self) -> None:
            self.stack = contextlib.AsyncExitStack()
            self.group = await self.stack.enter_async_context(anyio.create_task_group())
            self.scope = self.stack.enter_context(anyio.CancelScope())
            self.group.start_soon(self.beside)

        async def beside(self) -> None:
            try:
                await anyio.sleep_forever()
            finally:
                log.append("beside")

        async def ask(self) -> str:
            with anyio.fail_after(20):
                await anyio.sleep(0)
            return "answer"

        async def stop(self) -> None:
            transom.stop_after()

        async def terminate(self, reason: Any) -> None:
            self.group.cancel_scope.cancel()
            await self.stack.aclose()
            log.append("terminate")

    session = await Session.start()
    ref = transom.monitor(transom.pid_of(session))
    assert await session.ask() == "answer"
    await session.stop()
    assert (await take(ref)).reason == "normal"
    assert log == ["beside", "terminate"]
