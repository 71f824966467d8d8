"""The command ``transom eval``.

Exit status: 0 when every suite passes, 1 when one fails, 2 when the target cannot be run, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from transom.evals._judge import use_judge
from transom.evals._recorded import RecordedJudge
from transom.evals._redact import hide
from transom.evals._report import CaseResult, Report, report_path
from transom.evals._suite import Suite, run_suite


def run(options: argparse.Namespace, load: Callable[[str], Any]) -> int:
    """Run the suite that the options name.

    Raises:
        ValueError: The target is no suite, or an option does not fit.
    """
    suite = _suite(load(options.target), options.target)
    changes = {name: getattr(options, name) for name in ("concurrency", "repeats", "pass_rate")}
    suite = suite.options(**{name: value for name, value in changes.items() if value is not None})
    if options.redact:
        suite = suite.options(redact=hide)
    for path in options.report:
        report_path(path)  # a wrong one is told before models are asked
    with _judge(options):
        report = _reported(suite, options)
    report.show()
    for path in options.report:
        report.write(path)
    return 0 if report.passed else 1


def _suite(found: Any, target: str) -> Suite:
    """The suite that the target names, or that the function there gives."""
    told = "not a Suite or a function without arguments that gives one"
    if not isinstance(found, Suite) and callable(found):
        try:
            inspect.signature(found).bind()
        except TypeError as problem:
            raise ValueError(f"{target} is a function that takes arguments ({problem}), {told}.") from None
        except ValueError:
            pass  # some written in C do not tell
        if inspect.iscoroutinefunction(found):
            raise ValueError(f"{target} is a coroutine function, {told}.")
        found = found()
    if not isinstance(found, Suite):
        raise ValueError(f"{target} is {type(found).__name__!r}, {told}.")
    return found


def _reported(suite: Suite, options: argparse.Namespace) -> Report:
    try:
        return run_suite(suite, tag=options.tag, limit=options.limit, on_result=None if options.quiet else _told)
    finally:
        if not options.quiet:
            print(file=sys.stderr)  # the signs of the cases end here


def _judge(options: argparse.Namespace) -> AbstractContextManager[Any]:
    if options.replay:
        return use_judge(RecordedJudge(options.replay, mode="replay"))
    return use_judge(RecordedJudge(options.record)) if options.record else nullcontext()


def _told(result: CaseResult) -> None:
    print("." if result.passed else "F", end="", file=sys.stderr, flush=True)
