"""isolated(): run a function that cannot be trusted in an OS process of its own.

Protocol    The owner pickles the call and starts a warden, a process that lives as long as the call. The warden
            monitors the owner, hands the call to the port (_isolated_pool.py), and waits for the outcome, the time
            limit, or the owner's Down. However it ends, it tells the port, which kills the worker if it is still at
            it. The outcome goes to the owner by the alias of its monitor; the owner reads the reply's bytes itself.
"""

from __future__ import annotations

import inspect
import math
import pickle
import signal
from collections.abc import Callable
from typing import Any

from transom import _core, _errors, _isolated_data, _isolated_pool, _values
from transom._core import Down, Pid, Ref
from transom._isolated_pool import OUTCOME, Job
from transom._operation import Operation, Receive, of_steps

SECONDS = 60.0
MEMORY = 1 << 30
MAX_RESULT = 1 << 26
_BEGIN = "$isolated_begin"


def isolated(
    fn: Callable[..., Any] | str,
    /,
    *args: Any,
    timeout: float | None = SECONDS,
    memory: int | None = MEMORY,
    max_result: int = MAX_RESULT,
    returns: tuple[type[Any], ...] = (),
    fresh: bool = False,
    **kwargs: Any,
) -> Operation[Any]:
    """Run a function in another OS process, which may crash, hang or eat memory without harm to this one.

    Await it in a process or an asyncio program, or ask for its ``result()`` in plain functions. The caller waits;
    other processes go on. The worker is killed (SIGKILL, with all it started in its session) when the caller ends,
    when the time is over, and when the node ends.

    The call is pickled, so the worker gets copies. What it gives back is untrusted: it is read as plain data and
    never unpickled. This contains accidents, it is no jail: the worker has this program's user, files, network and
    environment.

    Args:
        fn: A plain function that can be imported, or its name as ``"package.module:function"``; then this program
            need not import the module.
        args: Its arguments; whatever can be pickled.
        timeout: Seconds, > 0, waiting for a worker included; None for no limit. Default 60.
        memory: Bytes of address space it may take beyond what a fresh worker has (RLIMIT_AS); None for no limit.
            Default 1 GiB.
        max_result: Bytes its result may have when written down. Default 64 MiB.
        returns: Dataclasses, enums and exceptions that the result may hold beside None, numbers, str, bytes,
            bytearray, list, tuple, dict, set, frozenset, dates and times, Decimal, UUID and numpy arrays.
        fresh: Use a worker that has run nothing before, and end it afterwards. Else a worker runs one call after
            another, and one call can see what an earlier one has left behind.
        kwargs: Its keyword arguments.

    Returns:
        An Operation whose result is what fn returned.

    Raises:
        CallTimeout: It took too long.
        CallError: It failed. ``reason`` is a Crash when it raised (MemoryError: over its limit), ``("signal",
            "SIGSEGV")`` when a signal ended it, ``("exit", status)`` when it ended its OS process,
            ``("refused", text)`` when no worker could be started or the reply was too large or no reply.
        TypeError: fn or an argument cannot be copied to the worker; the text names it. Or the result holds a class
            that is not in returns.

    Example:
        >>> import math, transom
        >>> async def main():
        ...     return await transom.isolated(math.factorial, 20, timeout=30)
        >>> transom.run(main)
        2432902008176640000

    Source: OTP's ports (erlang:open_port/2): an outside program that dies with the process that owns it.
    """
    _check(timeout, memory, max_result, returns)
    data = _pickled(fn, args, kwargs)
    name = _name(fn)

    async def steps(receive: Receive) -> Any:
        job = (data, memory or 0, bool(fresh), max_result)
        warden = _core.spawn(_warden, _core.current_pid(), job, timeout)
        ref = _core.monitor(warden, alias="reply_demonitor")
        _core.send(warden, (_BEGIN, ref))
        try:
            outcome = await receive(ref)
        except TimeoutError:  # result(timeout)
            _core.demonitor(ref, flush=True)
            _core.kill(warden)
            await _drop(ref, receive)
            raise
        if isinstance(outcome, Down):
            raise _errors.CallError(f"isolated {name}: its warden ended, reason {outcome.reason!r}", outcome.reason)
        return _result(name, outcome[1:], returns)

    return of_steps(steps)


def isolated_info() -> dict[str, Any]:
    """Figures on the OS processes of ``isolated``.

    Callable from any thread and process; blocks nobody.

    Returns:
        A dict: ``size`` (how many workers there may be), ``workers`` (how many there are), ``busy``, ``waiting``
        (calls without a worker yet); since the first call: ``calls``, ``crashed`` (workers that ended under a
        call), ``killed`` (for an owner that ended or a time that was over), ``spawned``; and ``pids``, the OS
        process numbers. Empty when this node has made no isolated call.

    Example:
        >>> import transom
        >>> async def main():
        ...     await transom.isolated(len, "four")
        ...     return transom.isolated_info()["calls"]
        >>> transom.run(main)
        1

    Source: erlang:port_info/1, of a pool.
    """
    port = _isolated_pool.current()
    return {} if port is None else port.info()


