"""Cases from files: JSON lines, JSON, CSV."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
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
        source: The path of a file in UTF-8: ``.jsonl`` (an object a line), ``.json`` (a list of objects) or ``.csv`` (a
            head line and one case a line; what is longer than 128 KiB does not fit in a field). YAML is not read. Or an iterable of Cases, dicts, or inputs. Fields are those of ``Case``; ``checks`` is
            an object such as ``{"contains": "30 days", "faithful": {"threshold": 0.9}}``, in a CSV file as JSON text;
            columns that are no fields go into ``metadata``.
        tag: Only cases with this tag.

    Returns:
        The cases; those without an id get their number, from 1.

    Raises:
        ValueError: A line is no case; the message names file, line and field.
        TypeError: The source is neither a file nor cases.
        ImportError: A check wants a library of ``transom[evals]``, which is not installed.

    Example:
        >>> from transom.evals import load_cases
        >>> load_cases([{"input": "2 + 2?", "checks": {"contains": "4"}}])[0].checks[0].name
        'contains'
    """
    if isinstance(source, str | os.PathLike):
        rows = _rows(Path(source))
    elif not isinstance(source, Iterable) or isinstance(source, Mapping | bytes):
        raise TypeError(f"load_cases() takes a file, or cases in a list or the like, not {source!r}")
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
        ValueError: A line is no case, or there is no case at all: pytest would skip the test and say nothing.
    """
    import pytest

    cases = load_cases(source, tag=tag)
    if not cases:
        raise ValueError(f"parametrize(): {source!r} has no cases{f' with the tag {tag!r}' if tag else ''}")
    mark: Decorator = pytest.mark.parametrize(name, cases, ids=[case.id for case in cases])
    return mark


def _rows(path: Path) -> list[tuple[str, Any]]:
    if path.suffix not in (".jsonl", ".json", ".csv"):
        hint = "; YAML is not read: convert it to JSON" if path.suffix in (".yaml", ".yml") else ""
        raise ValueError(f"{path}: cases come from files .jsonl, .json and .csv{hint}")
    text = _text(path)
    if path.suffix == ".csv":
        return _csv_rows(path, text)
    if path.suffix == ".jsonl":  # a line ends at \n alone; others may stand within texts
        lines = [(f"{path}:{number}", line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
        return [(where, _json(line, where)) for where, line in lines]
    rows = _json(text, str(path))
    if not isinstance(rows, list):
        raise ValueError(f"{path}: it must be a list of cases, not {type(rows).__name__}")
    return [(f"{path}, case {number}", row) for number, row in enumerate(rows, 1)]


def _text(path: Path) -> str:
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{path}:{line}: it is no UTF-8: byte 0x{data[error.start]:02x}; save it as UTF-8") from None


def _csv_rows(path: Path, text: str) -> list[tuple[str, Any]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    rows: list[tuple[str, Any]] = []
    try:
        head = list(reader.fieldnames or ())
        twice = [name for name in head if head.count(name) > 1]
        if twice:
            raise ValueError(f"{path}:1: the column {twice[0]!r} stands there twice")
        for row in reader:
            where = f"{path}:{reader.line_num}"  # the last of the lines that a case takes
            rows.append((where, _from_csv(row, where)))
    except csv.Error as error:
        raise ValueError(f"{path}:{reader.line_num + 1}: no CSV: {error}") from None
    return rows


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: no JSON: {error}") from None


def _from_csv(row: dict[str | None, Any], where: str) -> dict[str, Any]:
    if None in row:
        raise ValueError(f"{where}: it has more columns than the head: {row[None]!r}")
    fields: dict[str, Any] = {str(key): value for key, value in row.items() if value not in (None, "")}
    for name in ("checks", "tool_calls", "metadata"):
        if name in fields:
            fields[name] = _json(fields[name], f"{where}: column {name}")
    if fields.get("context", "").startswith("["):
        try:
            fields["context"] = json.loads(fields["context"])
        except ValueError:
            pass  # a text that begins so
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
    fields = {"input": row["input"], **{name: _field(name, value) for name, value in known.items()}}
    calls = fields.pop("tool_calls", ())
    if calls:
        fields["output"] = Output(_field("output", known.get("output", "")), calls)
    return Case(**{"id": str(number), **fields, "metadata": {**fields.get("metadata", {}), **extra}})


def _field(name: str, value: Any) -> Any:
    """The value of one field as a Case takes it.

    Raises:
        ValueError: It is none; the text names the field.
    """
    wanted = WANTED.get(name)
    if wanted is not None and not wanted[0](value):
        raise ValueError(f"field {name!r} must be {wanted[1]}, not {_brief(value)}")
    if name == "checks":
        return _checks(value)
    if name == "tool_calls":
        return tuple(_call(call) for call in value)
    return str(value) if name == "id" else value


def _texts(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list | tuple) and all(isinstance(one, str) for one in value))


WANTED: dict[str, tuple[Callable[[Any], bool], str]] = {
    "id": (lambda value: isinstance(value, str | int) and not isinstance(value, bool), "a text or a whole number"),
    "output": (lambda value: isinstance(value, str | Output), "a text"),
    "context": (_texts, "a text or a list of texts"),
    "tags": (_texts, "a text or a list of texts"),
    "metadata": (lambda value: isinstance(value, dict), "an object"),
    "tool_calls": (lambda value: isinstance(value, list | tuple), "a list of objects with name and arguments"),
}


def _call(call: Any) -> ToolCall:
    if isinstance(call, ToolCall):
        return call
    name = call.get("name") if isinstance(call, dict) else None
    arguments = call.get("arguments", {}) if isinstance(call, dict) else None
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise ValueError(
            f"field 'tool_calls' must be a list of objects with a text 'name' and an object 'arguments', not {_brief(call)}"
        )
    return ToolCall(name, arguments)


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}..."


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
        raise ValueError(f"field 'checks' must be an object of names and arguments, not {_brief(given)}")
    return list(given.items())


def _check(name: str, value: Any) -> Check:
    try:
        if name == "json_schema":  # its argument is a dict itself
            return _schema.json_schema(value)
        maker = MAKERS.get(name)
        if maker is None:
            raise ValueError(f"there is no such check; there are {', '.join([*MAKERS, 'json_schema'])}")
        if isinstance(value, dict):
            return maker(**value)
        return maker(*(() if value is True else value if isinstance(value, list) else (value,)))
    except (TypeError, ValueError, re.error) as error:
        raise ValueError(f"field 'checks': {name!r}: {error}") from None
