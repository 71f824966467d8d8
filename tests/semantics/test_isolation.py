"""Isolation: a message is copied on send unless it is deeply immutable (DESIGN.md section 2)."""

from __future__ import annotations

import array
import collections
import datetime
import decimal
import enum
import fractions
import pathlib
import socket
import threading
import uuid
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest
from support import all_down, in_node, info, is_, nothing, take

from transom import (
    Crash,
    Down,
    Exit,
    Stop,
    current_pid,
    exit,
    make_ref,
    send,
    spawn_monitor,
    trap_exit,
)


async def through_a_mailbox(message: Any) -> Any:
    send(current_pid(), message)
    return await take()


@dataclass(frozen=True)
class Frozen:
    name: str
    parts: tuple[Any, ...] = ()


@dataclass
class Plain:
    name: str
    things: list[int] = field(default_factory=list)


class Slots:
    __slots__ = ("a", "b")

    def __init__(self, a: Any, b: Any) -> None:
        self.a, self.b = a, b


class Colour(enum.Enum):
    RED = 1


class Point(NamedTuple):
    x: Any
    y: Any


def a_function() -> None:
    pass


IMMUTABLE = [
    None,
    True,
    12345678901234567890,
    1.5,
    2j,
    "text that is not interned " * 3,
    b"bytes" * 10,
    ("a", ("nested", (1, 2.5)), None),
    frozenset({1, "two"}),
    Frozen("x", (1, "two", Frozen("y"))),
    Colour.RED,
    Point(1, "y"),
    a_function,
    Plain,
    len,
    range(10),
    decimal.Decimal("1.1"),
    fractions.Fraction(1, 3),
    datetime.datetime(2020, 1, 1),
    datetime.timedelta(1),
    uuid.UUID(int=7),
    pathlib.PurePosixPath("/a/b"),
]


@pytest.mark.parametrize("value", IMMUTABLE, ids=lambda value: type(value).__name__)
@in_node()
async def test_immutable_values_arrive_equal(value: Any) -> None:
    """Immutable values (numbers, str, bytes, frozen dataclasses and tuples of them, enums, functions, classes)."""
    received = await through_a_mailbox(value)
    assert received == value and type(received) is type(value)


@pytest.mark.parametrize("value", IMMUTABLE[:15], ids=lambda value: type(value).__name__)
@in_node()
async def test_immutable_values_go_by_reference(value: Any) -> None:
    """Immutable values (numbers, str, bytes, frozen dataclasses and tuples of them, enums, functions, classes) go by
    reference."""
    assert await through_a_mailbox(value) is value


@in_node()
async def test_pids_and_refs_arrive_equal() -> None:
    """Pids and refs are values."""
    for value in (current_pid(), make_ref()):
        assert await through_a_mailbox((value, [value])) == (value, [value])


MUTABLE = [
    [1, [2, 3]],
    {"a": [1], ("k",): {2: 3}},
    {1, 2},
    bytearray(b"abc"),
    array.array("i", [1, 2, 3]),
    collections.deque([1, 2]),
    collections.OrderedDict(a=[1]),
    collections.defaultdict(list, a=[1]),
    collections.Counter("aab"),
    Plain("p", [1, 2]),
    (1, [2]),
    Frozen("f", ([1],)),
    Point([1], 2),
]


@pytest.mark.parametrize("value", MUTABLE, ids=lambda value: type(value).__name__)
@in_node()
async def test_mutable_values_are_copied(value: Any) -> None:
    """dict, list, set, bytearray, arrays and plain objects are deep-copied in C."""
    received = await through_a_mailbox(value)
    assert type(received) is type(value)
    assert received == value
    assert received is not value


@in_node()
async def test_copies_share_nothing_mutable() -> None:
    """deep-copied: what the sender does to it after the send does not reach the receiver, at any depth."""
    inner = [1]
    message = {"list": inner, "object": Plain("p", inner), "tuple": (inner, "x"), "slots": Slots(inner, 2)}
    send(current_pid(), message)
    inner.append(2)
    message["more"] = True
    message["object"].name = "changed"  # type: ignore[attr-defined]
    received = await take()
    assert set(received) == {"list", "object", "tuple", "slots"}
    assert received["list"] == [1] and received["object"] == Plain("p", [1]) and received["tuple"] == ([1], "x")
    assert received["slots"].a == [1]


@in_node()
async def test_cycles_and_aliases_are_kept() -> None:
    """deep-copied in C with cycles and aliases kept."""
    shared = [1]
    cycle: dict[str, Any] = {"a": shared, "b": shared}
    cycle["self"] = cycle
    plain = Plain("p")
    plain.things = [plain]  # type: ignore[list-item]
    cycle["plain"] = plain
    received = await through_a_mailbox(cycle)
    assert received is not cycle
    assert received["self"] is received
    assert received["a"] is received["b"] and received["a"] is not shared
    assert received["plain"].things[0] is received["plain"] and received["plain"] is not plain
    # Break the cycles: nothing collects them here.
    for thing in (received, cycle):
        thing["plain"].things.clear()
        thing.clear()