# -- in the caller -----------------------------------------------------------------------------------------------------


def _check(timeout: Any, memory: Any, max_result: Any, returns: Any) -> None:
    if timeout is not None and not (isinstance(timeout, int | float) and timeout > 0):
        raise ValueError(f"isolated(): timeout must be > 0 seconds or None, not {timeout!r}")
    for what, value in (("memory", memory), ("max_result", max_result)):
        if value is None and what == "memory":
            continue
        if type(value) is not int:
            raise TypeError(f"isolated(): {what} must be an int of bytes, not {value!r}")
        if not 0 < value < 1 << 62:
            raise ValueError(f"isolated(): {what} must be a positive number of bytes, not {value}")
    if not isinstance(returns, tuple) or not all(isinstance(kind, type) for kind in returns):
        raise TypeError(f"isolated(): returns must be a tuple of classes, not {returns!r}")


def _name(fn: Any) -> str:
    return fn if isinstance(fn, str) else f"{getattr(fn, '__qualname__', None) or type(fn).__qualname__}()"


def _pickled(fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    if isinstance(fn, str):
        module, colon, path = fn.partition(":")
        if not (module and colon and path):
            raise ValueError(f'isolated(): the name of a function is "package.module:function", not {fn!r}')
    elif not callable(fn) or inspect.iscoroutinefunction(fn):
        what = "a coroutine function" if callable(fn) else type(fn).__name__
        raise TypeError(f"isolated() takes a plain function to run first, not {what}")
    try:
        return pickle.dumps((fn, args, kwargs), protocol=5)
    except Exception:
        _name_culprit(fn, args, kwargs)
        raise


def _name_culprit(fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    named = [("the function", fn)]
    named += [(f"argument {number}", arg) for number, arg in enumerate(args, 1)]
    named += [(f"argument {key!r}", arg) for key, arg in kwargs.items()]
    for what, value in named:
        try:
            pickle.dumps(value, protocol=5)
        except Exception as error:
            hint = "; define it at the top level of a module" if value is fn else ""
            raise TypeError(
                f"isolated(): {what} of {_name(fn)}, a {type(value).__qualname__}, "
                f"cannot be copied to another OS process: {error}{hint}"
            ) from error


def _result(name: str, outcome: tuple[Any, ...], returns: tuple[type[Any], ...]) -> Any:
    match outcome:
        case ("reply", kind, data):
            return _read(name, kind, data, returns)
        case ("timeout", seconds):
            raise _errors.CallTimeout(
                f"isolated {name}: not done within {seconds} s; its OS process is killed", "timeout"
            )
        case ("gone", int(status)) if status < 0:
            reason = ("signal", _signal_name(-status))
            raise _errors.CallError(f"isolated {name}: its OS process was ended by {reason[1]}", reason)
        case ("gone", status):
            raise _errors.CallError(f"isolated {name}: it ended its OS process, status {status}", ("exit", status))
        case (_, why):
            raise _errors.CallError(f"isolated {name}: {why}", ("refused", why))
    raise AssertionError(outcome)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _read(name: str, kind: int, data: bytes, returns: tuple[type[Any], ...]) -> Any:
    try:
        if kind == _isolated_data.VALUE:
            return _isolated_data.decode(data, returns)
        error, text = _isolated_data.decode_exception(data, returns)
    except ValueError as broken:
        raise _errors.CallError(f"isolated {name}: its reply is no reply: {broken}", ("refused", str(broken))) from None
    crash = _values.Crash(error, text)
    raise _errors.CallError(f"isolated {name}: it raised {crash.summary()}\n{text.rstrip()}", crash) from error


async def _drop(ref: Ref, receive: Receive) -> None:
    try:
        await receive(ref, timeout=0)
    except TimeoutError:
        pass


# -- the warden --------------------------------------------------------------------------------------------------------


def _is_for_warden(message: Any) -> bool:
    return type(message) is Down or (type(message) is tuple and len(message) > 1 and message[0] in (OUTCOME, _BEGIN))


async def _warden(owner: Pid, what: tuple[bytes, int, bool, int], timeout: float | None) -> None:
    _core.set_label("warden of an isolated call")
    _core.monitor(owner)
    begin = await _core.receive(_is_for_warden)
    if type(begin) is Down:
        return
    port = _isolated_pool.port()
    job = Job(_core.current_pid(), *what)
    outcome: Any = None
    try:
        port.submit(job)
        outcome = await _core.receive(_is_for_warden, timeout=None if timeout == math.inf else timeout)
    except TimeoutError:
        outcome = (OUTCOME, "timeout", timeout)
        port.cancel(job)
    finally:
        if outcome is None or type(outcome) is Down:
            port.cancel(job)
    if type(outcome) is not Down:
        _core.send(begin[1], outcome)
