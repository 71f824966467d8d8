"""Files as ports: the calls that block run on the threads of a loop's pool, one at a time for each file."""

from __future__ import annotations

import asyncio
import os
import stat
from collections import deque
from typing import Any, Literal

from transom._loop_thread import LoopThread
from transom._port import ActiveMode, PortOp, _check_active, opening
from transom._port_frames import Packet
from transom._port_stream import HIGH, MAX_FRAME, Stream, StreamCore, check_framing

CHUNK = 1 << 16
FileMode = Literal["r", "w", "x", "a"]
_FLAGS = {
    "r": os.O_RDONLY,
    "w": os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
    "x": os.O_WRONLY | os.O_CREAT | os.O_EXCL,
    "a": os.O_WRONLY | os.O_CREAT | os.O_APPEND,
}


def open_file(
    path: str | os.PathLike[str],
    mode: FileMode = "r",
    *,
    active: ActiveMode = False,
    packet: Packet = "raw",
    max_frame: int = MAX_FRAME,
    permissions: int = 0o600,
    loop: int = 0,
) -> PortOp[Stream]:
    """Open a regular file; reading and writing hold no scheduler up. It belongs to the calling process.

    A plain ``def`` may as well use ``open()``, which occupies its OS thread meanwhile.

    Args:
        path: Of a regular file.
        mode: ``"r"``: read; ``"w"``: write from the start, what was there is gone; ``"x"``: write a new one; ``"a"``:
            append.
        active: See ``Port.set_active``. At its end a file that is read closes.
        packet: How it is cut, see ``connect``; ``"line"`` streams lines.
        max_frame: As for ``connect``.
        permissions: Of a new file. Default: for this user alone.
        loop: Number of the event loop whose threads do it.

    Returns:
        An operation whose result is a Stream. ``flush`` waits until all is written and tells of errors.

    Raises:
        PortError: When used: it failed, such as ENOENT, or it is no regular file (EINVAL).
        NotInProcess: When used: the caller is no process.

    Example:
        >>> import os, tempfile, transom
        >>> from transom import ports
        >>> async def main(path):
        ...     async with await ports.open_file(path, "w") as file:
        ...         await file.send(b"one\\ntwo\\n")
        ...     async with await ports.open_file(path, packet="line") as file:
        ...         return [line async for line in file]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     transom.run(main, os.path.join(folder, "lines"))
        [b'one\\n', b'two\\n']

    Source: file:open/2.
    """
    _check_active(active)
    check_framing(packet, max_frame)
    if mode not in _FLAGS:
        raise ValueError(f"open_file(): mode must be one of {', '.join(_FLAGS)}, not {mode!r}")
    name = os.fspath(path)

    def make(thread: LoopThread) -> FileCore:
        core = FileCore(thread, f"file {name}", packet, max_frame)
        core.target = (name, mode, permissions, active)
        return core

    return opening(make, loop, None)


class FileCore(StreamCore):
    """A file, on the loop."""

    target: tuple[Any, ...]
    _was_opened = False

    async def open(self) -> None:
        name, mode, permissions, active = self.target
        opening = self.thread.loop.run_in_executor(None, _open, name, mode, permissions)
        opening.add_done_callback(lambda done: self._opened(done, mode))
        await asyncio.shield(opening)
        self._opened(opening, mode)  # in case it was done at once
        self.set_active(active)

    def _opened(self, done: asyncio.Future[int], mode: str) -> None:
        if not self._was_opened and not done.cancelled() and done.exception() is None:
            self._was_opened = True
            if mode == "r":
                self.no_more_out = ("EBADF", "it was opened to be read")
            self.connection_made(_FileTransport(self, done.result(), mode == "r"))


class _FileTransport:
    """Behaves like a transport of asyncio; everything but the two calls runs on the loop."""

    def __init__(self, core: FileCore, fd: int, reads: bool) -> None:
        self._core = core
        self._fd = fd
        self._paused = False
        self._ended = not reads  # at its end, or never read
        self._busy = False  # a call is under way
        self._closing = False
        self._error: BaseException | None = None
        self._todo: deque[bytes] = deque()
        self._size = 0
        self._high = HIGH
        core.thread.loop.call_soon(self._next)

    def _next(self) -> None:
        """Begin the next call, if there is one to make."""
        if self._busy or self._fd < 0:
            return
        if self._error is None and self._todo:
            data = b"".join(self._todo)
            self._todo.clear()
            self._begin(self._wrote, _write, data)
        elif self._closing or self._error is not None:
            fd, self._fd = self._fd, -1
            self._core.thread.loop.run_in_executor(None, os.close, fd).add_done_callback(self._was_closed)
        elif not self._paused and not self._ended:
            self._begin(self._read, os.read, CHUNK)

    def _begin(self, then: Any, call: Any, argument: Any) -> None:
        self._busy = True
        self._core.thread.loop.run_in_executor(None, call, self._fd, argument).add_done_callback(then)

    def _failed(self, done: asyncio.Future[Any]) -> bool:
        self._busy = False
        if done.cancelled() or done.exception() is not None:
            self._error = asyncio.CancelledError() if done.cancelled() else done.exception()
            self._next()
            return True
        return False

    def _read(self, done: asyncio.Future[bytes]) -> None:
        if self._failed(done):
            return
        data = done.result()
        if data:
            self._core.data_received(data)
        else:
            self._ended = True
            self._core.eof_received()
        self._next()

    def _wrote(self, done: asyncio.Future[int]) -> None:
        if self._failed(done):
            return
        self._size -= done.result()
        if self._size <= self._high // 4:
            self._core.resume_writing()
        self._next()

    def _was_closed(self, done: asyncio.Future[None]) -> None:
        error = self._error or (None if done.cancelled() else done.exception())
        self._core.connection_lost(error)

    def write(self, data: bytes) -> None:
        self._todo.append(data)
        self._size += len(data)
        if self._size > self._high:
            self._core.pause_writing()
        self._next()

    def set_write_buffer_limits(self, high: int) -> None:
        self._high = high

    def get_write_buffer_size(self) -> int:
        return self._size

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        """A file has no other side."""

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        self._next()

    def close(self) -> None:
        self._closing = True
        self._next()

    def abort(self) -> None:
        self._todo.clear()
        self.close()


def _open(name: str, mode: str, permissions: int) -> int:
    """On a thread of the pool."""
    fd = os.open(name, _FLAGS[mode] & ~os.O_TRUNC | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY, permissions)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(22, f"{name} is no regular file")
        if mode == "w":
            os.ftruncate(fd, 0)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _write(fd: int, data: bytes) -> int:
    """On a thread of the pool."""
    with memoryview(data) as view:
        done = 0
        while done < len(data):
            done += os.write(fd, view[done:])
    return done


__all__ = ["FileMode", "open_file"]
