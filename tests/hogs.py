"""Ways to hog a CPU or an OS thread: what tests of preemption and killing start.

Each tells its owner "hogging" first. `regex` and `naps` end by themselves after about the given time, the others never.
"""

from __future__ import annotations

import functools
import heapq
import itertools
import re
import sys
import time
from collections.abc import Callable
from typing import Any

from transom import Pid, send


async def loops(owner: Pid) -> None:
    send(owner, "hogging")
    while True:
        pass


def loops_plainly(owner: Pid) -> None:
    send(owner, "hogging")
    while True:
        pass


async def calls(owner: Pid) -> None:
    """Calls without end (2 to the 200) and no loop."""
    send(owner, "hogging")

    def deeper(level: int) -> None:
        if level:
            deeper(level - 1)
            deeper(level - 1)

    deeper(200)


async def library(owner: Pid) -> None:
    """An endless Python loop in the standard library, which is not agent code: nothing there is counted."""
    send(owner, "hogging")
    heapq.nlargest(2, itertools.repeat(1))


async def swallows(owner: Pid) -> None:
    """Shrugs off every exception."""
    send(owner, "hogging")
    while True:
        try:
            while True:
                pass
        except BaseException:  # noqa: BLE001, S110 (the point of it)
            pass


async def naps(owner: Pid, seconds: float = 1.0) -> None:
    send(owner, "hogging")
    time.sleep(seconds)  # noqa: ASYNC251
    send(owner, "done hogging")


def naps_plainly(owner: Pid, seconds: float = 1.0) -> None:
    send(owner, "hogging")
    time.sleep(seconds)
    send(owner, "done hogging")


@functools.cache
def slow_input(seconds: float) -> str:
    """An input on which the regex below takes about so long here: each further letter doubles it."""
    letters = 16
    while True:
        text = "a" * letters + "b"
        before = time.perf_counter()
        re.match(r"(a+)+$", text)
        took = time.perf_counter() - before
        if took > 0.02:
            while took < seconds:
                took *= 2
                letters += 1
            return "a" * letters + "b"
        letters += 1


async def regex(owner: Pid, text: str) -> None:
    """A native call that neither returns for a while nor lets go of the interpreter."""
    send(owner, "hogging")
    re.match(r"(a+)+$", text)
    send(owner, "done hogging")


# A regex keeps the GIL, where there is one, from everybody.
gil = sys._is_gil_enabled()

NAMED: dict[str, Callable[..., Any]] = {
    "loop": loops,
    "plain-loop": loops_plainly,
    "recursion": calls,
    "library": library,
    "swallows": swallows,
}
