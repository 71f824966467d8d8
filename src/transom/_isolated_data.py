"""What a reply of an isolated call may hold, and how it is written (ext/bind/tsm_data.c).

The reply comes from an OS process that may have been taken over, so reading it must run no code that it names. What is
plain data is read in C; the kinds below are made here from plain data that is checked; and dataclasses and enums only
when the caller has named their class.

Frames      to the worker: HEAD_IN (length, memory limit or 0), then the pickled (function, args, kwargs).
            from the worker: HEAD_OUT (length, kind), then the data. First of all an empty frame: READY.
"""

from __future__ import annotations

import builtins
import dataclasses
import datetime
import decimal
import enum
import struct
import sys
import traceback
import uuid
from collections.abc import Callable
from typing import Any

from transom import _core

HEAD_IN = struct.Struct("<QQ")
HEAD_OUT = struct.Struct("<QB")
READY, VALUE, ERROR, LAST = 0, 1, 2, 3  # LAST: as ERROR, and the worker ends: it ran out of memory

importing_main = False  # this is a worker, and it imports the program's main module: that must not run the program

# tag -> (class, to plain data, from plain data). The last one checks what it gets by what it calls.
_KINDS: dict[str, tuple[type[Any], Callable[[Any], Any], Callable[[Any], Any]]] = {
    "datetime": (datetime.datetime, lambda v: v.isoformat(), datetime.datetime.fromisoformat),
    "date": (datetime.date, lambda v: v.isoformat(), datetime.date.fromisoformat),
    "time": (datetime.time, lambda v: v.isoformat(), datetime.time.fromisoformat),
    "timedelta": (
        datetime.timedelta,
        lambda v: (v.days, v.seconds, v.microseconds),
        lambda data: datetime.timedelta(*data),
    ),
    "decimal": (decimal.Decimal, str, lambda data: decimal.Decimal(_text(data))),
    "uuid": (uuid.UUID, lambda v: v.bytes, lambda data: uuid.UUID(bytes=data)),
}
_TAGS = {kind: tag for tag, (kind, _, _) in _KINDS.items()}
_ARRAYS = "?bhilqpBHILQPefdgFDGSUmM"  # dtype characters whose items are no objects and no records
ADVICE = "plain data, numpy arrays, and dataclasses and enums named in returns="


def _text(data: Any) -> str:
    if type(data) is not str:
        raise ValueError("bad data: text wanted")
    return data


# -- writing, in the worker --------------------------------------------------------------------------------------------


def encode(value: Any) -> bytes:
    """Bytes for a value. Raises TypeError for what is no data."""
    return _core._data_encode(value, _plain)


def _plain(value: Any) -> tuple[str, Any]:
    kind = type(value)
    if kind in _TAGS:
        tag = _TAGS[kind]
        return tag, _KINDS[tag][1](value)
    if isinstance(value, enum.Enum):
        return "enum", (kind.__module__, kind.__qualname__, value.name)
    if dataclasses.is_dataclass(value):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return "dataclass", (kind.__module__, kind.__qualname__, fields)
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.ndarray | numpy.generic) and value.dtype.char in _ARRAYS:
        array = numpy.ascontiguousarray(value)
        scalar = isinstance(value, numpy.generic)
        return "numpy", (array.dtype.str, tuple(value.shape), array.tobytes(), scalar)
    raise TypeError(
        f"a {kind.__module__}.{kind.__qualname__} cannot be in the result of an isolated call: {ADVICE} can"
    )


def encode_exception(error: BaseException) -> bytes:
    """Bytes for an exception: its class by name, its args, its traceback as text."""
    kind = type(error)
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_globals.get("__name__") in ("transom._isolated_worker", __name__):
        frames = frames.tb_next
    text = "".join(traceback.format_exception(kind, error, frames or error.__traceback__))
    try:
        return _core._data_encode((kind.__module__, kind.__qualname__, error.args, text), _no_kind)
    except Exception:
        args = tuple(_printed(arg) for arg in error.args)
        return encode((kind.__module__, kind.__qualname__, args, text))


def _no_kind(value: Any) -> tuple[str, Any]:
    raise TypeError(f"{type(value)} is no plain data")


def _printed(value: Any) -> str:
    try:
        return repr(value)
    except Exception:
        return f"<{type(value).__qualname__} object>"


# -- reading, in the owner ---------------------------------------------------------------------------------------------


def decode(data: bytes, classes: tuple[type[Any], ...] = ()) -> Any:
    """The value. Raises ValueError for bytes that no honest worker writes, TypeError for a class not in classes."""

    def hook(tag: Any, payload: Any) -> Any:
        try:
            return _made(tag, payload, classes)
        except (TypeError, ValueError):
            raise
        except Exception as error:
            raise ValueError(f"bad data: {tag!r}: {error!r}") from None

    return _core._data_decode(data, hook)


def _made(tag: Any, payload: Any, classes: tuple[type[Any], ...]) -> Any:
    if type(tag) is not str or tag not in ("enum", "dataclass", "numpy", *_KINDS):
        raise ValueError(f"bad data: an unknown kind {tag!r:.50}")
    if tag in _KINDS:
        return _KINDS[tag][2](payload)
    if tag == "numpy":
        return _array(*payload)
    module, qualname, content = payload
    for kind in classes:
        if (kind.__module__, kind.__qualname__) == (module, qualname):
            return kind[content] if issubclass(kind, enum.Enum) else _dataclass(kind, content)
    raise TypeError(f"the result holds a {module}.{qualname}; name the class: isolated(..., returns=({qualname},))")


def _dataclass(kind: type[Any], content: dict[str, Any]) -> Any:
    names = {field.name for field in dataclasses.fields(kind)}
    if type(content) is not dict or set(content) != names:
        raise ValueError(f"bad data: not the fields of {kind.__qualname__}")
    made = object.__new__(kind)
    for name, value in content.items():
        object.__setattr__(made, name, value)
    return made


def _array(dtype: str, shape: tuple[int, ...], data: bytes, scalar: bool) -> Any:
    import numpy

    if type(dtype) is not str or type(data) is not bytes or numpy.dtype(dtype).char not in _ARRAYS:
        raise ValueError("bad data: no array")
    array = numpy.frombuffer(data, dtype=numpy.dtype(dtype)).reshape(shape).copy()
    return array[()] if scalar else array


def decode_exception(data: bytes, classes: tuple[type[Any], ...]) -> tuple[BaseException, str]:
    """The exception and the text of its traceback."""
    told = decode(data)
    if type(told) is not tuple or [type(part) for part in told] != [str, str, tuple, str]:
        raise ValueError("bad data: no exception")
    module, qualname, args, text = told

    known = [getattr(builtins, qualname, None)] if module == "builtins" else list(classes)
    for kind in known:
        if (
            isinstance(kind, type)
            and issubclass(kind, BaseException)
            and ((kind.__module__, kind.__qualname__) == (module, qualname))
        ):
            try:
                return _exception(kind, args), text
            except Exception:
                break
    return RuntimeError(f"{module}.{qualname}{args}"), text


def _exception(kind: type[BaseException], args: tuple[Any, ...]) -> BaseException:
    made = kind.__new__(kind, *args)
    made.args = args
    repr(made)
    return made
