"""The client that both sides in Python use: a protocol of asyncio's, no more. A full SDK takes most of a core for 5,000 tokens/s.

What one read brings is taken at once, however many tokens it is.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

from benchmarks.llm.plan import Plan

TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}
RESULT = {"role": "tool", "tool_call_id": "1", "content": "found"}
MANY = 1000  # tokens that wait for the session, then the socket does

type Token = tuple[int, str | None]  # when it was sent, in ns, and why the reply ends or None


class Refused(Exception):
    """A status other than 200."""

    def __init__(self, status: int, wait: float) -> None:
        super().__init__(status)
        self.wait = wait


class Events(asyncio.Protocol):
    """The events of one reply."""

    def __init__(self, request: bytes) -> None:
        self.request = request
        self.tokens: list[Token] = []
        self.done = False
        self.error: Exception | None = None
        self._rest = b""
        self._begun = False
        self._wanted: asyncio.Future[None] | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(self.request)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done:
            self._end(exc or EOFError("the reply was cut"))

    def data_received(self, data: bytes) -> None:
        try:
            self._take(self._rest + data)
        except Exception as error:
            self._end(error)
        if len(self.tokens) > MANY:
            self.transport.pause_reading()
        self._wake()

    def _take(self, data: bytes) -> None:
        if not self._begun:
            head, found, data = data.partition(b"\r\n\r\n")
            if not found:
                self._rest = head
                return
            self._begun = True
            begin(head)
        *events, self._rest = data.split(b"\n\n")
        for event in events:
            text = event[event.index(b"data: ") + 6 :]  # the frame of a chunk may stand before it
            if text == b"[DONE]":
                self.done = True
                return
            chunk = json.loads(text)
            self.tokens.append((chunk["sent"], chunk["choices"][0]["finish_reason"]))

    def _end(self, error: Exception) -> None:
        self.error = self.error or error
        self._wake()

    def _wake(self) -> None:
        if self._wanted is not None and not self._wanted.done():
            self._wanted.set_result(None)

    async def next(self) -> list[Token]:
        """What has come since; empty at the end."""
        while not self.tokens and not self.done and self.error is None:
            self._wanted = asyncio.get_running_loop().create_future()
            await self._wanted
        tokens, self.tokens = self.tokens, []
        if len(tokens) > MANY:
            self.transport.resume_reading()
        if not tokens and self.error is not None:
            raise self.error
        return tokens


async def stream(plan: Plan, user: str, messages: list[dict[str, Any]]) -> AsyncIterator[list[Token]]:
    """One reply, as it comes."""
    body = json.dumps({"model": "demo", "messages": messages, "tools": [TOOL], "stream": True, "user": user}).encode()
    lines = ["POST /v1/chat/completions HTTP/1.1", "host: localhost", "authorization: Bearer x"]
    lines += [f"{name}: {value}" for name, value in plan.headers().items()]
    head = "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode()
    loop = asyncio.get_running_loop()
    transport, events = await loop.create_connection(lambda: Events(head + body), "127.0.0.1", plan.port)
    try:
        while tokens := await events.next():
            yield tokens
    finally:
        transport.abort()


def begin(head: bytes) -> None:
    """Raises Refused where the reply is none."""
    first, *lines = head.split(b"\r\n")
    status = int(first.split()[1])
    if status != 200:
        raise Refused(status, next((float(line[12:]) for line in lines if line.startswith(b"retry-after:")), 1.0))


def delays_of(tokens: list[Token]) -> list[int]:
    """Microseconds since each was sent."""
    now = time.monotonic_ns()
    return [min(max(0, (now - sent) // 1000), (1 << 32) - 1) for sent, _ in tokens]
