"""Three kinds of work that never give way. Both sides of the comparison use them."""

import re
import sys
import time
from collections.abc import Callable

# Matching this against a row of a's takes time exponential in its length.
HARD = re.compile(r"(a+)+b")
ROW = "a" * 25


def spin() -> None:
    """Pure Python that never ends."""
    while True:
        pass


def backtrack() -> None:
    """One long native call that nothing can interrupt."""
    HARD.match(ROW)


def block() -> None:
    """A blocking call, as any library may hold one."""
    time.sleep(1.0)


def gil_is_on() -> bool:
    return getattr(sys, "_is_gil_enabled", lambda: True)()


# With the GIL a native hog keeps it and stops every thread of the program, whoever schedules them.
KINDS: tuple[Callable[[], None], ...] = (spin, block) if gil_is_on() else (spin, backtrack, block)


async def hog(work: Callable[[], None]) -> None:
    """An agent that works and works and never awaits."""
    while True:
        work()
