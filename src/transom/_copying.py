"""What a class needs to be copied into another process, and the words for what cannot be.

The core (ext/bind/tsm_copy*.c) does the copying. It asks ``classify`` once for each class and keeps the answer until the
class changes.
"""

from __future__ import annotations

import collections
import contextvars
import copyreg
import dataclasses
import datetime
import decimal
import enum
import fractions
import inspect
import io
import pathlib
import pickle
import re
import sys
import threading
import types
import uuid
import weakref
from typing import Any

from transom._core import Pid, Ref, Timer
from transom._values import Crash, SpawnOptions

# Kinds, as in ext/bind/tsm_copy.h.
VALUE, FROZEN, PLAIN, DICT_SUB, LIST_SUB, SET_SUB, TUPLE_SUB, SCALAR_SUB, HOOK, REDUCE, ERROR, NEVER = range(1, 13)

# Exact types whose instances never change, or are code.
_VALUES: frozenset[type] = frozenset(
    {
        type(None), type(...), type(NotImplemented), bool, int, float, complex, str, bytes, range,
        decimal.Decimal, fractions.Fraction, uuid.UUID, Crash, SpawnOptions, Pid, Ref, Timer,
        datetime.date, datetime.time, datetime.datetime, datetime.timedelta, datetime.timezone,
        pathlib.PurePosixPath, pathlib.PureWindowsPath, pathlib.PosixPath, pathlib.WindowsPath,
        re.Pattern, types.FunctionType, types.CodeType, types.ModuleType, types.GenericAlias, types.UnionType,
        types.MethodDescriptorType, types.WrapperDescriptorType, types.ClassMethodDescriptorType,
        types.GetSetDescriptorType, types.MemberDescriptorType, property, contextvars.ContextVar,
    }
)  # fmt: skip

# Belong to threads, to an event loop or to one process; with their subclasses.
_NEVER: tuple[type, ...] = (
    threading.Event, threading.Condition, threading.Semaphore, threading.Barrier, threading.Thread, threading.local,
    io.RawIOBase, io.BufferedReader, io.BufferedWriter, io.TextIOWrapper,
    types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType, types.FrameType, types.TracebackType,
    weakref.ReferenceType, memoryview,
)  # fmt: skip

# The same, of modules that need not be loaded.
_NEVER_NAMES = frozenset(
    {
        "queue.Queue", "_queue.SimpleQueue", "_asyncio.Future", "_asyncio.Task", "asyncio.futures.Future",
        "asyncio.locks.Event", "asyncio.locks.Lock", "asyncio.locks.Semaphore", "asyncio.locks.Condition",
        "asyncio.queues.Queue", "asyncio.events.AbstractEventLoop",
    }
)  # fmt: skip

_BASES: tuple[tuple[type, int], ...] = (
    (BaseException, ERROR), (dict, DICT_SUB), (list, LIST_SUB), (set, SET_SUB), (tuple, TUPLE_SUB),
    *((scalar, SCALAR_SUB) for scalar in (str, int, float, bytes, complex, frozenset)), (object, PLAIN),
)  # fmt: skip

_HOOKS = (
    "__reduce_ex__",
    "__reduce__",
    "__getstate__",
    "__setstate__",
    "__getnewargs__",
    "__getnewargs_ex__",
    "__new__",
)

# Hooks that generated code adds and that only do what the core does anyway.
_NAMEDTUPLE_GETNEWARGS = collections.namedtuple("_Sample", "field").__getnewargs__.__code__  # type: ignore[attr-defined]
_DATACLASS_HOOKS = {
    getattr(dataclasses, "_dataclass_getstate", None),
    getattr(dataclasses, "_dataclass_setstate", None),
} - {None}
_POINTER = tuple.__itemsize__


def classify(kind: type) -> int:
    """How instances of a class are copied. Called by the core for classes that it does not know itself."""
    if kind in _VALUES or issubclass(kind, (type, enum.Enum)) or _is_value_of_libraries(kind):
        return VALUE
    hook = getattr(kind, "__deepcopy__", None)
    if hook is not None:
        return PLAIN if hook is _pydantic_hook() and _is_plain(kind, object) else HOOK
    if kind in copyreg.dispatch_table:
        return REDUCE
    if _is_never(kind):
        return NEVER
    base, how = next((base, how) for base, how in _BASES if issubclass(kind, base))
    if how == ERROR:
        return ERROR if _error_is_plain(kind) else REDUCE
    if not _hooks_are_those_of(kind, base) or not _is_plain(kind, base) or base is frozenset:
        return REDUCE
    if how == PLAIN and _is_frozen(kind):
        return FROZEN
    return how


def _is_value_of_libraries(kind: type) -> bool:
    """Values of modules that transom does not import; whoever has an instance has the module."""
    zoneinfo, numpy = sys.modules.get("zoneinfo"), sys.modules.get("numpy")
    if zoneinfo is not None and kind is getattr(zoneinfo, "ZoneInfo", None):
        return True
    generic = getattr(numpy, "generic", None)
    if numpy is None or not isinstance(generic, type):
        return False
    if issubclass(kind, generic):
        return not issubclass(kind, (numpy.void, numpy.object_))
    return kind is getattr(numpy, "ufunc", None) or issubclass(kind, numpy.dtype)


def _is_never(kind: type) -> bool:
    """Unless a subclass says how it is copied."""
    if any(getattr(kind, name) is not getattr(object, name) for name in ("__reduce_ex__", "__reduce__")):
        return False
    names = (f"{base.__module__}.{base.__qualname__}" for base in kind.__mro__)
    return issubclass(kind, _NEVER) or any(name in _NEVER_NAMES for name in names)


