"""offload(): from an event loop back to the schedulers."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from transom._operation import Operation, Receive, of_steps


def offload(fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Operation[Any]:
    """Run fn(*args, **kwargs) in a process of its own, where it may compute or block, and give its result.

    For code on an event loop: handlers of agents on the loop, and asyncio programs beside a node. The loop goes on
    meanwhile. A function that computes is preempted like any process; one that blocks occupies an OS thread
    (``max_threads`` of start).

    Args:
        fn: Plain or coroutine function.
        args: Handed over as they are, not copied: leave them alone until it is done.
        kwargs: The same.

    Returns:
        An operation: await it. When the awaiting task is cancelled, the process is killed. Its result is handed over,
        too.

    Raises:
        BaseException: What fn raised.
        NotRunning: No node is running, or it stopped before fn was done.

    Example:
        >>> import transom
        >>> class Parser(transom.Agent, loop=True):
        ...     async def parse(self, text):
        ...         return await transom.offload(int, text)
        >>> async def main():
        ...     return await (await Parser.start_link()).parse("12")
        >>> transom.run(main)
        12

    Source: asyncio.to_thread, with processes.
    """

    async def steps(receive: Receive) -> Any:
        result = fn(*args, **kwargs)
        return await result if inspect.isawaitable(result) else result

    return of_steps(steps)


__all__ = ["offload"]
