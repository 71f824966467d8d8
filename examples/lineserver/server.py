"""The tree of the line server, and its agents."""

from __future__ import annotations

import json
from typing import Any

import transom
from transom import ports
from transom.ports import Accepted, Closed, Data, Eof, Stream

MAX_LINE = 64 * 1024  # bytes; who sends a longer one is cut off


class Ledger(transom.Agent):
    """Counts things, for all connections."""

    def init(self) -> None:
        self.counts: dict[str, int] = {}

    def add(self, what: str, count: int = 1) -> int:
        self.counts[what] = self.counts.get(what, 0) + count
        return self.counts[what]

    def total(self, what: str) -> int:
        return self.counts.get(what, 0)


class Connection(transom.Agent):
    """One client: a line is a request. It ends with the connection, and the connection ends with it."""

    methods = ("add", "total")

    async def handle_info(self, message: Any) -> None:
        match message:
            case Data(Stream() as port, line):
                await port.send(json.dumps(await self._answer(line)).encode() + b"\n")
                await port.set_active("once")  # the next one: a client cannot be faster than we are
            case Eof(port):
                await port.close()
                raise transom.Stop("normal")
            case Closed():
                raise transom.Stop("normal")

    async def _answer(self, line: bytes) -> dict[str, Any]:
        number = None
        try:
            request = json.loads(line)
            number = request.get("id")
            if request["method"] not in self.methods:
                raise ValueError(f"no method {request['method']!r}; there are {', '.join(self.methods)}")
            method = getattr(Ledger.at("ledger"), request["method"])
            return {"id": number, "result": await method(*request.get("params", []))}
        except transom.CallError as error:  # the ledger crashed over it, and is being restarted
            return {"id": number, "error": f"failed: {error.reason!r}"}
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            return {"id": number, "error": f"bad request: {error}"}


class Connections(transom.DynamicSupervisor):
    """Starts a Connection for each client."""

    max_children = 10_000


class Door(transom.Agent):
    """Owns the listener. When it crashes, the listener closes and its successor opens another."""

    async def init(self, port: int) -> None:
        self.listener = await ports.listen(port, packet="line", max_frame=MAX_LINE, half_close=True, active="once")

    def address(self) -> Any:
        return self.listener.address

    async def handle_info(self, message: Any) -> None:
        match message:
            case Accepted(listener, client):
                await self._serve(client)
                await listener.set_active("once")
            case Closed(port, reason) if port is self.listener:
                raise RuntimeError(f"the listener closed: {reason}")

    async def _serve(self, client: Any) -> None:
        try:
            connection = await Connections.at("connections").start_child(
                Connection.child().options(restart="temporary")
            )
        except transom.TooManyChildren:
            await client.close()
            return
        try:
            await client.set_active("once")
            await client.controlling_process(connection)  # one that has gone meanwhile tells the connection
        except ports.PortClosed:  # somebody has ended it, and nobody is told
            transom.exit(connection, "shutdown")


class Desk(transom.Supervisor):
    """The whole of it."""

    port = 0

    def children(self) -> list[Any]:
        return [
            Ledger.child().options(name="ledger"),
            Connections.child().options(name="connections"),
            Door.child(self.port).options(name="door"),
        ]
