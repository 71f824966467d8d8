"""Kill what does not want to die, and see who learns of it, and when.

Each victim is busy in a way that today's cancellation cannot reach. For each
one a process is linked to it, one waits for its answer with half a minute of
patience, and one monitors it. All three must know at once.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import transom
from transom import CallError, Pid, Task

from .figures import shown
from .hogs import backtrack, block


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one kill was like. Times in seconds after ``kill``."""

    doing: str
    told: dict[str, float]  # when the monitor, the link and the waiting caller knew
    thread: int | None  # the OS thread that was still busy then
    back: float | None  # when that thread came back

    def line(self) -> str:
        told = ", ".join(f"{who} {shown(seconds)}" for who, seconds in self.told.items())
        if self.thread is None:
            return f"  {self.doing:<28} told: {told}; its thread was free at once"
        back = f"came back after {shown(self.back)}" if self.back is not None else "has not come back yet"
        return f"  {self.doing:<28} told: {told}; thread {self.thread} was still busy, {back}"


class Stubborn(transom.Agent):
    """Whoever calls one of its methods waits for ever."""

    def swallow(self) -> None:
        """Catch everything, a hundred times, as retry loops do."""
        for _ in range(100):
            try:
                while True:
                    pass
            except BaseException:  # noqa: BLE001, S112
                continue

    def sit(self) -> None:
        """Sit in blocking calls."""
        while True:
            block()

    def match(self) -> None:
        """Sit in long native calls."""
        while True:
            backtrack()


VICTIMS = {
    "swallows every exception": "swallow",
    "in a blocking time.sleep": "sit",
    "in a long native regex": "match",
}


async def kill_the_stubborn(
    kind: type[Stubborn] = Stubborn, *args: Any, victims: Mapping[str, str] = VICTIMS
) -> list[Outcome]:
    """One outcome for each kind of victim."""
    return [await kill_one(doing, method, kind, *args) for doing, method in victims.items()]


async def kill_one(doing: str, method: str, kind: type[Stubborn], *args: Any) -> Outcome:
    victim, watch = await kind.start_monitor(*args)
    waiting = Task.start(wait_for, victim, method)
    linked = Task.start(be_linked_to, victim)
    await transom.sleep(0.1)  # let all of them get where they are going

    started = perf_counter()
    transom.kill(victim)
    await transom.receive(watch)
    told = {"monitor": perf_counter() - started}
    holding = thread_of(transom.pid_of(victim))
    told["link"] = await linked - started
    told["waiting caller"] = await waiting - started
    back = await back_after(transom.pid_of(victim), started) if holding is not None else None
    return Outcome(doing, told, holding, back)


async def be_linked_to(victim: Stubborn) -> float:
    """When the exit signal of the link arrived."""
    transom.trap_exit(True)
    transom.link(victim)
    await transom.receive(transom.Exit)
    return perf_counter()


async def wait_for(victim: Stubborn, method: str) -> float:
    """When the call of the victim came to an end."""
    try:
        await getattr(victim, method).options(timeout=30)()
    except CallError:
        pass
    return perf_counter()


def thread_of(victim: Pid) -> int | None:
    """The OS thread that a process occupies, dead or not."""
    for entry in transom.node_info()["occupied"]:
        if entry["pid"] == victim:
            return int(entry["thread_id"])
    return None


async def back_after(victim: Pid, started: float) -> float | None:
    """Wait until the victim's thread is free again, for ten seconds at most."""
    give_up = time.monotonic() + 10.0
    while thread_of(victim) is not None:
        if time.monotonic() > give_up:
            return None
        await transom.sleep(0.01)
    return perf_counter() - started
