"""Semantics 1.2: exit signals, row by row of the table, and what becomes of uncaught faults."""

from __future__ import annotations

import contextlib
import random
from typing import Any

import pytest
from support import all_down, forwards, in_node, info, is_, nothing, reason_of, scaled, spin, tagged, take, until, waits

import transom
from transom import (
    Crash,
    Down,
    Exit,
    Pid,
    SpawnOptions,
    Stop,
    current_pid,
    exit,
    is_alive,
    kill,
    link,
    monitor,
    receive,
    send,
    spawn_link,
    spawn_monitor,
    spawn_opt,
    trap_exit,
)

DROPPED = "dropped"
MESSAGE = "message"


def dies(reason: Any) -> tuple[str, Any]:
    return ("dies", reason)


async def receiver(owner: Pid, trapping: bool, source: Pid | None = None) -> None:
    """Tell the owner the first message; linked to `source` if there is one."""
    trap_exit(trapping)
    if source is not None:
        link(source)
    send(owner, "ready")
    send(owner, ("got", await receive()))


async def outcome(pid: Pid, ref: transom.Ref, sender: Pid, reason: Any) -> Any:
    """What a signal that must have arrived did to a `receiver`: DROPPED, MESSAGE or dies(reason)."""
    send(pid, "still there")
    first = await take(lambda m: isinstance(m, Down) or tagged("got")(m))
    if isinstance(first, Down):
        assert first.ref == ref and first.pid == pid
        await nothing()
        return dies(first.reason)
    assert await reason_of(ref) == "normal"
    if first[1] == "still there":
        return DROPPED
    assert first[1] == Exit(sender, reason)
    return MESSAGE


FROM_ANOTHER = [
    # reason, receiver not trapping, receiver trapping
    pytest.param("normal", DROPPED, MESSAGE, id="normal"),
    pytest.param("kill", dies("killed"), dies("killed"), id="kill"),
    pytest.param("shutdown", dies("shutdown"), MESSAGE, id="shutdown"),
    pytest.param(("shutdown", 7), dies(("shutdown", 7)), MESSAGE, id="shutdown-x"),
    pytest.param("killed", dies("killed"), MESSAGE, id="killed"),
    pytest.param("other", dies("other"), MESSAGE, id="other"),
    pytest.param(("any", ("immutable", 1)), dies(("any", ("immutable", 1))), MESSAGE, id="term"),
]


@pytest.mark.parametrize(("reason", "plain", "trapped"), FROM_ANOTHER)
@in_node()
async def test_exit_by_another(reason: Any, plain: Any, trapped: Any) -> None:
    """exit(P, R) by another: normal is dropped or a message; kill ends with reason killed, untrappable; any other ends
    with R or is a message."""
    me = current_pid()
    for trapping, wanted in ((False, plain), (True, trapped)):
        for _ in range(200):
            pid, ref = spawn_monitor(receiver, me, trapping)
            await take(is_("ready"))
            exit(pid, reason)
            assert await outcome(pid, ref, me, reason) == wanted


@pytest.mark.parametrize("trapping", [False, True])
@in_node()
async def test_kill_is_exit_with_kill(trapping: bool) -> None:
    """exit(P, kill) by another: dies, reason killed (untrappable). kill(pid) is the same signal."""
    pid, ref = spawn_monitor(receiver, current_pid(), trapping)
    await take(is_("ready"))
    kill(pid)
    assert await reason_of(ref) == "killed"


async def exits_itself(owner: Pid, trapping: bool, reason: Any) -> None:
    trap_exit(trapping)
    send(owner, "ready")
    try:
        exit(current_pid(), reason)
    except BaseException as error:
        send(owner, ("handler ran", type(error).__name__))
        raise
    send(owner, ("returned",))
    send(owner, ("got", await receive()))


FROM_ITSELF = [
    pytest.param("normal", dies("normal"), MESSAGE, id="normal"),
    pytest.param("kill", dies("killed"), dies("killed"), id="kill"),
    pytest.param("shutdown", dies("shutdown"), MESSAGE, id="shutdown"),
    pytest.param("other", dies("other"), MESSAGE, id="other"),
]


