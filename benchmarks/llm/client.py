"""The client that both sides in Python use: asyncio's streams, no more. A full SDK takes most of a core for 5,000 tokens/s."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

from benchmarks.llm.plan import Plan

TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}
RESULT = {"role": "tool", "tool_call_id": "1", "content": "found"}


class Refused(Exception):
    """A status other than 200."""

    def __init__(self, status: int, wait: float) -> None:
        super().__init__(status)
        self.wait = wait


async def stream(plan: Plan, user: str, messages: list[dict[str, Any]]) -> AsyncIterator[tuple[int, str | None]]:
    """One reply: (time of sending in ns, why it ends or None) for each token."""
    body = json.dumps({"model": "demo", "messages": messages, "tools": [TOOL], "stream": True, "user": user}).encode()
    lines = ["POST /v1/chat/completions HTTP/1.1", "host: localhost", "authorization: Bearer x"]
    lines += [f"{name}: {value}" for name, value in plan.headers().items()]
    head = "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", plan.port)
    try:
        writer.write(head + body)
        await _begin(reader)
        while True:
            # An event and the frame of its chunk, in one read.
            block = await reader.readuntil(b"\n\n")
            text = block[block.index(b"data: ") + 6 :]
            if text.startswith(b"[DONE]"):
                return
            chunk = json.loads(text)
            yield chunk["sent"], chunk["choices"][0]["finish_reason"]
    finally:
        writer.transport.abort()


async def _begin(reader: asyncio.StreamReader) -> None:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
    status = int(first.split()[1])
    wait = next((float(line[12:]) for line in lines if line.startswith(b"retry-after:")), 1.0)
    if status != 200:
        raise Refused(status, wait)


def delay(sent: int) -> int:
    """Microseconds since a token was sent."""
    return min(max(0, (time.monotonic_ns() - sent) // 1000), (1 << 32) - 1)
