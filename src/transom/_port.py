"""Ports as processes see them: the handle, its operations, and the messages its owner gets."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

from transom import _core, _errors, _loop_agent
from transom._core import Aio, Pid
from transom._loop_thread import LoopThread, loop_thread
from transom._port_core import LINGER, Core, Reason
from transom._start import pid_of

ActiveMode = bool | int | Literal["once"]
MAX_ACTIVE = 32_767
TAKE_SECONDS = 1.0  # an operation that is given up waits so long for what its process does for it


# -- messages ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Data:
    """To the owner of an active port: a frame, or what has come.

    Attributes:
        port: The port.
        data: The bytes.

    Source: {tcp, Socket, Data}.
    """

    port: Port
    data: bytes


@dataclass(frozen=True, slots=True)
class ErrorData:
    """To the owner of an active program with ``stderr="messages"``: what it wrote there.

    Attributes:
        port: The port.
        data: The bytes.

    Source: none in OTP, where stderr is nobody's.
    """

    port: Port
    data: bytes


@dataclass(frozen=True, slots=True)
class Datagram:
    """To the owner of an active UDP port.

    Attributes:
        port: The port.
        data: The bytes.
        address: Where they came from.

    Source: {udp, Socket, IP, Port, Packet}.
    """

    port: Port
    data: bytes
    address: tuple[str, int]


@dataclass(frozen=True, slots=True)
class Accepted:
    """To the owner of an active listener: a connection, which is the owner's, too.

    Attributes:
        port: The listener.
        connection: Its end of the connection.

    Source: inet_async of prim_inet.
    """

    port: Port
    connection: Port


@dataclass(frozen=True, slots=True)
class ExitStatus:
    """To the owner of an active program: it has ended. Comes after its last Data.

    Attributes:
        port: The port.
        status: The exit status; of a program that a signal ended, minus its number.

    Source: {Port, {exit_status, Status}}.
    """

    port: Port
    status: int


@dataclass(frozen=True, slots=True)
class Eof:
    """To the owner of an active port with ``half_close``: the other side sends no more, but may still receive.

    Attributes:
        port: The port.

    Source: {Port, eof}.
    """

    port: Port


@dataclass(frozen=True, slots=True)
class Passive:
    """To the owner of a port that was active for so many messages: that was the last of them.

    Attributes:
        port: The port.

    Source: {tcp_passive, Socket}.
    """

    port: Port


@dataclass(frozen=True, slots=True)
class Closed:
    """To the owner of an active port: it has closed, and this is its last message. Its own ``close()`` tells none.

    Attributes:
        port: The port.
        reason: ``"closed"``: the other side ended it in an orderly way. Else ``(name, text)`` of an error, such as
            ``("ECONNRESET", "Connection reset by peer")``, ``("EMSGSIZE", ...)`` for a frame over the limit,
            ``("EPROTO", ...)`` for an end within a frame or ``("EPIPE", ...)`` when its process was ended, as by
            ``exit(port, ...)``.

    Source: {tcp_closed, Socket} and {tcp_error, Socket, Reason}.
    """

    port: Port
    reason: Reason


MESSAGES = (Data, ErrorData, Datagram, Accepted, ExitStatus, Eof, Passive, Closed)


# -- operations --------------------------------------------------------------------------------------------------------


class Take:
    """A step of an operation: put the messages of a port that are in the caller's mailbox now into a list.

    All of them in one go, so one that is given up between steps has all or none of them and can put them back in order.
    """

    def __init__(self, port: Port, into: list[Any]) -> None:
        self._port = port
        self._into = into

    def _is_of_port(self, message: Any) -> bool:
        return isinstance(message, MESSAGES) and message.port is self._port

    async def run(self) -> None:
        if asyncio._get_running_loop() is None:
            await self._receive()
            return
        job = asyncio.ensure_future(_loop_agent.in_process(self._receive))
        try:
            await asyncio.shield(job)
        finally:
            if not job.done():  # given up; what the process takes all the same must not be lost
                await asyncio.wait([job], timeout=TAKE_SECONDS)

    async def _receive(self) -> None:
        try:
            while True:
                self._into.append(await _core.receive(self._is_of_port, timeout=0))
        except TimeoutError:
            pass

    def block(self) -> Any:
        try:
            while True:
                self._into.append(_core._sync_receive(self._is_of_port, timeout=0))
        except TimeoutError:
            return None


type Steps[T] = Generator[Aio[Any] | Take, Any, T]


class PortOp[T]:
    """An operation on a port: ``await`` it in processes, or ask for its ``result()`` in plain functions.

    Nothing happens before. Of the process that waits for it all others are independent.

    Example:
        >>> import transom
        >>> from transom import ports
        >>> def main():
        ...     with ports.open_program("echo", "hello").result() as echo:
        ...         return echo.recv().result()
        >>> transom.run(main)
        b'hello\\n'

    Source: none in OTP, whose functions just block.
    """

    __slots__ = ("_start", "_timeout")

    def __init__(self, start: Callable[[float | None], Steps[T]], timeout: float | None = None) -> None:
        if timeout is not None and not (isinstance(timeout, int | float) and 0 <= timeout <= 8e9):
            raise ValueError(f"timeout must be seconds from 0 or None, not {timeout!r}")
        self._start = start
        self._timeout = timeout

    def __await__(self) -> Generator[Any, Any, T]:
        return self._run().__await__()

    async def _run(self) -> T:
        steps = self._start(self._timeout)
        try:
            step = next(steps)
            while True:
                try:
                    value = await (step.run() if isinstance(step, Take) else step)
                except Exception as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(value)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]
        finally:
            steps.close()  # given up: it puts in order what it has begun

    def result(self, timeout: float | None = None) -> T:
        """Block the calling process until it is done and return the result; its slot goes on with others.

        Args:
            timeout: Seconds, instead of the operation's own.

        Raises:
            TimeoutError: Not done in time.
        """
        steps = self._start(self._timeout if timeout is None else timeout)
        try:
            step = next(steps)
            while True:
                try:
                    value = step.block() if isinstance(step, Take) else step.result()
                except Exception as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(value)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]
        finally:
            steps.close()


def opening(make: Callable[[LoopThread], Core], loop: int, timeout: float | None) -> PortOp[Any]:
    """The operation that opens a port for the calling process."""

    def steps(timeout: float | None) -> Steps[Any]:
        owner = _core.current_pid()
        core = make(loop_thread(loop))
        core.adopt(owner)
        yield core.ask(core.begin, timeout=timeout)
        return core.port

    return PortOp(steps, timeout)


# -- the handle --------------------------------------------------------------------------------------------------------


class Port:
    """What all ports have. ``connect``, ``listen``, ``open_udp``, ``open_program`` and ``open_file`` make them.

    A port belongs to one process, its owner. It closes when the owner ends, whatever ends it. Others that use it get
    NotOwner, but for ``accept`` and ``info``. A port is passive unless told otherwise: it waits to be asked. Active,
    it tells its owner by messages. It has a Pid: ``monitor(port)`` tells when it closes, ``exit(port, reason)`` closes
    it. It may be sent in messages; all such are the same port.

    ``with port:`` and ``async with port:`` close it at the end of the block.

    Example:
        >>> import transom
        >>> from transom import ports
        >>> async def main():
        ...     async with await ports.listen() as listener:
        ...         return transom.is_alive(listener), listener.owner == transom.current_pid()
        >>> transom.run(main)
        (True, True)

    Source: erlang:open_port/2, gen_tcp, Elixir's Port.
    """

    __slots__ = ("__weakref__", "_core")

    def __init__(self, core: Any) -> None:
        self._core = core

    def __copy__(self) -> Port:
        return self

    def __deepcopy__(self, memo: Any) -> Port:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{self!r} cannot leave this OS process")

    def __repr__(self) -> str:
        return f"<{self._core.what}{'' if self._core.reason is None else ', closed'}>"

    @property
    def _transom_pid(self) -> Pid:
        pid = self._core.warden
        if pid is None:
            raise _errors.NoProcess(f"{self!r} has not been handed out yet")
        return pid  # type: ignore[no-any-return]

    @property
    def owner(self) -> Pid:
        """The process it belongs to."""
        return self._core.owner  # type: ignore[no-any-return]

    @property
    def is_closed(self) -> bool:
        """Has it closed? An end that was not told yet, since it is passive, does not count."""
        return self._core.reason is not None

    def _mine(self, closed: bool = False) -> Any:
        """The core, for the owner; also when it is closed?"""
        core = self._core
        me = _core.current_pid()
        if core.owner != me:
            raise _errors.NotOwner(
                f"{core.what} belongs to {core.owner}, not to {me}; its owner can give it away with controlling_process()"
            )
        if core.reason is not None and not closed:
            raise core.closed_error()
        return core

    def set_active(self, mode: ActiveMode) -> PortOp[None]:
        """Say how the owner is told of what comes.

        Args:
            mode: False: not at all, it waits for ``recv`` or ``accept``. ``"once"``: of the next thing, by one message.
                An int n, 1 to 32,767: of n more; the last is followed by a Passive. True: of everything as it comes.
                All but True hold the other side back; with True only a bounded mailbox does (``max_queue`` with
                ``on_full="reject"`` or ``"wait"``).

        Returns:
            An operation. After False is done, no message of the port comes any more, but those that came with it
            from its owner before and found no room in the caller's mailbox yet.

        Raises:
            NotOwner: When used: the caller does not own it.
            PortClosed: When used: it is closed. An end that was not told yet is told now: by Closed.
            ValueError: It is no such mode.

        Source: inet:setopts/2, {active, Mode}.
        """
        _check_active(mode)

        def steps(timeout: float | None) -> Steps[None]:
            core = self._mine()
            if mode is False or core.is_behind():
                yield core.ask(core.set_active, mode)
            else:
                core.post(core.set_active, mode)

        return PortOp(steps)

    def controlling_process(self, new: Any) -> PortOp[None]:
        """Give it to another process, with its messages that wait in the caller's mailbox, in order.

        When the new owner gets the first of them the port is its own. Unlike in gen_tcp it may use it at once. Has it
        closed meanwhile, and Closed waits in the caller's mailbox, the new owner gets that. The connections of Accepted
        messages go with a listener.

        Args:
            new: Pid or reference. When it is dead, or ends, the port closes. The caller's own: nothing happens.

        Raises:
            NotOwner: When used: the caller does not own it.
            PortClosed: When used: it is closed, and no message tells it.

        Source: gen_tcp:controlling_process/2.
        """

        def steps(timeout: float | None) -> Steps[None]:
            core = self._mine(closed=True)
            me, pid = _core.current_pid(), pid_of(new)
            if pid == me:
                return
            messages: list[Any] = []
            try:
                yield core.ask(core.stop_active)
                yield Take(self, messages)
                if core.reason is not None and not messages:
                    raise core.closed_error()
                yield core.ask(core.give, me, pid, messages)
            except BaseException:  # such as a time-out around it, in an agent on the loop; void if it was given
                core.post(core.give, me, me, messages)
                raise

        return PortOp(steps)

    def close(self, linger: float = LINGER) -> PortOp[None]:
        """Close it. Nothing of it comes any more; what was sent leaves. Closing twice does no harm.

        Args:
            linger: Seconds that may take, from 0, and a program may take to end by SIGTERM. Then, or with 0, it is cut
                off: the program is killed.

        Raises:
            NotOwner: When used: the caller does not own it.
            ValueError: linger is no such number.

        Source: gen_tcp:close/1, port_close/1.
        """
        if isinstance(linger, bool) or not isinstance(linger, int | float) or not 0 <= linger <= 8e9:
            raise ValueError(f"close(): linger must be seconds from 0, not {linger!r}")

        def steps(timeout: float | None) -> Steps[None]:
            if self._core.reason is None:
                core = self._mine(closed=True)  # it may close right now
                yield core.ask(core.close, linger)

        return PortOp(steps)

    def info(self) -> dict[str, Any]:
        """Figures on the port; any process or thread may ask.

        Returns:
            A dict: ``what`` (in words), ``owner``, ``active``, ``closed`` (the reason, or None), ``received``, ``sent``
            (bytes), ``received_count``, ``sent_count`` (how often), and what this kind of port adds: ``local`` and
            ``peer`` (addresses), ``pid`` and ``status`` of a program, ``dropped`` of UDP.

        Source: inet:getstat/1, erlang:port_info/1.
        """
        return self._core.info()  # type: ignore[no-any-return]

    def __enter__(self) -> Port:
        return self

    def __exit__(self, *error: object) -> None:
        if self._core.owner == _core.current_pid():
            self.close().result()

    async def __aenter__(self) -> Port:
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._core.owner == _core.current_pid():
            await self.close()


def _check_active(mode: Any) -> None:
    if isinstance(mode, bool) or mode == "once" or (type(mode) is int and 1 <= mode <= MAX_ACTIVE):
        return
    raise ValueError(f"active must be False, True, 'once' or 1 to {MAX_ACTIVE}, not {mode!r}")


def check_address(what: str, host: Any, port: Any, least: int) -> None:
    """Is it an address? What is missing must not come to mean all of this machine's."""
    if not isinstance(host, str) or not host:
        raise ValueError(f"{what}: host must be a name or an address, not {host!r}")
    if isinstance(port, bool) or not isinstance(port, int) or not least <= port <= 65_535:
        raise ValueError(f"{what}: port must be an int from {least} to 65535, not {port!r}")


def check_path(what: str, path: Any) -> str:
    """Of a Unix-domain socket. An empty one, or one with a null byte, would be open to all users."""
    name = os.fspath(path)
    if not isinstance(name, str) or not name or "\0" in name:
        raise ValueError(f"{what}: path must be that of a file, not {path!r}")
    return name


def as_bytes(data: Any) -> bytes:
    """What is sent: bytes that nobody changes any more."""
    if type(data) is bytes:
        return data
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    hint = "; encode it first" if isinstance(data, str) else ""
    raise TypeError(f"send() takes bytes, bytearray or memoryview, not {type(data).__name__}{hint}")


async def wait_for(condition: Callable[[], bool], waiters: list[asyncio.Future[None]]) -> None:
    """On the loop: wait until the condition holds; who changes it wakes the waiters."""
    while not condition():
        future = asyncio.get_running_loop().create_future()
        waiters.append(future)
        try:
            await future
        finally:
            if future in waiters:
                waiters.remove(future)


def wake_all(waiters: list[asyncio.Future[None]]) -> None:
    """On the loop: let them look again."""
    for future in waiters:
        if not future.done():
            future.set_result(None)
    waiters.clear()
