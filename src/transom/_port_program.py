"""Programs as ports: their pipes are the data, their end is a message, and they die with their owner.

Starting        subprocess.Popen on a thread of the loop's pool: it forks without running Python in the child. The program
                is the leader of a session of its own, so it and what it starts can be killed together.
The end         A descriptor of the process (pidfd) tells the loop. What it left in its group is killed before it is reaped,
                while its number is still its own; so its pipes end, too. What left the group by setsid lives on; after
                GRACE, and when all is read that was in the pipes at the end, its end of them is not waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

from transom._errors import PortError
from transom._loop_thread import LoopThread
from transom._port import (
    ActiveMode,
    ErrorData,
    ExitStatus,
    Port,
    PortOp,
    Steps,
    _check_active,
    opening,
    wait_for,
    wake_all,
)
from transom._port_core import reason_of
from transom._port_frames import Packet
from transom._port_stream import BUFFER, HIGH, MAX_FRAME, Stream, StreamCore, check_framing

GRACE = 1.0  # seconds between the end of a program and that of its pipes
Stderr = Literal["inherit", "null", "stdout", "messages"]
PIPES = ("stdin", "stdout", "stderr")
_STDERR = {"inherit": None, "null": subprocess.DEVNULL, "stdout": subprocess.STDOUT, "messages": subprocess.PIPE}


def open_program(
    program: str | os.PathLike[str],
    *args: str | os.PathLike[str],
    active: ActiveMode = False,
    packet: Packet = "raw",
    max_frame: int = MAX_FRAME,
    stderr: Stderr = "inherit",
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    loop: int = 0,
) -> PortOp[Program]:
    """Start a program; what it writes is received, what is sent it reads. It belongs to the calling process.

    No shell is involved: each argument reaches the program as it is. When the owner ends, by whatever way, the program
    is killed (SIGKILL) with all it has started, unless that left its session. So it is when the node stops. Should this
    OS process itself be killed (SIGKILL), the program lives on and sees the end of its input.

    Args:
        program: Path, or name to be found on PATH.
        args: Its arguments.
        active: See ``Port.set_active``. Active, the owner also gets ExitStatus before Closed.
        packet: How its output is cut and its input marked, see ``connect``.
        max_frame: As for ``connect``.
        stderr: ``"inherit"``: as this program's; ``"null"``: nowhere; ``"stdout"``: mixed with its output;
            ``"messages"``: as ErrorData while the port is active. What nobody takes holds the program up.
        env: Its environment; None: this one's.
        cwd: Its working directory.
        loop: Number of the event loop.

    Returns:
        An operation whose result is a Program.

    Raises:
        PortError: When used: it could not be started, such as ENOENT.
        NotInProcess: When used: the caller is no process.

    Example:
        >>> import transom
        >>> from transom import ports
        >>> async def main():
        ...     async with await ports.open_program("sort", "-n", packet="line") as sort:
        ...         await sort.send(b"20\\n3\\n")
        ...         await sort.shutdown()
        ...         return [line async for line in sort], await sort.wait()
        >>> transom.run(main)
        ([b'3\\n', b'20\\n'], 0)

    Source: erlang:open_port/2 with spawn_executable and exit_status.
    """
    _check_active(active)
    check_framing(packet, max_frame)
    if stderr not in _STDERR:
        raise ValueError(f"open_program(): stderr must be one of {', '.join(_STDERR)}, not {stderr!r}")
    argv = [os.fspath(part) for part in (program, *args)]
    for part in argv:
        if not isinstance(part, str):
            raise TypeError(f"open_program(): arguments must be str or paths, not {part!r}")

    def make(thread: LoopThread) -> ProgramCore:
        core = ProgramCore(thread, f"program {argv[0]}", packet, max_frame)
        core.set_up(argv, stderr, dict(env) if env is not None else None, cwd, active)
        return core

    return opening(make, loop, None)


class Program(Stream):
    """A program that runs.

    Example:
        >>> import transom
        >>> from transom import ports
        >>> async def main():
        ...     program = await ports.open_program("sleep", "60")
        ...     await program.signal(15)
        ...     return await program.wait()
        >>> transom.run(main)
        -15

    Source: erlang:open_port/2.
    """

    __slots__ = ()

    @property
    def os_pid(self) -> int:
        """Its number in the operating system, of its group and session, too."""
        return self._core.info()["pid"]  # type: ignore[no-any-return]

    def wait(self, timeout: float | None = None) -> PortOp[int]:
        """Wait for its end.

        Args:
            timeout: Seconds; None: no limit.

        Returns:
            The exit status; when a signal ended it, minus its number.

        Raises:
            NotOwner: When used: the caller does not own it.
            PortClosed: When used: it was closed before the program had ended.
            TimeoutError: When used: not in time.

        Output that nobody receives may keep it from ending: receive first. Source: {exit_status, Status}.
        """

        def steps(timeout: float | None) -> Steps[int]:
            if self._core.status is None:
                core = self._mine()
                yield core.ask(core.wait, timeout=timeout)
            return self._core.status  # type: ignore[no-any-return]

        return PortOp(steps, timeout)

    def signal(self, number: int) -> PortOp[None]:
        """Send a signal to the program, not to what it has started. Nothing happens when it has ended.

        Raises:
            NotOwner: When used: the caller does not own it.
            PortClosed: When used: it is closed.
            PortError: When used: the program has become another user's (EPERM).
            ValueError: There is no such signal.

        Source: os.kill.
        """
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < signal.NSIG:
            raise ValueError(f"signal(): number must be 0 to {signal.NSIG - 1}, not {number!r}")

        def steps(timeout: float | None) -> Steps[None]:
            core = self._mine()
            yield core.ask(core.signal, number)

        return PortOp(steps)

    def __enter__(self) -> Self:
        return self

    async def __aenter__(self) -> Self:
        return self


class _Pipe(asyncio.Protocol):
    """One pipe of a program."""

    def __init__(self, core: ProgramCore, name: str) -> None:
        self._core = core
        self._name = name
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self._name == "stderr":
            self._core.error_received(data)
        else:
            self._core.data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        self.transport = None
        self._core.pipe_lost(self._name, exc)

    def pause_writing(self) -> None:
        self._core.pause_writing()

    def resume_writing(self) -> None:
        self._core.resume_writing()


class _End:
    """A descriptor as the loop wants to have it. libuv closes it itself; closing it once more might hit another's."""

    def __init__(self, fd: int, loop: asyncio.AbstractEventLoop) -> None:
        self._fd = fd
        self._closes = isinstance(loop, asyncio.SelectorEventLoop)

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        if self._closes:
            self._closes = False
            os.close(self._fd)


