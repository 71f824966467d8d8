"""Functions that misbehave, for the tests of isolated(); the workers import this module."""

from __future__ import annotations

import ctypes
import dataclasses
import enum
import os
import signal
import socket
import subprocess
import sys
import time
from typing import Any


class Colour(enum.Enum):
    RED = 1


@dataclasses.dataclass(frozen=True)
class Point:
    x: int
    colour: Colour


class Odd(Exception):
    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)


class Unpicklable:
    def __reduce__(self) -> Any:
        raise TypeError("this one stays here")


def segfault() -> None:
    ctypes.string_at(0)


def leave(status: int) -> None:
    os._exit(status)


def end_by(number: int) -> None:
    os.kill(os.getpid(), number)
    signal.pause()


def spin(path: str | None = None) -> None:
    """For ever; says in a file who it is."""
    if path is not None:
        note(path)
    while True:
        pass


def spin_with_child(path: str) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    note(path, child.pid)
    child.wait()


def note(path: str, *pids: int) -> None:
    with open(path + ".new", "w", encoding="ascii") as file:
        file.write(" ".join(map(str, (os.getpid(), *pids))))
    os.rename(path + ".new", path)


def eat_memory() -> None:
    kept = []
    while True:
        kept.append(b"x" * (1 << 20))


def give(value: Any) -> Any:
    return value


def points() -> list[Point]:
    return [Point(1, Colour.RED)]


def fail(how: str) -> None:
    if how == "own":
        raise Odd(7, "seven")
    raise ValueError("no", how)


def not_data() -> Any:
    return [object()]


_seen = 0


def count_calls() -> tuple[int, int]:
    global _seen
    _seen += 1
    return os.getpid(), _seen


def write_raw(data: bytes, end: bool) -> None:
    """What a tool does that has taken over its worker: write bytes of its own for a reply."""
    for fd in map(int, os.listdir("/proc/self/fd")):
        try:
            sock = socket.socket(fileno=os.dup(fd))
        except OSError:
            continue
        sock.sendall(data)
    if end:
        os._exit(0)
    time.sleep(600)


def descriptors() -> list[str]:
    """What this worker has open, beside the listing itself."""
    return sorted(os.readlink(f"/proc/self/fd/{fd}").split(":")[0] for fd in os.listdir("/proc/self/fd") if _open(fd))


def _open(fd: str) -> bool:
    try:
        return not os.readlink(f"/proc/self/fd/{fd}").endswith("/fd")
    except OSError:
        return False


def arrays() -> list[Any]:
    import numpy

    return [numpy.arange(6, dtype="f4").reshape(2, 3), numpy.int64(5)]
