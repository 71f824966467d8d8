"""What cannot be sent: the error names the way to it, the sender goes on, nothing is half-sent."""

from __future__ import annotations

import collections
import pickle
import socket
import threading
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
from support import in_node, nothing, reason_of, take

from transom import (
    Crash,
    Down,
    Exit,
    SpawnOptions,
    Stop,
    current_pid,
    exit,
    make_ref,
    monitor,
    move,
    send,
    send_after,
    spawn,
    spawn_monitor,
    spawn_opt,
)


class Plain:
    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


class Slots:
    __slots__ = ("a", "sock")


@dataclass(frozen=True)
class Frozen:
    part: Any


class Point(NamedTuple):
    x: Any
    y: Any


class Reduces:
    def __init__(self, part: Any) -> None:
        self.part = part

    def __reduce__(self) -> Any:
        return Reduces, ((1, self.part),)


class HasState:
    def __init__(self, part: Any) -> None:
        self.part = part

    def __getstate__(self) -> Any:
        return {"part": self.part}


class Named(dict[str, Any]):
    pass


LOCK = threading.Lock()


def slots(part: Any) -> Slots:
    made = Slots()
    made.a, made.sock = [1], part
    return made


WAYS: list[tuple[Any, str]] = [
    (LOCK, ""),
    ([1, [2, LOCK]], "[1][1]"),
    ((1, (LOCK,)), "[1][0]"),
    ({"client": Plain(sock=LOCK)}, '["client"].sock'),
    ({1: {(2, "x"): LOCK}}, "[1][(2, 'x')]"),
    ({'quo"ted\\': LOCK}, '["quo\\"ted\\\\"]'),
    ({"a": 1, (Plain(),): [], "c": LOCK}, '["c"]'),
    ({Plain(x=LOCK): 1}, ".keys()[0].x"),
    ({1, Plain(x=LOCK)}, "{...}.x"),
    (frozenset([Plain(x=LOCK)]), "{...}.x"),
    (slots(LOCK), ".sock"),
    (Frozen([LOCK]), ".part[0]"),
    (Frozen(LOCK), ".part"),
    (Point(1, LOCK), ".y"),
    (collections.deque([[], LOCK]), "[1]"),
    (collections.defaultdict(list, key=LOCK), '["key"]'),
    (Named(key=[LOCK]), '["key"][0]'),
    (Reduces(LOCK), ".__reduce_ex__(4)[1][0][1]"),
    (HasState([LOCK]), ".part[0]"),
    (ValueError("v", LOCK), ".args[1]"),
    (Plain(**{"not a name": LOCK}), '.__dict__["not a name"]'),
    (Plain(x=LOCK).__init__, ".__self__.x"),  # type: ignore[misc]
    (Exit(None, ("why", LOCK)), ".reason[1]"),
    (Down(None, None, "normal", [LOCK]), ".tag[0]"),
]


@pytest.mark.parametrize(("message", "way"), WAYS, ids=lambda value: value if isinstance(value, str) else "")
@in_node()
async def test_the_way_is_named(message: Any, way: str) -> None:
    """uncopyable -> an error at the sender that names the path of the offending value."""
    with pytest.raises(TypeError) as caught:
        send(current_pid(), message)
    assert str(caught.value) == f"message{way}: lock is not sendable; wrap it in share() or send a Pid"
    await nothing()
    send(current_pid(), "on")
    assert await take() == "on"


@in_node()
async def test_a_coroutine_is_to_be_awaited() -> None:
    async def later() -> int:
        return 1

    coroutine = later()
    with pytest.raises(TypeError, match=r"message\[0\]: coroutine is not sendable; await it and send its result, or hand .*later"):
        send(current_pid(), [coroutine])
    coroutine.close()


@in_node()
async def test_the_form_is_exact() -> None:
    """message["client"].sock: socket is not sendable; wrap it in share() or send a Pid"""
    with socket.socket() as sock, pytest.raises(TypeError) as caught:
        send(current_pid(), {"client": Plain(sock=sock)})
    wanted = 'message["client"].sock: socket is not sendable; wrap it in share() or send a Pid'
    assert str(caught.value) == wanted
    assert caught.value.__cause__ is not None


async def never() -> None:
    raise AssertionError("it was started")


