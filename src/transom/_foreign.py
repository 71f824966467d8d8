"""What a process is told that awaits something of asyncio's as it is."""

from __future__ import annotations

import asyncio
from typing import Any

HINT = (
    "in a process await transom.aio(...) around it, which runs it on an event loop's thread, or make the agent one on "
    "the loop: class X(transom.Agent, loop=True)"
)


def foreign_await(what: Any) -> RuntimeError:
    """The exception for a process that awaited something of asyncio's. Called by the core."""
    if what is None:
        name = "asyncio.sleep(0), or another bare yield of an event loop"
    elif asyncio.isfuture(what):
        what._asyncio_future_blocking = False  # it may be awaited where it belongs
        coroutine = what.get_coro() if isinstance(what, asyncio.Task) else None
        kind = "asyncio task" if isinstance(what, asyncio.Task) else "asyncio future"
        called = getattr(coroutine, "__qualname__", None)
        name = f"an {kind}" + (f" ({called})" if called else "")
    else:
        name = f"{type(what).__name__}, which belongs to another event loop"
    return RuntimeError(f"a process awaited {name}; {HINT}")


def note_no_loop(error: BaseException) -> None:
    """Add the hint to what asyncio raises where no loop runs. Called where an exception ends a process."""
    if type(error) is RuntimeError and error.args == ("no running event loop",) and not hasattr(error, "__notes__"):
        error.add_note(f"asyncio's functions need an event loop in their thread; {HINT}")
