"""Cases, outputs, verdicts and checks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any

# Which try of a repeated check, or of a repeated case, this is: so that a recording keeps the answer of each.
ATTEMPT: ContextVar[int] = ContextVar("transom_evals_attempt", default=0)


class MissingExtra(ImportError):
    """A library that an extra of the package brings is not installed."""


@dataclass(frozen=True)
class ToolCall:
    """A call of a tool that a model asked for.

    Attributes:
        name: The tool.
        arguments: Its arguments by name.
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Output:
    """What is judged. Where a check takes an output it takes a str as well.

    Attributes:
        text: The text.
        tool_calls: The tools it called, in order.
    """

    text: str
    tool_calls: tuple[ToolCall, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise TypeError(f"Output: text must be a str, not {self.text!r}")
        object.__setattr__(self, "tool_calls", _tuple("Output: tool_calls", self.tool_calls, ToolCall))

    @staticmethod
    def of(value: Any) -> Output:
        """The value as an output.

        Raises:
            TypeError: It is neither an Output nor a str.
        """
        if isinstance(value, Output):
            return value
        if isinstance(value, str):
            return Output(value)
        raise TypeError(f"an output is a str or an Output(text, tool_calls), not {type(value).__name__}")


@dataclass(frozen=True)
class Case:
    """One case of a data set.

    Attributes:
        input: What the subject is given.
        expected: What it should come to; for people, and for checks such as ``similar()`` without an argument.
        context: What is known to be true: documents a faithful answer keeps to.
        checks: Checks of this case alone, beside those of its suite.
        id: Names it in reports; default: its number.
        tags: Words to select cases by.
        output: A recorded output; the subject is not asked then.
        metadata: Anything else; not looked at.
    """

    input: Any
    expected: Any = None
    context: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()
    id: str = ""
    tags: tuple[str, ...] = ()
    output: Output | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        where = f"Case {self.id}" if self.id else "Case"
        for name in ("context", "tags"):
            given = getattr(self, name)
            texts = (given,) if isinstance(given, str) else _tuple(f"{where}: {name}", given, str)
            object.__setattr__(self, name, texts)
        object.__setattr__(self, "checks", _tuple(f"{where}: checks", self.checks, Check))
        if isinstance(self.output, str):
            object.__setattr__(self, "output", Output(self.output))
        if self.output is not None and not isinstance(self.output, Output):
            raise TypeError(f"{where}: output must be a text or an Output, not {self.output!r}")
        if not isinstance(self.metadata, Mapping):
            raise TypeError(f"{where}: metadata must be an object, not {self.metadata!r}")


KINDS = {"str": "texts", "Check": "checks", "ToolCall": "ToolCalls"}


def _tuple(what: str, given: Any, kind: type[Any]) -> tuple[Any, ...]:
    if not isinstance(given, Iterable) or isinstance(given, str | bytes | Mapping):
        raise TypeError(f"{what} must be {KINDS[kind.__name__]}, not {given!r}")
    all_ = tuple(given)
    for one in all_:
        if not isinstance(one, kind):
            raise TypeError(f"{what} must be {KINDS[kind.__name__]}, not {one!r}")
    return all_


@dataclass(frozen=True)
class Verdict:
    """What a check found.

    Attributes:
        check: The name of the check.
        passed: Whether the score reaches the threshold.
        score: 0 (not at all) to 1 (entirely).
        threshold: What it had to reach.
        reason: Why, in a sentence.
    """

    check: str
    passed: bool
    score: float
    threshold: float
    reason: str

    def __str__(self) -> str:
        sign = "passed" if self.passed else "FAILED"
        return f"{self.check}: {sign} ({self.score:.2f}, needs {self.threshold:.2f}): {self.reason}"


@dataclass(frozen=True)
class Check:
    """A question to an output. The functions of this package make them; write your own as ``Check("name", judge)``.

    Attributes:
        name: Names it in reports.
        judge: Called as judge(output, case); gives (score, reason). It may block, and may be called from any thread.
        threshold: The least score that passes, 0 to 1.
        tries: How often it is asked, at least 1; its score is the mean, unless ``at_least`` is given.
        at_least: With tries > 1: the share of tries, 0 to 1, that must reach the threshold. None: the mean must.

    Example:
        >>> from transom.evals import Check, assert_output
        >>> polite = Check("polite", lambda output, case: (float("please" in output.text), "says please"))
        >>> assert_output("a coffee, please", polite)

    Source: Tribunal's assertions for ExUnit.
    """

    name: str
    judge: Callable[[Output, Case], tuple[float, str]]
    threshold: float = 1.0
    tries: int = 1
    at_least: float | None = None

    def __post_init__(self) -> None:
        for name in ("threshold", "at_least"):
            value = getattr(self, name)
            if name == "at_least" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
                raise ValueError(f"{self.name}: {name} must be between 0 and 1, not {value!r}")
        if type(self.tries) is not int or self.tries < 1:
            raise ValueError(f"{self.name}: tries must be an int of 1 or more, not {self.tries!r}")

    def repeated(self, tries: int, *, at_least: float | None = None) -> Check:
        """The same check asked several times, for judges that are not always of one mind.

        Args:
            tries: How often, at least 1.
            at_least: The share of tries, 0 to 1, that must reach the threshold; None: the mean score must.
        """
        return replace(self, tries=tries, at_least=at_least)

    def __call__(self, output: Output | str, case: Case | None = None) -> Verdict:
        """Judge one output.

        Args:
            output: A text or an Output.
            case: Where it came from; checks that want a context or an input take them from here.
        """
        text = Output.of(output)
        where = case if case is not None else Case(input=None)
        tried = [self._once(text, where, attempt) for attempt in range(self.tries)]
        scores = [score for score, _ in tried]
        if self.tries == 1:
            return Verdict(self.name, scores[0] >= self.threshold, scores[0], self.threshold, tried[0][1])
        good = sum(score >= self.threshold for score in scores)
        worst = min(tried, key=lambda one: one[0])[1]
        reason = f"{good} of {self.tries} tries reach {self.threshold:.2f}; the worst: {worst}"
        if self.at_least is not None:
            share = good / self.tries
            return Verdict(self.name, share >= self.at_least, share, self.at_least, reason)
        mean = math.fsum(scores) / self.tries
        return Verdict(self.name, mean >= self.threshold, mean, self.threshold, reason)

    def _once(self, output: Output, case: Case, attempt: int) -> tuple[float, str]:
        token = ATTEMPT.set(ATTEMPT.get() * self.tries + attempt)
        try:
            score, reason = self.judge(output, case)
        finally:
            ATTEMPT.reset(token)
        if isinstance(score, str) or not 0 <= float(score) <= 1:
            raise ValueError(f"check {self.name}: the score must be between 0 and 1, not {score!r}")
        return float(score), str(reason)


class EvaluationFailed(AssertionError):
    """Checks of an output have failed.

    Attributes:
        verdicts: All verdicts, those that passed included.
    """

    def __init__(self, output: Output, verdicts: list[Verdict]) -> None:
        failed = [verdict for verdict in verdicts if not verdict.passed]
        shown = output.text if len(output.text) <= 500 else f"{output.text[:500]}... ({len(output.text):,} characters)"
        lines = "\n".join(f"  {verdict}" for verdict in failed)
        super().__init__(f"{len(failed)} of {len(verdicts)} checks failed:\n{lines}\nthe output: {shown!r}")
        self.verdicts = verdicts


def check_output(
    output: Output | str, *checks: Check, input: Any = None, context: Iterable[str] | str = (), expected: Any = None
) -> list[Verdict]:
    """Judge an output by some checks; the verdicts in the order of the checks.

    Arguments as for ``assert_output``. Checks that ask a model block the calling thread meanwhile.
    """
    texts = (context,) if isinstance(context, str) else tuple(context)
    case = Case(input=input, context=texts, expected=expected, checks=checks)
    return [check(output, case) for check in case.checks]


def assert_output(
    output: Output | str, *checks: Check, input: Any = None, context: Iterable[str] | str = (), expected: Any = None
) -> None:
    """An output passes all of these checks.

    Blocks the calling thread while a model judges; in an ``async def`` process the slot goes on with others after 10 ms.

    Args:
        output: A text, or an Output with the tool calls.
        checks: One or more.
        input: What the model was asked, for ``relevant``.
        context: The texts it should have kept to, for ``faithful`` and ``no_hallucination``.
        expected: What it should have come to, for ``similar``.

    Raises:
        EvaluationFailed: Some failed; an AssertionError, whose text has the verdicts.
        TypeError: No check, or something that is none.

    Example:
        >>> from transom.evals import assert_output, contains, lacks
        >>> assert_output("Returns within 30 days.", contains("30 days"), lacks("refund"))

    Source: Tribunal's assertions for ExUnit.
    """
    if not checks:
        raise TypeError("assert_output() takes at least one check, such as contains('30 days')")
    verdicts = check_output(output, *checks, input=input, context=context, expected=expected)
    if not all(verdict.passed for verdict in verdicts):
        raise EvaluationFailed(Output.of(output), verdicts)
