"""ChildSpec: a value that refuses what a supervisor could not work with, naming the field."""

from __future__ import annotations

from typing import Any

import pytest

from transom._child import ChildSpec


def spec(**changes: Any) -> ChildSpec:
    return ChildSpec(**{"id": "c", "start": lambda: None, **changes})


def test_defaults_are_those_of_otp() -> None:
    made = spec()
    assert (made.restart, made.shutdown, made.kind, made.significant, made.name) == (
        "permanent",
        5.0,
        "worker",
        False,
        None,
    )


def test_options_is_a_changed_copy() -> None:
    made = spec()
    changed = made.options(id="d", restart="transient", shutdown="brutal_kill", significant=True)
    assert (changed.id, changed.restart, changed.shutdown, changed.start) == (
        "d",
        "transient",
        "brutal_kill",
        made.start,
    )
    assert made.restart == "permanent"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"id": []}, TypeError),
        ({"start": 3}, TypeError),
        ({"restart": "often"}, ValueError),
        ({"restart": None}, ValueError),
        ({"shutdown": -1}, ValueError),
        ({"shutdown": 0}, ValueError),
        ({"shutdown": float("nan")}, ValueError),
        ({"shutdown": "never"}, ValueError),
        ({"shutdown": True}, TypeError),
        ({"shutdown": None}, TypeError),
        ({"kind": "boss"}, ValueError),
        ({"significant": 1}, TypeError),
        ({"significant": True}, ValueError),
        ({"name": ""}, TypeError),
        ({"name": 3}, TypeError),
        ({"color": "red"}, TypeError),
    ],
)
def test_errors_name_the_field(changes: dict[str, Any], error: type[Exception]) -> None:
    (field,) = changes
    with pytest.raises(error, match=field):
        spec().options(**changes)


def test_a_new_name_reaches_the_start_function() -> None:
    class Start:
        def __init__(self, name: str | None) -> None:
            self.name = name

        def __call__(self) -> None: ...

        def with_name(self, name: str | None) -> Start:
            return Start(name)

    changed = spec(start=Start(None)).options(name="desk")
    assert changed.name == "desk" and getattr(changed.start, "name") == "desk"  # noqa: B009
