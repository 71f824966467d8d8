"""Ports that are streams of bytes: connections, programs, files. Both halves: Stream, and StreamCore on the loop.

What moves the bytes is a transport of asyncio, or something that behaves like one (_port_program.py, _port_file.py).
Back-pressure   Incoming: a passive port keeps BUFFER bytes, or what one frame takes, and stops reading then. Outgoing: a
                send waits while more than HIGH bytes have not left.
"""

from __future__ import annotations

import asyncio
import errno
from typing import Any, Self

from transom._errors import PortClosed
from transom._port import Data, Eof, Port, PortOp, Steps, as_bytes, wait_for, wake_all
from transom._port_core import LINGER, Core, reason_of
from transom._port_frames import PACKETS, FrameError, Frames, Packet

BUFFER = 1 << 16
HIGH = 1 << 16
MAX_FRAME = 1 << 20
MAX_MAX_FRAME = 1 << 30


class Stream(Port):
    """A port that is a stream of bytes: a connection, a program or a file.

    Example:
        >>> import transom
        >>> from transom import ports
        >>> async def main():
        ...     async with await ports.open_program("cat", packet="line") as cat:
        ...         await cat.send(b"one\\ntwo\\n")
        ...         return [await cat.recv(), await cat.recv()]
        >>> transom.run(main)
        [b'one\\n', b'two\\n']

    Source: gen_tcp.
    """

    __slots__ = ()

    def send(self, data: bytes | bytearray | memoryview, timeout: float | None = None) -> PortOp[None]:
        """Send bytes, as one frame where frames have a length in front.

        Done when they are on their way; waits while more than 64 KiB have not left. An error of the connection shows in
        a later operation or in Closed.

        Args:
            data: Bytes. A newline is not added.
            timeout: Seconds it may wait for room; None: no limit. The data are sent all the same.

        Raises:
            NotOwner: When used: the caller does not own the port.
            PortClosed: When used: it is closed or was shut down; a program has closed its input; a file is read.
            TimeoutError: When used: still no room.
            ValueError: When used: too long for the length in front of a frame.

        Source: gen_tcp:send/2, with send_timeout.
        """
        blob = as_bytes(data)

        def steps(timeout: float | None) -> Steps[None]:
            core = self._mine()
            frame = core.frames.mark(blob)
            if core.no_more_out is not None or (core.ending is not None and core.transport is None):
                raise core.out_error()
            core.given += len(frame)
            core.post(core.write, frame)
            if core.full or core.given - core.sent > HIGH or core.is_behind():
                yield core.ask(core.drain, timeout=timeout)

        return PortOp(steps, timeout)

    def recv(self, count: int = 0, timeout: float | None = None) -> PortOp[bytes]:
        """Of a passive port: wait for the next frame, or for bytes.

        Args:
            count: Of raw bytes: exactly so many, at most ``max_frame``; 0: what there is, at least one. With frames: 0.
            timeout: Seconds; None: no limit. Nothing is lost when the time is up.

        Returns:
            The bytes: of ``"line"`` with the newline, but for a last line without one.

        Raises:
            NotOwner: When used: the caller does not own the port.
            PortClosed: When used: nothing more will come; ``reason`` tells why.
            TimeoutError: When used: not in time.
            RuntimeError: When used: it is active, or another task is in ``recv``.

        Source: gen_tcp:recv/3.
        """

        def steps(timeout: float | None) -> Steps[bytes]:
            core = self._mine()
            _check_count(core, count)
            return (yield core.ask(core.recv, count, timeout=timeout))  # type: ignore[no-any-return]

        return PortOp(steps, timeout)

    def shutdown(self) -> PortOp[None]:
        """Send no more: the other side sees the end, and may go on sending. What was sent leaves first.

        Raises:
            NotOwner: When used: the caller does not own the port.
            PortClosed: When used: it is closed.
            PortError: When used: this kind of port cannot (TLS).

        Source: gen_tcp:shutdown(Socket, write).
        """

        def steps(timeout: float | None) -> Steps[None]:
            core = self._mine()
            yield core.ask(core.shutdown)

        return PortOp(steps)

    def flush(self, timeout: float | None = None) -> PortOp[None]:
        """Wait until all that was sent has been handed to the operating system.

        Raises:
            NotOwner: When used: the caller does not own the port.
            PortClosed: When used: it is closed, or closes meanwhile, or a program has closed its input; ``reason`` tells
                the error.
            TimeoutError: When used: not in time.

        Source: file:sync/1, without the disk.
        """

        def steps(timeout: float | None) -> Steps[None]:
            core = self._mine()
            yield core.ask(core.flush, timeout=timeout)

        return PortOp(steps, timeout)

    def __enter__(self) -> Self:
        return self

    async def __aenter__(self) -> Self:
        return self

    def __aiter__(self) -> Self:
        """What ``recv`` gives, until the end."""
        return self

    async def __anext__(self) -> bytes:
        try:
            return await self.recv()
        except PortClosed as error:
            if error.reason != "closed":
                raise
            raise StopAsyncIteration from None