@pytest.mark.parametrize(("reason", "plain", "trapped"), FROM_ITSELF)
@in_node()
async def test_exit_of_itself(reason: Any, plain: Any, trapped: Any) -> None:
    """exit(self, R): normal dies normal (sole case where normal kills) or is a message; kill dies killed; any other dies R,
    not catchable by the caller's own handler, or is a message. It returns only when trapping."""
    for trapping, wanted in ((False, plain), (True, trapped)):
        for _ in range(200):
            pid, ref = spawn_monitor(exits_itself, current_pid(), trapping, reason)
            await take(is_("ready"))
            if wanted == MESSAGE:
                assert await take(tuple) == ("returned",)
                assert await take(tuple) == ("got", Exit(pid, reason))
                assert await reason_of(ref) == "normal"
            else:
                assert dies(await reason_of(ref)) == wanted
            await nothing()


async def source_of(reason: Any) -> None:
    await receive(is_("go"))
    if reason == "crash":
        raise ValueError("crash", 1)
    if reason != "normal":
        raise Stop(reason)


CRASH = Crash(ValueError("crash", 1), "")

FROM_LINKED = [
    # how the linked process ends, the reason its links carry, receiver not trapping, receiver trapping
    pytest.param("normal", "normal", DROPPED, MESSAGE, id="normal"),
    pytest.param("kill", "kill", dies("kill"), MESSAGE, id="kill-by-itself"),
    pytest.param("killed", "killed", dies("killed"), MESSAGE, id="killed"),
    pytest.param("shutdown", "shutdown", dies("shutdown"), MESSAGE, id="shutdown"),
    pytest.param("other", "other", dies("other"), MESSAGE, id="other"),
    pytest.param("crash", CRASH, dies(CRASH), MESSAGE, id="crash"),
]


@pytest.mark.parametrize(("how", "reason", "plain", "trapped"), FROM_LINKED)
@in_node()
async def test_linked_process_ended(how: str, reason: Any, plain: Any, trapped: Any) -> None:
    """linked process ended: normal is dropped or a message; kill (it called exit(kill) on itself as plain exit/1) dies with
    kill or is a message (trappable); any other dies with it or is a message."""
    me = current_pid()
    for trapping, wanted in ((False, plain), (True, trapped)):
        for _ in range(50):
            source, gone = spawn_monitor(source_of, how)
            pid, ref = spawn_monitor(receiver, me, trapping, source)
            await take(is_("ready"))
            send(source, "go")
            assert await reason_of(gone) == reason
            # DOWN here and the signal there have no mutual order: a dropped signal is known by the link that is gone.
            await until(lambda pid=pid, source=source: source not in (info(pid, "links") or ()))
            assert await outcome(pid, ref, source, reason) == wanted


@pytest.mark.parametrize(("trapping", "wanted"), [(False, dies("killed")), (True, MESSAGE)])
@in_node()
async def test_linked_process_was_killed(trapping: bool, wanted: Any) -> None:
    """linked process killed by exit/2 kill: dies killed (chains carry `killed`), or message killed."""
    me = current_pid()
    for _ in range(200):
        source, gone = spawn_monitor(waits)
        pid, ref = spawn_monitor(receiver, me, trapping, source)
        await take(is_("ready"))
        kill(source)
        assert await reason_of(gone) == "killed"
        await until(lambda pid=pid, source=source: source not in (info(pid, "links") or ()))
        assert await outcome(pid, ref, source, "killed") == wanted


async def linked_to(peer: Pid | None, owner: Pid) -> None:
    if peer is not None:
        link(peer)
    send(owner, ("linked", current_pid()))
    await receive()


@in_node()
async def test_killed_travels_along_a_chain_of_links() -> None:
    """linked process killed by exit/2 kill: dies killed (chains carry `killed`)."""
    chain: list[Pid] = []
    refs = []
    for _ in range(100):
        pid, ref = spawn_monitor(linked_to, chain[-1] if chain else None, current_pid())
        await take(is_(("linked", pid)))
        chain.append(pid)
        refs.append(ref)
    kill(chain[0])
    assert await all_down(refs) == ["killed"] * 100


