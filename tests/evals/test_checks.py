"""Checks that ask no model: what passes, what does not, what the verdict says."""

from __future__ import annotations

import re
from typing import Any

import pytest

from transom.evals import (
    Case,
    Check,
    EvaluationFailed,
    Output,
    ToolCall,
    assert_output,
    at_most,
    check_output,
    contains,
    contains_any,
    equals,
    find_personal_data,
    is_json,
    json_schema,
    lacks,
    matches,
    no_personal_data,
    similar,
    tool_called,
    tool_not_called,
)

SEARCH = Output("", (ToolCall("search", {"query": "weather Rome", "limit": 3}), ToolCall("answer", {})))

PASSING: list[tuple[Check, Output | str]] = [
    (contains("30 days", "receipt"), "30 days with a receipt"),
    (contains("RECEIPT", ignore_case=True), "a receipt"),
    (contains_any("a", "b"), "b"),
    (lacks("refund"), "no"),
    (matches(r"\d+ days"), "in 30 days"),
    (matches(re.compile("a+"), whole=True), "aaa"),
    (equals("yes"), " yes\n"),
    (at_most(characters=3, words=1), "yes"),
    (is_json(), '```json\n{"a": 1}\n```'),
    (similar("Returns are accepted within 30 days.", threshold=0.6), "We accept returns within 30 days"),
    (tool_called("search"), SEARCH),
    (tool_called("search", {"query": lambda text: "Rome" in text, "limit": int}), SEARCH),
    (tool_called("search", times=1), SEARCH),
    (tool_not_called("delete"), SEARCH),
    (no_personal_data(allow=["help@shop.example"]), "write to help@shop.example"),
]

FAILING: list[tuple[Check, Output | str, float]] = [
    (contains("30 days", "receipt"), "30 days", 0.5),
    (contains("RECEIPT"), "a receipt", 0),
    (contains_any("a", "b"), "c", 0),
    (lacks("refund"), "a refund", 0),
    (matches(r"\d+ days"), "soon", 0),
    (matches("a+", whole=True), "aab", 0),
    (equals("yes"), "yes!", 0),
    (equals("yes", strip=False), "yes ", 0),
    (at_most(words=1), "yes sir", 0),
    (at_most(characters=3), "four", 0),
    (is_json(), "{'a': 1}", 0),
    (is_json(), "NaN", 0),
    (is_json(), "[" * 200_000, 0),
    (tool_called("search", {"limit": 4}), SEARCH, 0),
    (tool_called("search", times=2), SEARCH, 0),
    (tool_called("delete"), SEARCH, 0),
    (tool_not_called("search"), SEARCH, 0),
    (no_personal_data(), "write to help@shop.example", 0),
]


@pytest.mark.parametrize(("check", "output"), PASSING, ids=lambda one: getattr(one, "name", None))
def test_passing(check: Check, output: Output | str) -> None:
    verdict = check(output)
    assert verdict.passed and verdict.reason and verdict.check == check.name, verdict


@pytest.mark.parametrize(("check", "output", "score"), FAILING, ids=lambda one: getattr(one, "name", None))
def test_failing(check: Check, output: Output | str, score: float) -> None:
    verdict = check(output)
    assert not verdict.passed and verdict.score == score and verdict.reason, verdict


def test_an_assertion_tells_all_that_failed_and_shows_the_output() -> None:
    with pytest.raises(EvaluationFailed) as caught:
        assert_output("in 30 days", contains("30"), contains("receipt"), equals("no"))
    text = str(caught.value)
    assert "2 of 3 checks failed" in text and "it lacks 'receipt'" in text and "'in 30 days'" in text
    assert [verdict.passed for verdict in caught.value.verdicts] == [True, False, False]
    assert isinstance(caught.value, AssertionError)


def test_assertions_without_checks_cannot_pass() -> None:
    with pytest.raises(TypeError, match="at least one check"):
        assert_output("anything")
    with pytest.raises(TypeError, match="checks must be checks"):
        assert_output("anything", "30 days")  # type: ignore[arg-type]


def test_an_output_is_a_text() -> None:
    with pytest.raises(TypeError, match="not int"):
        contains("4")(4)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "make",
    [
        lambda: contains(),
        lambda: contains(""),
        lambda: lacks(3),  # type: ignore[arg-type]
        lambda: at_most(),
        lambda: matches("("),
        lambda: no_personal_data(kinds=["shoe size"]),
        lambda: Check("x", lambda output, case: (1.0, ""), threshold=2),
        lambda: Check("x", lambda output, case: (1.0, ""), tries=0),
        lambda: Check("x", lambda output, case: (1.0, ""), at_least=True),
    ],
)
def test_arguments_that_do_not_fit_are_refused_at_once(make: Any) -> None:
    with pytest.raises((TypeError, ValueError, re.error)):
        make()


def test_a_score_out_of_range_is_an_error_and_no_verdict() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        Check("mine", lambda output, case: (7.0, "lucky"))("x")
    with pytest.raises(ValueError, match="between 0 and 1"):
        Check("mine", lambda output, case: (float("nan"), "no number"))("x")


