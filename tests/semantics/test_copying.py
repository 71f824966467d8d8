"""What is copied on send, by kind (DESIGN.md section 2, Isolation)."""

from __future__ import annotations

import array
import collections
import copy
import copyreg
import datetime
import decimal
import enum
import functools
import io
import pathlib
import re
import threading
import types
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest
from support import in_node, nothing, take

from transom import Crash, Down, Exit, current_pid, exit, make_ref, send, send_after, spawn_monitor, trap_exit


async def through(message: Any) -> Any:
    send(current_pid(), message)
    return await take()


class Plain:
    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


@dataclass
class Record:
    name: str
    items: list[Any] = field(default_factory=list)


@dataclass(slots=True)
class SlotRecord:
    name: str
    items: list[Any] = field(default_factory=list)


@dataclass(frozen=True)
class Frozen:
    name: str
    part: Any = None


@dataclass(frozen=True, slots=True)
class SlotFrozen:
    name: str
    part: Any = None


class SubOfFrozen(Frozen):
    """No dataclass itself, so it takes further attributes."""


class Slots:
    __slots__ = ("__weakref__", "a", "b")


class SlotsAndDict(Slots):
    __slots__ = ("__dict__", "__private")

    def fill(self, value: Any) -> SlotsAndDict:
        self.a, self.other, self.__private = value, value, value
        return self

    def private(self) -> Any:
        return self.__private


class MyDict(dict[Any, Any]):
    def __setitem__(self, key: Any, value: Any) -> None:
        raise AssertionError("copying runs no methods")

    def __iter__(self) -> Any:
        raise AssertionError("copying runs no methods")


class MyList(list[Any]):
    def append(self, item: Any) -> None:
        raise AssertionError("copying runs no methods")


class MySet(set[Any]):
    pass


class MyFrozenset(frozenset[Any]):
    pass


class MyTuple(tuple[Any, ...]):
    pass


class MyStr(str):
    pass


class BareStr(str):
    __slots__ = ()


class MyInt(int):
    pass


class MyBytearray(bytearray):
    pass


class Point(NamedTuple):
    x: Any
    y: Any


class Colour(enum.Enum):
    RED = [1]


class Level(enum.IntEnum):
    LOW = 1


class WithGetstate:
    def __init__(self, value: Any) -> None:
        self.value, self.cache = value, "cache"

    def __getstate__(self) -> Any:
        return {"value": self.value}

    def __setstate__(self, state: Any) -> None:
        self.value, self.cache = state["value"], "new"


class WithReduce:
    def __init__(self, value: Any) -> None:
        self.value = value

    def __reduce__(self) -> Any:
        return WithReduce, (self.value,), {"extra": self.value}


class WithReduceEx:
    def __init__(self, value: Any) -> None:
        self.value = value

    def __reduce_ex__(self, protocol: Any) -> Any:
        assert protocol == 4
        return make_with_reduce_ex, ([self.value],)


def make_with_reduce_ex(values: list[Any]) -> WithReduceEx:
    return WithReduceEx(values[0])


class WithDeepcopy:
    def __init__(self, value: Any) -> None:
        self.value = value

    def __deepcopy__(self, memo: Any) -> WithDeepcopy:
        return WithDeepcopy(copy.deepcopy(self.value, memo))


class WithNewargs:
    def __new__(cls, value: Any) -> WithNewargs:
        self = super().__new__(cls)
        self.value = value  # type: ignore[attr-defined]
        return self

    def __getnewargs__(self) -> Any:
        return (self.value,)  # type: ignore[attr-defined]


class Registered:
    def __init__(self, value: Any) -> None:
        self.value = value


copyreg.pickle(Registered, lambda op: (Registered, (op.value,)))  # type: ignore[arg-type, return-value]


class Custom(Exception):
    """Its constructor takes other arguments than those it keeps."""

    def __init__(self, name: str, *, code: list[int]) -> None:
        super().__init__(f"no {name}")
        self.code = code


