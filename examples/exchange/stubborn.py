"""Kill what does not want to die, and see who learns of it, and when.

Each victim is busy in a way that today's cancellation cannot reach. For each
one a process is linked to it, one waits for its answer with half a minute of
patience, and one monitors it. All three must know at once.
"""

import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import transom
from transom import Exit, Pid

from .asking import NoAnswer, ask
from .figures import shown
from .hogs import backtrack, block
from .messages import Say


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


async def swallow() -> None:
    """Catch everything, a hundred times, as retry loops do."""
    for _ in range(100):
        try:
            while True:
                pass
        except BaseException:  # noqa: BLE001, S112
            continue


async def blocked() -> None:
    """Sit in blocking calls."""
    while True:
        block()


async def native() -> None:
    """Sit in long native calls."""
    while True:
        backtrack()


VICTIMS: tuple[tuple[str, Callable[[], Coroutine[Any, Any, None]]], ...] = (
    ("swallows every exception", swallow),
    ("in a blocking time.sleep", blocked),
    ("in a long native regex", native),
)


async def kill_the_stubborn() -> list[Outcome]:
    """One outcome for each kind of victim."""
    return [await kill_one(doing, body) for doing, body in VICTIMS]


async def kill_one(doing: str, body: Callable[[], Coroutine[Any, Any, None]]) -> Outcome:
    me = transom.current_pid()
    victim, watch = transom.spawn_monitor(body)
    transom.spawn(linked_to, victim, me)
    transom.spawn(waiting_for, victim, me)
    await transom.sleep(0.1)  # let all of them get where they are going

    started = perf_counter()
    transom.kill(victim)
    await transom.receive(watch)
    told = {"monitor": perf_counter() - started}
    holding = thread_of(victim)
    for _ in range(2):
        who, when = await transom.receive(tuple, timeout=60)
        told[who] = when - started
    return Outcome(doing, told, holding, await back_after(victim, started) if holding is not None else None)


async def linked_to(victim: Pid, report_to: Pid) -> None:
    """Say when the exit signal of the link arrived."""
    transom.trap_exit(True)
    transom.link(victim)
    await transom.receive(Exit)
    report_to.send(("link", perf_counter()))


async def waiting_for(victim: Pid, report_to: Pid) -> None:
    """Say when the question to the victim came to an end."""
    try:
        await ask(victim, Say("are you there?"), timeout=30.0)
    except NoAnswer:
        report_to.send(("waiting caller", perf_counter()))


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
