"""What one agent was asked and answered while it was watched."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

from transom import _sys
from transom import sys as transom_sys


@dataclass(frozen=True)
class Event:
    """One event of an agent.

    Attributes:
        direction: ``"in"``: a message it was about to handle; ``"out"``: an answer it gave.
        text: What, as crash reports show it: shortened, secrets masked.
    """

    direction: Literal["in", "out"]
    text: str

    def __str__(self) -> str:
        return f"{'got' if self.direction == 'in' else 'sent'} {self.text}"


@asynccontextmanager
async def watch(agent: Any, *, length: int = 10_000) -> AsyncIterator[list[Event]]:
    """Trace one agent: ``async with watch(agent) as events``; the events are in the list after the block.

    Args:
        agent: Reference, Pid or registered name of an agent.
        length: How many events to keep, the newest, >= 1.

    Raises:
        CallError: It is not alive, or no agent.

    Example:
        >>> import transom
        >>> from transom.testing import run_test, start_supervised, watch
        >>> class Echo(transom.Agent):
        ...     def say(self, text): return text
        >>> async def test():
        ...     echo = await start_supervised(Echo)
        ...     async with watch(echo) as events:
        ...         await echo.say("hello")
        ...     print([event.direction for event in events])
        >>> run_test(test)
        ['in', 'out']

    Source: sys:log/2.
    """
    await transom_sys.log(agent, None)  # forget what another has logged
    await transom_sys.log(agent, length)
    events: list[Event] = []
    try:
        yield events
    finally:
        found = await transom_sys.log(agent, None, timeout=_sys.TIMEOUT_SECONDS)
        events.extend(Event(direction, text) for direction, text in found)  # type: ignore[arg-type]
