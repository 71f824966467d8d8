"""TCP and Unix-domain sockets as ports: connect, listen, accept.

Connections are transports of the loop. A listener accepts only while somebody wants a connection: what nobody waits for
stays in the queue of the operating system (backlog), which is the back-pressure of connecting.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl as _ssl
import stat
from collections import deque
from typing import Any, Self

from transom import _core
from transom._loop_thread import LoopThread
from transom._port import Accepted, ActiveMode, Port, PortOp, Steps, _check_active, check_address, check_path, opening
from transom._port_core import Core
from transom._port_frames import Packet
from transom._port_stream import MAX_FRAME, Stream, StreamCore, check_framing

HANDSHAKE_SECONDS = 15.0
HANDSHAKES = 64  # under way at a time, at one listener
ACCEPT_AGAIN = 0.2  # seconds, after the system had no descriptor left

Address = tuple[str, int] | str


def connect(
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    path: str | os.PathLike[str] | None = None,
    timeout: float | None = 30.0,
    active: ActiveMode = False,
    packet: Packet = "raw",
    max_frame: int = MAX_FRAME,
    half_close: bool = False,
    nodelay: bool = True,
    keepalive: bool = False,
    local: tuple[str, int] | None = None,
    ssl: _ssl.SSLContext | None = None,
    server_hostname: str | None = None,
    loop: int = 0,
) -> PortOp[Stream]:
    """Connect by TCP, or to a Unix-domain socket; the connection belongs to the calling process.

    Args:
        host: Name or address.
        port: 1 to 65,535.
        path: Of a Unix-domain socket; then host and port do not count.
        timeout: Seconds it may take, with the look-up of the name and the handshake; None: no limit.
        active: How data are told, see ``Port.set_active``. Default: passive, ask with ``recv``.
        packet: How data are cut: ``"raw"`` as they come, ``"line"`` at newlines (kept), or 1, 2 or 4: each frame has its
            length in front in so many bytes, big-endian, added and taken away here.
        max_frame: Bytes a frame or a line may have, at most 2**30. A longer one closes the connection (EMSGSIZE).
        half_close: When the other side has sent its last, tell Eof and stay open for sending, until ``close``. Else the
            port closes when all has been received. Not with TLS.
        nodelay: TCP_NODELAY.
        keepalive: SO_KEEPALIVE.
        local: Address to connect from.
        ssl: For TLS: a context, such as ``ssl.create_default_context()``.
        server_hostname: What the certificate must be for; host by default.
        loop: Number of the event loop, see ``run(main, io_threads=)``.

    Returns:
        An operation whose result is a Stream.

    Raises:
        PortError: When used: it failed; errno, host, port and path are in the text.
        TimeoutError: When used: not in time.
        NotInProcess: When used: the caller is no process.
        ValueError: An option is wrong, such as a port out of range.

    Example:
        >>> import transom
        >>> from transom import ports
        >>> async def client(address):
        ...     async with await ports.connect(*address, packet=2) as conn:
        ...         await conn.send(b"hello")
        >>> async def main():
        ...     async with await ports.listen(packet=2) as listener:
        ...         transom.spawn(client, listener.address)
        ...         async with await listener.accept() as conn:
        ...             return await conn.recv()
        >>> transom.run(main)
        b'hello'

    Source: gen_tcp:connect/4.
    """
    _check_active(active)
    check_framing(packet, max_frame)
    if path is None:
        check_address("connect()", host, port, 1)
    else:
        path = os.fspath(path)
    options = _Options(packet, max_frame, half_close, nodelay, keepalive)
    if ssl is not None and half_close:
        raise ValueError("connect(): TLS has no half close")

    def make(thread: LoopThread) -> ConnectionCore:
        core = ConnectionCore(thread, f"connection to {path or f'{host}:{port}'}", options, ssl)
        core.target = (host, port, path, local, server_hostname)
        core.set_active_later = active
        return core

    return opening(make, loop, timeout)


def listen(
    port: int = 0,
    *,
    host: str = "127.0.0.1",
    path: str | os.PathLike[str] | None = None,
    backlog: int = 128,
    active: ActiveMode = False,
    packet: Packet = "raw",
    max_frame: int = MAX_FRAME,
    half_close: bool = False,
    nodelay: bool = True,
    keepalive: bool = False,
    reuse_port: bool = False,
    ssl: _ssl.SSLContext | None = None,
    loop: int = 0,
) -> PortOp[Listener]:
    """Listen for connections by TCP or on a Unix-domain socket; the listener belongs to the calling process.

    Args:
        port: 0: any that is free, see ``Listener.address``.
        host: Address to listen at. Only this machine reaches the default; ``"0.0.0.0"`` or ``"::"`` is for everybody.
        path: Of a Unix-domain socket; then host and port do not count. Only this user may connect (mode 0600). It is
            removed when the port closes; one that nobody listens at any more is replaced.
        backlog: How many connections the operating system keeps until they are accepted.
        active: Of the listener: False: ``accept`` takes connections; else Accepted messages bring them.
        packet: Of the connections, see ``connect``, like the rest.
        max_frame: As for ``connect``.
        half_close: As for ``connect``.
        nodelay: As for ``connect``.
        keepalive: As for ``connect``.
        reuse_port: Several may listen at one port (SO_REUSEPORT).
        ssl: For TLS: a context with the certificate. A connection is accepted when its handshake is done.
        loop: Number of the event loop; that of the connections, too.

    Returns:
        An operation whose result is a Listener. Connections are passive; ``set_active`` changes that.

    Raises:
        PortError: When used: it failed, such as EADDRINUSE.
        NotInProcess: When used: the caller is no process.
        ValueError: An option is wrong, such as a port out of range, or no host.

    Example:
        >>> import transom
        >>> from transom import ports
        >>> async def main():
        ...     async with await ports.listen() as listener:
        ...         return listener.address[0]
        >>> transom.run(main)
        '127.0.0.1'

    Source: gen_tcp:listen/2.
    """
    _check_active(active)
    check_framing(packet, max_frame)
    if path is None:
        check_address("listen()", host, port, 0)
    else:
        path = check_path("listen()", path)
    if isinstance(backlog, bool) or not isinstance(backlog, int) or not 0 <= backlog < 1 << 31:
        raise ValueError(f"listen(): backlog must be an int from 0, not {backlog!r}")
    if ssl is not None and half_close:
        raise ValueError("listen(): TLS has no half close")
    options = _Options(packet, max_frame, half_close, nodelay, keepalive)

    def make(thread: LoopThread) -> ListenerCore:
        core = ListenerCore(thread, f"listener at {path or f'{host}:{port}'}", options, ssl)
        core.target = (host, port, path, backlog, reuse_port)
        core.set_active_later = active
        return core

    return opening(make, loop, None)


class Listener(Port):
    """A port that takes connections.

    Example:
        >>> import transom
        >>> from transom import ports
        >>> async def main():
        ...     async with await ports.listen(active=1) as listener:
        ...         async with await ports.connect(*listener.address):
        ...             match await transom.receive(ports.Accepted):
        ...                 case ports.Accepted(port, connection):
        ...                     return port is listener, connection.owner == transom.current_pid()
        >>> transom.run(main)
        (True, True)

    Source: gen_tcp:listen/2.
    """

    __slots__ = ()

    @property
    def address(self) -> Any:
        """Where it listens: ``(host, port)``, or the path."""
        return self._core.address

    def accept(self, timeout: float | None = None) -> PortOp[Stream]:
        """Wait for a connection, which then belongs to the calling process. Any process may, and many at a time.

        Args:
            timeout: Seconds; None: no limit.

        Raises:
            PortClosed: When used: the listener is closed.
            TimeoutError: When used: none came in time.
            RuntimeError: When used: the listener is active.

        Source: gen_tcp:accept/2.
        """

        def steps(timeout: float | None) -> Steps[Stream]:
            me = _core.current_pid()
            return (yield self._core.ask(self._core.accept, me, timeout=timeout))  # type: ignore[no-any-return]

        return PortOp(steps, timeout)

    def __enter__(self) -> Self:
        return self

    async def __aenter__(self) -> Self:
        return self


class _Options:
    """Of connections."""

    def __init__(self, packet: Packet, max_frame: int, half_close: bool, nodelay: bool, keepalive: bool) -> None:
        self.packet: Packet = packet
        self.max_frame, self.half_close = max_frame, half_close
        self.nodelay, self.keepalive = bool(nodelay), bool(keepalive)


class ConnectionCore(StreamCore):
    """A connection, on the loop."""

    target: tuple[Any, ...]
    set_active_later: ActiveMode = False

    def __init__(self, thread: LoopThread, what: str, options: _Options, ssl: _ssl.SSLContext | None) -> None:
        super().__init__(thread, what, options.packet, options.max_frame, options.half_close)
        self.options = options
        self.ssl = ssl
        self.is_tls = ssl is not None

    async def open(self) -> None:
        try:
            await self._connect()
        except BaseException:
            self.never_mind()
            raise
        self.set_active(self.set_active_later)

    def never_mind(self) -> None:
        """Opening was broken off; the loop does not tell connection_lost then, though it told connection_made."""
        if self.transport is not None:
            self.transport.abort()
            self.connection_lost(None)

    async def _connect(self) -> None:
        host, port, path, local, name = self.target
        loop = self.thread.loop
        if path is not None:
            name = name or (host if self.ssl is not None else None)
            await loop.create_unix_connection(lambda: self, path, ssl=self.ssl, server_hostname=name)
        else:
            await loop.create_connection(lambda: self, host, port, ssl=self.ssl, server_hostname=name, local_addr=local)

    async def take_over(self, sock: socket.socket) -> None:
        """Of a listener: it has been accepted."""
        timeout = HANDSHAKE_SECONDS if self.ssl is not None else None
        await self.thread.loop.connect_accepted_socket(lambda: self, sock, ssl=self.ssl, ssl_handshake_timeout=timeout)

    def connection_made(self, transport: Any) -> None:
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family != socket.AF_UNIX:
            with contextlib.suppress(OSError):  # it may be closed already; that is told in its turn
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, self.options.nodelay)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, self.options.keepalive)
        self.local = transport.get_extra_info("sockname")
        self.peer = transport.get_extra_info("peername")
        super().connection_made(transport)

    local: Any = None
    peer: Any = None

    def info(self) -> dict[str, Any]:
        return super().info() | {"local": self.local, "peer": self.peer}


class ListenerCore(Core):
    """A listener, on the loop."""

    target: tuple[Any, ...]
    set_active_later: ActiveMode = False

    def __init__(self, thread: LoopThread, what: str, options: _Options, ssl: _ssl.SSLContext | None) -> None:
        self.options = options
        self.ssl = ssl
        self.address: Any = None
        self._socket: socket.socket | None = None
        self._path: tuple[str, int] | None = None  # with its inode
        self._watching = False
        self._acceptors: deque[tuple[asyncio.Future[ConnectionCore], _core.Pid]] = deque()
        self._handshakes: dict[asyncio.Task[None], ConnectionCore] = {}
        self._ready: deque[ConnectionCore] = deque()  # nobody has them yet
        super().__init__(thread, what)

    def _handle(self) -> Port:
        return Listener(self)

    async def open(self) -> None:
        host, port, path, backlog, reuse_port = self.target
        if path is not None:
            self._socket = _unix_socket(path)
            self._path = (path, os.stat(path).st_ino)
            self.address = path
        else:
            loop = self.thread.loop
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            family, _, _, _, address = found[0]
            self._socket = socket.socket(family, socket.SOCK_STREAM)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if reuse_port:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            self._socket.bind(address)
            self.address = self._socket.getsockname()[:2]
            self.what = f"listener at {self.address[0]}:{self.address[1]}"
        self._socket.setblocking(False)
        self._socket.listen(backlog)
        self.opened()
        self.set_active(self.set_active_later)

    # -- who wants connections

    async def accept(self, owner: _core.Pid) -> Port:
        if self.reason is not None:
            raise self.closed_error()
        if self.active:
            raise RuntimeError(f"{self.what} is active ({self.active!r}): connections come as messages")
        future: asyncio.Future[ConnectionCore] = self.thread.loop.create_future()
        self._acceptors.append((future, owner))
        try:
            self.pump()
            core = await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                future.result().shut(("ECANCELED", "its acceptor waited no longer"))
            raise
        return core.port

    def step(self) -> bool:
        return bool(self._ready) and self._tell_accepted(self._ready[0])

    def _tell_accepted(self, core: ConnectionCore) -> bool:
        assert self.owner is not None
        if core.warden is None:
            core.adopt(self.owner)
        if not self.tell(Accepted(self.port, core.port)):
            return False
        self._ready.popleft()
        return True

    def give(self, old: _core.Pid | None, new: _core.Pid, messages: list[Any]) -> None:
        if self.owner == old:
            for message in (*messages, *self._first):
                if isinstance(message, Accepted):
                    message.connection._core.give(old, new, [])
            for core in self._ready:
                if core.warden is not None:
                    core.give(old, new, [])
        super().give(old, new, messages)

    def wake(self) -> None:
        while self._acceptors and (self._ready or self.reason is not None) and not self.hung:
            future, owner = self._acceptors.popleft()
            if future.done():
                continue
            if self.reason is not None:
                future.set_exception(self.closed_error())
                continue
            core = self._ready.popleft()
            core.adopt(owner)
            future.set_result(core)

    def flow(self) -> None:
        if self._socket is None or self.reason is not None:
            return
        self._acceptors = deque(entry for entry in self._acceptors if not entry[0].done())
        wanted = (len(self._acceptors) or self.active) and not self.hung and self._retry is None
        wants = bool(wanted) and len(self._ready) < HANDSHAKES and len(self._handshakes) < HANDSHAKES
        if wants and not self._watching:
            self.thread.loop.add_reader(self._socket, self._accept)
        elif self._watching and not wants:
            self.thread.loop.remove_reader(self._socket)
        self._watching = wants

    def _accept(self) -> None:
        """The system has a connection."""
        assert self._socket is not None
        self.piece()
        if self.hung:
            self.flow()
            return
        try:
            sock, _ = self._socket.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError:  # no descriptor is left: the connection waits where it is
            if self._retry is None:
                self._retry = self.thread.loop.call_later(ACCEPT_AGAIN, self._again)
            self.flow()
            return
        self.received_count += 1
        core = ConnectionCore(self.thread, f"connection to {self.what}", self.options, self.ssl)
        task = self.thread.loop.create_task(self._greet(core, sock))
        if not task.done():
            self._handshakes[task] = core
            task.add_done_callback(self._greeted)
        self.flow()

    async def _greet(self, core: ConnectionCore, sock: socket.socket) -> None:
        try:
            await core.take_over(sock)
        except (
            OSError,
            asyncio.CancelledError,
        ):  # it went, or does not speak TLS: nobody has waited for it in particular
            sock.close()
            core.never_mind()
            core.shut(("ECONNABORTED", "its handshake failed"))
            return
        if self.reason is not None:
            core.shut(self.reason)
            return
        core.what = f"connection from {_shown(core.peer)} at {_shown(self.address)}"
        self._ready.append(core)

    def _greeted(self, task: asyncio.Task[None]) -> None:
        del self._handshakes[task]
        if not task.cancelled():
            task.result()
        self.pump()

    # -- the end

    def release(self, linger: float) -> None:
        if self._watching and self._socket is not None:
            self.thread.loop.remove_reader(self._socket)
            self._watching = False
        for task in list(self._handshakes):
            task.cancel()
        while self._ready:
            self._ready.popleft().shut(("ECONNABORTED", "its listener closed"))
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._path is not None:
            path, inode = self._path
            with contextlib.suppress(OSError):  # somebody removed it
                if os.stat(path).st_ino == inode:
                    os.unlink(path)
            self._path = None
        self.gone()

    def info(self) -> dict[str, Any]:
        return super().info() | {
            "local": self.address,
            "accepting": len(self._acceptors),
            "accepted": self.received_count,
        }


def _shown(address: Any) -> str:
    if isinstance(address, tuple):
        return f"{address[0]}:{address[1]}"
    return str(address) or "a Unix-domain socket"


def _unix_socket(path: str) -> socket.socket:
    """A bound socket that only this user can connect to; one that nobody listens at is replaced."""
    if _is_stale(path):
        os.unlink(path)
    sock = socket.socket(socket.AF_UNIX)
    try:
        os.fchmod(sock.fileno(), 0o600)  # on Linux the file gets it from here, so it is never open to others
        sock.bind(path)
        os.chmod(path, 0o600)
    except BaseException:
        sock.close()
        raise
    return sock


def _is_stale(path: str) -> bool:
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return False
    except FileNotFoundError:
        return False
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return False


__all__ = ["Listener", "connect", "listen"]
