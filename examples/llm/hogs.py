"""Work that takes a processor and never gives way, as agents have it. Both sides of the comparison use it."""

import json
import time
from collections.abc import Callable

from ..exchange.hogs import gil_is_on

TEXT = "the beam carries the house and the window above it " * 20
DOCUMENT = json.dumps([{"name": "x" * 10, "values": [1.5, 2, None, True], "more": {"a": "b"}}] * 40_000)


def tokenise() -> None:
    """Pure Python, for some seconds."""
    counts: dict[str, int] = {}
    for _ in range(10_000):
        for word in TEXT.split():
            for letter in word:
                counts[letter] = counts.get(letter, 0) + 1


def parse() -> None:
    """One native call of some 100 ms that nothing can interrupt."""
    json.loads(DOCUMENT)


def block() -> None:
    """A blocking call, as any library may hold one."""
    time.sleep(1.0)


# With the GIL a native hog keeps it and stops every thread of the program, whoever schedules them.
KINDS: tuple[Callable[[], None], ...] = (tokenise, block) if gil_is_on() else (tokenise, parse, block)


async def hog(work: Callable[[], None]) -> None:
    """An agent that works and works and never awaits."""
    while True:
        work()
