"""The three kinds of hog, the same functions on every Python side.

Each is one unit of work that an agent should not do but does. A hog repeats its unit for ever.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable

_BACKTRACK = re.compile(r"(a+)+$")

KINDS = ("python", "regex", "sleep")


def python(size: int) -> None:
    """Pure Python that never gives way; the unit has no end."""
    n = 0
    while True:
        n += 1


def regex(size: int) -> None:
    """One native call, exponential in `size`, some two seconds long (see `calibrate`)."""
    _BACKTRACK.match("a" * size + "!")


def sleep(size: int) -> None:
    """One blocking call."""
    time.sleep(1.0)


UNITS: dict[str, Callable[[int], None]] = {"python": python, "regex": regex, "sleep": sleep}


def chosen(kind: str, each: int) -> list[Callable[[int], None]]:
    """`each` hogs of one kind, or of every kind for "all"."""
    kinds = KINDS if kind == "all" else (kind,)
    return [UNITS[name] for name in kinds for _ in range(each)]


def calibrate(seconds: float = 2.0) -> int:
    """The size at which the regex takes about that long here. One letter more doubles the time."""
    size, took = 16, 0.0
    while True:
        start = time.perf_counter()
        regex(size)
        took = time.perf_counter() - start
        if took > seconds / 6:
            break
        size += 1
    while took * 1.5 < seconds:
        size, took = size + 1, took * 2
    return size
