"""Suites: a subject, cases and checks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from transom._operation import in_process
from transom.evals import _dataset, _run
from transom.evals._rate import RateLimit
from transom.evals._report import Report
from transom.evals._values import Case, Check

CONCURRENCY = 8
CASE_SECONDS = 120.0


@dataclass(frozen=True, kw_only=True)
class Suite:
    """What to evaluate. ``run_suite`` runs it, and ``transom eval module:suite``.

    Attributes:
        name: Names it in reports.
        cases: Cases, or a file of them; see ``load_cases``. What can be gone through only once is made a tuple.
        subject: What is evaluated: called with a case's input, in a process of its own; coroutine function or plain
            function. Gives a str or an Output. None: every case has a recorded output.
        checks: Checks of every case, beside its own.
        concurrency: How many cases run at once, 1 to 1,000.
        per_minute: How many cases may start a minute, evenly spread, > 0; None: no limit. (Requests to a judge are
            limited by its ``Endpoint``.)
        timeout: Seconds each try of a case may take, checks included, > 0; then it fails.
        repeats: How often each case is run, at least 1.
        case_pass_rate: The share of its tries, 0 to 1, that a case must pass.
        pass_rate: The share of cases, 0 to 1, that the suite must pass.
        redact: Called with every text that a report would show of a case (input, output, arguments of tools, reasons,
            errors); gives what it shows instead. Checks see the texts as they are. None: reports show them.

    Example:
        >>> from transom.evals import Suite, contains, run_suite
        >>> def answer(question):
        ...     return "within 30 days" if "return" in question else "no idea"
        >>> suite = Suite(name="shop", cases=["May I return it?", "Who are you?"], subject=answer,
        ...               checks=[contains("30 days")], pass_rate=0.5)
        >>> report = run_suite(suite)
        >>> report.passed, report.pass_rate
        (True, 0.5)

    Source: Tribunal's evaluation mode.
    """

    name: str
    cases: str | os.PathLike[str] | Iterable[Any]
    subject: Callable[[Any], Any] | None = None
    checks: tuple[Check, ...] | list[Check] = ()
    concurrency: int = CONCURRENCY
    per_minute: float | None = None
    timeout: float = CASE_SECONDS
    repeats: int = 1
    case_pass_rate: float = 1.0
    pass_rate: float = 1.0
    redact: Callable[[str], str] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.cases, str | os.PathLike):
            if not isinstance(self.cases, Iterable) or isinstance(self.cases, Mapping | bytes):
                raise TypeError(f"Suite {self.name!r}: cases must be a file, or cases in a list, not {self.cases!r}")
            object.__setattr__(self, "cases", tuple(self.cases))
        if isinstance(self.checks, Check) or not isinstance(self.checks, Iterable):
            raise TypeError(f"Suite {self.name!r}: checks must be a list of checks, not {self.checks!r}")
        object.__setattr__(self, "checks", tuple(self.checks))
        if not isinstance(self.name, str) or not self.name:
            raise TypeError(f"Suite: name must be a text, not {self.name!r}")
        for check in self.checks:
            if not isinstance(check, Check):
                raise TypeError(f"Suite {self.name!r}: checks must be checks, not {check!r}")
        if self.subject is not None and not callable(self.subject):
            raise TypeError(f"Suite {self.name!r}: subject must be a function or None, not {self.subject!r}")
        if self.redact is not None and not callable(self.redact):
            raise TypeError(f"Suite {self.name!r}: redact must be a function or None, not {self.redact!r}")
        self._demand_int("concurrency", 1, 1_000)
        self._demand_int("repeats", 1, 1_000_000)
        if self.per_minute is not None:
            RateLimit(self.per_minute)
        if isinstance(self.timeout, bool) or not 0 < self.timeout <= 8e9:
            raise ValueError(f"Suite {self.name!r}: timeout must be seconds, > 0, not {self.timeout!r}")
        for name in ("case_pass_rate", "pass_rate"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"Suite {self.name!r}: {name} must be between 0 and 1, not {getattr(self, name)!r}")

    def _demand_int(self, name: str, low: int, high: int) -> None:
        value = getattr(self, name)
        if type(value) is not int or not low <= value <= high:
            raise ValueError(f"Suite {self.name!r}: {name} must be an int between {low:,} and {high:,}, not {value!r}")

    def options(self, **changes: Any) -> Suite:
        """A copy with some fields changed."""
        return replace(self, **changes)

    def load(self, tag: str | None = None) -> list[Case]:
        """Its cases.

        Raises:
            ValueError: One is no case, or has neither a check nor an output or subject.
        """
        cases = _dataset.load_cases(self.cases, tag=tag)
        for case in cases:
            if not self.checks and not case.checks:
                raise ValueError(f"suite {self.name!r}: case {case.id} has no check, and the suite has none")
            if self.subject is None and case.output is None:
                raise ValueError(f"suite {self.name!r}: case {case.id} has no output, and the suite has no subject")
        return cases


def run_suite(
    suite: Suite,
    *,
    tag: str | None = None,
    limit: int | None = None,
    on_result: Callable[[Any], None] | None = None,
) -> Report:
    """Run a suite and wait for its report.

    Each try of a case is a task of its own: one that crashes, or takes too long, is that case's failure. Blocks the
    calling thread; in a process (a plain function) that process alone. Outside of processes a node is started for it,
    or the running one used.

    Args:
        suite: What to run.
        tag: Only cases with this tag.
        limit: Only the first so many.
        on_result: Called with each CaseResult as it comes, in the process that runs the suite.

    Returns:
        The report, cases in the order of the suite.

    Raises:
        ValueError: There is no case, or one of them is none.
    """
    if not isinstance(suite, Suite):
        raise TypeError(f"run_suite() takes a Suite, not {suite!r}")
    cases = suite.load(tag)[: limit if limit is None else max(0, limit)]
    if not cases:
        raise ValueError(f"suite {suite.name!r} has no cases{f' with the tag {tag!r}' if tag else ''}")
    return _run.run(suite, cases, on_result, inside=in_process())
