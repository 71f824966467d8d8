"""The plain values of the API."""

from __future__ import annotations

import copy
import os
import traceback as _traceback
from dataclasses import dataclass
from typing import Any, Literal

from transom import _foreign

Priority = Literal["low", "normal", "high", "max"]
PRIORITIES: tuple[Priority, ...] = ("low", "normal", "high", "max")
OnFull = Literal["drop", "reject", "kill", "wait"]
ON_FULL: tuple[OnFull, ...] = ("drop", "reject", "kill", "wait")

MIN_HEAP = 4096
MAX_HEAP = 1 << 60
MAX_QUEUE = (1 << 31) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SpawnOptions:
    """How ``spawn_opt`` starts a process.

    Attributes:
        link: Link the child to the caller, in one step with starting it.
        monitor: Monitor it; ``spawn_opt`` then returns ``(Pid, Ref)``.
        name: Register it under this name before it runs.
        priority: ``"low"``, ``"normal"``, ``"high"`` or ``"max"``. While a high process can run no normal one
            does; avoid ``"high"`` and ``"max"``.
        max_heap: Bytes it may hold: its objects, messages and numpy data, 4,096 or more. Over it, the process
            ends at its next safe point with reason ``"killed"`` and a report of the biggest holders; a single
            request above it (``bytearray(10**10)``) raises MemoryError in this process. None: no limit.
        max_queue: Messages that may wait for it, 1 or more; None: no limit. Other signals, and messages through
            an alias (replies), do not count and are never held up.
        on_full: What becomes of one more. ``"drop"``: it is dropped, and counted (``process_info``, ``dropped``).
            ``"reject"``: ``send`` and ``.cast`` raise ``QueueFull``, a call to an agent CallError("queue_full").
            ``"kill"``: the receiver ends with reason ``"killed"``.
            ``"wait"``: ``send`` waits for room, with its OS thread; where that would be for ever (to itself, in
            a ring of waiting processes) or cannot be (thread cap, an event loop's thread), it raises
            ``QueueFull``. Of a timer's message nobody can be told: it is dropped under ``"reject"``, and let in under ``"wait"``, as are calls to
            agents, whose senders wait anyway. A call that is dropped ends with CallTimeout.
        trap_exit: It starts with ``trap_exit(True)``.
        pinned: It stays on one OS thread, for libraries with thread-local state. Costs a thread.
        label: Text for reports, see ``set_label``.

    Example:
        >>> import transom
        >>> async def main():
        ...     options = transom.SpawnOptions(name="clerk", monitor=True, max_queue=1000)
        ...     pid, ref = transom.spawn_opt(options, transom.receive)
        ...     return transom.whereis("clerk") == pid
        >>> transom.run(main)
        True

    Source: the options of erlang:spawn_opt/4.
    """

    link: bool = False
    monitor: bool = False
    name: str | None = None
    priority: Priority = "normal"
    max_heap: int | None = None
    max_queue: int | None = None
    on_full: OnFull = "drop"
    trap_exit: bool = False
    pinned: bool = False
    label: str | None = None

    def __post_init__(self) -> None:
        for field in ("link", "monitor", "trap_exit", "pinned"):
            if not isinstance(getattr(self, field), bool):
                raise TypeError(f"SpawnOptions: {field} must be True or False, not {getattr(self, field)!r}")
        if self.priority not in PRIORITIES:
            raise ValueError(f"SpawnOptions: priority must be one of {', '.join(PRIORITIES)}, not {self.priority!r}")
        if self.name is not None and (type(self.name) is not str or not self.name):
            raise TypeError(f"SpawnOptions: name must be a non-empty str, not {self.name!r}")
        if self.label is not None and type(self.label) is not str:
            raise TypeError(f"SpawnOptions: label must be a str, not {self.label!r}")
        _check_limit("max_heap", self.max_heap, MIN_HEAP, MAX_HEAP)
        _check_limit("max_queue", self.max_queue, 1, MAX_QUEUE)
        if self.on_full not in ON_FULL:
            raise ValueError(f"SpawnOptions: on_full must be one of {', '.join(ON_FULL)}, not {self.on_full!r}")


def _check_limit(what: str, value: int | None, low: int, high: int) -> None:
    if value is None:
        return
    if type(value) is not int:
        raise TypeError(f"SpawnOptions: {what} must be an int or None, not {value!r}")
    if not low <= value <= high:
        raise ValueError(f"SpawnOptions: {what} must be between {low:,} and {high:,}, not {value:,}")


class Crash:
    """The exit reason of a process that an uncaught exception ended.

    Attributes:
        exception: A copy of the exception, without its traceback.
        traceback: The traceback as text.

    Two crashes are equal when their exceptions have the same type and arguments.

    Example:
        >>> import transom
        >>> async def broken():
        ...     raise ValueError("no such luck")
        >>> async def main():
        ...     _, ref = transom.spawn_monitor(broken)
        ...     return (await transom.receive(ref)).reason
        >>> import logging; logging.getLogger("transom").setLevel(logging.CRITICAL)
        >>> transom.run(main)
        Crash(ValueError('no such luck'))

    Source: Erlang's {Reason, Stacktrace}.
    """

    __slots__ = ("exception", "traceback")
    __match_args__ = ("exception", "traceback")
    exception: BaseException
    traceback: str

    def __init__(self, exception: BaseException, traceback: str = "") -> None:
        object.__setattr__(self, "exception", exception)
        object.__setattr__(self, "traceback", traceback)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Crash is immutable: {name} cannot be set")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a Crash is immutable: {name} cannot be deleted")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Crash):
            return NotImplemented
        mine, theirs = self.exception, other.exception
        return type(mine) is type(theirs) and bool(mine.args == theirs.args)

    def __hash__(self) -> int:
        return hash((type(self.exception), _printed(self.exception.args)))

    def __repr__(self) -> str:
        return f"Crash({_printed(self.exception)})"

    def summary(self) -> str:
        """The exception on one line, as the last line of its traceback."""
        return _traceback.format_exception_only(self.exception)[-1].strip()

    def __copy__(self) -> Crash:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Crash:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return (Crash, (self.exception, self.traceback))


_HOME = os.path.dirname(__file__) + os.sep


def make_crash(exception: BaseException) -> Crash:
    """The Crash of an exception just caught: a detached copy and the traceback's text."""
    _foreign.note_no_loop(exception)
    frames = exception.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(_HOME):
        frames = frames.tb_next  # ours, around the program's
    if frames is None:
        frames = exception.__traceback__
    return Crash(_detached(exception), "".join(_traceback.format_exception(type(exception), exception, frames)))


def _detached(exception: BaseException) -> BaseException:
    """A copy that shares no mutable state with the dead process, whatever its constructor takes."""
    kind = type(exception)
    try:
        args = copy.deepcopy(exception.args)
        state = copy.deepcopy(exception.__dict__)
    except Exception:
        args, state = tuple(_printed(arg) for arg in exception.args), {}
    try:
        twin = kind.__new__(kind, *args)
        twin.args = args
        twin.__dict__.update(state)
        repr(twin)  # one that cannot even be printed is of no use to its readers
        return twin
    except Exception:
        return RuntimeError(f"{kind.__module__}.{kind.__qualname__}{args}")


def _printed(value: object) -> str:
    try:
        return repr(value)
    except Exception:
        return f"<{type(value).__qualname__} object>"
