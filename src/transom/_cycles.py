"""Finding agents that wait for each other in a circle, which without it end by a time-out.

Each call that is waited for is noted as "who waits -> the call"; then the caller walks from the agent it calls along
these notes. As everybody notes before walking, whoever closes a circle sees it. A call that has been answered, or is
to be answered by somebody else (defer), is no edge.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transom import _core

if TYPE_CHECKING:
    from transom._core import Call

PURGE_LENGTH = 10_000

_waiting: dict[_core.Pid, Call[Any]] = {}


def detect_call_cycles(on: bool) -> bool:
    """Report calls that would wait for each other in a circle; returns the setting before.

    With it the call that closes a circle raises CallError(("cycle", pids)) at once, for all nodes of this program.
    Without it (the default) such a call ends by its time-out. Costs about a microsecond a call. Callable from any
    thread; does not block.

    Args:
        on: Whether to.

    Example:
        >>> import transom
        >>> before = transom.detect_call_cycles(True)
        >>> transom.detect_call_cycles(before)
        True

    Source: none in OTP.
    """
    if not isinstance(on, bool):
        raise TypeError(f"detect_call_cycles() takes True or False, not {on!r}")
    _waiting.clear()
    return _core._watch_calls(on)


def watch(call: Call[Any]) -> Any:
    """The caller is about to wait for call: None, or the circle this would close. Called by the core."""
    me, target = _core.current_pid(), call._pid
    if isinstance(call._to, str):
        target = _core.whereis(call._to)
    if target is None:
        return None
    if len(_waiting) > PURGE_LENGTH:
        for pid in [pid for pid in tuple(_waiting) if not _core.is_alive(pid)]:
            _waiting.pop(pid, None)
    _waiting[me] = call
    path = [me, target]
    while (on := _waiting.get(path[-1])) is not None and on._open and on._pid is not None:
        path.append(on._pid)
        if path[-1] == me:
            _waiting.pop(me, None)
            return ("cycle", path)
        if path[-1] in path[:-1]:
            break
    return None


def unwatch(call: Call[Any]) -> None:
    """The wait is over. Called by the core."""
    _waiting.pop(_core.current_pid(), None)
