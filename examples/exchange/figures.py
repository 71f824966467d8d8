"""What was measured in one part of the demo. Both sides of the comparison use it."""

import time
from bisect import bisect_right
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Figures:
    """Times in seconds; None where nothing was measured."""

    seconds: float
    messages: int
    replies: int
    p50: float | None
    p99: float | None
    longest: float | None
    over_a_second: int  # replies that took longer or never came
    told: float | None  # the median time until a caller knew that the called had died
    restarts: int

    @property
    def messages_per_second(self) -> float:
        return self.messages / self.seconds if self.seconds > 0 else 0.0


@dataclass(slots=True)
class Tally:
    """Collects until ``figures`` sums it up. It keeps every delay, so the percentiles are exact."""

    started: float = field(default_factory=time.perf_counter)
    messages: int = 0
    delays: list[float] = field(default_factory=list)
    told: list[float] = field(default_factory=list)
    late: int = 0
    restarts: int = 0

    def figures(self) -> Figures:
        delays = sorted(self.delays)
        return Figures(
            seconds=time.perf_counter() - self.started,
            messages=self.messages,
            replies=len(delays),
            p50=part_of(delays, 0.50),
            p99=part_of(delays, 0.99),
            longest=delays[-1] if delays else None,
            over_a_second=self.late + len(delays) - bisect_right(delays, 1.0),
            told=part_of(sorted(self.told), 0.50),
            restarts=self.restarts,
        )


def part_of(ordered: list[float], part: float) -> float | None:
    """The value that *part* of the ordered values do not exceed."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else None


def shown(seconds: float | None) -> str:
    """A time with a unit people can read."""
    if seconds is None:
        return "-"
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} us"
    if seconds < 1.0:
        return f"{seconds * 1e3:.3g} ms"
    return f"{seconds:.2f} s"