async def swallows_own_exit(owner: Pid, reason: Any) -> None:
    while True:
        try:
            exit(current_pid(), reason)
            send(owner, "went on")
            await receive()
        except BaseException:  # noqa: BLE001
            send(owner, "handler ran")


@in_node()
async def test_exit_of_itself_cannot_be_swallowed() -> None:
    """exit(self(), R) returns only when trapping; otherwise the caller does not run its except-handler. (Here Python may
    run it, but the process is dead to the world: what the handler sends goes nowhere, and it ends.)"""
    for _ in range(100):
        _, ref = spawn_monitor(swallows_own_exit, current_pid(), "enough")
        assert await reason_of(ref) == "enough"
        await nothing()


async def goes_on_after_its_end(owner: Pid) -> None:
    try:
        exit(current_pid(), "enough")
    except BaseException:  # noqa: BLE001
        for operation in (
            lambda: send(owner, "undead"),
            lambda: transom.spawn(waits),
            lambda: link(owner),
            lambda: monitor(owner),
            lambda: transom.register("undead", owner),
            lambda: transom.send_after(0, owner, "undead"),
            lambda: exit(owner, "undead"),
        ):
            # Refused or without effect: both are right.
            with contextlib.suppress(BaseException):
                operation()


@in_node()
async def test_the_dead_cannot_act() -> None:
    """A Python runtime must decide how to keep `except BaseException` from swallowing it (re-deliver at every yield; mark
    process exiting and refuse any further API call)."""
    me = current_pid()
    for _ in range(50):
        _, ref = spawn_monitor(goes_on_after_its_end, me)
        assert await reason_of(ref) == "enough"
        await until(lambda: not transom.node_info()["occupied"] and transom.processes() == [me])
        assert transom.whereis("undead") is None
        assert len(info(me, "links")) == 0
        assert len(info(me, "monitored_by")) == 0
        await nothing()


class Custom(Exception):
    pass


async def faults(kind: str) -> None:
    match kind:
        case "value":
            raise ValueError("no", 3)
        case "custom":
            raise Custom
        case "zero":
            _ = 1 // 0
        case "system-exit":
            raise SystemExit(3)
        case "generator-exit":
            raise GeneratorExit
        case "base":
            raise BaseException("base")  # noqa: TRY002
        case "timeout":
            await receive(timeout=0)


FAULTS = [
    ("value", ValueError, ("no", 3)),
    ("custom", Custom, ()),
    ("zero", ZeroDivisionError, None),
    ("system-exit", SystemExit, (3,)),
    ("generator-exit", GeneratorExit, ()),
    ("base", BaseException, ("base",)),
    ("timeout", TimeoutError, None),
]


@pytest.mark.parametrize(("kind", "exception", "args"), FAULTS, ids=[kind for kind, _, _ in FAULTS])
@in_node()
async def test_reason_of_an_uncaught_exception(kind: str, exception: type[BaseException], args: Any) -> None:
    """Reasons of uncaught faults: error E -> (E, stacktrace)."""
    _, ref = spawn_monitor(faults, kind)
    reason = await reason_of(ref)
    assert isinstance(reason, Crash)
    assert type(reason.exception) is exception
    if args is not None:
        assert reason.exception.args == args
    assert isinstance(reason.traceback, str)
    assert "in faults" in reason.traceback and exception.__name__ in reason.traceback


def plain_faults() -> None:
    raise ValueError("plain")


def plain_stops() -> None:
    raise Stop("plain")


@in_node()
async def test_reason_of_a_plain_function() -> None:
    """Reasons of uncaught faults: the same for a plain `def` body."""
    _, crash = spawn_monitor(plain_faults)
    _, stop = spawn_monitor(plain_stops)
    _, normal = spawn_monitor(abs, -1)
    assert await reason_of(crash) == Crash(ValueError("plain"), "")
    assert await reason_of(stop) == "plain"
    assert await reason_of(normal) == "normal"


async def stops(reason: Any) -> None:
    raise Stop(reason)


