"""Work that takes a processor: what an agent does with an answer. Each turn takes about 200 ms on a core of its own."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from functools import cache

PAUSE = 0.3  # seconds between two turns of one hog
SECONDS = 0.2


@cache
def document() -> str:
    """JSON that takes about 200 ms to read, on this machine."""
    row = {"name": "x" * 10, "values": [1.5, 2, None, True], "more": {"a": "b"}}
    sample = json.dumps([row] * 2000)
    begin = time.perf_counter()
    json.loads(sample)
    return json.dumps([row] * int(2000 * SECONDS / (time.perf_counter() - begin)))


def tokenise() -> None:
    """Pure Python, for 200 ms."""
    end = time.perf_counter() + SECONDS
    counts: dict[str, int] = {}
    while time.perf_counter() < end:
        for word in ("the beam carries the house and the window above it " * 20).split():
            for letter in word:
                counts[letter] = counts.get(letter, 0) + 1


def parse() -> None:
    """Native code, 200 ms without a way to interrupt it."""
    json.loads(document())


def embed() -> None:
    """numpy, where it is installed; else a regular expression."""
    end = time.perf_counter() + SECONDS
    try:
        import numpy
    except ImportError:
        re.match(r"(a|a)*b", "a" * 21)
        return
    matrix = numpy.ones((256, 256), dtype="f4")
    while time.perf_counter() < end:
        matrix @ matrix


HOGS: tuple[Callable[[], None], ...] = (tokenise, parse, embed)


def warm() -> None:
    """Do what is done once, before anything is measured."""
    for hog in HOGS:
        hog()
