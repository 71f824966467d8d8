"""Medians, spreads and the ratio of two entries taken round by round."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.model import Claim, Run, Scenario


def percentile(values: Sequence[float], share: float) -> float:
    """Nearest rank: the smallest value that at least that share does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


@dataclass(frozen=True)
class Figure:
    """The median of some rounds, and the lowest and highest of them."""

    median: float
    low: float
    high: float
    rounds: int


def summary(values: Sequence[float]) -> Figure | None:
    if not values:
        return None
    return Figure(median(values), min(values), max(values), len(values))


def by_round(runs: list[Run], label: str, metric: str) -> dict[int, float]:
    return {
        run.round: run.values[metric]
        for run in runs
        if run.label == label and run.error is None and metric in run.values
    }


def figure(runs: list[Run], label: str, metric: str) -> Figure | None:
    return summary(list(by_round(runs, label, metric).values()))


def ratio(runs: list[Run], label: str, over: str, metric: str) -> Figure | None:
    """The ratio within each round in which both took part, then the median of those."""
    top, bottom = by_round(runs, label, metric), by_round(runs, over, metric)
    both = [top[n] / bottom[n] for n in top if bottom.get(n)]
    return summary(both)


def number(value: float) -> str:
    """Three digits, or whole thousands written out."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


@dataclass(frozen=True)
class Verdict:
    scenario: Scenario
    claim: Claim
    value: Figure | None

    @property
    def met(self) -> bool | None:
        """None: not measured, for want of one side or because a run failed."""
        return None if self.value is None else self.claim.met_by(self.value.median)

    @property
    def word(self) -> str:
        return {None: "not measured", True: "met", False: "**missed**"}[self.met]


def verdicts(scenario: Scenario, runs: list[Run]) -> list[Verdict]:
    found = []
    for claim in scenario.claims:
        if claim.over is None:
            value = figure(runs, claim.entry, claim.metric)
        else:
            value = ratio(runs, claim.entry, claim.over, claim.metric)
        found.append(Verdict(scenario, claim, value))
    return found