@in_node()
async def test_a_deep_value_is_copied_or_refused() -> None:
    """A nesting deeper than the C stack allows is an error at the sender or a copy, not a crash."""
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    try:
        received = await through_a_mailbox(deep)
    except (RecursionError, ValueError):
        pass
    else:
        depth = 0
        while received:
            received = received[0]
            depth += 1
        assert depth == 100_000
    while deep:
        deep = deep.pop()


def generator() -> Any:
    yield 1


@pytest.mark.parametrize(
    "make",
    [threading.Lock, threading.RLock, threading.Event, socket.socket, generator, lambda: open("/dev/null")],  # noqa: SIM115
    ids=["Lock", "RLock", "Event", "socket", "generator", "file"],
)
@in_node()
async def test_what_cannot_be_copied_is_an_error_at_the_sender(make: Any) -> None:
    """what cannot be copied (locks, sockets, generators) is a clear error at the sender: uncopyable -> TypeError."""
    thing = make()
    me = current_pid()
    try:
        for message in (thing, [thing], {"deep": (1, [thing])}, ("tuple", thing)):
            with pytest.raises(TypeError, match=type(thing).__name__.rsplit(".", 1)[-1]):
                send(me, message)
        await nothing()
        assert info(me, "message_queue_len") == 0
    finally:
        if hasattr(thing, "close"):
            thing.close()


@in_node()
async def test_a_coroutine_cannot_be_sent() -> None:
    """what cannot be copied is a clear error at the sender."""
    coroutine = through_a_mailbox(1)
    with pytest.raises(TypeError, match="coroutine"):
        send(current_pid(), coroutine)
    coroutine.close()


@in_node()
async def test_many_processes_mutate_their_own_copies() -> None:
    """Isolation: a message sent to many is one copy each; what they do to theirs reaches nobody."""
    me = current_pid()

    async def mutates(n: int) -> None:
        mine = await take(dict)
        mine["list"].append(n)
        mine["owner"] = n
        send(me, mine)

    message = {"list": [], "owner": None}
    started = [spawn_monitor(mutates, n) for n in range(200)]
    for pid, _ in started:
        send(pid, message)
    answers = [await take(dict) for _ in started]
    assert sorted(answer["owner"] for answer in answers) == list(range(200))
    assert all(answer["list"] == [answer["owner"]] for answer in answers)
    assert message == {"list": [], "owner": None}
    assert await all_down([ref for _, ref in started]) == ["normal"] * 200


@in_node()
async def test_spawn_arguments_are_isolated() -> None:
    """Per-process state: what is handed to a new process is as isolated as a message."""
    things = [1]

    me = current_pid()

    async def mutates(mine: list[int], *, key: dict[str, int]) -> None:
        mine.append(9)
        key["changed"] = 1
        send(me, "done")

    key: dict[str, int] = {}
    _, ref = spawn_monitor(mutates, things, key=key)
    await take(is_("done"))
    assert await all_down([ref]) == ["normal"]
    assert things == [1] and key == {}


@in_node()
async def test_exit_reasons_are_isolated() -> None:
    """reasons: any immutable term. A mutable one is copied or refused, never shared."""
    trap_exit(True)
    reason = ["mutable"]
    try:
        exit(current_pid(), ("why", reason))
    except TypeError:
        await nothing()
        return
    reason.append("changed")
    message = await take(Exit)
    assert message.reason == ("why", ["mutable"])


@in_node()
async def test_a_crash_carries_a_copy() -> None:
    """Crash(exception, traceback): a copied exception and the traceback as text; nothing of the dead process's frames is
    kept by it."""

    class Local(Exception):
        pass

    async def crashes() -> None:
        error = Local("why", 1)
        error.note = ["a list"]  # type: ignore[attr-defined]
        raise error

    _, ref = spawn_monitor(crashes)
    down = await take(Down)
    assert down.ref == ref
    crash = down.reason
    assert isinstance(crash, Crash) and isinstance(crash.exception, Local)
    assert crash.exception.__traceback__ is None
    assert crash.exception.args == ("why", 1)
    assert "Local" in crash.traceback and "crashes" in crash.traceback
    assert crash == Crash(Local("why", 1), "other text") and crash != Crash(Local("why", 2), crash.traceback)


@in_node()
async def test_a_crash_with_an_uncopyable_exception_still_is_a_crash() -> None:
    """An exception in a process ends that process with a Crash reason, whatever the exception holds."""

    class Awkward(Exception):
        def __init__(self, lock: Any, *, must: int) -> None:
            super().__init__(lock)
            self.must = must

        def __reduce__(self) -> Any:
            raise RuntimeError("not me")

        def __str__(self) -> str:
            raise RuntimeError("nor my text")

        __repr__ = __str__

    async def crashes() -> None:
        raise Awkward(threading.Lock(), must=1)

    _, ref = spawn_monitor(crashes)
    down = await take(ref)
    assert isinstance(down.reason, Crash)
    assert "Awkward" in down.reason.traceback


@in_node()
async def test_stop_with_a_mutable_reason() -> None:
    """reasons: any immutable term. A mutable one is copied or becomes a fault of the process, never shared."""
    reason = ["mutable"]

    async def stops() -> None:
        raise Stop(reason)

    _, ref = spawn_monitor(stops)
    down = await take(ref)
    reason.append("changed")
    assert isinstance(down.reason, Crash) or down.reason == ["mutable"]
