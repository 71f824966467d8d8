"""Checks of the text that take no model."""

from __future__ import annotations

import json
import re
from typing import Any

from transom.evals._values import Case, Check, Output


def contains(*texts: str, ignore_case: bool = False) -> Check:
    """The output has all of these texts in it; the score is the share of them it has.

    Example:
        >>> from transom.evals import contains
        >>> contains("30 days", "receipt")("within 30 days").reason
        "it lacks 'receipt'"
    """
    _demand_texts("contains", texts)

    def judge(output: Output, case: Case) -> tuple[float, str]:
        missing = [text for text in texts if not _in(text, output.text, ignore_case)]
        reason = f"it lacks {_listed(missing)}" if missing else f"it has {_listed(texts)}"
        return 1 - len(missing) / len(texts), reason

    return Check("contains", judge)


def contains_any(*texts: str, ignore_case: bool = False) -> Check:
    """The output has at least one of these texts in it."""
    _demand_texts("contains_any", texts)

    def judge(output: Output, case: Case) -> tuple[float, str]:
        found = [text for text in texts if _in(text, output.text, ignore_case)]
        return float(bool(found)), f"it has {_listed(found)}" if found else f"it has none of {_listed(texts)}"

    return Check("contains_any", judge)


def lacks(*texts: str, ignore_case: bool = False) -> Check:
    """The output has none of these texts in it."""
    _demand_texts("lacks", texts)

    def judge(output: Output, case: Case) -> tuple[float, str]:
        found = [text for text in texts if _in(text, output.text, ignore_case)]
        return float(not found), f"it has {_listed(found)}" if found else f"it has none of {_listed(texts)}"

    return Check("lacks", judge)


def matches(pattern: str | re.Pattern[str], *, whole: bool = False) -> Check:
    """A regular expression is found in the output.

    Args:
        pattern: As for ``re``. In a suite a slow one fails its own case, at that case's timeout, and the others go on;
            the match itself cannot be interrupted: its OS thread goes on at it until it is done (one of the node's
            ``max_threads``, a core's time), and the suite's end waits up to five seconds for it. In a test without a
            suite it blocks the test.
        whole: It must match the whole text.

    Raises:
        re.error: It is no regular expression.
    """
    compiled = re.compile(pattern)

    def judge(output: Output, case: Case) -> tuple[float, str]:
        found = compiled.fullmatch(output.text) if whole else compiled.search(output.text)
        if found is None:
            return 0.0, f"{'the whole text does not match' if whole else 'nothing matches'} {compiled.pattern!r}"
        return 1.0, f"{found[0][:100]!r} matches {compiled.pattern!r}"

    return Check("matches", judge)


def equals(text: str, *, strip: bool = True) -> Check:
    """The output is this text.

    Args:
        text: The text.
        strip: White space around both does not count.
    """

    def judge(output: Output, case: Case) -> tuple[float, str]:
        same = output.text.strip() == text.strip() if strip else output.text == text
        return float(same), "it is the text" if same else f"it is not {text[:200]!r}"

    return Check("equals", judge)


def at_most(*, characters: int | None = None, words: int | None = None) -> Check:
    """The output is no longer than this; words are what white space separates."""
    if characters is None and words is None:
        raise TypeError("at_most() takes characters= or words=")

    def judge(output: Output, case: Case) -> tuple[float, str]:
        length, count = len(output.text), len(output.text.split())
        long = (characters is not None and length > characters) or (words is not None and count > words)
        return float(not long), f"it has {length:,} characters, {count:,} words"

    return Check("at_most", judge)


def is_json() -> Check:
    """The output is JSON and nothing else; a fence of three backticks around it is none of it, and allowed."""

    def judge(output: Output, case: Case) -> tuple[float, str]:
        try:
            value = parse_json(output.text)
        except ValueError as error:
            return 0.0, f"it is no JSON: {error}"
        return 1.0, f"it is JSON: {type(value).__name__}"

    return Check("is_json", judge)


FENCE = re.compile(r"\s*```(?:json|JSON)?[ \t]*\n(.*?)\n?```\s*", re.DOTALL)


def parse_json(text: str) -> Any:
    """The value of a JSON text, fenced or not.

    Raises:
        ValueError: It is none; NaN and Infinity are none, either.
    """
    fenced = FENCE.fullmatch(text)
    try:
        return json.loads(fenced[1] if fenced else text, parse_constant=no_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def no_constant(name: str) -> Any:
    """For json: NaN and Infinity are refused."""
    raise ValueError(f"{name} is no JSON")


def _in(text: str, whole: str, ignore_case: bool) -> bool:
    return text.casefold() in whole.casefold() if ignore_case else text in whole


def _listed(texts: Any) -> str:
    return ", ".join(repr(text) for text in texts)


def _demand_texts(what: str, texts: tuple[Any, ...]) -> None:
    if not texts or not all(isinstance(text, str) and text for text in texts):
        raise TypeError(f"{what}() takes one or more texts that are not empty, not {texts!r}")