def state_of(value: Any) -> Any:
    """What makes two copies the same, for types that do not compare."""
    if isinstance(value, Slots):
        slots = [getattr(value, name, "unset") for name in ("a", "b", "_SlotsAndDict__private")]
        return slots, getattr(value, "__dict__", None)
    if isinstance(value, BaseException):
        return type(value), value.args, value.__dict__
    if hasattr(value, "__dict__"):
        return value.__dict__
    return value


def attributes(value: Any, **more: Any) -> Any:
    value.__dict__.update(more)
    return value


def slots(**values: Any) -> Slots:
    made = Slots()
    for name, value in values.items():
        setattr(made, name, value)
    return made


# name -> (an instance around a mutable part, the way to that part in it)
AROUND: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "list": (lambda part: [1, part], lambda made: made[1]),
    "dict": (lambda part: {"k": part}, lambda made: made["k"]),
    "dict, tuple key": (lambda part: {(1, "k"): part}, lambda made: made[1, "k"]),
    "tuple": (lambda part: (1, part), lambda made: made[1]),
    "plain": (lambda part: Plain(x=part), lambda made: made.x),
    "dataclass": (lambda part: Record("r", part), lambda made: made.items),
    "dataclass with slots": (lambda part: SlotRecord("r", part), lambda made: made.items),
    "frozen": (lambda part: Frozen("f", part), lambda made: made.part),
    "frozen with slots": (lambda part: SlotFrozen("f", part), lambda made: made.part),
    "subclass of frozen": (lambda part: SubOfFrozen("f", part), lambda made: made.part),
    "slots": (lambda part: slots(a=part), lambda made: made.a),
    "slots and dict": (lambda part: SlotsAndDict().fill(part), lambda made: made.private()),
    "dict subclass": (lambda part: MyDict({"k": part}), lambda made: made["k"]),
    "list subclass": (lambda part: MyList([part]), lambda made: made[0]),
    "tuple subclass": (lambda part: MyTuple([part]), lambda made: made[0]),
    "set with an object": (lambda part: {attributes(WithReduce(part))}, lambda made: next(iter(made)).value),
    "set subclass": (lambda part: MySet([Plain(x=part)]), lambda made: next(iter(made)).x),
    "frozenset": (lambda part: frozenset([Plain(x=part)]), lambda made: next(iter(made)).x),
    "frozenset subclass": (lambda part: MyFrozenset([Plain(x=part)]), lambda made: next(iter(made)).x),
    "object as key": (lambda part: {Plain(x=part): 1}, lambda made: next(iter(made)).x),
    "attributes of a dict": (lambda part: attributes(MyDict(), x=part), lambda made: made.x),
    "attributes of a list": (lambda part: attributes(MyList([1]), x=part), lambda made: made.x),
    "attributes of a set": (lambda part: attributes(MySet([1]), x=part), lambda made: made.x),
    "attributes of a tuple": (lambda part: attributes(MyTuple([1]), x=part), lambda made: made.x),
    "attributes of a str": (lambda part: attributes(MyStr("s"), x=part), lambda made: made.x),
    "attributes of an int": (lambda part: attributes(MyInt(7), x=part), lambda made: made.x),
    "namedtuple": (lambda part: Point(part, 1), lambda made: made.x),
    "deque": (lambda part: collections.deque([1, part], 7), lambda made: made[1]),
    "defaultdict": (lambda part: collections.defaultdict(list, k=part), lambda made: made["k"]),
    "OrderedDict": (lambda part: collections.OrderedDict(k=part), lambda made: made["k"]),
    "ChainMap": (lambda part: collections.ChainMap({"k": part}), lambda made: made["k"]),
    "SimpleNamespace": (lambda part: types.SimpleNamespace(k=part), lambda made: made.k),
    "partial": (lambda part: functools.partial(print, part), lambda made: made.args[0]),
    "__getstate__": (WithGetstate, lambda made: made.value),
    "__reduce__": (WithReduce, lambda made: made.value),
    "__reduce__, its state": (lambda part: attributes(WithReduce(part), extra=part), lambda made: made.extra),
    "__reduce_ex__": (WithReduceEx, lambda made: made.value),
    "__deepcopy__": (WithDeepcopy, lambda made: made.value),
    "__getnewargs__": (WithNewargs, lambda made: made.value),
    "copyreg": (Registered, lambda made: made.value),
    "exception": (lambda part: ValueError("v", part), lambda made: made.args[1]),
    "exception, attribute": (lambda part: attributes(ValueError("v"), x=part), lambda made: made.x),
    "exception, constructor": (lambda part: Custom("n", code=part), lambda made: made.code),
    "ExceptionGroup": (lambda part: ExceptionGroup("g", [ValueError(part)]), lambda made: made.exceptions[0].args[0]),
    "StopIteration": (lambda part: StopIteration(part), lambda made: made.value),
    "bound method": (lambda part: Plain(x=part).__init__, lambda made: made.__self__.x),
    "bound builtin": (lambda part: part.append, lambda made: made.__self__),
    "method of a builtin": (lambda part: part.__len__, lambda made: made.__self__),
    "Exit": (lambda part: Exit(current_pid(), part), lambda made: made.reason),
    "Down": (lambda part: Down(make_ref(), current_pid(), (1, part), "tag"), lambda made: made.reason[1]),
}