def _check_count(core: Any, count: Any) -> None:
    if type(count) is not int or not 0 <= count <= core.max_frame:
        raise ValueError(f"recv(): count must be 0 to max_frame={core.max_frame}, not {count!r}")
    if count and core.frames.packet != "raw":
        raise ValueError(f"recv(): with packet={core.frames.packet!r} it gives the next frame; count must be 0")


def check_framing(packet: Any, max_frame: Any) -> None:
    """Are these framing options?"""
    if packet not in PACKETS or isinstance(packet, bool):
        raise ValueError(f"packet must be 'raw', 'line', 1, 2 or 4, not {packet!r}")
    if type(max_frame) is not int or not 1 <= max_frame <= MAX_MAX_FRAME:
        raise ValueError(f"max_frame must be 1 to {MAX_MAX_FRAME} bytes, not {max_frame!r}")


class StreamCore(Core, asyncio.Protocol):
    """The loop's half."""

    def __init__(self, thread: Any, what: str, packet: Packet, max_frame: int, half_close: bool = False) -> None:
        self.max_frame = max_frame
        self.half_close = half_close
        self.frames = Frames(packet, max_frame)
        self.transport: Any = None
        self.given = 0  # bytes sent by the owner; written by the owner alone
        self.full = False  # the transport has as much as it wants
        self.no_more_out: tuple[str, str] | None = None  # why nothing more can be sent
        self.is_tls = False
        self.eof = False  # half_close: the other side sends no more
        self._reading = True
        self._eof_told = False
        self._wanted: int | None = None  # of the recv that waits
        self._readers: list[asyncio.Future[None]] = []
        self._writers: list[asyncio.Future[None]] = []
        self._cutter: asyncio.TimerHandle | None = None  # what has not left by then never will
        self._held: list[bytes | None] = []  # writes, while it hangs; None: shutdown
        super().__init__(thread, what)

    def _handle(self) -> Port:
        return Stream(self)

    # -- from the transport

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.opened()
        transport.set_write_buffer_limits(high=HIGH)
        if self.reason is not None:
            self.release(0)
            return
        self.flow()

    def data_received(self, data: bytes) -> None:
        if self.reason is not None:
            return
        self.received += len(data)
        self.received_count += 1
        self.piece()
        self.frames.feed(data)
        self.pump()

    def eof_received(self) -> bool:
        self.eof = self.half_close
        self.fail("closed")
        return self.reason is None and not self.is_tls  # True: stay open

    def connection_lost(self, exc: BaseException | None) -> None:
        self.transport = None
        if self._cutter is not None:
            self._cutter.cancel()
        if self.ending in (None, "closed") and exc is not None:
            self.ending = reason_of(exc)
        self.eof = False
        self.fail("closed")
        self.gone()
        wake_all(self._writers)

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False
        wake_all(self._writers)

    # -- incoming

    def flow(self) -> None:
        if self.transport is None or self.reason is not None:
            return
        limit = BUFFER
        if self.active or self._wanted is not None:
            limit = max(limit, self.frames.missing(self._wanted or 0))
        wants = not self.hung and self._retry is None and self.ending is None and self.frames.size < limit
        if wants != self._reading:
            self._reading = wants
            if wants:
                self.transport.resume_reading()
            else:
                self.transport.pause_reading()

    def _take(self, count: int) -> bytes | None:
        try:
            return self.frames.take(count, self.ending is not None)
        except FrameError as error:
            self.broken(error)
            return None

    def broken(self, error: FrameError) -> None:
        """The other side broke the rules: nothing more is believed."""
        self.ending = error.args
        self.eof = False
        self.frames = Frames(self.frames.packet, self.max_frame)
        if self.transport is not None:
            self.transport.abort()

    def step(self) -> bool:
        frame = self._take(0)
        if frame is None:
            return self._tell_eof()
        if not self.tell(Data(self.port, frame)):
            self.frames.unfeed(frame)
            return False
        return True

    def _tell_eof(self) -> bool:
        if self.eof and not self._eof_told and self.tell(Eof(self.port)):
            self._eof_told = True
            return True
        return False

    def exhausted(self) -> bool:
        """Half closed it lives on until it is closed."""
        if self.eof and self.transport is not None:
            return False
        return self.frames.size == 0

    def wake(self) -> None:
        wake_all(self._readers)
        if self.reason is not None or self.ending is not None:
            wake_all(self._writers)

    async def recv(self, count: int) -> bytes:
        if self.active:
            raise RuntimeError(f"{self.what} is active ({self.active!r}): its data come as messages")
        if self._wanted is not None:
            raise RuntimeError(f"{self.what}: another task waits in recv()")
        self._wanted = count
        try:
            while True:
                if not self.hung:
                    frame = self._take(count)
                    if frame is not None:
                        return frame
                    if self.ending is not None or self.reason is not None:
                        error = self.closed_error()
                        if self.exhausted():
                            self.shut(self.ending or "closed", LINGER)
                        raise error
                self.flow()
                future = self.thread.loop.create_future()
                self._readers.append(future)
                await future
        finally:
            self._wanted = None
            self.flow()

    # -- outgoing

    def write(self, data: bytes) -> None:
        self.piece()
        if self.hung:
            self._held.append(data)
        elif self.no_more_out is None:
            self._put(data)
        else:
            self.sent += len(data)

    def _put(self, data: bytes) -> None:
        if self.transport is not None and self.reason is None:
            self.transport.write(data)
            self.sent_count += 1
        self.sent += len(data)
        if self._writers:
            wake_all(self._writers)

    def held_up(self) -> None:
        held, self._held = self._held, []
        for data in held:
            if data is not None:
                self._put(data)
            elif self.transport is not None:
                self.transport.write_eof()

    async def drain(self) -> None:
        await wait_for(lambda: self._is_over() or (not self.full and self.given - self.sent <= HIGH), self._writers)
        if self._is_over():
            raise self.closed_error()

    async def flush(self) -> None:
        if self._is_over():
            raise self.closed_error()
        self.transport.set_write_buffer_limits(high=0)
        try:
            await wait_for(lambda: self._is_over() or not (self._held or self._unwritten()), self._writers)
        finally:
            if self.transport is not None:
                self.transport.set_write_buffer_limits(high=HIGH)
        if self._is_over():
            raise self.closed_error()

    def _unwritten(self) -> int:
        return self.transport.get_write_buffer_size()  # type: ignore[no-any-return]

    def _is_over(self) -> bool:
        return self.reason is not None or self.transport is None

    def shutdown(self) -> None:
        if self.transport is None:
            raise self.closed_error()
        if not self.transport.can_write_eof():
            from transom._errors import PortError

            raise PortError(f"{self.what}: TLS has no half close; use close()", ("EOPNOTSUPP", "no half close"))
        if self.no_more_out is not None:
            return
        self.no_more_out = ("ESHUTDOWN", "shutdown() was called")
        if self.hung:
            self._held.append(None)
        else:
            self.transport.write_eof()

    def out_error(self) -> PortClosed:
        """What who sends gets."""
        if self.no_more_out is None:
            return self.closed_error()
        name, text = self.no_more_out
        return PortClosed(f"{self.what}: nothing more can be sent: {text}", self.no_more_out, getattr(errno, name))

    def release(self, linger: float) -> None:
        self.frames = Frames(self.frames.packet, self.max_frame)
        wake_all(self._writers)
        if self.transport is None:
            self.gone()
        elif linger > 0:
            self._cutter = self.thread.loop.call_later(linger, self._cut)
            self.transport.close()
        else:
            self.transport.abort()

    def _cut(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def info(self) -> dict[str, Any]:
        return super().info() | {"unsent": self.given - self.sent, "unread": self.frames.size}
