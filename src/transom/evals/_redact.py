"""Reports without texts that are nobody's business: the suite's ``redact`` goes over all that a case says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from transom.evals._report import Try, shown
from transom.evals._values import ToolCall

type Redact = Callable[[str], str]


def hide(text: str) -> str:
    """How long a text is, and nothing of it."""
    return f"<{len(text):,} characters>"


def redacted(one: Try, redact: Redact) -> Try:
    """The same try; of its texts what redact gives back for each. Names of checks and tools, and scores, stay."""
    output = one.output
    if output is not None:
        calls = tuple(ToolCall(call.name, redacted_value(call.arguments, redact)) for call in output.tool_calls)
        output = replace(output, text=redact(output.text), tool_calls=calls)
    verdicts = tuple(replace(verdict, reason=redact(verdict.reason)) for verdict in one.verdicts)
    return replace(one, output=output, verdicts=verdicts, error=None if one.error is None else redact(one.error))


DEEPEST = 50


def redacted_value(value: Any, redact: Redact, depth: int = 0) -> Any:
    """A value of JSON's kind with its texts redacted; of any other value, and of what lies deeper than DEEPEST, its repr."""
    if isinstance(value, Mapping) and depth < DEEPEST:
        return {redact(shown(key)): redacted_value(one, redact, depth + 1) for key, one in value.items()}
    if isinstance(value, list | tuple) and depth < DEEPEST:
        return [redacted_value(one, redact, depth + 1) for one in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return redact(shown(value))
