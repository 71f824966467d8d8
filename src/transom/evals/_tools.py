"""Checks of the tools that an output called."""

from __future__ import annotations

from typing import Any

from transom.evals._values import Case, Check, Output, ToolCall
from transom.testing._receive import fits


def tool_called(name: str, arguments: dict[str, Any] | None = None, *, times: int | None = None) -> Check:
    """The output called a tool.

    Args:
        name: The tool.
        arguments: Those that must be among its arguments: values, types, predicates or ``...``, as patterns for
            ``transom.testing.assert_receive``. None: any.
        times: How often, exactly; None: at least once.

    Example:
        >>> from transom.evals import Output, ToolCall, tool_called
        >>> output = Output("", (ToolCall("search", {"query": "weather Rome", "limit": 3}),))
        >>> tool_called("search", {"query": lambda text: "Rome" in text})(output).passed
        True
    """
    wanted = arguments or {}

    def judge(output: Output, case: Case) -> tuple[float, str]:
        good = sum(call.name == name and _has(call, wanted) for call in output.tool_calls)
        enough = good > 0 if times is None else good == times
        return float(enough), f"{good} such calls of {name}; {_listed(output)}"

    return Check("tool_called", judge)


def tool_not_called(name: str) -> Check:
    """The output did not call this tool."""

    def judge(output: Output, case: Case) -> tuple[float, str]:
        return float(all(call.name != name for call in output.tool_calls)), _listed(output)

    return Check("tool_not_called", judge)


def _has(call: ToolCall, wanted: dict[str, Any]) -> bool:
    return all(key in call.arguments and fits(one, call.arguments[key]) for key, one in wanted.items())


def _listed(output: Output) -> str:
    calls = [f"{call.name}({', '.join(f'{k}={v!r}' for k, v in call.arguments.items())})" for call in output.tool_calls]
    return f"it called {', '.join(calls)[:500]}" if calls else "it called no tool"