def _pydantic_hook() -> Any:
    """BaseModel.__deepcopy__ copies __dict__ and the slots, which is what the core does for a plain object."""
    model = getattr(sys.modules.get("pydantic.main"), "BaseModel", None)
    return getattr(model, "__deepcopy__", model)


def _hooks_are_those_of(kind: type, base: type) -> bool:
    """No class between kind and base says how it is pickled or made."""
    for name in _HOOKS:
        mine = getattr(kind, name, None)
        if mine is getattr(base, name, None) or mine in _DATACLASS_HOOKS:
            continue
        if base is tuple and name in ("__new__", "__getnewargs__") and _is_namedtuple(kind):
            continue
        return False
    return True


def _is_namedtuple(kind: type) -> bool:
    return getattr(getattr(kind, "__getnewargs__", None), "__code__", None) is _NAMEDTUPLE_GETNEWARGS


def _is_plain(kind: type, base: type) -> bool:
    """Its instances hold what base's hold, slots, a __dict__ and weak references, and nothing that C code put there."""
    size = base.__basicsize__
    size += _POINTER * ((kind.__dictoffset__ > 0) - (base.__dictoffset__ > 0))
    size += _POINTER * ((kind.__weakrefoffset__ > 0) - (base.__weakrefoffset__ > 0))
    below: type | None = kind
    while below is not None and below is not base:
        size += _POINTER * sum(
            isinstance(member, types.MemberDescriptorType) and member.__objclass__ is below
            for member in below.__dict__.values()
        )
        below = below.__base__
    return below is base and size == kind.__basicsize__


def _is_frozen(kind: type) -> bool:
    params = kind.__dict__.get("__dataclass_params__")
    return params is not None and bool(params.frozen)


def _error_is_plain(kind: type) -> bool:
    """An exception whose pickling is that of the builtin it derives from; it is then made without __init__."""
    builtin = kind
    while builtin.__flags__ & _HEAPTYPE:
        assert builtin.__base__ is not None
        builtin = builtin.__base__
    return all(getattr(kind, name, None) is getattr(builtin, name, None) for name in _HOOKS if name != "__new__")


_HEAPTYPE = 1 << 9


# -- errors -----------------------------------------------------------------------------------------------------------

_REFUSALS = (TypeError, pickle.PicklingError)


def explain(error: Exception, root: tuple[Any, ...], steps: list[tuple[Any, ...]], culprit: object) -> Exception:
    """The error to raise at the sender: what cannot be sent becomes a TypeError that names the way to it; any other
    error of a hook stays what it is, with a note."""
    way = path(root, steps)
    if not isinstance(error, _REFUSALS) or isinstance(error, NotSendable):
        error.add_note(f"transom: while copying {way} ({type(culprit).__name__})")
        return error
    hint = "wrap it in share() or send a Pid"
    if inspect.iscoroutine(culprit):  # of a lambda that calls an async def, often
        hint = f"await it and send its result, or hand {culprit.__qualname__} itself to who is to run it"
    better = NotSendable(f"{way}: {type(culprit).__name__} is not sendable; {hint}")
    better.__cause__ = error
    return better


def path(root: tuple[Any, ...], steps: list[tuple[Any, ...]]) -> str:
    """The way from the root of a message to one of its parts, as the sender would write it."""
    word, *at = root
    text: str = word + "".join(_subscript(part) for part in at)
    fields: tuple[str, ...] = ()  # names for the next index
    attributes = False  # the next keys are names of attributes
    for kind, *rest in steps:
        if kind == "item":
            names = fields or getattr(rest[1], "_fields", ()) if len(rest) > 1 else fields
            text += f".{names[rest[0]]}" if rest[0] < len(names) else "" if attributes else f"[{rest[0]}]"
        elif kind == "key":
            text += _attribute(rest[0]) if attributes else _subscript(rest[0])
        elif kind == "attribute":
            text += _attribute(rest[0])
        elif kind == "reduced":
            text += _reduced(*rest)
        else:
            words = {"keys": f".keys()[{rest[0] if rest else ''}]", "element": "{...}", "more": "..."}
            text += words.get(kind, "")
        fields = ("sender", "reason") if kind == "record" and rest[0].__name__ == "Exit" else ()
        if kind == "record" and not fields:
            fields = ("ref", "pid", "reason", "tag")
        attributes = kind == "reduced" and rest[0] % 8 == 1 or kind == "item" and attributes
    return text


def _reduced(phase: int, at: int, key: object) -> str:
    """A part of what __reduce_ex__ returned; 8 is added to the phase for an exception."""
    if phase == 8:
        return ".args"
    words = {0: ".__reduce_ex__(4)[1]", 1: "", 2: f"[{at}]"}
    return words.get(phase % 8, "") if phase % 8 in words else _subscript(key)


def _attribute(name: object) -> str:
    return f".{name}" if isinstance(name, str) and name.isidentifier() else f".__dict__{_subscript(name)}"


def _subscript(key: object) -> str:
    if type(key) is str:
        text = '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'
    else:
        try:
            text = repr(key)
        except Exception:
            text = f"<{type(key).__name__}>"
    return f"[{text if len(text) <= 60 else text[:57] + '...'}]"


class NotSendable(TypeError):
    """A message holds something that cannot be copied; the text names the way to it."""


# -- move -------------------------------------------------------------------------------------------------------------


def move_array(array: Any) -> Any:
    """The empty array that is to take over the memory of one that is moved."""
    numpy = sys.modules["numpy"]
    if type(array) is not numpy.ndarray:
        raise TypeError(f"move() takes a numpy array, not {type(array).__name__}")
    if array.base is not None or not array.flags.owndata:
        raise TypeError("move(): this array is a view of memory that another object owns; move that, or send a copy")
    return numpy.empty(0, dtype=array.dtype)
