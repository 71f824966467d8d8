"""What one run is, and what a side reports: shared by the runner and the sides in Python."""

from __future__ import annotations

import json
import math
import os
import sys
from array import array
from collections.abc import Iterable
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Plan:
    """One run of one side. Goes to it as JSON in its first argument."""

    port: int
    sessions: int
    tokens: int  # of a conversation, in three replies
    seconds: float  # that they take
    ramp: float  # seconds over which the sessions begin
    burst: int  # tokens that one write of the server brings
    limit: float  # seconds from the start, then what is still open is left
    hogs: str = "none"  # none, inline (in the program as it is), threads (its best effort)
    patience: float = 10.0  # without a word
    attempts: int = 8

    @property
    def replies(self) -> int:
        return 3  # two of them end in a tool call

    def headers(self) -> dict[str, str]:
        return {
            "x-tokens": str(self.tokens // self.replies),
            "x-seconds": str(self.seconds / self.replies),
            "x-tool-calls": str(self.replies - 1),
            "x-burst": str(self.burst),
        }


def given() -> Plan:
    """The plan in the first argument."""
    return Plan(**json.loads(sys.argv[1]))


def as_text(plan: Plan) -> str:
    return json.dumps(asdict(plan))


def resident() -> int:
    """Bytes of memory this program has."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def report(
    plan: Plan, done: int, given_up: int, delays: Iterable[bytes], before: int, peak: int, hog_turns: int
) -> None:
    """Print the result: delays are arrays of unsigned microseconds, as bytes."""
    every = array("I")
    for part in delays:
        every.frombytes(part)
    ordered = sorted(every)

    def at(share: float) -> float:
        return ordered[min(len(ordered) - 1, math.floor(share * len(ordered)))] / 1000 if ordered else math.nan

    print(
        json.dumps(
            {
                "completed": done,
                "given_up": given_up,
                "open": plan.sessions - done - given_up,
                "tokens": len(ordered),
                "p50": at(0.5),
                "p99": at(0.99),
                "p999": at(0.999),
                "max": at(1.0),
                "kib": (peak - before) / 1024 / plan.sessions,
                "hog_turns": hog_turns,
            }
        ),
        flush=True,
    )
