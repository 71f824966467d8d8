"""Look into running agents and change them: OTP's sys.

Each function takes a reference, a Pid or a registered name (``dest``) and returns an Operation: await it in a process or an
asyncio program, or ask for its ``result()``. It is handled between two messages; an agent in the middle of a handler
answers when that is done. ``timeout`` is in seconds, 5 by default; None waits for ever. Errors are those of calls
(CallError).

    >>> import transom
    >>> class Counter(transom.Agent):
    ...     def init(self): self.n = 0
    ...     def add(self, k): self.n += k; return self.n
    >>> async def main():
    ...     c = await Counter.start_link()
    ...     _ = await transom.sys.statistics(c, True), await transom.sys.log(c, 2)
    ...     await transom.sys.trace(c, False)
    ...     await c.add(2)
    ...     print((await transom.sys.statistics(c))["messages_in"], len(await transom.sys.log(c)))
    ...     await transom.sys.suspend(c)
    ...     print(await transom.sys.replace_state(c, lambda state: {"n": 40}))
    ...     await transom.sys.resume(c)
    ...     print(await c.add(2), await transom.sys.get_state(c), (await transom.sys.get_status(c))["status"])
    ...     await transom.sys.terminate(c)
    >>> transom.run(main)
    1 2
    {'n': 40}
    42 {'n': 42} running
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, overload

from transom import _sys
from transom._operation import Operation

if TYPE_CHECKING:
    from transom._statem import StateMachine


def suspend(dest: Any, *, timeout: float | None = _sys.TIMEOUT_SECONDS) -> Operation[None]:
    """Stop handling messages until ``resume``: they queue up, and calls time out.

    Example:
        >>> import transom
        >>> class Counter(transom.Agent):
        ...     def init(self): self.n = 0
        >>> async def main():
        ...     c = await Counter.start_link()
        ...     await transom.sys.suspend(c)
        ...     await transom.sys.replace_state(c, lambda state: {**state, "n": 5})
        ...     await transom.sys.resume(c)
        ...     return await transom.sys.get_state(c)
        >>> transom.run(main)
        {'n': 5}

    Source: sys:suspend/2.
    """
    return _sys.ask(dest, "suspend", None, timeout)


def resume(dest: Any, *, timeout: float | None = _sys.TIMEOUT_SECONDS) -> Operation[None]:
    """Go on after ``suspend``. Source: sys:resume/2."""
    return _sys.ask(dest, "resume", None, timeout)


@overload
def get_state(  # pyright: ignore[reportOverlappingOverload]
    dest: StateMachine, *, timeout: float | None = ...
) -> Operation[tuple[Any, dict[str, Any]]]: ...
@overload
def get_state(dest: Any, *, timeout: float | None = ...) -> Operation[dict[str, Any]]: ...
def get_state(dest: Any, *, timeout: float | None = _sys.TIMEOUT_SECONDS) -> Operation[Any]:
    """A copy of the attributes of an agent; of a state machine (state, attributes). Works while it is suspended, too.

    Source: sys:get_state/2.
    """
    return _sys.ask(dest, "get_state", None, timeout)


@overload
def replace_state(  # pyright: ignore[reportOverlappingOverload]
    dest: StateMachine,
    change: Callable[[tuple[Any, dict[str, Any]]], tuple[Any, dict[str, Any]]],
    *,
    timeout: float | None = ...,
) -> Operation[tuple[Any, dict[str, Any]]]: ...
@overload
def replace_state(
    dest: Any, change: Callable[[dict[str, Any]], dict[str, Any]], *, timeout: float | None = ...
) -> Operation[dict[str, Any]]: ...
def replace_state(
    dest: Any, change: Callable[[Any], Any], *, timeout: float | None = _sys.TIMEOUT_SECONDS
) -> Operation[Any]:
    """Replace the attributes of an agent by what change(attributes) returns; gives the new ones. Of a state machine
    change((state, attributes)) returns both; that is no change of the state as its own: nothing is retried or entered.

    change runs in the agent. If it raises, the state stays as it is and CallError(("callback_failed", ...)) is raised here.

    Source: sys:replace_state/3.
    """
    return _sys.ask(dest, "replace_state", change, timeout)


def get_status(dest: Any, *, timeout: float | None = _sys.TIMEOUT_SECONDS) -> Operation[dict[str, Any]]:
    """Class, status, parent, ancestors, name, log, and the state as ``format_status`` of the agent shows it.

    Source: sys:get_status/2.
    """
    return _sys.ask(dest, "get_status", None, timeout)


def terminate(dest: Any, reason: Any = "normal", *, timeout: float | None = _sys.TIMEOUT_SECONDS) -> Operation[None]:
    """Order an agent to run ``terminate`` and end with this reason. Source: sys:terminate/3."""
    return _sys.ask(dest, "terminate", reason, timeout)


def log(
    dest: Any, length: int | None = _sys.LOG_LENGTH, *, timeout: float | None = _sys.TIMEOUT_SECONDS
) -> Operation[list[tuple[str, str]]]:
    """Keep the last events of an agent; gives those kept so far, oldest first, as ``("in" or "out", text)``.

    Args:
        dest: The agent.
        length: How many, from now on; None stops it.
        timeout: Seconds to wait for its answer.

    Source: sys:log/3.
    """
    if length is not None and (type(length) is not int or length < 1):
        raise ValueError(f"sys.log: length must be an int of 1 or more, or None, not {length!r}")
    return _sys.ask(dest, "log", length, timeout)


def trace(dest: Any, on: bool, *, timeout: float | None = _sys.TIMEOUT_SECONDS) -> Operation[None]:
    """Log each event of an agent to the logger ``transom.trace`` (level INFO), from now on or (``on`` False) no more.

    Source: sys:trace/3.
    """
    return _sys.ask(dest, "trace", bool(on), timeout)


def statistics(
    dest: Any, on: bool | None = None, *, timeout: float | None = _sys.TIMEOUT_SECONDS
) -> Operation[dict[str, Any] | None]:
    """Count messages.

    Args:
        dest: The agent.
        on: True starts, False ends, None asks.
        timeout: Seconds to wait for its answer.

    Returns:
        The counts when asked, None when it is off.

    Source: sys:statistics/3.
    """
    return _sys.ask(dest, "statistics", on, timeout)