@pytest.mark.parametrize("name", AROUND)
@in_node()
async def test_around_a_mutable_part(name: str) -> None:
    """Whatever holds something mutable is copied, and that with it; type, contents and shared parts stay."""
    make, part_of = AROUND[name]
    part = [1, ["two"]]
    made = make(part)
    assert part_of(made) is part
    received, again = await through([made, made])
    assert received is again, "met twice, it is copied once"
    assert received is not made and type(received) is type(made)
    assert part_of(received) == [1, ["two"]] and part_of(received) is not part
    part[1].append("later")  # type: ignore[attr-defined]
    assert part_of(received) == [1, ["two"]]
    other, shared = await through((make(part), part))
    assert part_of(other) is shared, "what two parts of a message share, their copies share"
    assert shared == part and shared is not part


VALUES: list[Any] = [
    Frozen("f", (1, frozenset({2}), Frozen("g"))),
    SlotFrozen("f", SlotFrozen("g", Frozen("h"))),
    Point(1, (2, "three")),
    BareStr("bare"),
    Colour.RED,
    Level.LOW,
    re.compile("a+"),
    datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC),
    datetime.timedelta(1),
    decimal.Decimal("1.10"),
    uuid.UUID(int=1),
    pathlib.PurePosixPath("/a"),
    list[int],
    int | str,
    Ellipsis,
    NotImplemented,
    str.upper,
    "x".join,
    len,
    datetime,
    abs.__call__ and print,
    Crash(ValueError(1), "text"),
    Exit(None, ("shutdown", 1)),
    (1, ("two", (3.0, None, b"4"))),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
@in_node()
async def test_values_go_by_reference(value: Any) -> None:
    """Immutable values (frozen dataclasses and tuples of them, enums, functions, classes) go by reference, at any depth."""
    assert await through(value) is value
    received = await through([value, {"k": (value, [])}])
    assert received[0] is value and received[1]["k"][0] is value


class Bits(enum.Flag):
    A = 1
    B = 2


@in_node()
async def test_what_could_change_is_copied() -> None:
    """An instance that takes attributes is copied even while it has none."""
    for value in (
        MyStr("s"),
        MyInt(7),
        MyTuple((1, 2)),
        SubOfFrozen("f"),
        MyFrozenset({1}),
        object(),
        MyBytearray(b"b"),
    ):
        received = await through(value)
        assert type(received) is type(value) and received is not value
        if type(value) is not object:
            assert received == value
    assert await through(Bits.A | Bits.B) is Bits.A | Bits.B