@pytest.mark.parametrize("reason", ["normal", "shutdown", ("shutdown", 1), "kill", "other", 7, None, (1, ("x",))])
@in_node()
async def test_reason_of_stop(reason: Any) -> None:
    """Reasons of uncaught faults: exit R -> R alone; falling off the end -> normal."""
    _, ref = spawn_monitor(stops, reason)
    assert await reason_of(ref) == reason


@in_node()
async def test_stop_of_a_child_does_not_stop_the_parent() -> None:
    """Reasons of uncaught faults: falling off the end -> normal; and a normal end of a linked child is dropped."""
    for _ in range(100):
        pid = spawn_link(stops, "normal")
        await until(lambda pid=pid: not is_alive(pid))
    assert is_alive(current_pid())


@in_node()
async def test_stop_can_be_caught_by_its_own_process() -> None:
    """exit R is an exception of the process that raises it: its own handler may still catch it."""

    async def body() -> None:
        try:
            raise Stop("caught")
        except Stop as stop:
            raise Stop(("then", stop.reason)) from None

    _, ref = spawn_monitor(body)
    assert await reason_of(ref) == ("then", "caught")


@pytest.mark.race
@in_node()
async def test_trap_exit_is_judged_on_receipt() -> None:
    """trap_exit is judged when the signal is RECEIVED, not when sent: what has become a message stays one after the flag
    is taken back, the next signal ends the process."""
    me = current_pid()

    async def body() -> None:
        assert trap_exit(True) is False
        send(me, "trapping")
        await receive(is_("stop trapping"))
        # The signal sent before this message has been received, as a message.
        assert trap_exit(False) is True
        send(me, "plain")
        await receive(is_("go on"))
        send(me, ("got", await receive(Exit)))
        await receive()

    for _ in range(scaled(1_000)):
        pid, ref = spawn_monitor(body)
        await take(is_("trapping"))
        exit(pid, "one")
        send(pid, "stop trapping")
        await take(is_("plain"))
        send(pid, "go on")
        assert await take() == ("got", Exit(me, "one"))
        exit(pid, "two")
        assert await reason_of(ref) == "two"


@pytest.mark.race
@in_node()
async def test_a_process_spawned_trapping_traps_from_the_first_signal() -> None:
    """trap_exit is judged when the signal is received: with the spawn option there is no moment without it."""
    me = current_pid()

    async def body() -> None:
        assert info(current_pid(), "trap_exit") is True
        send(me, ("got", await receive()))

    for _ in range(scaled(3_000)):
        pid, ref = spawn_opt(SpawnOptions(monitor=True, trap_exit=True), body)
        exit(pid, "early")
        assert await take() == ("got", Exit(me, "early"))
        assert await reason_of(ref) == "normal"


async def toggles(owner: Pid) -> None:
    """Switch trap_exit on and off, telling nobody; answer each trapped signal."""
    while True:
        trap_exit(True)
        try:
            while True:
                message = await receive(timeout=0)
                send(owner, ("got", message))
        except TimeoutError:
            pass
        trap_exit(False)


@pytest.mark.race
@in_node()
async def test_a_signal_is_either_fatal_or_a_message(rng: random.Random) -> None:
    """trap_exit is judged when the signal is received: whatever the race, it ends its receiver or becomes one message."""
    me = current_pid()
    for _ in range(scaled(1_000)):
        pid, ref = spawn_monitor(toggles, me)
        for n in range(20):
            spin(rng.randrange(300))
            exit(pid, n)
            message = await take()
            if isinstance(message, Down):
                assert message == Down(ref, pid, n)
                break
            assert message == ("got", Exit(me, n))
        else:
            kill(pid)
            assert await reason_of(ref) == "killed"
        await nothing()


@in_node()
async def test_exit_messages_match_by_position_and_type() -> None:
    """message ('EXIT', From, Reason): Exit carries the sender and the reason."""
    peer, ref = spawn_monitor(forwards, current_pid())
    await take(is_(("ready", peer)))
    exit(peer, ("reason", 1))
    match await take():
        case ("got", Exit(sender, ("reason", n))):
            assert sender == current_pid() and n == 1
        case other:
            raise AssertionError(other)
    send(peer, "go")
    assert await reason_of(ref) == "normal"
