"""Public docstrings have what users need: each argument, an example, who may call it and whether it blocks, the source.

Whether it is true is for tests/docs (examples run) and for readers to say; here, that nothing is left out, and that what
is named exists.
"""

from __future__ import annotations

import builtins
import inspect
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import transom

MODULES = (
    transom,
    transom.sync,
    transom.sys,
    transom.proc_lib,
    transom.instrument,
    transom.counters,
    transom.persistent_term,
)
# Full name of a function or class -> why its docstring needs less than the others.
EXEMPT: dict[str, str] = {}

# "as ``start``, without a link": its arguments stand there.
ELSEWHERE = re.compile(
    r"\b[Aa]s (?:an? )?(?:``[\w.]+``|(?:the class's )?[a-z]\w+\b)|[Tt]he same\b|the arguments of start"
)
BLOCKS = re.compile(
    r"\b[Bb]lock|\b[Ww]ait|Await|[Aa]n Operation|Runs? (?:in|first)|run by|at once|microseconds|type checkers"
)


def things() -> Iterator[tuple[str, Any, str]]:
    """Public functions and classes, without exceptions: full name, the thing, what its module says of all its functions."""
    for module in MODULES:
        for name in public(module):
            value = getattr(module, name)
            ours = module is transom or not inspect.isclass(value) or value.__module__ == module.__name__
            if ours and not is_error(value) and f"{module.__name__}.{name}" not in EXEMPT:
                yield f"{module.__name__}.{name}", value, "" if module is transom else inspect.getdoc(module) or ""


def public(module: ModuleType) -> list[str]:
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isroutine(value) or inspect.isclass(value))
        and str(value.__module__).split(".")[0] == "transom"
    ]


def is_error(value: Any) -> bool:
    return inspect.isclass(value) and issubclass(value, BaseException)


def methods(cls: type) -> Iterator[tuple[str, Any]]:
    """Public methods with a docstring, as they are called."""
    for key, member in vars(cls).items():
        if not key.startswith("_") and inspect.isroutine(member):
            yield key, getattr(cls, key)


def parameters(function: Any) -> list[str]:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return []
    return [name for name in signature.parameters if name != "self" and not name.startswith("_")]


def section(doc: str, title: str) -> list[str]:
    """The items of a section, without their continuation lines."""
    found = re.search(rf"^{title}:\n((?: {{4}}.*\n|\n)*)", doc + "\n", re.MULTILINE)
    return re.findall(r"^ {4}(\S[^:]*):", found[1], re.MULTILINE) if found else []


def of_call(name: str, function: Any, general: str = "") -> Iterator[str]:
    """What is missing in the docstring of a function or method."""
    doc = inspect.getdoc(function) or ""
    known = parameters(function)
    if not doc:
        yield f"{name}: no docstring"
    elif not ELSEWHERE.search(doc):
        for parameter in known:
            if not re.search(rf"\b{parameter}\b", doc + general):
                yield f"{name}: does not tell what {parameter} is"
    for entry in section(doc, "Args"):
        if entry.lstrip("*") not in known:
            yield f"{name}: tells of an argument {entry} that it has not"
    for entry in section(doc, "Raises"):
        for error in entry.split(", "):
            if not is_error(getattr(transom, error, getattr(builtins, error, None))):
                yield f"{name}: raises {error}, which does not exist"


def of_thing(name: str, value: Any, general: str = "") -> Iterator[str]:
    """What is missing in the docstring of a function or class of a module."""
    doc = inspect.getdoc(value) or ""
    used = re.search(rf">>>.*\b{name.rpartition('.')[2]}\(|\.\.\. .*\b{name.rpartition('.')[2]}\(", general)
    if not (">>>" in doc or "Example: see" in doc or used):
        yield f"{name}: no example"
    if "Source:" not in doc:
        yield f"{name}: no source (the OTP rule, or that there is none)"
    if not inspect.isclass(value):
        if not BLOCKS.search(doc + general):
            yield f"{name}: does not tell whether it blocks, and who may call it"
        yield from of_call(name, value, general)


def test_functions_and_classes() -> None:
    found = [problem for thing in things() for problem in of_thing(*thing)]
    assert not found, "\n".join(found)
    assert len(list(things())) > 90


def test_methods() -> None:
    found = [
        problem
        for name, value, _ in things()
        if inspect.isclass(value)
        for key, method in methods(value)
        for problem in of_call(f"{name}.{key}", method)
    ]
    assert not found, "\n".join(found)


def test_violations_are_found() -> None:
    def bare(one: int, two: int) -> None:
        """Tells of one.

        Args:
            one: The first.
            three: There is none.

        Raises:
            NoSuchError: Never.
        """

    assert [problem.split(": ", 1)[1] for problem in of_thing("bare", bare)] == [
        "no example",
        "no source (the OTP rule, or that there is none)",
        "does not tell whether it blocks, and who may call it",
        "does not tell what two is",
        "tells of an argument three that it has not",
        "raises NoSuchError, which does not exist",
    ]
