"""Calls to agents: their errors, calls from outside of processes, and many calls at once."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, overload

from transom import _core, _errors, _values
from transom._operation import Operation, Receive, awaited_outside, of_steps, result_outside

if TYPE_CHECKING:
    from transom._core import Call


@dataclass(frozen=True, slots=True)
class Refused:
    """An answer that is an error: the agent could not take the call, and lives on."""

    reason: Any


HINTS = {
    "noproc": "it is not alive, or was never started",
    "timeout": "no answer in time; it may still be at work. Give more time: method.options(timeout=60)(...)",
    "queue_full": 'it has max_queue messages waiting and refuses more (on_full="reject"); try later',
    "calling_self": "an agent cannot wait for itself; call the method directly: self.method(...)",
}


def error_of(call: Call[Any], reason: Any) -> _errors.CallError:
    """The exception for a call that failed. Called by the core."""
    if type(reason) is Refused:
        reason = reason.reason
    where = f"call of {call._method}() to {call._to}"
    if isinstance(reason, _values.Crash):
        error = _errors.CallError(f"{where}: it crashed: {reason.summary()}\n{reason.traceback.rstrip()}", reason)
        error.__cause__ = reason.exception
        return error
    hint = HINTS.get(reason) if isinstance(reason, str) else None
    if isinstance(reason, tuple) and len(reason) == 2 and reason[0] == "undef":
        hint = f"it has no such method; it is a {reason[1]}"
    if isinstance(reason, tuple) and len(reason) == 2 and reason[0] == "cycle":
        hint = "agents wait for each other in a circle: " + " -> ".join(map(str, reason[1]))
    kind = _errors.CallTimeout if reason == "timeout" else _errors.CallError
    return kind(f"{where}: {hint or f'it ended, reason {reason!r}'}", reason)


def check_arguments(function: Any, agent: type[Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Raise TypeError when the method does not take these arguments. Called by the core, which believes so."""
    try:
        # The function itself, not what it wraps: that is what will be called.
        inspect.signature(function, follow_wrapped=False).bind(None, *args, **kwargs)
    except TypeError as error:
        raise TypeError(f"{agent.__qualname__}.{function.__name__}(): {error}") from None


def _as_steps(call: Call[Any]) -> Any:
    async def steps(receive: Receive) -> Any:
        return await call

    return steps


def outside(call: Call[Any]) -> Generator[Any, Any, Any]:
    """await call, in no process. Called by the core."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise _errors.NotInProcess(
            "a call is awaited in a process or in an asyncio program; in plain code use its result()"
        ) from None
    return awaited_outside(_as_steps(call)).__await__()


def blocking(call: Call[Any]) -> Any:
    """call.result(), in no process. Called by the core."""
    return result_outside(_as_steps(call), None)


@overload
def gather[R](*calls: Call[R], return_exceptions: Literal[False] = ...) -> Operation[list[R]]: ...
@overload
def gather[R](*calls: Call[R], return_exceptions: bool) -> Operation[list[R | _errors.CallError]]: ...
def gather(*calls: Call[Any], return_exceptions: bool = False) -> Operation[list[Any]]:
    """Make several calls at once and collect the answers, in the order of the calls.

    All are sent before the first answer is waited for. Await the result, or ask for its ``result()``.

    Args:
        calls: Calls not yet sent, or sent by the same process. Each has its own time limit, from now on.
        return_exceptions: Put the CallError of a failed call into the list. Else the first one in order is raised,
            and answers to the others never reach the mailbox.

    Raises:
        CallError: A call failed.

    Example:
        >>> import transom
        >>> class Twice(transom.Agent):
        ...     def of(self, n): return 2 * n
        >>> async def main():
        ...     a, b = await Twice.start_link(), await Twice.start_link()
        ...     return await transom.gather(a.of(1), b.of(2))
        >>> transom.run(main)
        [2, 4]

    Source: gen_server:send_request and receive_response.
    """
    for call in calls:
        if not isinstance(call, _core.Call):
            raise TypeError(f"gather() takes calls to agents, not {type(call).__name__}")

    async def steps(receive: Receive) -> list[Any]:
        return await _gather(receive, calls, return_exceptions)

    return of_steps(steps)


async def _gather(receive: Receive, calls: tuple[Call[Any], ...], return_exceptions: bool) -> list[Any]:
    try:
        return await _collect(receive, calls, return_exceptions)
    except Exception:  # also of a call that cannot be sent
        await _abandon(receive, calls)
        raise


async def _collect(receive: Receive, calls: tuple[Call[Any], ...], return_exceptions: bool) -> list[Any]:
    answers: list[Any] = []
    failed: dict[int, _errors.CallError] = {}
    for n, call in enumerate(calls):
        try:
            if call._ref is None:
                call.send()
        except _errors.CallError as error:
            failed[n] = error
            if not return_exceptions:
                break
    for n, call in enumerate(calls):
        try:
            if n in failed:
                raise failed[n]
            answers.append(await _answer(receive, call))
        except _errors.CallError as error:
            if not return_exceptions:
                raise
            answers.append(error)
    return answers


async def _answer(receive: Receive, call: Call[Any]) -> Any:
    # A plain function waits with its thread; everybody else awaits.
    return await call if receive is _core.receive else call.result()


async def _abandon(receive: Receive, calls: tuple[Call[Any], ...]) -> None:
    """Nobody waits for these answers any more. Calls that another process has sent are its own."""
    me = _core.current_pid()
    for call in calls:
        if call._ref is not None and call._from == me:
            call._over()
            _core.demonitor(call._ref, flush=True)
            try:
                await receive(call._ref, timeout=0)
            except TimeoutError:
                continue