@in_node()
async def test_attributes_and_slots_are_complete() -> None:
    """Attributes in __dict__, slots set and unset, private names, defaults of the class."""
    both = SlotsAndDict().fill([1])
    received = await through(both)
    assert state_of(received) == state_of(both)
    assert received.a is received.other is received.private() and received.a is not both.a
    empty = await through(Slots())
    assert not hasattr(empty, "a") and not hasattr(empty, "b")
    empty.a = 1
    plain = await through(Plain(**{f"x{n}": n for n in range(100)}))
    assert plain.__dict__ == {f"x{n}": n for n in range(100)}
    plain.more = 1
    del plain.x5
    assert not hasattr(plain, "x5")
    received = await through(Record("r"))
    received.other = 1
    assert received == Record("r")


@in_node()
async def test_order_and_options_of_containers() -> None:
    """A copy behaves as the original: order of keys, maxlen, default_factory, buffers and positions."""
    keys = [f"k{n}" for n in range(50)]
    made: dict[str, Any] = dict.fromkeys(keys, [])
    for key in keys[::3]:
        del made[key]
        made[key] = [key]
    assert list(await through(made)) == list(made)
    assert (await through(collections.deque([[1]], 3))).maxlen == 3
    assert (await through(collections.defaultdict(list)))["new"] == []
    buffer = io.BytesIO(b"bytes")
    buffer.read(2)
    assert (await through(buffer)).read() == b"tes"
    assert (await through(array.array("d", [1.5]))) == array.array("d", [1.5])
    assert (await through(iter([[1], [2]]))).__next__() == [1]


@in_node()
async def test_exceptions_keep_what_they_say() -> None:
    """Type, args, attributes, notes and the fields of builtin exceptions; no traceback."""
    error = Custom("thing", code=[7])
    error.add_note("a note")
    received = await through(error)
    assert type(received) is Custom and received.args == ("no thing",) and received.code == [7]
    assert received.__notes__ == ["a note"] and str(received) == "no thing"
    missing = await through(FileNotFoundError(2, "none", "name"))
    assert (missing.errno, missing.strerror, missing.filename) == (2, "none", "name")
    assert isinstance(missing, FileNotFoundError) and missing.args == (2, "none")
    unicode = await through(UnicodeDecodeError("utf-8", b"x", 0, 1, "why"))
    assert (unicode.encoding, unicode.object, unicode.reason) == ("utf-8", b"x", "why")
    imported = await through(ImportError("no", name="n", path="p"))
    assert (imported.name, imported.path) == ("n", "p")
    try:
        raise ValueError("raised")
    except ValueError as raised:
        received = await through(raised)
        assert received.__traceback__ is None and raised.__traceback__ is not None
    group = ExceptionGroup("g", [ValueError(1), TypeError(2)])
    assert [type(part) for part in (await through(group)).exceptions] == [ValueError, TypeError]


@in_node()
async def test_cycles_of_every_kind() -> None:
    """Cycles and shared references inside one message survive."""
    listed: list[Any] = []
    through_tuple = (listed, "t")
    listed.append(through_tuple)
    plain = Plain()
    plain.me = plain  # type: ignore[attr-defined]
    plain.named = Point(plain, 1)  # type: ignore[attr-defined]
    frozen = Frozen("f", listed)
    listed.append(frozen)
    hashed = Plain()
    hashed.home = {hashed}  # type: ignore[attr-defined]
    frozen_home = Plain()
    frozen_home.home = frozenset([frozen_home])  # type: ignore[attr-defined]
    deque: collections.deque[Any] = collections.deque()
    deque.append(deque)
    mine = MyDict()
    mine.me = mine  # type: ignore[attr-defined]
    hook = WithDeepcopy(None)
    hook.value = [hook, listed]
    error = ValueError()
    error.args = ([error],)
    bound: Any = Plain()
    bound.call = bound.__init__
    message = [listed, through_tuple, plain, frozen, hashed, frozen_home, deque, mine, error, bound]
    got = await through(message)
    assert got[0] is not listed
    assert got[0][0] is got[1] and got[1][0] is got[0]
    assert got[2].me is got[2] and got[2].named.x is got[2] and got[2] is not plain
    assert got[3].part is got[0] and got[0][1] is got[3] and got[3] is not frozen
    assert got[4].home == {got[4]} and got[4] is not hashed
    assert got[5].home == {got[5]} and got[5] is not frozen_home
    assert got[6][0] is got[6] and got[7].me is got[7]
    assert got[8].args[0][0] is got[8] and got[8] is not error
    assert got[9].call.__self__ is got[9]
    value = (await through([hook, listed]))[0].value
    assert value[1] is not listed and value[1][0][0] is value[1]
    # Nothing collects cycles here.
    for thing in (listed, deque, got[0], got[6], value, hook.value):
        thing.clear()
    for thing in (plain, hashed, frozen_home, mine, bound, got[2], got[4], got[5], got[7], got[9]):
        thing.__dict__.clear()
    error.args = got[8].args = ()


