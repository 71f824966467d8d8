"""Starting processes synchronously, and knowing where a process comes from: OTP's proc_lib.

A process started here tells its starter when it is ready (``init_ack``) or that it cannot be (``init_fail``, or any
exception before it is ready). The starter waits for that, so what comes after a start can rely on it.

The rules, from OTP 26 on:

- A start that failed leaves nothing behind: when StartError is raised the process is gone, its name is free, and
  no Exit or Down of it is in the starter's mailbox, whether it traps exits or not. Only start_monitor leaves
  the Down, as its caller asked for it.
- A start that takes longer than its timeout kills the process.
- Each process knows its ancestors (nearest first: a registered name, else the Pid) and what it was started to run;
  process_info shows both, crash reports carry them.

Source: OTP proc_lib.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal, NoReturn

from transom import _core, _errors, _process, _values
from transom._core import Pid, Ref
from transom._operation import Operation, Receive
from transom._values import SpawnOptions

Kind = Literal["start", "start_link", "start_monitor"]


class Origin:
    """Ancestors and initial call of a process; shared by all that have the same."""

    __slots__ = ("_born", "ancestors", "initial_call")

    def __init__(self, ancestors: tuple[Pid | str, ...], initial_call: str) -> None:
        self.ancestors = ancestors
        self.initial_call = initial_call
        self._born: dict[str, Origin] | None = None

    def child(self, parent: tuple[Pid | str, ...], initial_call: str) -> Origin:
        """The origin of a process that is started by one with this origin."""
        if self._born is None:
            self._born = {}
        known = self._born.get(initial_call)
        if known is None or known.ancestors[: len(parent)] != parent:
            known = self._born[initial_call] = Origin((*parent, *self.ancestors), initial_call)
        return known

    def __copy__(self) -> Origin:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Origin:
        return self

    def __repr__(self) -> str:
        return f"Origin({self.ancestors!r}, {self.initial_call!r})"


_outside = Origin((), "outside")


def origin_of_child(initial_call: str) -> Origin:
    """The origin for a process that the caller is about to start."""
    try:
        me = _core.current_pid()
    except _errors.NotInProcess:
        return _outside.child((), initial_call)
    mine: Origin | None = _core._origin()
    if mine is None:
        mine = Origin((), "")
        info = _core.process_info(me, "initial_call")
        mine.initial_call = "" if info is None else str(info["initial_call"])
        _core._set_origin(mine)
    info = _core.process_info(me, "registered_name")
    name = None if info is None else info["registered_name"]
    return mine.child((me if name is None else name,), initial_call)


# -- in the process that is started ------------------------------------------------------------------------------------

_starting: dict[Pid, Ref] = {}  # who is being started -> the alias its starter waits at


def init_ack(value: Any = None) -> None:
    """Tell the starter that this process is ready: its start returns.

    Args:
        value: What the start returns; None stands for the Pid of this process. Copied unless immutable.

    Raises:
        RuntimeError: Nobody waits: the process was not started through proc_lib, or has answered already.

    Runs in the process that is started; does not block.

    Example: see ``start``.

    Source: proc_lib:init_ack/2.
    """
    me = _core.current_pid()
    ack = _starting.pop(me, None)
    if ack is None:
        raise RuntimeError("init_ack(): nobody waits for it; it is for processes started through proc_lib, once")
    _core.send(ack, (ack, "ok", me if value is None else value))


def init_fail(reason: Any) -> NoReturn:
    """End this process because it cannot start; its start raises StartError(reason).

    Args:
        reason: Any value that can be sent.

    Raises:
        Stop: Always, with this reason.

    Runs in the process that is started.

    Example:
        >>> import transom
        >>> async def desk():
        ...     transom.proc_lib.init_fail("no paper")
        >>> async def main():
        ...     try:
        ...         await transom.proc_lib.start(desk)
        ...     except transom.StartError as error:
        ...         return error.reason
        >>> import logging; logging.getLogger("transom").setLevel(logging.CRITICAL)
        >>> transom.run(main)
        'no paper'

    Source: proc_lib:init_fail/2.
    """
    raise _errors.Stop(reason)


def init_ignore() -> NoReturn:
    """End this process normally because it is not needed; its start returns None.

    Raises:
        Stop: Always, with reason "normal".

    Runs in the process that is started.

    Example:
        >>> import transom
        >>> async def desk():
        ...     transom.proc_lib.init_ignore()
        >>> async def main():
        ...     return await transom.proc_lib.start(desk)
        >>> transom.run(main)

    Source: gen_server's ignore, proc_lib:init_fail(ignore, {exit, normal}).
    """
    _give_up(_core.current_pid(), "ignore", None)
    raise _errors.Stop("normal")


def _give_up(me: Pid, how: str, reason: Any) -> None:
    ack = _starting.pop(me, None)
    if ack is None:
        return
    parent = _core.process_info(me, "parent")
    if parent is not None and parent["parent"] is not None:
        _core.unlink(parent["parent"])  # what went wrong is told by the answer, not by an exit signal
    _core.send(ack, (ack, how, reason))


def failed(me: Pid, error: BaseException) -> None:
    """The process ends by this exception; if its starter still waits, it is told so."""
    if me in _starting and not isinstance(error, _errors.Killed):
        _give_up(me, "fail", error.reason if isinstance(error, _errors.Stop) else _values.make_crash(error))


def begin(origin: Origin, ack: Ref) -> Pid:
    """First thing a started process does."""
    me = _core.current_pid()
    _starting[me] = ack
    _core._set_origin(origin)
    return me


def gone(me: Pid) -> None:
    """Last thing a starting process does: whoever waits for it, learns the rest from the Down."""
    _starting.pop(me, None)


async def _run(origin: Origin, ack: Ref, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    me = begin(origin, ack)
    try:
        return await fn(*args, **kwargs)
    except BaseException as error:
        failed(me, error)
        raise
    finally:
        _starting.pop(me, None)


def _run_plain(origin: Origin, ack: Ref, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    me = begin(origin, ack)
    try:
        return fn(*args, **kwargs)
    except BaseException as error:
        failed(me, error)
        raise
    finally:
        _starting.pop(me, None)


# -- in the process that starts ----------------------------------------------------------------------------------------


def start(
    fn: Callable[..., Any],
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    timeout: float | None = None,
    options: SpawnOptions | None = None,
    initial_call: str | None = None,
) -> Operation[Any]:
    """Start a process and wait until it is ready.

    Await the result, or call its ``result()``: works in processes, asyncio programs and plain threads.

    Args:
        fn: What it runs, async def or def; it calls ``init_ack`` when it is ready.
        args: Arguments of fn; copied unless deeply immutable.
        kwargs: The same.
        timeout: Seconds it may take to get ready; then it is killed. None: any time.
        options: Name, priority and so on. Not ``monitor``; and ``link`` is what start_link is for.
        initial_call: What reports show it was started to run; default the name of fn.

    Returns:
        What it gave to ``init_ack``, by default its Pid; None when it called ``init_ignore``.

    Raises:
        StartError: It ended before it was ready (``.reason``), or took too long (reason ``"timeout"``).
        AlreadyStarted: The name in options is taken; ``.pid`` has it. fn did not run.

    Example:
        >>> import transom
        >>> from transom import proc_lib
        >>> async def desk():
        ...     proc_lib.init_ack()
        ...     await transom.receive()
        >>> async def main():
        ...     pid = await proc_lib.start(desk)
        ...     return transom.process_info(pid, "initial_call")["initial_call"]
        >>> transom.run(main)
        'desk'

    Source: proc_lib:start/5.
    """
    return _operation("start", fn, args, kwargs, timeout, options, initial_call)


def start_link(
    fn: Callable[..., Any],
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    timeout: float | None = None,
    options: SpawnOptions | None = None,
    initial_call: str | None = None,
) -> Operation[Any]:
    """As ``start``, and the process is linked to the caller from its first moment. An Operation, too.

    A start that fails raises StartError and nothing else, also in a caller that does not trap exits. Only inside a
    process.

    Example:
        >>> import transom
        >>> async def desk():
        ...     transom.proc_lib.init_ack()
        ...     await transom.receive()
        >>> async def main():
        ...     pid = await transom.proc_lib.start_link(desk)
        ...     return transom.process_info(pid, "links") == {"links": [transom.current_pid()]}
        >>> transom.run(main)
        True

    Source: proc_lib:start_link/5, with the rules of OTP 26.
    """
    return _operation("start_link", fn, args, kwargs, timeout, options, initial_call)


def start_monitor(
    fn: Callable[..., Any],
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    timeout: float | None = None,
    options: SpawnOptions | None = None,
    initial_call: str | None = None,
) -> Operation[tuple[Any, Ref]]:
    """As ``start``, and the caller monitors the process from its first moment. An Operation that gives (value, Ref).

    When the start fails, StartError carries the reference (``.ref``), and the Down arrives. Only inside a process.

    Example:
        >>> import transom
        >>> async def desk():
        ...     transom.proc_lib.init_ack("ready")
        >>> async def main():
        ...     value, ref = await transom.proc_lib.start_monitor(desk)
        ...     return value, (await transom.receive(ref)).reason
        >>> transom.run(main)
        ('ready', 'normal')

    Source: proc_lib:start_monitor/5.
    """
    return _operation("start_monitor", fn, args, kwargs, timeout, options, initial_call)


def _operation(
    kind: Kind,
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any] | None,
    timeout: float | None,
    options: SpawnOptions | None,
    initial_call: str | None,
) -> Operation[Any]:
    if not callable(fn):
        raise TypeError(f"{kind}() takes the function to run first, not {type(fn).__name__}")
    if not isinstance(args, tuple):
        raise TypeError(f"{kind}() takes the arguments as a tuple, not {type(args).__name__}")
    entry = _run if inspect.iscoroutinefunction(fn) else _run_plain
    call = initial_call or str(getattr(fn, "__qualname__", type(fn).__qualname__))
    named = dict(kwargs or {})

    def spawn(options: SpawnOptions, link: bool, origin: Origin, ack: Ref) -> Any:
        return _process.spawn_as(options, link, True, entry, origin, ack, fn, args, named)

    return operation(kind, spawn, timeout, options or SpawnOptions(), call)


type Spawn = Callable[[SpawnOptions, bool, Origin, Ref], Any]  # gives (Pid, Ref)


def operation(
    kind: Kind, spawn: Spawn, timeout: float | None, options: SpawnOptions, initial_call: str
) -> Operation[Any]:
    """The start of a process by spawn(options, link, origin, ack), which answers at ack as _run does."""
    if kind != "start":
        _demand_process(kind)

    async def steps(receive: Receive) -> Any:
        return await _start(receive, kind, spawn, timeout, options, initial_call)

    return Operation(steps)


def _demand_process(kind: Kind) -> None:
    _core.current_pid()  # raises NotInProcess
    if asyncio._get_running_loop() is not None:
        raise _errors.NotInProcess(f"{kind}() is for processes; in an asyncio program use start()")


async def _start(
    receive: Receive, kind: Kind, spawn: Spawn, timeout: float | None, options: SpawnOptions, initial_call: str
) -> Any:
    ack = _core.alias(mode="reply")
    try:
        link = options.link or kind == "start_link"
        pid, ref = spawn(options, link, origin_of_child(initial_call), ack)
    except _errors.NameTaken:
        _core.unalias(ack)
        holder = _core.whereis(options.name) if options.name is not None else None
        raise _errors.AlreadyStarted(options.name or "", holder) from None
    except BaseException:
        _core.unalias(ack)
        raise
    # The caller of start_monitor is to find the Down of its own reference.
    watch = _core.monitor(pid) if kind == "start_monitor" else ref
    try:
        answer = await receive(ack, watch, timeout=timeout)
    except TimeoutError:
        _core.unlink(pid)
        _core.kill(pid)
        answer = (ack, "fail", "timeout")
    except BaseException:
        _core.unalias(ack)
        raise
    if isinstance(answer, tuple) and answer[1] == "ok":
        _core.demonitor(watch, flush=True)
        return (answer[2], ref) if kind == "start_monitor" else answer[2]
    await _clear_away(receive, pid, ack, watch, answer)
    return _failure(kind, ref, pid, answer)


async def _clear_away(receive: Receive, pid: Pid, ack: Ref, watch: Ref, answer: Any) -> None:
    """Wait until the failed process is gone and take from the mailbox what it left there."""
    _core.unalias(ack)
    if not isinstance(answer, _core.Down):
        await receive(watch)  # the last signal: an answer that came too late is here by now
    _core.unlink(pid)
    for leftover in (ack, functools.partial(_is_exit_of, pid)):
        try:
            await receive(leftover, timeout=0)
        except TimeoutError:
            continue


def _is_exit_of(pid: Pid, message: Any) -> bool:
    return isinstance(message, _core.Exit) and message.sender == pid


def _failure(kind: Kind, ref: Ref, pid: Pid, answer: Any) -> Any:
    keep = ref if kind == "start_monitor" else None
    if isinstance(answer, _core.Down):
        reason = answer.reason
    elif answer[1] == "ignore":
        return (None, ref) if kind == "start_monitor" else None
    else:
        reason = answer[2]
    raise _errors.StartError(reason, keep) from (reason.exception if isinstance(reason, _values.Crash) else None)
