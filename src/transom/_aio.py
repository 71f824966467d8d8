"""aio(): asyncio code from processes. What it returns is ext/bind/tsm_aio.c; the loops are in _loop_thread.py."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any, overload

from transom import _errors, _io_task
from transom._core import Aio
from transom._operation import Receive, result_outside

WINDOW = 16  # items of a stream under way between the loop and the process


@overload
def aio[T](
    awaitable: Awaitable[T], /, timeout: float | None = ..., *, loop: int = ..., window: int = ...
) -> Aio[T]: ...
@overload
def aio[T](
    stream: AsyncIterable[T], /, timeout: float | None = ..., *, loop: int = ..., window: int = ...
) -> Aio[T]: ...
@overload
def aio[T](
    manager: AbstractAsyncContextManager[T], /, timeout: float | None = ..., *, loop: int = ..., window: int = ...
) -> Aio[T]: ...
@overload
def aio(make: Callable[[], Any], /, timeout: float | None = ..., *, loop: int = ..., window: int = ...) -> Aio[Any]: ...
def aio(what: Any, /, timeout: float | None = None, *, loop: int = 0, window: int = WINDOW) -> Aio[Any]:
    """Run asyncio code on an event loop's thread, for the calling process, which waits.

    Nothing happens before the result is used, in one of these ways, once:

    - ``await aio(awaitable)``: its result, or what it raised, as it was raised.
    - ``async for item in aio(stream)``: the items of an asynchronous iterable, or of what an awaitable gives. At most
      ``window`` of them are under way; then the stream waits for the process. Leaving the block ends the stream, and
      its ``aclose`` runs on the loop.
    - ``async with aio(manager) as value``: the context manager is entered and left on the loop, by one task.
    - ``aio(awaitable).result()`` and ``for item in aio(stream)``: the same, blocking, in plain functions.

    When the process ends or is killed, or the time is up, the task on the loop is cancelled. The caller does not wait
    for that; what the task still returns is dropped.

    All operations use one loop, so that all processes can share a client that is bound to its loop. With
    ``run(main, io_threads=n)`` there are n; ``loop=`` chooses, and a client is to be used with one of them.

    What goes to the loop and comes back is handed over and not copied: an object that the process goes on to use while
    the loop has it, too, is shared, as between threads. Context variables are those of the process.

    Args:
        what: An awaitable, an asynchronous iterable or context manager; or a function without arguments that makes
            one, called on the loop: for what has to be made where a loop runs.
        timeout: Seconds, 0 to 8e9; None: no limit. Of a stream: for each item. Of a context manager: until it is
            entered.
        loop: The number of the loop, from 0.
        window: Of a stream: how many items may be under way, 2 to 65,536.

    Returns:
        An ``Aio``: await it, iterate over it, enter it, or ask for its ``result()``.

    Raises:
        TypeError: ``what`` is none of these.
        TimeoutError: When used: not done in time.
        NotRunning: When used: the node has stopped.
        ValueError: When used: there is no such loop.

    Example:
        >>> import asyncio, transom
        >>> async def fetch():
        ...     await asyncio.sleep(0.001)
        ...     return "page"
        >>> async def main():
        ...     return await transom.aio(fetch(), timeout=5)
        >>> transom.run(main)
        'page'

    When not to use: for an agent most of whose work is asyncio, declare ``class X(Agent, loop=True)``. Blocking code
    needs nothing: call it in a plain ``def``.

    Source: the ports of the BEAM.
    """
    if not (callable(what) or hasattr(what, "__await__") or hasattr(what, "__aiter__") or hasattr(what, "__aenter__")):
        raise TypeError(
            f"aio() takes an awaitable, an asynchronous iterable or context manager, or a function that makes one, "
            f"not {type(what).__name__}"
        )
    if not 2 <= window <= 65_536:
        raise ValueError(f"aio(): window must be between 2 and 65536, not {window!r}")
    return Aio(what, timeout, loop, window)


# -- used in no process ------------------------------------------------------------------------------------------------


def outside(handle: Aio[Any]) -> Generator[Any, Any, Any]:
    """await aio(...), in no process: on the running loop. Called by the core."""
    if asyncio._get_running_loop() is None:
        raise _errors.NotInProcess(
            "aio() is awaited in a process or in an asyncio program; in plain code use its result()"
        )
    return _direct(handle).__await__()


async def _direct(handle: Aio[Any]) -> Any:
    what, timeout, _ = handle._parts()
    async with asyncio.timeout(timeout):
        what = await _io_task._made(what)
        return await what if inspect.isawaitable(what) else what


async def outside_stream(handle: Aio[Any]) -> AsyncIterator[Any]:
    """async for over aio(...), in no process: on the running loop. Called by the core."""
    what, timeout, _ = handle._parts()
    source = await _io_task._made(what)
    if not hasattr(source, "__aiter__"):
        source = await source
    items = aiter(source)
    try:
        while True:
            try:
                async with asyncio.timeout(timeout):
                    item = await anext(items)
            except StopAsyncIteration:
                return
            yield item
    finally:
        if hasattr(items, "aclose"):
            await items.aclose()


def blocking(handle: Aio[Any]) -> Any:
    """aio(...).result(), in no process: a short-lived process awaits it. Called by the core."""

    async def steps(receive: Receive) -> Any:
        return await handle

    return result_outside(steps, None)


def blocking_stream(handle: Aio[Any]) -> Iterator[Any]:
    """for item in aio(...), in a plain function. Called by the core."""
    try:
        while True:
            try:
                item = handle._wait()
            except StopAsyncIteration:
                return
            yield item
    finally:
        handle.close()


__all__ = ["Aio", "aio"]
