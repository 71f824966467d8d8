"""The waiting operations for processes that are plain functions.

A plain ``def`` body runs on an OS thread of its own; these block that thread and let the slot go on with other
processes.
"""

from __future__ import annotations

from typing import Any

from transom import _core


def receive(*match: Any, timeout: float | None = None) -> Any:
    """Wait for the oldest message that matches; as ``transom.receive``, but blocking.

    Args:
        match: Types, predicates and Refs; none given: any message.
        timeout: Seconds, 0 to 8e9; None waits for ever; 0 looks at what is there.

    Returns:
        The message.

    Raises:
        TimeoutError: No match in time.
        NotInProcess: Called outside a process.
        RuntimeError: As many processes as ``max_threads`` allows occupy an OS thread already.

    Example:
        >>> import transom
        >>> def echo():
        ...     sender, text = transom.sync.receive()
        ...     transom.send(sender, text.upper())
        >>> async def main():
        ...     transom.send(transom.spawn(echo), (transom.current_pid(), "hello"))
        ...     return await transom.receive(str)
        >>> transom.run(main)
        'HELLO'

    Source: Erlang's receive ... after.
    """
    if timeout is None:
        return _core._sync_receive(*match)
    return _core._sync_receive(*match, timeout=timeout)


def sleep(seconds: float) -> None:
    """Wait for some seconds; messages arrive meanwhile, and a kill ends the wait at once.

    Args:
        seconds: 0 to 8e9.

    Raises:
        NotInProcess: Called outside a process.

    Blocks the calling process, not its slot.

    Example:
        >>> import transom
        >>> def main():
        ...     transom.sync.sleep(0.01)
        ...     return "awake"
        >>> transom.run(main)
        'awake'

    Source: timer:sleep/1.
    """
    _core._sync_sleep(seconds)
