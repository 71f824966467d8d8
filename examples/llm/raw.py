"""The endpoint on a bare asyncio protocol: as little as possible between the model's tokens and the sockets.

For load: 10,000 streams of 13 tokens a second are 133,000 writes a second, more than a web framework in Python does. All
streams share one timer, that looks once a millisecond which tokens are due.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from typing import cast

from .replies import STALL, Model, Reply, failure

TICK = 0.001
REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 429: "Too Many Requests", 500: "Error"}


class Ticker:
    """Calls connections when their next step is due, to the millisecond."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._due: dict[int, list[Connection]] = defaultdict(list)
        self._at = 0  # the tick that has been done
        self._waiting = 0
        self._running = False
        self.late: Counter[int] = Counter()  # ticks by which steps were late -> how many steps

    def late_p99_ms(self) -> float:
        """By how much the server is behind its plan: all but 1 % of the steps were less late."""
        left = 0.99 * self.late.total()
        for ticks in sorted(self.late):
            left -= self.late[ticks]
            if left <= 0:
                return ticks * TICK * 1000
        return 0.0

    def add(self, when: float, connection: Connection) -> None:
        """Call connection.step() at the loop's time `when`."""
        if not self._running:
            self._running = True
            self._at = int(self._loop.time() / TICK)
            self._loop.call_later(TICK, self._tick)
        self._due[max(int(when / TICK), self._at + 1)].append(connection)
        self._waiting += 1

    def _tick(self) -> None:
        now = int(self._loop.time() / TICK)
        while self._at < now:
            self._at += 1
            due = self._due.pop(self._at, None)
            if due is None:
                continue
            self.late[int(time.monotonic() / TICK) - self._at] += len(due)
            self._waiting -= len(due)
            for connection in due:
                connection.step()
        if self._waiting:
            self._loop.call_later(TICK, self._tick)
        else:
            self._running = False


class Connection(asyncio.Protocol):
    """One connection; HTTP/1.1 with Content-Length in and chunks out, one request at a time."""

    def __init__(self, model: Model, ticker: Ticker) -> None:
        self._model = model
        self._ticker = ticker
        self._loop = asyncio.get_running_loop()
        self._inbox = bytearray()
        self._reply: Reply | None = None
        self._number = 0
        self._begin = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass

    def connection_lost(self, exc: Exception | None) -> None:
        self._reply = None

    def data_received(self, data: bytes) -> None:
        self._inbox += data
        self._take()

    def _take(self) -> None:
        """Answer the next request, if it is there as a whole and the last one has been answered."""
        end = self._inbox.find(b"\r\n\r\n")
        if self._reply is not None or end < 0:
            return
        first, *lines = bytes(self._inbox[:end]).decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        size = end + 4 + int(headers.get("content-length", 0))
        if len(self._inbox) < size:
            return
        body = bytes(self._inbox[end + 4 : size])
        del self._inbox[:size]
        if first.startswith("POST /v1/chat/completions "):
            self._answer(self._model.answer(body, headers))
        else:
            self._answer(failure(404, "there is only POST /v1/chat/completions"))

    def _answer(self, reply: Reply) -> None:
        lines = [f"HTTP/1.1 {reply.status} {REASONS[reply.status]}"]
        lines += [f"{name}: {value}" for name, value in reply.headers.items()]
        lines.append("transfer-encoding: chunked" if reply.steps else f"content-length: {len(reply.body)}")
        head = "\r\n".join([*lines, "", ""]).encode()
        self._transport.write(head + reply.body)
        if reply.steps:
            self._reply, self._number, self._begin = reply, 0, self._loop.time()
            self.step()
        else:
            self._take()

    def step(self) -> None:
        """Send what is due, in one write."""
        reply = self._reply
        if reply is None or self._transport.is_closing():
            return
        burst: list[bytes] = []
        for make in reply.steps[self._number : self._number + reply.burst]:
            data = make()
            if data is None:
                self._transport.abort()
                return
            if data is STALL:
                return
            burst.append(data)
        self._number += len(burst)
        last = self._number == len(reply.steps)
        text = b"".join(burst)
        self._transport.write(b"%x\r\n%b\r\n%b" % (len(text), text, b"0\r\n\r\n" if last else b""))
        if last:
            self._reply = None
            self._take()
        else:
            self._ticker.add(self._begin + reply.due(self._number), self)
