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

from collections.abc import Callable, Generator, Mapping
from typing import Any, Literal, NoReturn

from transom import _core, _errors, _operation, _process, _values
from transom._core import Ref
from transom._operation import Operation, Receive
from transom._values import SpawnOptions

type Kind = Literal["start", "start_link", "start_monitor"]

# -- in the process that is started ------------------------------------------------------------------------------------

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
    _core._init_ack(value)


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
    _core._init_ignore()
    raise _errors.Stop("normal")


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
    return how("start", fn, args, timeout, options, initial_call).start(*args, **(kwargs or {}))


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
    return how("start_link", fn, args, timeout, options, initial_call).start_link(*args, **(kwargs or {}))


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
    return how("start_monitor", fn, args, timeout, options, initial_call).start_monitor(*args, **(kwargs or {}))


def how(
    kind: Kind,
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    timeout: float | None,
    options: SpawnOptions | None,
    initial_call: str | None,
) -> _core._How:
    """How to start a process that runs fn; raises TypeError for what nobody can run."""
    if not callable(fn):
        raise TypeError(f"{kind}() takes the function to run first, not {type(fn).__name__}")
    if not isinstance(args, tuple):
        raise TypeError(f"{kind}() takes the arguments as a tuple, not {type(args).__name__}")
    options = options or SpawnOptions()
    call = initial_call or str(getattr(fn, "__qualname__", type(fn).__qualname__))
    return _core._How(fn, None, 0, call, timeout, options.link, *_process.core_options(options))


# -- what the core calls -----------------------------------------------------------------------------------------------


class Start(_core._Start, Operation[Any]):
    """A start that nobody has asked for yet; what it waits for is in ext/bind/tsm_start.c."""

    __slots__ = ()

    async def _steps(self, receive: Receive) -> Any:
        return await self if receive is _core.receive else self.result()


def demand_process(kind: Kind) -> None:
    """Raise NotInProcess unless the caller is a process that runs no event loop."""
    _core.current_pid()  # raises NotInProcess
    if _operation.running_loop() is not None:
        raise _errors.NotInProcess(f"{kind}() is for processes; in an asyncio program use start()")


def outside(start: Start) -> Generator[Any, Any, Any]:
    """await start, in no process."""
    return _operation.awaited_outside(start._steps).__await__()


def blocking(start: Start, timeout: float | None) -> Any:
    """start.result(timeout), in no process."""
    if _operation.in_process():
        raise _errors.NotInProcess("result() blocks; on an event loop await the start")
    return _operation.result_outside(start._steps, timeout)


def error_of(reason: Any, ref: Ref | None) -> _errors.StartError:
    """What a start raises whose process ended with this reason before it was ready."""
    error = _errors.StartError(reason, ref)
    error.__cause__ = reason.exception if isinstance(reason, _values.Crash) else None
    return error


def taken(name: str) -> _errors.AlreadyStarted:
    """What a start raises whose name somebody has."""
    error = _errors.AlreadyStarted(name, _core.whereis(name))
    error.__suppress_context__ = True
    return error
