"""Copying what the core does not copy itself: instances of classes, for messages and spawn arguments."""

from __future__ import annotations

import copy
import dataclasses
import datetime
import decimal
import enum
import fractions
import pathlib
import uuid
from typing import Any

from transom._core import Down, Exit, Pid, Ref, Timer
from transom._values import Crash, SpawnOptions

# Exact types whose values never change.
_ATOMS = frozenset(
    {
        type(None), bool, int, float, complex, str, bytes, range,
        decimal.Decimal, fractions.Fraction, uuid.UUID, Crash, SpawnOptions, Down, Exit, Pid, Ref, Timer,
        datetime.date, datetime.time, datetime.datetime, datetime.timedelta, datetime.timezone,
        pathlib.PurePosixPath, pathlib.PureWindowsPath, pathlib.PosixPath, pathlib.WindowsPath,
    }
)  # fmt: skip


def copy_value(value: Any, memo: dict[int, Any]) -> Any:
    """value itself when it is deeply immutable, else copy.deepcopy(value, memo). Called by the core."""
    return value if _is_immutable(value, 0) else copy.deepcopy(value, memo)


_frozen: dict[type, tuple[str, ...] | None] = {}  # class -> field names; None: not a plain frozen dataclass


def _fields_of_frozen(kind: type) -> tuple[str, ...] | None:
    if kind not in _frozen:
        params = getattr(kind, "__dataclass_params__", None)
        plain = params is not None and params.frozen and not any(
            hook in base.__dict__
            for base in kind.__mro__[:-1]
            for hook in ("__deepcopy__", "__copy__", "__reduce__", "__reduce_ex__")
        )
        _frozen[kind] = tuple(field.name for field in dataclasses.fields(kind)) if plain else None
    return _frozen[kind]


def _is_immutable(value: Any, depth: int) -> bool:
    kind = type(value)
    if kind in _ATOMS:
        return True
    if depth > 32:
        return False
    names = _fields_of_frozen(kind)
    if names is not None:
        extra = getattr(value, "__dict__", None)
        if extra is not None and len(extra) > len(names):
            return False  # it carries more than its fields, a cached property for one
        return all(_is_immutable(getattr(value, name, None), depth + 1) for name in names)
    if isinstance(value, (tuple, frozenset)) and (kind in (tuple, frozenset) or not hasattr(value, "__dict__")):
        return all(_is_immutable(item, depth + 1) for item in value)
    return isinstance(value, (enum.Enum, type))
