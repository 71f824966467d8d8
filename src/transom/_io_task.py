"""Operations of processes, as tasks on an event loop. All of this runs on the loop's thread.

`serve` is told of every operation that is new, was given up by its process, or whose process made room; what it offers
is in ext/bind/tsm_aio_loop.c. A task begins at once (eagerly): what is ready needs no round of the loop.
"""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

from transom import _errors, _loop_agent

if TYPE_CHECKING:
    from transom._loop_thread import LoopThread

AWAIT, STREAM, SESSION = range(3)
GONE = object()  # the task of an operation that was given up before it began
DROPPED = -1

type Op = Any  # _core._IoOp


def factory(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Task[Any]:
    """The loop's task factory: tasks that an agent on the loop begins are the agent's."""
    task: asyncio.Task[Any] = asyncio.Task(coro, loop=loop, **options)
    context = options.get("context")
    home = _loop_agent.current.get() if context is None else context.get(_loop_agent.current)
    if home is not None and not task.done():
        home.tasks.add(task)
        task.add_done_callback(home.tasks.discard)
    return task


def serve(thread: LoopThread, op: Op) -> None:
    """Look at an operation: begin it, cancel it, or let it go on."""
    task = op.task
    if task is None:
        _begin(thread, op)
    elif task is GONE:
        return
    elif op.dropped:
        task.cancel()
    else:
        _let_on(op)


def _begin(thread: LoopThread, op: Op) -> None:
    what = op.take_what()
    if op.dropped:
        op.task = GONE
        _discard(what)
        return
    kind = type(what)
    if kind is _loop_agent.Request or kind is _loop_agent.Answer:
        what.home.post(op, what)
        return
    running = what.run(op, thread) if kind is _loop_agent.Home else _RUN[op.kind](op, what)
    task = asyncio.Task(running, loop=thread.loop, eager_start=True, context=op.context)
    if task.done():
        op.task = GONE
    else:
        op.task = task
        thread.tasks[task] = op
        task.add_done_callback(thread.over)


def _let_on(op: Op) -> None:
    room = op.room
    if room is not None and not room.done():
        room.set_result(None)


def refuse(op: Op) -> None:
    """The loop ends, and op has not begun."""
    if op.task is None:
        op.task = GONE
        _discard(op.take_what())
        op.fail(_errors.NotRunning("the node stopped before the operation was done"))


def _discard(what: Any) -> None:
    if inspect.iscoroutine(what):
        what.close()


async def _made(what: Any) -> Any:
    """What to await or iterate over: made here, on the loop, where aio() was given a function."""
    if callable(what) and not _is_ready(what):
        what = what()
    return what


def _is_ready(what: Any) -> bool:
    return hasattr(what, "__await__") or hasattr(what, "__aiter__") or hasattr(what, "__aenter__")


# -- await -------------------------------------------------------------------------------------------------------------


async def _await(op: Op, what: Any) -> None:
    try:
        if not hasattr(what, "__await__"):
            what = what()
            if not hasattr(what, "__await__"):
                op.done(what)
                return
        value = await what
    except BaseException as error:
        op.fail(error)
    else:
        op.done(value)


# -- streams -----------------------------------------------------------------------------------------------------------


async def _stream(op: Op, what: Any) -> None:
    owned: Any = None  # a source that nobody but this task has
    items: Any = None
    try:
        source = await _made(what)
        if not hasattr(source, "__aiter__") and hasattr(source, "__await__"):
            source = owned = await source
        if not hasattr(source, "__aiter__"):
            raise TypeError(f"async for over aio() takes an asynchronous iterable, not {type(source).__name__}")
        items = aiter(source)
        async for item in items:
            room = op.put(item)
            del item
            if room == 0:
                await _room(op)
            elif room == DROPPED:
                break
    except BaseException as error:
        await _close_stream(items, owned)
        op.fail(error)
    else:
        await _close_stream(items, owned)
        op.fail(None)


async def _room(op: Op) -> None:
    op.room = asyncio.get_running_loop().create_future()
    await op.room


async def _close_stream(items: Any, owned: Any) -> None:
    """End a stream here, on the loop; a generator's finally blocks run now, not some time."""
    for close in (getattr(items, "aclose", None), getattr(owned, "aclose", None) or getattr(owned, "close", None)):
        if close is not None:
            try:
                result = close()
                if inspect.isawaitable(result):
                    await result
            except asyncio.CancelledError:
                return  # cancelled a second time: the loop ends, and has no more time for it
            except BaseException as error:
                asyncio.get_running_loop().call_exception_handler(
                    {"message": "closing a stream of aio() failed", "exception": error}
                )


# -- sessions ----------------------------------------------------------------------------------------------------------


async def _session(op: Op, what: Any) -> None:
    """Enter and leave a context manager in this one task; the block in between runs in the process."""
    left: BaseException | None = None
    try:
        manager = await _made(what)
        async with manager as value:
            op.put(value)
            await _until_released(op)
            left = op.released[1]
            if left is not None:
                raise left
        op.done(left is not None)  # it swallowed the exception
    except BaseException as error:
        if error is left:
            op.done(False)
        else:
            op.fail(error)


async def _until_released(op: Op) -> None:
    while not op.released[0]:
        await _room(op)


_RUN = (_await, _stream, _session)

__all__ = ["factory", "refuse", "serve"]