class _Pipes:
    """The pipes of a program as one transport."""

    def __init__(self, core: ProgramCore) -> None:
        self._core = core
        self.stdin, self.stdout, self.stderr = (_Pipe(core, name) for name in PIPES)

    def write(self, data: bytes) -> None:
        if self.stdin.transport is None:
            self._core.input_closed()
        else:
            self.stdin.transport.write(data)

    def set_write_buffer_limits(self, high: int) -> None:
        if self.stdin.transport is not None:
            self.stdin.transport.set_write_buffer_limits(high=high)

    def get_write_buffer_size(self) -> int:
        return 0 if self.stdin.transport is None else self.stdin.transport.get_write_buffer_size()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if self.stdin.transport is not None:
            self.stdin.transport.close()

    def pause_reading(self) -> None:
        if self.stdout.transport is not None:
            self.stdout.transport.pause_reading()

    def resume_reading(self) -> None:
        if self.stdout.transport is not None:
            self.stdout.transport.resume_reading()

    def close(self) -> None:
        self.write_eof()
        self._core.kill(signal.SIGTERM)

    def abort(self) -> None:
        stdin = self.stdin.transport
        if stdin is not None and (stdin.get_write_buffer_size() or not stdin.is_closing()):
            stdin.abort()  # one that closes already would tell its end twice, at asyncio's own loop
        for pipe in (self.stdout, self.stderr):
            if pipe.transport is not None:
                pipe.transport.close()
        self._core.kill(signal.SIGKILL)


