"""UDP as ports. What nobody takes is dropped, as the network does."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from typing import Any, Self

from transom._loop_thread import LoopThread
from transom._port import (
    ActiveMode,
    Datagram,
    Port,
    PortOp,
    Steps,
    _check_active,
    as_bytes,
    check_address,
    opening,
    wait_for,
    wake_all,
)
from transom._port_core import Core, reason_of

QUEUE = 1024  # datagrams that are kept
QUEUE_BYTES = 1 << 20
OVERHEAD = 200  # bytes that keeping a datagram takes besides
MAX_DATAGRAM = 65_507


def open_udp(
    port: int = 0,
    *,
    host: str = "127.0.0.1",
    peer: tuple[str, int] | None = None,
    active: ActiveMode = False,
    loop: int = 0,
) -> PortOp[Udp]:
    """Open a UDP socket; it belongs to the calling process.

    Args:
        port: To receive at; 0: any that is free, see ``Udp.address``.
        host: Address to receive at. Only this machine reaches the default.
        peer: Send to, and receive from, this address only.
        active: See ``Port.set_active``: Datagram messages. True may fill the mailbox; a passive port keeps 1,024
            datagrams or 1 MiB and drops the rest.
        loop: Number of the event loop.

    Returns:
        An operation whose result is a Udp.

    Raises:
        PortError: When used: it failed.
        NotInProcess: When used: the caller is no process.
        ValueError: No host, or no such port number.

    Example:
        >>> import transom
        >>> from transom import ports
        >>> async def main():
        ...     async with await ports.open_udp() as here, await ports.open_udp() as there:
        ...         await there.send(b"ping", here.address)
        ...         data, sender = await here.recv(timeout=5)
        ...         return data, sender == there.address
        >>> transom.run(main)
        (b'ping', True)

    Source: gen_udp:open/2.
    """
    _check_active(active)
    check_address("open_udp()", host, port, 0)
    if peer is not None:
        check_address("open_udp(): peer", *peer, 1)

    def make(thread: LoopThread) -> UdpCore:
        core = UdpCore(thread, f"UDP port at {host}:{port}")
        core.target = (host, port, peer, active)
        return core

    return opening(make, loop, None)


class Udp(Port):
    """A UDP socket.

    Example:
        >>> import transom
        >>> from transom import ports
        >>> async def main():
        ...     async with await ports.open_udp(active="once") as port:
        ...         await port.send(b"to myself", port.address)
        ...         return (await transom.receive(ports.Datagram)).data
        >>> transom.run(main)
        b'to myself'

    Source: gen_udp.
    """

    __slots__ = ()

    @property
    def address(self) -> tuple[str, int]:
        """Where it receives."""
        return self._core.address  # type: ignore[no-any-return]

    def send(self, data: bytes | bytearray | memoryview, to: tuple[str, int] | None = None) -> PortOp[None]:
        """Send a datagram. It may be lost, also here: when 1 MiB have not left yet.

        Args:
            data: 1 to 65,507 bytes. An empty datagram is received, but asyncio's loops send none.
            to: Address, numeric: ``("127.0.0.1", 4000)``; None: the peer.

        Raises:
            NotOwner: When used: the caller does not own the port.
            PortClosed: When used: it is closed.
            ValueError: Empty or too long, no numeric address of the port's family, or neither an address nor a peer.

        Source: gen_udp:send/4.
        """
        blob = as_bytes(data)
        if not 1 <= len(blob) <= MAX_DATAGRAM:
            raise ValueError(f"send(): {len(blob)} bytes are no datagram; 1 to {MAX_DATAGRAM} are")
        if to is not None:
            _check_to(to)

        def steps(timeout: float | None) -> Steps[None]:
            core = self._mine()
            if (to is None) == (core.target[2] is None):
                raise ValueError("send(): say where to, or open the port with peer=, and not both")
            if to is not None and (":" in to[0]) != (":" in core.address[0]):
                raise ValueError(f"send(): {to[0]} cannot be reached from {core.address[0]}: one is IPv6 and one is not")
            core.given += len(blob) + OVERHEAD
            core.post(core.write, blob, to)
            if core.given - core.passed > QUEUE_BYTES:
                yield core.ask(core.catch_up)

        return PortOp(steps)

    def recv(self, timeout: float | None = None) -> PortOp[tuple[bytes, tuple[str, int]]]:
        """Of a passive port: wait for a datagram.

        Args:
            timeout: Seconds; None: no limit.

        Returns:
            The bytes, and the address they came from.

        Raises:
            NotOwner: When used: the caller does not own the port.
            PortClosed: When used: it is closed.
            TimeoutError: When used: none in time.

        Source: gen_udp:recv/3.
        """

        def steps(timeout: float | None) -> Steps[tuple[bytes, tuple[str, int]]]:
            core = self._mine()
            return (yield core.ask(core.recv, timeout=timeout))  # type: ignore[no-any-return]

        return PortOp(steps, timeout)

    def __enter__(self) -> Self:
        return self

    async def __aenter__(self) -> Self:
        return self


def _check_to(to: Any) -> None:
    """Is it an address one can send to? What is none would end the socket at some loops."""
    match to:
        case (str(host), int(port)) if 1 <= port <= 65_535 and not isinstance(port, bool):
            try:
                socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host.partition("%")[0])
            except (OSError, ValueError):
                raise ValueError(
                    f"send(): {host!r} is no numeric address; look names up first, with socket.getaddrinfo() or peer="
                ) from None
        case _:
            raise ValueError(f"send(): to must be (host, port) with a port from 1 to 65535, not {to!r}")


class UdpCore(Core, asyncio.DatagramProtocol):
    """A UDP socket, on the loop."""

    target: tuple[Any, ...]

    def __init__(self, thread: LoopThread, what: str) -> None:
        self.address: Any = None
        self.transport: Any = None
        self.dropped = 0
        self.given = 0  # bytes sent by the owner; written by the owner alone
        self.passed = 0  # of those the loop has looked at
        self._queue: deque[tuple[bytes, Any]] = deque()
        self._queued = 0
        self._readers: list[asyncio.Future[None]] = []
        self._held: list[tuple[bytes, Any]] = []
        super().__init__(thread, what)

    def _handle(self) -> Port:
        return Udp(self)

    async def open(self) -> None:
        host, port, peer, active = self.target
        try:
            await self.thread.loop.create_datagram_endpoint(lambda: self, (host, port), remote_addr=peer)
        except BaseException:
            if self.transport is not None:  # as in _port_socket.py, never_mind
                self.transport.abort()
                self.connection_lost(None)
            raise
        self.set_active(active)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.opened()
        self.address = transport.get_extra_info("sockname")[:2]
        self.what = f"UDP port at {self.address[0]}:{self.address[1]}"
        if self.reason is not None:
            transport.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        self.transport = None
        self.fail("closed" if exc is None else reason_of(exc))
        self.gone()

    def error_received(self, exc: Exception) -> None:
        """Such as: nobody receives there. UDP promises nothing."""
        self.dropped += 1

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.received += len(data)
        self.received_count += 1
        self.piece()
        if len(self._queue) >= QUEUE or self._queued + len(data) > QUEUE_BYTES:
            self.dropped += 1
            return
        self._queue.append((data, addr[:2]))
        self._queued += len(data)
        self.pump()

    def _take(self) -> tuple[bytes, Any]:
        data, address = self._queue.popleft()
        self._queued -= len(data)
        return data, address

    def step(self) -> bool:
        if not self._queue or not self.tell(Datagram(self.port, *self._queue[0])):
            return False
        self._take()
        return True

    def exhausted(self) -> bool:
        return not self._queue

    def wake(self) -> None:
        wake_all(self._readers)

    async def recv(self) -> tuple[bytes, Any]:
        if self.active:
            raise RuntimeError(f"{self.what} is active ({self.active!r}): its data come as messages")
        await wait_for(lambda: self._is_ready(), self._readers)
        if not self._queue:
            raise self.closed_error()
        return self._take()

    def _is_ready(self) -> bool:
        return (bool(self._queue) and not self.hung) or self.reason is not None or self.transport is None

    def write(self, data: bytes, to: Any) -> None:
        self.passed += len(data) + OVERHEAD
        self.piece()
        if not self.hung:
            self._put(data, to)
        elif len(self._held) < QUEUE:
            self._held.append((data, to))
        else:
            self.dropped += 1

    def catch_up(self) -> None:
        """The owner is faster than the loop, and waits until its turn has come."""

    def _put(self, data: bytes, to: Any) -> None:
        if self.transport is None or self.transport.get_write_buffer_size() > QUEUE_BYTES:
            self.dropped += 1
        else:
            try:
                self.transport.sendto(data, to)
            except (OSError, ValueError):  # such as an interface that there is not, after a %
                self.dropped += 1
                return
            self.sent += len(data)
            self.sent_count += 1

    def held_up(self) -> None:
        held, self._held = self._held, []
        for data, to in held:
            self._put(data, to)

    def release(self, linger: float) -> None:
        self._queue.clear()
        if self.transport is None:
            self.gone()
        elif linger > 0:
            self.transport.close()
        else:
            self.transport.abort()

    def info(self) -> dict[str, Any]:
        return super().info() | {"local": self.address, "peer": self.target[2], "dropped": self.dropped}


__all__ = ["Udp", "open_udp"]
