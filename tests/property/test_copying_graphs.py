"""Any graph of values: what arrives equals copy.deepcopy of it, with the same parts shared and nothing shared with the sender."""

from __future__ import annotations

import collections
import copy
import threading
from dataclasses import dataclass
from typing import Any, NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import transom


class Plain:
    pass


class Slots:
    __slots__ = ("a", "b")


@dataclass
class Record:
    x: Any
    y: Any


@dataclass(frozen=True)
class Frozen:
    x: Any
    y: Any


class Point(NamedTuple):
    x: Any
    y: Any


class MyList(list[Any]):
    pass


class MyDict(dict[Any, Any]):
    pass


class Hook:
    def __init__(self, x: Any) -> None:
        self.x = x

    def __deepcopy__(self, memo: Any) -> Hook:
        made = Hook(None)
        memo[id(self)] = made
        made.x = copy.deepcopy(self.x, memo)
        return made


class Reduces:
    def __init__(self, x: Any) -> None:
        self.x = x

    def __reduce__(self) -> Any:
        return Reduces, (None,), {"x": self.x}


def plain(a: Any, b: Any) -> Plain:
    made = Plain()
    made.a, made.b = a, b  # type: ignore[attr-defined]
    return made


def slots(a: Any, b: Any) -> Slots:
    made = Slots()
    made.a, made.b = a, b
    return made


def error(a: Any, b: Any) -> ValueError:
    made = ValueError(a)
    made.extra = b  # type: ignore[attr-defined]
    return made


ATOMS: list[Any] = [None, True, 7, 1 << 70, 1.5, "text", b"bytes", (), ("a", 1), frozenset({1, 2})]
MAKERS: list[Any] = [
    lambda a, b: [a, b],
    lambda a, b: {"a": a, "b": b},
    lambda a, b: {(1, 2): a, 3: b},
    lambda a, b: (a, b),
    lambda a, b: collections.deque([a, b]),
    lambda a, b: collections.OrderedDict(a=a, b=b),
    lambda a, b: MyList([a, b]),
    lambda a, b: MyDict(a=a, b=b),
    lambda a, b: Hook([a, b]),
    lambda a, b: Reduces([a, b]),
    lambda a, b: bytearray(b"xy"),
    Record,
    Frozen,
    Point,
    plain,
    slots,
    error,
]

# A graph: each step makes a value of two earlier ones; each knot ties a mutable one to a later one, which makes cycles.
steps = st.lists(st.tuples(st.integers(0, len(MAKERS) - 1), st.integers(0, 200), st.integers(0, 200)), max_size=25)
knots = st.lists(st.tuples(st.integers(0, 200), st.integers(0, 200)), max_size=5)


def build(how: list[tuple[int, int, int]], ties: list[tuple[int, int]]) -> list[Any]:
    made = list(ATOMS)
    for maker, a, b in how:
        made.append(MAKERS[maker](made[a % len(made)], made[b % len(made)]))
    for a, b in ties:
        target, value = made[a % len(made)], made[b % len(made)]
        if type(target) in (list, MyList):
            target.append(value)
        elif type(target) in (dict, MyDict):
            target["knot"] = value
        elif type(target) in (Plain, Record):
            target.knot = value
    return made


def is_value(value: Any) -> bool:
    """Immutable all the way down: its identity means nothing (copy.deepcopy, called by a hook, makes some of them anew)."""
    if isinstance(value, (type(None), bool, int, float, str, bytes, frozenset)):
        return True
    if isinstance(value, Frozen):
        return is_value(value.x) and is_value(value.y)
    return type(value) in (tuple, Point) and all(is_value(part) for part in value)


def shape(root: Any) -> tuple[list[Any], list[Any]]:
    """The graph as a list of (type, contents with numbers for objects), in the order they are met, and the objects."""
    numbers: dict[int, int] = {}
    met: list[Any] = []
    graph: list[Any] = []
    todo = [root]

    def number(value: Any) -> Any:
        if is_value(value):
            return type(value), value
        if id(value) not in numbers:
            numbers[id(value)] = len(numbers)
            met.append(value)
            todo.append(value)
        return numbers[id(value)]

    number(root)
    todo.pop()
    while todo:
        value = todo.pop()
        parts: list[Any] = []
        if isinstance(value, dict):
            parts.append([(number(key), number(item)) for key, item in value.items()])
        elif isinstance(value, (list, tuple, collections.deque)):
            parts.append([number(item) for item in value])
        elif isinstance(value, bytearray):
            parts.append(bytes(value))
        elif isinstance(value, BaseException):
            parts.append(number(value.args))
        if hasattr(value, "__dict__"):
            parts.append(sorted((name, number(item)) for name, item in sorted(value.__dict__.items())))
        if isinstance(value, Slots):
            parts.append([number(value.a), number(value.b)])
        graph.append((numbers[id(value)], type(value), parts))
    return graph, met


def sent(message: Any) -> Any:
    """What a process receives; the copy is made here, by the sender."""
    result: list[Any] = []
    done = threading.Event()

    async def body() -> None:
        result.append(await transom.receive())
        done.set()

    transom.send(transom.spawn(body), message)
    assert done.wait(20)
    return result[0]


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps, knots)
def test_a_copy_has_the_shape_of_the_original(how: list[tuple[int, int, int]], ties: list[tuple[int, int]]) -> None:
    """Cycles and shared references inside one message survive; types and contents are right."""
    made = build(how, ties)
    try:
        wanted = shape(copy.deepcopy(made))[0]
    except RecursionError:
        wanted = None
    original, mine = shape(made)
    received = sent(made)
    got, theirs = shape(received)
    assert [entry[1] for entry in got] == [entry[1] for entry in original]
    assert repr(got) == repr(original)
    # copy.deepcopy makes some objects twice where a cycle leads through the arguments of a constructor.
    if wanted is not None and len(wanted) == len(original):
        assert repr(got) == repr(wanted)
    assert repr(shape(made)[0]) == repr(original), "the original is as it was"
    immutable = (tuple, frozenset, Frozen, Point)
    ours = {id(value) for value in mine if not isinstance(value, immutable)}
    assert not ours & {id(value) for value in theirs}, "nothing mutable is shared"


def setup_module() -> None:
    transom.start(schedulers=1)


def teardown_module() -> None:
    transom.stop()
