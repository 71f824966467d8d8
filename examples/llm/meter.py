"""What all sessions count, in arrays that they share: there is nothing to send, and nobody to wait for.

Both sides of the comparison use it; arrays need no node.
"""

import math
import time
from dataclasses import dataclass

from transom.counters import Counters

TOKENS, MESSAGES, STARTS = range(3)
counts = Counters(3, write_concurrency=True)

# How many tokens had which delay: each bucket is a tenth wider than the one before, from 10 us to a minute.
LEAST, WIDER, BUCKETS = 10e-6, 1.1, 165
delays = Counters(BUCKETS, write_concurrency=True)


def heard(sent: int | None) -> None:
    """A token has come home. sent: when the server wrote it, in ns of CLOCK_MONOTONIC; a real provider does not say."""
    counts.add(TOKENS, 1)
    if sent is not None:
        delay = (time.monotonic_ns() - sent) * 1e-9
        delays.add(min(BUCKETS - 1, max(0, math.ceil(math.log(max(delay, LEAST) / LEAST, WIDER)))), 1)


@dataclass(frozen=True, slots=True)
class Figures:
    """What was counted in some seconds. Times in seconds; None where nothing was measured."""

    seconds: float
    tokens: int
    messages: int  # tokens brought home, tool calls and their answers, and what the desk was told
    restarts: int
    p50: float | None
    p99: float | None

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / self.seconds

    @property
    def messages_per_second(self) -> float:
        return self.messages / self.seconds


class Meter:
    """What was counted since the last look; as many as like may look, each with its own."""

    def __init__(self) -> None:
        self._at, self._counts, self._delays = read()

    def take(self) -> Figures:
        """The figures since the last time."""
        then, counted, spread = self._at, self._counts, self._delays
        self._at, self._counts, self._delays = read()
        events, buckets = difference(self._counts, counted), difference(self._delays, spread)
        return Figures(
            seconds=max(1e-6, self._at - then),
            tokens=events[TOKENS],
            messages=events[TOKENS] + events[MESSAGES],
            restarts=events[STARTS],
            p50=part_of(buckets, 0.50),
            p99=part_of(buckets, 0.99),
        )


def read() -> tuple[float, list[int], list[int]]:
    """The time, and all that was counted so far."""
    return time.monotonic(), [counts.get(i) for i in range(len(counts))], [delays.get(i) for i in range(BUCKETS)]


def difference(after: list[int], before: list[int]) -> list[int]:
    return [new - old for new, old in zip(after, before, strict=True)]


def part_of(buckets: list[int], part: float) -> float | None:
    """The delay that so much of all do not exceed, to a tenth."""
    left = part * sum(buckets)
    for index, count in enumerate(buckets):
        left -= count
        if count and left <= 0:
            return LEAST * WIDER**index
    return None
