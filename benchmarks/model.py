"""The words of a comparison: scenario, entry, claim, run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Values = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One contestant of a scenario: a side, its parameters, and how many schedulers it gets."""

    side: str
    label: str
    slots: int = 1
    params: Mapping[str, int | str] = field(default_factory=dict)
    rounds: int | None = None  # fewer than the scenario's where nothing is claimed against it


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A value that an entry reports. The first metric of a scenario is the one drawn."""

    key: str
    label: str
    digits: int = 0


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A promise: the value of `entry`, or its ratio to `over`, against a limit."""

    text: str
    entry: str
    over: str | None
    metric: str
    sense: Literal["at most", "at least"]
    limit: float
    unit: str = "x"
    beside: tuple[str, str] | None = None  # the same ratio between two entries of a peer
    also: str | None = None  # a stricter metric of the same entry, told but not promised

    def met_by(self, value: float) -> bool:
        return value <= self.limit if self.sense == "at most" else value >= self.limit


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One shape, played by every entry in turn."""

    name: str
    title: str
    short: str  # for the chart
    about: str
    metrics: tuple[Metric, ...]
    entries: tuple[Entry, ...]
    claims: tuple[Claim, ...] = ()
    rounds: int = 9
    timeout: int = 120

    def entry(self, label: str) -> Entry:
        return next(entry for entry in self.entries if entry.label == label)


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one operating-system process measured, or why it did not."""

    label: str
    round: int
    values: Values
    error: str | None = None
    seconds: float = 0.0
