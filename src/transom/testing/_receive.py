"""assert_receive and refute_receive, and the patterns they take."""

from __future__ import annotations

import reprlib
from collections.abc import Callable
from types import UnionType
from typing import Any

from transom import _core
from transom._operation import Operation, Receive, of_steps
from transom._start import pid_of

ASSERT_SECONDS = 5.0
REFUTE_SECONDS = 0.1

_short = reprlib.Repr(maxlevel=4, maxstring=200, maxother=200, maxlist=20, maxtuple=20, maxdict=20)


def assert_receive(*patterns: Any, timeout: float = ASSERT_SECONDS) -> Operation[Any]:
    """A message like this comes; await it, or ask for its ``result()`` in a plain function.

    Args:
        patterns: Each a type, a Ref, a predicate, or a value to compare with; within tuples, lists and dicts these are
            compared item by item, and ``...`` stands for anything. None given: any message.
        timeout: Seconds it may take, >= 0; 0 looks at what is there.

    Returns:
        The message, taken out of the mailbox.

    Raises:
        AssertionError: None came in time; the text shows the mailbox.

    Example:
        >>> import transom
        >>> from transom.testing import assert_receive, run_test
        >>> async def test():
        ...     transom.send(transom.current_pid(), ("done", 42))
        ...     return await assert_receive(("done", ...))
        >>> run_test(test)
        ('done', 42)

    Source: ExUnit.Assertions.assert_receive/3.
    """
    wanted = [_match(pattern) for pattern in patterns]

    async def steps(receive: Receive) -> Any:
        try:
            return await receive(*wanted, timeout=timeout)
        except TimeoutError:
            pass
        like = f" like {' or '.join(_shown(p) for p in patterns)}" if patterns else ""
        raise AssertionError(f"no message{like} within {timeout} s; {_mailbox()}")

    return of_steps(steps)


def refute_receive(*patterns: Any, timeout: float = REFUTE_SECONDS) -> Operation[None]:
    """No message like this comes; await it, or ask for its ``result()`` in a plain function.

    Args:
        patterns: As for ``assert_receive``.
        timeout: Seconds to wait for one, >= 0.

    Raises:
        AssertionError: One came; it is taken out of the mailbox.

    Source: ExUnit.Assertions.refute_receive/3.
    """
    wanted = [_match(pattern) for pattern in patterns]

    async def steps(receive: Receive) -> None:
        try:
            message = await receive(*wanted, timeout=timeout)
        except TimeoutError:
            return
        raise AssertionError(f"an unexpected message came: {_short.repr(message)}")

    return of_steps(steps)


def assert_down(process: Any, reason: Any = ..., *, timeout: float = ASSERT_SECONDS) -> Operation[Any]:
    """A process ends; await it, or ask for its ``result()`` in a plain function.

    Args:
        process: Pid or reference of a process; it may be dead already (reason ``"noproc"``).
        reason: A pattern for its exit reason, as for ``assert_receive``; an exception type also fits a Crash with one.
        timeout: Seconds it may take, >= 0.

    Returns:
        The exit reason.

    Raises:
        AssertionError: It lives on, or ended with another reason.
    """

    async def steps(receive: Receive) -> Any:
        pid = pid_of(process)
        ref = _core.monitor(pid)
        try:
            down = await receive(ref, timeout=timeout)
        except TimeoutError:
            _core.demonitor(ref, flush=True)
            raise AssertionError(f"{process!r} is alive after {timeout} s") from None
        found = down.reason
        crashed = isinstance(reason, type) and isinstance(getattr(found, "exception", None), reason)
        if not crashed and not fits(reason, found):
            raise AssertionError(f"{process!r} ended with reason {_short.repr(found)}, not {_shown(reason)}")
        return found

    return of_steps(steps)


def _match(pattern: Any) -> Any:
    """The pattern as receive takes it."""
    if isinstance(pattern, type | UnionType | _core.Ref):
        return pattern
    return lambda message: fits(pattern, message)


def fits(pattern: Any, value: Any) -> bool:
    """Is the value like the pattern?"""
    if pattern is ...:
        return True
    if isinstance(pattern, type | UnionType):
        return isinstance(value, pattern)
    if isinstance(pattern, tuple | list):
        same = type(pattern) is type(value) and len(pattern) == len(value)
        return same and all(fits(one, other) for one, other in zip(pattern, value, strict=True))
    if isinstance(pattern, dict):
        same = isinstance(value, dict) and pattern.keys() == value.keys()
        return same and all(fits(one, value[key]) for key, one in pattern.items())
    if _is_predicate(pattern):
        return bool(pattern(value))
    return type(pattern) is type(value) and bool(pattern == value)


def _is_predicate(pattern: Any) -> bool:
    return isinstance(pattern, Callable) and not isinstance(pattern, _core._AgentRef)  # type: ignore[arg-type]


def _shown(pattern: Any) -> str:
    if isinstance(pattern, type):
        return pattern.__name__
    return "..." if pattern is ... else _short.repr(pattern)


def _mailbox() -> str:
    info = _core.process_info(_core.current_pid(), "messages")
    messages = [] if info is None else list(info["messages"])
    if not messages:
        return "the mailbox is empty"
    lines = "".join(f"\n  {_short.repr(message)}" for message in messages[:10])
    more = f"\n  ... and {len(messages) - 10} more" if len(messages) > 10 else ""
    return f"the mailbox has:{lines}{more}"
