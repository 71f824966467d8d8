"""The value types of the API: Pid, Ref, Timer, Exit, Down, Crash, Stop, SpawnOptions."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import re
from typing import Any

import pytest
from support import apply, in_node, reason_of, returns, take, waits

import transom
from transom import Crash, Down, Exit, Pid, Ref, SpawnOptions, Stop, current_pid, make_ref, send, spawn, spawn_monitor


@in_node()
async def test_pids_are_values() -> None:
    """Pid: hashable, ordered, printable <0.42.0>; equal wherever it came from."""
    me = current_pid()
    assert me == current_pid() and hash(me) == hash(current_pid())
    assert re.fullmatch(r"<0\.\d+\.\d+>", str(me)), str(me)
    assert str(me) in repr(me)
    assert me != str(me) and me != 0 and me is not None
    other = spawn(waits)
    assert other != me and len({me, other, current_pid()}) == 2
    assert (me < other) != (other < me) and me <= current_pid() and me >= current_pid()
    assert sorted([other, me]) == sorted([me, other])
    assert other.send("go") is None
    assert copy.copy(me) == me and copy.deepcopy(me) == me
    with pytest.raises(TypeError):
        _ = me < 7  # type: ignore[operator]
    with pytest.raises(AttributeError):
        me.something = 1  # type: ignore[attr-defined]


@in_node()
async def test_refs_are_values() -> None:
    """Ref: hashable, equal to itself alone, printable."""
    ref = make_ref()
    assert copy.copy(ref) == ref and ref != make_ref() and ref != 7
    assert {ref: 1}[ref] == 1
    assert "Ref" in repr(ref)
    assert copy.deepcopy([ref]) == [ref]


@in_node()
async def test_refs_of_many_processes_differ() -> None:
    """make_ref() -> a fresh unique reference, whoever makes it."""

    async def makes() -> tuple[Ref, ...]:
        return tuple(make_ref() for _ in range(1_000))

    refs: set[Ref] = set()
    for _ in range(10):
        refs.update(await apply(makes))
    assert len(refs) == 10_000


def test_spawn_options_are_a_frozen_keyword_only_dataclass() -> None:
    """SpawnOptions(link=False, monitor=False, name=None, priority="normal", ...): frozen dataclass, keyword-only."""
    assert dataclasses.is_dataclass(SpawnOptions)
    options = SpawnOptions()
    assert (options.link, options.monitor, options.name, options.priority) == (False, False, None, "normal")
    assert (options.trap_exit, options.pinned, options.max_heap, options.label) == (False, False, None, None)
    assert dataclasses.replace(options, link=True) == SpawnOptions(link=True)
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.link = True  # type: ignore[misc]
    with pytest.raises(TypeError):
        SpawnOptions(True)  # type: ignore[misc]


@in_node()
async def test_exit_and_down_are_frozen_and_match() -> None:
    """Exit(sender, reason), Down(ref, pid, reason): frozen, match-able (positional match)."""
    me, ref = current_pid(), make_ref()
    message = Exit(me, "reason")
    assert (message.sender, message.reason) == (me, "reason")
    assert message == Exit(me, "reason") and message != Exit(me, "other") and hash(message) == hash(Exit(me, "reason"))
    down = Down(ref, me, "reason")
    assert (down.ref, down.pid, down.reason, down.tag) == (ref, me, "reason", "DOWN")
    assert down == Down(ref, me, "reason") and down != Down(make_ref(), me, "reason")
    assert Exit.__match_args__ == ("sender", "reason")
    assert Down.__match_args__[:3] == ("ref", "pid", "reason")
    for value, field in ((message, "reason"), (down, "pid")):
        with pytest.raises(AttributeError):
            setattr(value, field, 1)
    assert "reason" in repr(message) and str(me) in repr(message)
    # They are messages like any other.
    send(me, (message, down))
    assert await take() == (message, down)


def test_crash_compares_by_exception_type_and_args() -> None:
    """Crash compares by exception type and args."""
    crash = Crash(ValueError("a", 1), "text")
    assert crash == Crash(ValueError("a", 1), "another text") and hash(crash) == hash(Crash(ValueError("a", 1), ""))
    assert crash != Crash(ValueError("a", 2), "text")
    assert crash != Crash(TypeError("a", 1), "text")
    assert crash != "crash"
    assert "ValueError" in repr(crash) and crash.traceback == "text" and crash.exception.args == ("a", 1)


def test_stop_carries_its_reason() -> None:
    """Stop(reason): an exception with .reason."""
    assert issubclass(Stop, Exception)
    assert Stop(("a", 1)).reason == ("a", 1)
    assert Stop("shutdown").reason == "shutdown"
    assert "shutdown" in repr(Stop("shutdown")) or "shutdown" in str(Stop("shutdown"))


@pytest.mark.parametrize("value", [Crash(ValueError("a"), "text"), SpawnOptions(link=True), Stop("x")], ids=repr)
def test_values_without_a_node_can_be_pickled(value: Any) -> None:
    """Reasons and options are plain data: they survive pickle, as logging and multiprocessing may ask of them."""
    again = pickle.loads(pickle.dumps(value))
    assert type(again) is type(value)
    if isinstance(value, Stop):
        assert again.reason == value.reason
    else:
        assert again == value


@in_node()
async def test_processes_are_named_in_order_of_their_start() -> None:
    """Pids order as processes were started where slots are fresh, so that a listing reads well."""
    pids = [spawn(waits) for _ in range(5)]
    assert len(set(map(str, pids))) == 5
    for pid in pids:
        send(pid, "go")


@in_node()
async def test_the_pid_in_a_message_is_a_pid() -> None:
    """A pid can be sent, and sent to, by whoever receives it."""

    async def introduces(owner: Pid) -> None:
        send(owner, {"from": current_pid(), "list": [current_pid()]})
        assert await take() == "hello"

    pid, ref = spawn_monitor(introduces, current_pid())
    message = await take(dict)
    assert message == {"from": pid, "list": [pid]}
    message["list"][0].send("hello")
    assert await reason_of(ref) == "normal"


def test_public_names() -> None:
    """All names of the public API are importable from transom, documented, and say that they live there."""
    names = [
        "run",
        "start",
        "stop",
        "spawn",
        "spawn_link",
        "spawn_monitor",
        "spawn_opt",
        "SpawnOptions",
        "current_pid",
        "send",
        "receive",
        "exit",
        "kill",
        "Stop",
        "link",
        "unlink",
        "monitor",
        "demonitor",
        "alias",
        "unalias",
        "trap_exit",
        "make_ref",
        "Exit",
        "Down",
        "Crash",
        "register",
        "unregister",
        "whereis",
        "registered",
        "send_after",
        "cancel_timer",
        "read_timer",
        "sleep",
        "processes",
        "is_alive",
        "process_info",
        "set_priority",
        "reductions",
        "set_label",
        "node_info",
        "Pid",
        "Ref",
        "Timer",
        "TransomError",
        "NotInProcess",
        "NotRunning",
        "AlreadyRunning",
        "NoProcess",
        "NameTaken",
        "ProcessLimit",
        "ForkedError",
        "NotOwner",
        "Killed",
    ]
    for name in names:
        thing = getattr(transom, name)
        assert thing.__doc__, f"{name} has no docstring"
        assert thing.__module__.partition(".")[0] == "transom", (name, thing.__module__)
    assert callable(transom.sync.receive) and callable(transom.sync.sleep)
    assert callable(transom.instrument.include) and callable(transom.instrument.exclude)


@in_node()
async def test_docstring_example_of_the_helpers() -> None:
    """Guards support.apply: what it starts is gone when it returns."""
    before = len(transom.processes())
    await apply(returns)
    assert len(transom.processes()) == before
