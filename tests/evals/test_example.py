"""examples/evals: passes as it is, and fails when the desk is broken."""

from __future__ import annotations

import pytest

from examples.evals import desk
from examples.evals import suite as example
from transom.evals import Output, load_cases, parametrize, run_suite
from transom.evals._values import Case


def test_the_suite_passes() -> None:
    report = run_suite(example.suite)
    assert report.passed, report.to_text()
    assert {"contains", "tool_called", "faithful", "no_personal_data"} <= set(report.checks())


def test_a_broken_desk_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    async def wrong(self: desk.Desk, question: str) -> Output:
        return Output("Call Jim at +49 30 1234567, he knows.")

    monkeypatch.setattr(desk.Desk, "answer", wrong)
    report = run_suite(example.suite)
    assert not report.passed and report.pass_rate == 0
    assert report.checks()["no_personal_data"][0] == 0 and report.checks()["faithful"][0] == 0


@parametrize(example.CASES, tag="returns")
def test_cases_as_tests(case: Case) -> None:
    assert case.id in ("return", "receipt") and case.checks


def test_ids_are_unique() -> None:
    assert len(load_cases(example.CASES)) == 5