@in_node()
async def test_roots_have_their_own_words() -> None:
    """Arguments of spawn, timers, tags and exit reasons follow the same rules."""
    me, bad = current_pid(), [LOCK]
    text = ": lock is not sendable"
    cases = [
        (lambda: spawn(never, 1, bad), "args[1][0]"),
        (lambda: spawn(never, x=1, y=bad), 'kwargs["y"][0]'),
        (lambda: spawn_opt(SpawnOptions(), never, bad), "args[0][0]"),
        (lambda: send_after(0, me, bad), "message[0]"),
        (lambda: exit(me, ("why", bad)), "reason[1][0]"),
        (lambda: monitor(me, tag=bad), "tag[0]"),
        (lambda: me.send(bad), "message[0]"),
    ]
    for call, word in cases:
        with pytest.raises(TypeError) as caught:
            call()
        assert str(caught.value).startswith(word + text), caught.value
    await nothing()


@in_node()
async def test_a_bad_reason_of_an_end_is_a_crash() -> None:
    """Stop with a reason that cannot be sent ends the process all the same."""

    async def stops() -> None:
        raise Stop([LOCK])

    _, ref = spawn_monitor(stops)
    reason = await reason_of(ref)
    assert isinstance(reason, Crash) and "not sendable" in reason.traceback


@in_node()
async def test_a_long_way_is_cut_in_the_middle() -> None:
    """A way of a hundred thousand steps is named by its ends."""
    value: Any = LOCK
    for _ in range(100_000):
        value = [value]
    with pytest.raises(TypeError) as caught:
        send(current_pid(), {"deep": value})
    assert str(caught.value).startswith('message["deep"][0][0]') and "...[0]" in str(caught.value)
    assert len(str(caught.value)) < 300
    while value is not LOCK:
        value = value.pop()


class Raises:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __reduce__(self) -> Any:
        raise self.error


@in_node()
async def test_other_errors_of_hooks_stay_what_they_are() -> None:
    """A hook that raises something else: that is what the sender gets, with a note of where."""
    with pytest.raises(ZeroDivisionError) as caught:
        send(current_pid(), {"x": [Raises(ZeroDivisionError("own"))]})
    assert caught.value.args == ("own",)
    assert 'message["x"][0]' in caught.value.__notes__[0]
    with pytest.raises(TypeError, match="Raises is not sendable"):
        send(current_pid(), Raises(pickle.PicklingError("no")))
    interrupt = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        send(current_pid(), Raises(interrupt))
    assert not hasattr(interrupt, "__notes__")
    await nothing()


class BadReduce:
    def __init__(self, result: Any) -> None:
        self.result = result

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.result


@pytest.mark.parametrize(
    "result",
    [
        1,
        (),
        (str,),
        (str, [1]),
        (1, ()),
        (str, (), 1, 2, 3, 4, 5),
        (str, ("x",), {"a": 1}),
        (list, (), None, 5),
        (dict, (), None, None, [1]),
    ],
    ids=repr,
)
@in_node()
async def test_nonsense_from_hooks_is_an_error(result: Any) -> None:
    """__reduce_ex__ may return anything; the interpreter does not mind."""
    with pytest.raises(Exception, match="BadReduce|attribute"):
        send(current_pid(), [BadReduce(result)])
    await nothing()


class BadRepr:
    def __repr__(self) -> str:
        raise ValueError("no repr")

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        return self is other


@in_node()
async def test_keys_that_cannot_be_printed() -> None:
    """The error is about the message, also where printing its keys fails."""
    with pytest.raises(TypeError, match=r"^message\[<BadRepr>\]: lock is not sendable"):
        send(current_pid(), {BadRepr(): LOCK})


@in_node()
async def test_a_failed_message_moves_nothing() -> None:
    """nothing half-sent: what was to be moved stays with the sender."""
    frame, items, ref = bytearray(b"frame"), [1, 2], make_ref()
    moved = [move(frame), move(items)]
    with pytest.raises(TypeError, match="lock is not sendable"):
        send(current_pid(), [*moved, ref, LOCK])
    assert frame == b"frame" and items == [1, 2]
    await nothing()
    send(current_pid(), moved)
    assert await take(list) == [bytearray(b"frame"), [1, 2]]
    assert frame == b"" and items == []
