"""What the pytest plugin does with a test of transom."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from transom import _replay
from transom.testing._context import Node
from transom.testing._fixture import call, needed
from transom.testing._run import LeakedProcesses, Run
from transom.testing._search import explore

KEY = pytest.StashKey[Node]()
OPTIONS = (
    "schedulers", "timeout", "leak_seconds", "allow_leaks", "allow_crashes", "deterministic", "schedules", "strategy",
    "max_preemptions",
)  # fmt: skip


def node_of(item: Any) -> Node:
    """How the node of this test is set up: by the settings, then the markers, outermost first, then the command line."""
    if KEY not in item.stash:
        given: dict[str, Any] = {
            "timeout": _seconds(item.config, "transom_timeout"),
            "leak_seconds": _seconds(item.config, "transom_leak_seconds"),
        }
        for marker in reversed(list(item.iter_markers("transom"))):
            unknown = [name for name in marker.kwargs if name not in OPTIONS]
            if marker.args or unknown:
                what = f"option {unknown[0]!r}" if unknown else "argument without a name"
                raise pytest.UsageError(f"{item.nodeid}: transom has no {what}; there are {', '.join(OPTIONS)}")
            given |= marker.kwargs
        if (seed := item.config.getoption("--transom-seed", None)) is not None:
            given |= {"deterministic": _seed(seed), "schedules": 0, "schedulers": None}
        elif given.get("schedules") and (many := item.config.getoption("--transom-schedules", None)) is not None:
            given["schedules"] = many
        item.stash[KEY] = Node(**given)
    return item.stash[KEY]  # type: ignore[no-any-return]


def _seed(text: str) -> int | str:
    try:
        _replay.parse(text)
    except ValueError as error:
        raise pytest.UsageError(f"--transom-seed: {error}") from None
    return int(text) if text.isdecimal() else text


def _seconds(config: pytest.Config, name: str) -> float:
    text = config.getini(name)
    try:
        return float(text)
    except ValueError:
        raise pytest.UsageError(f"{name} must be seconds, not {text!r}") from None


def run(item: Any, runtest: Callable[[], None]) -> None:
    """Let pytest run the test, with a function in its place that runs it in a node."""
    node = node_of(item)
    given = getattr(item.obj, "hypothesis", None)
    if given is None:
        original = item.obj
        item.obj = _in_node(item, original, node)
        try:
            runtest()
        finally:
            item.obj = original
    else:  # each example has a node of its own
        original = given.inner_test
        given.inner_test = _in_node(item, original, node)
        try:
            runtest()
        finally:
            given.inner_test = original


def _in_node(item: Any, function: Callable[..., Any], node: Node) -> Callable[..., None]:
    def test(*args: Any, **kwargs: Any) -> None:
        __tracebackhide__ = True
        if node.schedules:
            _search(item, function, args, kwargs, node)
            return
        run = Run(function, args, kwargs, node)
        failure: BaseException | None = None
        try:
            run.go()
            failure = run.failure()
        finally:
            if failure is not None:
                _explain(item, run, failure)
        if failure is not None:
            raise failure

    return test


def _search(item: Any, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], node: Node) -> None:
    __tracebackhide__ = True

    async def steps() -> Any:
        return await call(function, args, kwargs)

    body = steps if inspect.iscoroutinefunction(function) or needed(kwargs) else partial(function, *args, **kwargs)
    try:
        search = explore(
            body,
            schedules=node.schedules,
            strategy=node.strategy,
            max_preemptions=node.max_preemptions,
            node=replace(node, schedules=0),
        )
    except (TypeError, ValueError) as error:
        raise pytest.UsageError(f"{item.nodeid}: {error}") from None
    if search.finding is not None:
        finding = search.finding
        text = f"schedule {finding.runs}, after {finding.seconds:.2f} s; to run it again: --transom-seed={finding.schedule}"
        item.add_report_section("call", "transom schedule", text)
        raise finding.error


def _explain(item: Any, run: Run, failure: BaseException) -> None:
    """What else the report of a failed test tells."""
    if isinstance(failure, pytest.skip.Exception | pytest.xfail.Exception):
        return
    if failure is run.error:
        if run.unexpected:
            text = "\n\n".join(report.text for report in run.unexpected[:10])
            item.add_report_section("call", "transom crash reports", text)
        if run.leaked:
            item.add_report_section("call", "transom leaked processes", str(LeakedProcesses(run.leaked)))