@in_node()
async def test_identity_across_hooks() -> None:
    """Objects with __deepcopy__ and the rest of the message have one memo."""
    shared = [1]
    first, second, after = WithDeepcopy(shared), WithDeepcopy([shared]), [shared]
    got = await through([shared, first, second, after, WithDeepcopy(after), after])
    assert got[1].value is got[0] and got[2].value[0] is got[0] and got[3][0] is got[0]
    assert got[4].value is got[3] is got[5]
    inner = [2]
    got = await through([WithDeepcopy(inner), inner])
    assert got[0].value is got[1] and got[1] is not inner


@in_node()
async def test_a_class_that_changes_is_judged_again() -> None:
    """What is known of a class is forgotten when the class changes, and when copyreg learns of it."""

    class Changes:
        def __init__(self) -> None:
            self.x = [1]

    assert (await through(Changes())).x == [1]
    Changes.__deepcopy__ = lambda self, memo: "by hook"  # type: ignore[attr-defined]
    assert await through(Changes()) == "by hook"
    del Changes.__deepcopy__  # type: ignore[attr-defined]
    assert (await through(Changes())).x == [1]
    Changes.__reduce__ = lambda self: (str, ("by reduce",))  # type: ignore[method-assign, assignment, return-value]
    assert await through(Changes()) == "by reduce"
    del Changes.__reduce__
    copyreg.pickle(Changes, lambda op: (str, ("by copyreg",)))  # type: ignore[arg-type, return-value]
    try:
        assert await through(Changes()) == "by copyreg"
    finally:
        del copyreg.dispatch_table[Changes]
    assert (await through(Changes())).x == [1]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["list", "tuple", "dict", "object", "deque"])
@in_node()
async def test_any_depth(kind: str) -> None:
    """A value nested a million deep is copied with its stack in heap memory."""
    depth = 20_000 if kind == "deque" else 1_000_000 if kind == "list" else 200_000
    around: dict[str, Callable[[Any], Any]] = {
        "list": lambda inner: [inner],
        "tuple": lambda inner: (inner,),
        "dict": lambda inner: {"k": inner},
        "object": lambda inner: Plain(k=inner),
        "deque": lambda inner: collections.deque([inner]),
    }
    bottom = [1]
    value: Any = bottom
    for _ in range(depth):
        value = around[kind](value)
    received = await through(value)
    levels = 0
    while type(received) is type(value) and received != bottom:
        received = received.k if kind == "object" else received["k"] if kind == "dict" else received[0]
        levels += 1
        if levels == depth:
            break
    assert levels == depth and received == bottom and received is not bottom
    # Taken apart from the top: what frees it recursively is not the subject.
    while value is not bottom:
        value = value.k if kind == "object" else value["k"] if kind == "dict" else value[0]


class Endless:
    def __reduce__(self) -> Any:
        return Endless, (), {"next": Endless()}


@in_node()
async def test_reducing_without_end_is_an_error() -> None:
    """An object that makes a new one whenever it is asked is a clear error, not an endless loop."""
    with pytest.raises(RecursionError, match="without end"):
        send(current_pid(), Endless())
    await nothing()


