"""Processes with options, priorities, and the crash report."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context
from typing import Any

from transom import _core, _loop_agent
from transom._core import Pid, Ref
from transom._values import ON_FULL, PRIORITIES, Priority, SpawnOptions


def spawn_opt(options: SpawnOptions, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Start a process with options; otherwise as ``spawn``.

    Args:
        options: Link, monitor, name, priority and so on; see ``SpawnOptions``.
        fn: Coroutine function, or plain function, which borrows an OS thread while it runs.
        args: Copied for the child unless deeply immutable.
        kwargs: The same.

    Returns:
        ``Pid``, or ``(Pid, Ref)`` with ``monitor=True``.

    Raises:
        NameTaken: The name is taken; nothing was started.
        NotInProcess: Linking or monitoring from outside a process.

    Callable from any thread; does not block.

    Example:
        >>> import transom
        >>> async def child():
        ...     await transom.receive()
        >>> async def main():
        ...     transom.spawn_opt(transom.SpawnOptions(name="desk"), child)
        ...     return transom.whereis("desk") is not None
        >>> transom.run(main)
        True

    Source: erlang:spawn_opt/4.
    """
    if not isinstance(options, SpawnOptions):
        raise TypeError(f"spawn_opt() takes SpawnOptions first, not {type(options).__name__}")
    return _core._spawn_opt(options.link, options.monitor, *core_options(options), fn, *args, **kwargs)


def core_options(options: SpawnOptions) -> tuple[str | None, int, bool, bool, str | None, int, int, int]:
    """The options but link and monitor, as the core takes them."""
    return (
        options.name,
        PRIORITIES.index(options.priority),
        options.trap_exit,
        options.pinned,
        options.label,
        options.max_heap or 0,
        options.max_queue or 0,
        ON_FULL.index(options.on_full),
    )


def set_priority(priority: Priority) -> Priority:
    """Set the priority of the calling process and return the old one.

    Args:
        priority: ``"low"`` gets one turn in eight against normal ones; ``"high"`` and ``"max"`` keep all below
            them from running, so avoid them.

    Raises:
        ValueError: An unknown priority.
        NotInProcess: Called outside a process.

    Does not block.

    Example:
        >>> import transom
        >>> async def main():
        ...     return transom.set_priority("low")
        >>> transom.run(main)
        'normal'

    Source: erlang:process_flag(priority, _).
    """
    if not isinstance(priority, str):
        raise TypeError(f"priority must be a str, not {type(priority).__name__}")
    if priority not in PRIORITIES:
        raise ValueError(f"priority must be one of {', '.join(PRIORITIES)}, not {priority!r}")
    return PRIORITIES[_core._set_priority(PRIORITIES.index(priority))]


def own_context(context: Context) -> Context:
    """The context a new process starts with. Called by spawn where the spawner's is not empty.

    Values are shared as asyncio's tasks share them, with two exceptions: the decimal context is changed in
    place by ordinary code (``getcontext().prec = 9``), so the child gets its own, as a new thread would. And
    its numpy arrays do not come from the memory of its parent.
    """
    if context.get(_loop_agent.current) is not None:
        context.run(_loop_agent.current.set, None)  # it is no handler of that agent
    for variable, value in tuple(context.items()):
        if variable.name == "decimal_context":
            context.run(variable.set, value.copy())
        elif variable.name == "current_allocator":  # numpy's, set for a process with max_heap
            context.run(variable.set, Context().run(variable.get))
    return context


def safepoint() -> None:
    """Called by schedulers to run what the interpreter has pending for their thread."""


__all__ = ["Pid", "Ref", "set_priority", "spawn_opt"]
