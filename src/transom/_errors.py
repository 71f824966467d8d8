"""Every exception of the package."""

from __future__ import annotations

from typing import Any


class TransomError(Exception):
    """Base of transom's errors."""


class NotRunning(TransomError, RuntimeError):
    """No node is running: call ``run`` or ``start`` first."""


class AlreadyRunning(TransomError, RuntimeError):
    """A node is running in this OS process already; there is one at a time."""


class NotInProcess(TransomError, RuntimeError):
    """The operation works on the calling process, and the caller is none."""


class NoProcess(TransomError, LookupError):
    """The process is dead, or nobody has registered the name."""


class NameTaken(TransomError, ValueError):
    """The name is registered already, or the process has another one."""


class AlreadyStarted(NameTaken):
    """A start under a name that a live process has; nothing was started.

    Attributes:
        name: The name.
        pid: Who has it, or None when that one ended meanwhile.
    """

    def __init__(self, name: str, pid: Any) -> None:
        super().__init__(f"the name {name!r} is taken by {pid}; use that one, or start under another name")
        self.name = name
        self.pid = pid


class StartError(TransomError):
    """A process ended, or took too long, before it was ready.

    Attributes:
        reason: ``"timeout"``, or its exit reason. When that is a Crash, its exception is this one's cause.
        ref: Of a failed ``start_monitor``: the reference whose Down arrives; else None.
    """

    def __init__(self, reason: Any, ref: Any = None) -> None:
        super().__init__(_start_error_text(reason))
        self.reason = reason
        self.ref = ref


def _start_error_text(reason: Any) -> str:
    summary = getattr(reason, "summary", None)
    if callable(summary):
        return f"the process crashed before it was ready: {summary()}\n{reason.traceback.rstrip()}"
    if reason == "timeout":
        return "the process was not ready in time and was killed; give start a longer timeout, or make init quicker"
    if reason == "normal":
        return "the process ended normally before it was ready; was init_ack() forgotten?"
    return f"the process ended before it was ready, reason {reason!r}"


class CallError(TransomError):
    """A call to an agent failed.

    Attributes:
        reason: ``"noproc"``: it was not alive; ``"timeout"``; ``"calling_self"``; ``("undef", class)``: it has no such
            method; else the exit reason it ended with before it answered. When that is a Crash, its exception is
            this one's cause, and the text has its traceback.
    """

    def __init__(self, text: str, reason: Any = None) -> None:
        super().__init__(text)
        self.reason = reason


class CallTimeout(CallError, TimeoutError):
    """No answer in time (reason ``"timeout"``). A late answer is dropped and never reaches the mailbox."""


class NotOwner(TransomError, ValueError):
    """The reference belongs to another process."""


class PortError(TransomError, OSError):
    """A port could not be opened, or failed; the text says which, with the error of the operating system.

    Attributes:
        errno: The number of the error, or None.
        reason: ``"closed"``, or ``(name, text)`` such as ``("ECONNREFUSED", "Connection refused")``.
    """

    def __init__(self, text: str, reason: Any = "closed", errno: int | None = None) -> None:
        super().__init__(text)
        self.reason = reason
        self.errno = errno

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (str(self), self.reason, self.errno))


class PortClosed(PortError):
    """The port is closed, or the other side sends no more."""


class NoTable(TransomError, LookupError):
    """The table is gone: it was dropped, or its owner ended; or nobody has a table of that name."""


class TableAccess(TransomError, PermissionError):
    """Only the owner may do that to a protected or private table."""


class ProcessLimit(TransomError, RuntimeError):
    """The process table is full (``max_processes``)."""


class QueueFull(TransomError, RuntimeError):
    """The receiver of a message has as many waiting as it was spawned for (``max_queue``).

    Attributes:
        pid: The receiver.
        max_queue: How many messages may wait for it.
    """

    def __init__(self, pid: Any, max_queue: int, why: str) -> None:
        super().__init__(f"send(): {pid} has its {max_queue} messages waiting: {why}")
        self.pid = pid
        self.max_queue = max_queue
        self._why = why

    def __reduce__(self) -> tuple[Any, ...]:
        return (QueueFull, (self.pid, self.max_queue, self._why))


class ForkedError(TransomError, RuntimeError):
    """This OS process is a fork of one that ran a node, and the node did not survive it."""


class Exited(TransomError):
    """The main process of ``run`` was ended by an exit signal.

    Attributes:
        reason: The exit reason. When it is a Crash, its exception is this one's cause.
    """

    def __init__(self, reason: Any) -> None:
        super().__init__(f"the main process was ended by an exit signal with reason {reason!r}")
        self.reason = reason


class Stop(Exception):
    """Raise it to end the calling process with a reason of your choice.

    Args:
        reason: Any value that can be sent; ``"normal"`` and ``"shutdown"`` make no crash report.

    Example:
        >>> import transom
        >>> async def child():
        ...     raise transom.Stop("done early")
        >>> async def main():
        ...     pid, ref = transom.spawn_monitor(child)
        ...     return (await transom.receive(ref)).reason
        >>> import logging; logging.getLogger("transom").setLevel(logging.CRITICAL)
        >>> transom.run(main)
        'done early'

    Source: erlang:exit/1.
    """

    def __init__(self, reason: Any = "normal") -> None:
        super().__init__(reason)
        self.reason = reason


class Killed(BaseException):
    """Raised inside a process that an exit signal has ended, to unwind its frames.

    The process is dead to the world already: links and monitors have fired, its name is free, and
    what it sends goes nowhere. ``finally`` blocks run, within a budget. Do not catch it: it is raised
    again.
    """


class DuplicateChild(TransomError, ValueError):
    """Two children of a supervisor have the same id.

    Attributes:
        id: The id.
    """

    def __init__(self, id: Any) -> None:
        super().__init__(f"two children have the id {id!r}; give one another with .options(id=...)")
        self.id = id


class NoChild(TransomError, LookupError):
    """The supervisor has no such child.

    Attributes:
        id: The id, or the Pid, that was asked for.
    """

    def __init__(self, id: Any) -> None:
        super().__init__(f"the supervisor has no child {id!r}; which_children() tells what it has")
        self.id = id


class ChildExists(TransomError, ValueError):
    """start_child with the id of a child that the supervisor has already.

    Attributes:
        id: The id.
        state: Its Pid, ``"restarting"``, or None when it is stopped: then restart_child starts it, and
            delete_child makes room.
    """

    def __init__(self, id: Any, state: Any) -> None:
        advice = "it is stopped: restart_child() starts it" if state is None else f"it is {state}"
        super().__init__(f"the supervisor has a child {id!r} already; {advice}")
        self.id = id
        self.state = state


class ChildRunning(TransomError, ValueError):
    """restart_child or delete_child of a child that is not stopped.

    Attributes:
        id: The id.
        state: Its Pid, or ``"restarting"``.
    """

    def __init__(self, id: Any, state: Any) -> None:
        super().__init__(f"child {id!r} is {state}; terminate_child() first")
        self.id = id
        self.state = state


class TooManyChildren(TransomError, RuntimeError):
    """The supervisor has as many children as its ``max_children`` allows."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the supervisor has {limit} children, as many as its max_children allows")
        self.limit = limit


class TaskError(TransomError):
    """A task ended without a value, or had none in time.

    Attributes:
        reason: Why it ended, or ``"timeout"``. When it is a Crash, its exception is this one's cause.
    """

    def __init__(self, reason: Any, task: str = "the task") -> None:
        what = "had no value in time" if reason == "timeout" else f"ended without a value: {reason!r}"
        super().__init__(f"{task} {what}")
        self.reason = reason
