"""Crash reports of a test: kept as values, and a failure unless the test expects them.

They are seen by a filter of the logger ``transom``, before any other filter or handler. A report is made after the
death of its process, maybe after the Down has been received: so what counts is decided when the node has stopped.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from transom import _core
from transom._core import Pid
from transom._operation import Operation, Receive, of_steps
from transom._values import Crash
from transom.testing import _context

type Expected = type[BaseException] | str | Callable[["CrashReport"], Any]

WAIT_SECONDS = 5.0
STEP_SECONDS = 0.002


class UnexpectedCrash(AssertionError):
    """Processes of a test ended abnormally and the test did not say that they may.

    Attributes:
        reports: The CrashReports.
    """

    def __init__(self, reports: list[CrashReport]) -> None:
        one = f"{len(reports)} crash reports" if len(reports) > 1 else "a crash report"
        text = "\n\n".join(report.text for report in reports[:10])
        more = f"\n\n... and {len(reports) - 10} more" if len(reports) > 10 else ""
        super().__init__(f"{one} that the test does not expect (assert_crash, allow_crashes):\n\n{text}{more}")
        self.reports = reports


@dataclass(frozen=True)
class CrashReport:
    """One report of an abnormal end.

    Attributes:
        pid: The process.
        label: Its label, or None.
        reason: Its exit reason, mostly a Crash.
        text: The report as logged.
    """

    pid: Pid
    label: str | None
    reason: Any
    text: str

    @property
    def exception(self) -> BaseException | None:
        """The exception of a Crash; None for other reasons."""
        return self.reason.exception if isinstance(self.reason, Crash) else None

    def matches(self, expected: Expected) -> bool:
        """Is it of this exception type, does this pattern occur in its text, or is this predicate true of it?"""
        if isinstance(expected, type):
            return isinstance(self.exception, expected)
        if isinstance(expected, str):
            return re.search(expected, self.text) is not None
        return bool(expected(self))


@dataclass
class Recorder:
    """The filter; it lets everything pass."""

    reports: list[CrashReport] = field(default_factory=list)
    taken: set[int] = field(default_factory=set)  # those that assert_crash has given out

    def __call__(self, record: logging.LogRecord) -> bool:
        if hasattr(record, "transom_reason"):
            self.reports.append(  # one atomic step: threads of all slots come here
                CrashReport(
                    getattr(record, "transom_pid", None),  # type: ignore[arg-type]
                    getattr(record, "transom_label", None),
                    getattr(record, "transom_reason", None),
                    record.getMessage(),
                )
            )
        return True

    def __enter__(self) -> Recorder:
        logging.getLogger("transom").filters.insert(0, self)
        return self

    def __exit__(self, *_: object) -> None:
        filters = logging.getLogger("transom").filters
        filters[:] = [one for one in filters if one is not self]

    def take(self, expected: Expected) -> CrashReport | None:
        for index, report in enumerate(list(self.reports)):
            if index not in self.taken and report.matches(expected):
                self.taken.add(index)
                return report
        return None

    def unexpected(self, test: _context.Test) -> list[CrashReport]:
        allowed = test.node.allow_crashes
        if allowed is True:
            return []
        kinds = () if allowed is False else allowed if isinstance(allowed, tuple) else (allowed,)
        expected = [*kinds, *test.expected]
        return [
            report
            for index, report in enumerate(self.reports)
            if index not in self.taken and not any(report.matches(one) for one in expected)
        ]


def assert_crash(expected: Expected = BaseException, *, timeout: float = WAIT_SECONDS) -> Operation[CrashReport]:
    """Wait for a crash report that the test expects; await it, or ask for its ``result()`` in a plain function.

    Args:
        expected: An exception type, a regular expression for the text of the report, or a predicate on the CrashReport.
        timeout: Seconds to wait, >= 0.

    Returns:
        The report; each is given once and no failure any more.

    Raises:
        AssertionError: None came in time.

    Example:
        >>> import logging, transom
        >>> from transom.testing import assert_crash, run_test
        >>> logging.getLogger("transom").addHandler(logging.NullHandler())
        >>> async def careless():
        ...     raise KeyError("key")
        >>> async def test():
        ...     transom.spawn(careless)
        ...     return (await assert_crash(KeyError)).exception
        >>> run_test(test)
        KeyError('key')

    Source: ExUnit.CaptureLog, which sees text only.
    """
    test = _context.current("assert_crash")

    async def steps(receive: Receive) -> CrashReport:
        waited = 0.0
        while (report := test.recorder.take(expected)) is None:
            if waited >= timeout:
                seen = "\n".join(one.text.splitlines()[0] for one in test.recorder.reports) or "none at all"
                raise AssertionError(f"no crash report of {_named(expected)} within {timeout} s; there were:\n{seen}")
            await _pause(receive)
            waited += STEP_SECONDS
        return report

    return of_steps(steps)


async def _pause(receive: Receive) -> None:
    try:
        await receive(_core.make_ref(), timeout=STEP_SECONDS)  # nobody has the reference: it only waits
    except TimeoutError:
        pass


def _named(expected: Expected) -> str:
    return expected.__name__ if isinstance(expected, type) else repr(expected)


def allow_crashes(*expected: Expected) -> None:
    """The test may have crash reports like these, before or after this call, any number of them.

    Args:
        expected: As for ``assert_crash``; none given: whatever comes.
    """
    _context.current("allow_crashes").expected.extend(expected or (lambda report: True,))


def crash_reports() -> list[CrashReport]:
    """The crash reports of the test so far, the expected ones included. Those of deaths just now may come later."""
    return list(_context.current("crash_reports").recorder.reports)