class ProgramCore(StreamCore):
    """A program, on the loop."""

    def set_up(
        self, argv: Sequence[str], stderr: Stderr, env: dict[str, str] | None, cwd: Any, active: ActiveMode
    ) -> None:
        """What to start."""
        self._start = (argv, stderr, env, cwd, active)
        self.status: int | None = None
        self._popen: subprocess.Popen[bytes] | None = None
        self._pidfd = -1
        self._errors = bytearray()
        self._errors_received = 0
        self._due: dict[str, int] = {}  # when it has ended: what must have been received of each pipe
        self._fds: dict[str, int] = {}  # of pipes that the loop has
        self._errors_paused = False
        self._open_pipes: set[str] = set()
        self._status_told = False
        self._watched = False
        self._ends: dict[str, int] = {}  # descriptors of pipes that the loop has not got yet

    def _handle(self) -> Port:
        return Program(self)

    # -- the beginning

    async def open(self) -> None:
        self.opened()
        self._starting = self.thread.loop.run_in_executor(None, self._spawn)
        self._starting.add_done_callback(self._spawned)
        await asyncio.shield(self._starting)
        self._spawned(self._starting)  # in case it was done at once
        try:
            await self._connect()
        finally:
            self._watch()
        self.set_active(self._start[4])

    def _spawn(self) -> tuple[subprocess.Popen[bytes], int, dict[str, int]]:
        """On a thread of the pool: start it. With its pidfd, and our ends of its pipes."""
        argv, stderr, env, cwd, _ = self._start
        popen = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=_STDERR[stderr],
            env=env,
            cwd=cwd,
            bufsize=0,
            start_new_session=True,
        )
        ends: dict[str, int] = {}
        files = {name: file for name in PIPES if (file := getattr(popen, name)) is not None}
        try:
            for name, file in files.items():
                ends[name] = os.dup(file.fileno())
            return popen, os.pidfd_open(popen.pid), ends
        except BaseException:  # no descriptor is left
            os.killpg(popen.pid, signal.SIGKILL)
            popen.wait()
            for fd in ends.values():
                os.close(fd)
            raise
        finally:
            for file in files.values():
                file.close()

    def _spawned(self, starting: asyncio.Future[tuple[subprocess.Popen[bytes], int, dict[str, int]]]) -> None:
        """It runs, whether or not somebody still wants it."""
        if self._popen is not None:
            return
        if starting.cancelled() or starting.exception() is not None:
            self.gone()
            return
        self._popen, self._pidfd, self._ends = starting.result()
        self.what = f"{self.what} ({self._popen.pid})"
        self._open_pipes = set(self._ends) - {"stdin"}
        if self.reason is not None:
            self.release(0)

    def _watch(self) -> None:
        """Wait for its end from now on; not before its pipes are connected, or its output might be missed."""
        if not self._watched:
            self._watched = True
            self.thread.loop.add_reader(self._pidfd, self._ended)

    async def _connect(self) -> None:
        if self._popen is None or self.reason is not None:
            raise self.closed_error()
        pipes, loop = _Pipes(self), self.thread.loop
        self.transport = pipes
        await loop.connect_write_pipe(lambda: pipes.stdin, self._end("stdin"))
        await loop.connect_read_pipe(lambda: pipes.stdout, self._end("stdout"))
        if "stderr" in self._ends:
            await loop.connect_read_pipe(lambda: pipes.stderr, self._end("stderr"))
        pipes.set_write_buffer_limits(HIGH)
        self.flow()

    def _end(self, name: str) -> Any:
        """An end of a pipe, from now on the loop's."""
        fd = self._fds[name] = self._ends.pop(name)
        return _End(fd, self.thread.loop)

    # -- input

    def input_closed(self) -> None:
        """What is sent from now on reaches nobody."""
        if self.no_more_out is None:
            self.no_more_out = ("EPIPE", "it has closed its input")
            wake_all(self._writers)

    async def drain(self) -> None:
        await super().drain()
        self._look_at_input()

    async def flush(self) -> None:
        await super().flush()
        self._look_at_input()

    def _look_at_input(self) -> None:
        if self.no_more_out is not None and self.no_more_out[0] == "EPIPE":
            raise self.out_error()

    # -- output

    def error_received(self, data: bytes) -> None:
        """It wrote to its stderr."""
        self.piece()
        self._errors += data
        self._errors_received += len(data)
        self.pump()

    def step(self) -> bool:
        if self._errors and self.tell(ErrorData(self.port, bytes(self._errors))):
            self._errors.clear()
            return True
        return super().step()

    def flow(self) -> None:
        super().flow()
        pipe = None if self.transport is None else self.transport.stderr.transport
        pause = len(self._errors) >= BUFFER or self.hung
        if pipe is not None and pause != self._errors_paused:
            self._errors_paused = pause
            if pause:
                pipe.pause_reading()
            else:
                pipe.resume_reading()

    def exhausted(self) -> bool:
        """The end is told when the program has ended, after its output and its status."""
        if self.status is None or self._errors or not super().exhausted():
            return False
        if self.active and not self._status_told:
            self._status_told = self.tell(ExitStatus(self.port, self.status))
            return self._status_told
        return True

    def pipe_lost(self, name: str, error: BaseException | None) -> None:
        """A pipe has ended."""
        if name == "stdin":
            self.full = False
            if error is not None and self.reason is None:
                self.input_closed()
            wake_all(self._writers)
            return
        self._open_pipes.discard(name)
        self._look_for_end()

    def _look_for_end(self) -> None:
        if not self._open_pipes:
            self.fail("closed")
        if self.status is not None and (not self._open_pipes or self.reason is not None):
            self.fail("closed")
            self._let_go()

    # -- the end

    def kill(self, number: int) -> None:
        """A signal for the whole group; nothing is to be done about one that has become another user's."""
        if self._popen is not None and self.status is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._popen.pid, number)  # not reaped yet, so the number is still its own

    def signal(self, number: int) -> None:
        """A signal for the program. Not by Popen, which may reap it first."""
        if self._popen is not None and self.status is None:
            try:
                signal.pidfd_send_signal(self._pidfd, number)
            except ProcessLookupError:
                pass
            except PermissionError as error:
                raise PortError(f"{self.what}: {error.strerror}", reason_of(error), error.errno) from error

    def _ended(self) -> None:
        """Its pidfd says so."""
        assert self._popen is not None
        self.thread.loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self.kill(signal.SIGKILL)  # what it left behind
        self.status = self._popen.wait()
        if self.transport is not None:
            if self.reason is None:
                self._due = {name: self._received(name) + self._waiting(name) for name in self._open_pipes}
            self.thread.loop.call_later(GRACE, self._no_more_pipes)
        self._look_for_end()
        self.pump()
        self.wake()

    def _received(self, name: str) -> int:
        return self.received if name == "stdout" else self._errors_received

    def _waiting(self, name: str) -> int:
        """How many bytes are in a pipe that is open."""
        transport = getattr(self.transport, name).transport
        if transport is None or transport.is_closing():
            return 0
        with contextlib.suppress(OSError):  # the loop has closed it, and tells it in its turn
            return int.from_bytes(fcntl.ioctl(self._fds[name], termios.FIONREAD, bytes(4)), sys.byteorder)
        return 0

    def _no_more_pipes(self) -> None:
        if not self._open_pipes or self.transport is None:
            return
        if self.reason is None and any(self._received(name) < self._due[name] for name in self._open_pipes):
            self.thread.loop.call_later(GRACE, self._no_more_pipes)  # the owner takes its time
            return
        self.transport.abort()
        self._open_pipes.clear()
        self._look_for_end()

    def _let_go(self) -> None:
        """The program has ended, and so have its pipes."""
        if self.transport is not None:
            self.transport.write_eof()
            self.transport = None
        self._close_ends()
        if self._cutter is not None:
            self._cutter.cancel()
        self.gone()
        self.wake()

    def release(self, linger: float) -> None:
        if self._popen is None:
            return  # it was not started, or _spawned comes
        self._watch()
        if self.transport is None:
            self.kill(signal.SIGKILL)
            self._close_ends()
            if self.status is not None:
                self.gone()
            return
        super().release(linger)
        self._look_for_end()

    def _close_ends(self) -> None:
        """Those that the loop did not get."""
        while self._ends:
            os.close(self._ends.popitem()[1])

    async def wait(self) -> None:
        await wait_for(lambda: self.status is not None and not self.hung or self.reason is not None, self._waiters)
        if self.status is None:
            raise self.closed_error()

    @property
    def _waiters(self) -> list[asyncio.Future[None]]:
        return self._readers

    def info(self) -> dict[str, Any]:
        pid = None if self._popen is None else self._popen.pid
        return super().info() | {"pid": pid, "status": self.status}


__all__ = ["Program", "Stderr", "open_program"]