@in_node()
async def test_pydantic_models() -> None:
    """pydantic models keep fields, private attributes, extras and what was set."""
    pydantic = pytest.importorskip("pydantic")

    class Inner(pydantic.BaseModel):  # type: ignore[misc, name-defined, unused-ignore]
        items: list[int]

    class Model(pydantic.BaseModel):  # type: ignore[misc, name-defined, unused-ignore]
        model_config = {"extra": "allow"}
        inner: Inner
        number: int = 1
        _secret: list[int] = pydantic.PrivateAttr(default_factory=list)

    model = Model(inner=Inner(items=[1]), extra=[2])
    model._secret.append(3)
    received, inner = await through((model, model.inner))
    assert type(received) is Model and received == model and received is not model
    assert received.inner is inner and received.inner.items is not model.inner.items
    assert received._secret == [3] and received._secret is not model._secret
    assert received.extra == [2] and received.extra is not model.extra
    assert received.model_fields_set == model.model_fields_set
    received.number = 5
    assert model.number == 1 and "number" not in model.model_fields_set


@in_node()
async def test_attrs_classes() -> None:
    """attrs classes, with and without slots, frozen or not."""
    attrs = pytest.importorskip("attrs")
    for decorate in (attrs.define, attrs.frozen, attrs.mutable(slots=False)):

        class Made:
            x: Any
            y: Any

            def __init__(self, x: Any = None, y: Any = None) -> None: ...

        kind = decorate(type("Made", (), {"__annotations__": {"x": Any, "y": Any}}))
        made = kind([1], "y")
        received = await through(made)
        assert received == made and received.x is not made.x


@in_node()
async def test_numpy_arrays_and_scalars() -> None:
    """numpy arrays are copied, scalars and dtypes go by reference."""
    numpy = pytest.importorskip("numpy")
    made = numpy.arange(6.0).reshape(2, 3)
    received, again = await through([made, made])
    assert received is again and (received == made).all() and received.shape == (2, 3)
    assert not numpy.shares_memory(received, made)
    made[0] = 7
    assert received[0, 0] == 0
    scalar, dtype = numpy.float64(1.5), numpy.dtype("i4")
    got = await through([scalar, dtype, numpy.sin])
    assert got[0] is scalar and got[1] is dtype and got[2] is numpy.sin
    inner = [1]
    objects = numpy.array([inner, None], dtype=object)
    received, shared = await through((objects, inner))
    assert received[0] is shared and shared is not inner


@in_node()
async def test_arguments_of_one_spawn_are_one_message() -> None:
    """What two arguments share, they share in the child."""
    me, shared = current_pid(), [1]

    async def child(a: Any, b: Any, *, key: Any) -> None:
        send(me, (a is b["b"], a is key, a))

    _, ref = spawn_monitor(child, shared, {"b": shared}, key=shared)
    same, named, value = await take(tuple)
    assert same and named and value == [1]
    assert (await take(ref)).reason == "normal"


@in_node()
async def test_reasons_and_timers() -> None:
    """Timers and exit reasons follow the same rules."""
    trap_exit(True)
    reason = Plain(x=[1])
    exit(current_pid(), ("shutdown", reason))
    timed = Record("r", [1])
    send_after(0, current_pid(), timed)
    timed.items.append(2)
    reason.x.append(2)  # type: ignore[attr-defined]
    assert (await take(Exit)).reason[1].x == [1]
    assert (await take(Record)).items == [1]


@in_node()
async def test_threads_and_their_things_stay() -> None:
    """What belongs to threads is not sendable under its own name, not that of a lock inside it."""
    for thing in (threading.Event(), threading.Condition(), threading.Thread(), io.StringIO):
        if thing is io.StringIO:
            assert await through(thing) is thing
            continue
        with pytest.raises(TypeError, match=rf"^message: {type(thing).__name__} is not sendable"):
            send(current_pid(), thing)
    await nothing()