def test_similar_takes_the_expected_text_of_the_case() -> None:
    (verdict,) = check_output("within thirty days", similar(), expected="within thirty days")
    assert verdict.score == 1
    with pytest.raises(ValueError, match="no text to compare with"):
        similar()("x", Case(input=None))
    assert not similar("one two three four")("five six seven eight").passed


def test_repeats_take_the_mean_or_a_share() -> None:
    scores = iter([1.0, 0.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0])
    check = Check("moody", lambda output, case: (next(scores), "so"), threshold=0.7)
    mean = check.repeated(4)("x")
    assert mean.passed and mean.score == 0.75 and "3 of 4" in mean.reason
    share = check.repeated(4, at_least=0.9)("x")
    assert not share.passed and share.score == 0.75 and share.threshold == 0.9


PERSONAL = [
    ("email", "jane.doe+x@mail.example.com"),
    ("iban", "DE89 3704 0044 0532 0130 00"),
    ("credit_card", "4111 1111 1111 1111"),
    ("us_ssn", "123-45-6789"),
    ("ip_address", "203.0.113.7"),
    ("phone", "+49 30 1234567"),
    ("phone", "0171 23456789"),
    ("phone", "030/1234567"),
    ("credit_card", "4111\u00a01111\u00a01111\u00a01111"),
    ("credit_card", "3782 822463 10005"),
    ("phone", "+49\u00a030\u202f1234567"),
]
BESIDE = [
    ("credit_card", "4111 1111 1111 1111", "{} 123"),
    ("credit_card", "4111 1111 1111 1111", "{} 12/26"),
    ("credit_card", "4111-1111-1111-1111", "{}-123"),
    ("credit_card", "4111 1111 1111 1111", "123 {}"),
    ("credit_card", "4111111111111111", "{} 12/26 123"),
    ("credit_card", "4111 1111 1111 1111", "2026 11 24 10 20 {} 99 99"),
    ("iban", "DE89 3704 0044 0532 0130 00", "{} ABC 12"),
    ("phone", "+49 30 1234567", "{} 2026-11-24"),
    ("phone", "0171 23456789", "{} 12 00 17"),
]
HARMLESS = [
    "DE89 3704 0044 0532 0130 01",
    "4111 1111 1111 1112",
    "000-45-6789",
    "127.0.0.1",
    "version 3.13.5",
    "2026-11-24",
    "order 12345678",
    "300.300.300.300",
    "0.12345678",
    "2026-11-24 10",
    "4111 1111 1111 1112 123",
]


@pytest.mark.parametrize(("kind", "text"), PERSONAL)
def test_personal_data_is_found_and_not_shown(kind: str, text: str) -> None:
    whole = f"It is {text}, she said."
    (found,) = find_personal_data(whole)
    assert found.kind == kind and whole[found.start : found.end] == text
    verdict = no_personal_data()(whole)
    assert not verdict.passed and text not in verdict.reason and found.masked in verdict.reason


@pytest.mark.parametrize(("kind", "text", "beside"), BESIDE)
def test_personal_data_is_found_beside_other_digits(kind: str, text: str, beside: str) -> None:
    whole = f"It is {beside.format(text)}"
    places = [(one.kind, whole[one.start : one.end]) for one in find_personal_data(whole)]
    assert kind in dict(places) and any(text in found for _, found in places), places


def test_neighbours_are_all_found() -> None:
    for kind, text in (("iban", "DE89 3704 0044 0532 0130 00"), ("credit_card", "4111 1111 1111 1111")):
        found = find_personal_data(" ".join([text] * 3))
        assert [one.kind for one in found] == [kind] * 3


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_shaped_otherwise_is_left_alone(text: str) -> None:
    assert find_personal_data(f"It is {text} here") == []


def test_finding_takes_linear_time_on_hostile_text() -> None:
    for hostile in ("1 " * 50_000, "a@" * 50_000, "a." * 50_000 + "@", "DE12" + " A" * 50_000, "+" * 100_000,
                    "4 " * 50_000, "3 " * 50_000, "0 1" * 30_000, "a@b.cc " * 30_000):
        find_personal_data(hostile)  # the time limit of the test is the assertion


def test_json_schema() -> None:
    pytest.importorskip("jsonschema")
    check = json_schema({"type": "object", "required": ["city"], "properties": {"days": {"type": "integer"}}})
    assert check('{"city": "Rome", "days": 3}').passed
    verdict = check('{"days": "3"}')
    assert not verdict.passed and "2 problems" in verdict.reason and "at days" in verdict.reason
    assert "no JSON" in check("Rome").reason
    with pytest.raises(ValueError, match="no schema"):
        json_schema({"type": "towel"})


def test_json_schema_fetches_nothing() -> None:
    pytest.importorskip("jsonschema")
    import referencing.exceptions

    with pytest.raises((referencing.exceptions.Unresolvable, Exception), match="127.0.0.1:9"):
        json_schema({"$ref": "http://127.0.0.1:9/schema.json"})("{}")
