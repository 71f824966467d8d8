"""So many requests a minute, evenly spread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class RateLimit:
    """Lets so many pass a minute; those that come too early wait for their turn, in the order they came.

    Args:
        per_minute: How many, > 0.
        burst: How many may pass at once after a pause, at least 1.
        clock: Gives seconds; for tests.

    Raises:
        ValueError: An argument out of range.
    """

    def __init__(self, per_minute: float, *, burst: int = 1, clock: Callable[[], float] = time.monotonic) -> None:
        if not per_minute > 0:
            raise ValueError(f"RateLimit: per_minute must be more than 0, not {per_minute!r}")
        if type(burst) is not int or burst < 1:
            raise ValueError(f"RateLimit: burst must be an int of 1 or more, not {burst!r}")
        self._gap = 60.0 / per_minute
        self._slack = self._gap * (burst - 1)
        self._clock = clock
        self._next = -float("inf")  # when the next may pass
        self._lock = threading.Lock()

    def reserve(self) -> float:
        """Take a turn: the seconds to wait for it. Does not wait."""
        with self._lock:
            now = self._clock()
            turn = max(self._next, now - self._slack)
            self._next = turn + self._gap
        return max(0.0, turn - now)

    def wait(self) -> None:
        """Wait for a turn; blocks the calling thread. In a process, its slot goes on with others."""
        seconds = self.reserve()
        if seconds > 0:
            time.sleep(seconds)
