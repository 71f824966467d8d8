"""Cases from files: JSON lines, JSON, CSV."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from transom.evals import _judged, _personal, _rules, _schema, _similar, _tools
from transom.evals._values import Case, Check, Output, ToolCall

type Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

FIELDS = ("input", "expected", "context", "checks", "id", "tags", "output", "tool_calls", "metadata")

# A check as data: {"contains": "30 days"}; a dict gives arguments by name, a list by place, true none.
MAKERS: dict[str, Callable[..., Check]] = {
    "contains": _rules.contains,
    "contains_any": _rules.contains_any,
    "lacks": _rules.lacks,
    "matches": _rules.matches,
    "equals": _rules.equals,
    "at_most": _rules.at_most,
    "is_json": _rules.is_json,
    "similar": _similar.similar,
    "tool_called": _tools.tool_called,
    "tool_not_called": _tools.tool_not_called,
    "no_personal_data": _personal.no_personal_data,
    "judged": _judged.judged,
    "faithful": _judged.faithful,
    "relevant": _judged.relevant,
    "no_hallucination": _judged.no_hallucination,
    "no_bias": _judged.no_bias,
    "no_toxicity": _judged.no_toxicity,
}


def load_cases(source: str | os.PathLike[str] | Iterable[Any], *, tag: str | None = None) -> list[Case]:
    """Cases from a file or from what Python has.

    Args:
        source: The path of a file ``.jsonl`` (an object a line), ``.json`` (a list of objects) or ``.csv`` (a head line
            and one case a line); or an iterable of Cases, dicts, or inputs. Fields are those of ``Case``; ``checks`` is
            an object such as ``{"contains": "30 days", "faithful": {"threshold": 0.9}}``, in a CSV file as JSON text;
            columns that are no fields go into ``metadata``.
        tag: Only cases with this tag.

    Returns:
        The cases; those without an id get their number, from 1.

    Raises:
        ValueError: A line is no case; the message names file and line.

    Example:
        >>> from transom.evals import load_cases
        >>> load_cases([{"input": "2 + 2?", "checks": {"contains": "4"}}])[0].checks[0].name
        'contains'
    """
    if isinstance(source, str | os.PathLike):
        rows = _rows(Path(source))
    else:
        rows = [(f"case {number}", row) for number, row in enumerate(source, 1)]
    cases: list[Case] = []
    seen: set[str] = set()
    for number, (where, row) in enumerate(rows, 1):
        try:
            case = _case(row, number)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{where}: {error}") from error
        if case.id in seen:
            raise ValueError(f"{where}: there is a case with the id {case.id!r} already")
        seen.add(case.id)
        if tag is None or tag in case.tags:
            cases.append(case)
    return cases


def parametrize(
    source: str | os.PathLike[str] | Iterable[Any], *, tag: str | None = None, name: str = "case"
) -> Decorator:
    """Decorator: a pytest test of each case, as its argument ``case``; arguments as for ``load_cases``.

    Raises:
        ValueError: A line is no case.
    """
    import pytest

    cases = load_cases(source, tag=tag)
    mark: Decorator = pytest.mark.parametrize(name, cases, ids=[case.id for case in cases])
    return mark


def _rows(path: Path) -> list[tuple[str, Any]]:
    if path.suffix == ".csv":
        with path.open(encoding="utf-8-sig", newline="") as file:
            return [(f"{path}:{number}", _from_csv(row)) for number, row in enumerate(csv.DictReader(file), 2)]
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix == ".jsonl":
        lines = [(f"{path}:{number}", line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
        return [(where, _json(line, where)) for where, line in lines]
    if path.suffix == ".json":
        rows = _json(text, str(path))
        if not isinstance(rows, list):
            raise ValueError(f"{path}: it must be a list of cases, not {type(rows).__name__}")
        return [(f"{path}, case {number}", row) for number, row in enumerate(rows, 1)]
    raise ValueError(f"{path}: cases come from files .jsonl, .json and .csv")


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: no JSON: {error}") from None


def _from_csv(row: dict[str | None, Any]) -> dict[str, Any]:
    if None in row:
        raise ValueError(f"a line of a CSV file has more columns than the head: {row[None]!r}")
    fields: dict[str, Any] = {str(key): value for key, value in row.items() if value not in (None, "")}
    for name in ("checks", "tool_calls", "metadata"):
        if name in fields:
            fields[name] = _json(fields[name], f"column {name}")
    if "tags" in fields:
        fields["tags"] = fields["tags"].split()
    return fields


def _case(row: Any, number: int) -> Case:
    if isinstance(row, Case):
        return row if row.id else Case(**{**vars(row), "id": str(number)})
    if not isinstance(row, dict):
        return Case(input=row, id=str(number))
    if "input" not in row:
        raise ValueError(f"it has no input; its fields are {', '.join(map(str, row)) or 'none'}")
    known = {name: row[name] for name in FIELDS if row.get(name) is not None}
    extra = {name: value for name, value in row.items() if name not in FIELDS}
    calls = tuple(ToolCall(call["name"], call.get("arguments", {})) for call in known.pop("tool_calls", ()))
    if "output" in known or calls:
        known["output"] = Output(known.get("output", ""), calls)
    known["checks"] = _checks(known.get("checks", {}))
    known["metadata"] = {**known.get("metadata", {}), **extra}
    return Case(**{"id": str(number), **known, **({"id": str(known["id"])} if "id" in known else {})})


def _checks(given: Any) -> tuple[Check, ...]:
    if isinstance(given, list | tuple):
        pairs = [(one, None) if isinstance(one, Check) else pair for one in given for pair in _pairs(one)]
    else:
        pairs = _pairs(given)
    return tuple(one if isinstance(one, Check) else _check(one, value) for one, value in pairs)


def _pairs(given: Any) -> list[tuple[Any, Any]]:
    if isinstance(given, Check):
        return [(given, None)]
    if isinstance(given, str):
        return [(given, True)]
    if not isinstance(given, dict):
        raise ValueError(f"checks must be an object of names and arguments, not {given!r}")
    return list(given.items())


def _check(name: str, value: Any) -> Check:
    if name == "json_schema":  # its argument is a dict itself
        return _schema.json_schema(value)
    maker = MAKERS.get(name)
    if maker is None:
        raise ValueError(f"there is no check {name!r}; there are {', '.join([*MAKERS, 'json_schema'])}")
    try:
        if isinstance(value, dict):
            return maker(**value)
        return maker(*(() if value is True else value if isinstance(value, list) else (value,)))
    except TypeError as error:
        raise ValueError(f"check {name!r}: {error}") from None
