"""Supervision made by hand: start the children, restart what crashes, give up in time."""

import time
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import transom
from transom import Exit, Pid, SpawnOptions, Stop

from .messages import Restarted
from .meter import tell_meter


@dataclass(frozen=True, slots=True)
class Child:
    """How to start one child, again and again."""

    body: Callable[..., Coroutine[Any, Any, None]]
    args: tuple[object, ...] = ()
    name: str | None = None

    def start(self) -> Pid:
        # The child is linked and has its name before its first line runs.
        options = SpawnOptions(link=True, name=self.name, label=self.body.__name__)
        pid: Pid = transom.spawn_opt(options, self.body, *self.args)
        return pid


async def supervise(children: tuple[Child, ...], restarts: int, seconds: float) -> None:
    """Keep *children* running; give up after more than *restarts* in *seconds*.

    The exit signal of a child arrives as a message because this process traps
    exits. When this process ends, its links end the children.
    """
    transom.trap_exit(True)
    running = {child.start(): child for child in children}
    crashes: deque[float] = deque()
    while True:
        exit_signal: Exit = await transom.receive(Exit)
        child = running.pop(exit_signal.sender, None)
        if child is None:
            raise Stop(exit_signal.reason)  # not a child: our own supervisor says stop
        if exit_signal.reason == "normal":
            continue
        if too_many(crashes, restarts, seconds):
            raise Stop("shutdown")
        running[child.start()] = child
        tell_meter(Restarted())


def too_many(crashes: deque[float], restarts: int, seconds: float) -> bool:
    """Note one more crash; tell whether there were more than *restarts* in *seconds*."""
    now = time.monotonic()
    crashes.append(now)
    while crashes[0] < now - seconds:
        crashes.popleft()
    return len(crashes) > restarts
