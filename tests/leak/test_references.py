"""Leaks one by one: what a process held is released when it has ended, however it ended, without a garbage collection."""

from __future__ import annotations

import sys
import time
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from support import in_node, is_, reason_of, returns, take, until, waits

import transom
import transom.sync
from transom import (
    Stop,
    alias,
    cancel_timer,
    current_pid,
    demonitor,
    exit,
    kill,
    monitor,
    node_info,
    receive,
    register,
    send,
    send_after,
    sleep,
    spawn,
    spawn_monitor,
    unalias,
)


class State:
    """Something a process holds; it can be watched."""


def watched(refs: list[weakref.ref[State]]) -> State:
    state = State()
    refs.append(weakref.ref(state))
    return state


async def falls_off(refs: Any) -> None:
    state = watched(refs)
    await sleep(0)
    _ = state


async def crashes(refs: Any) -> None:
    state = watched(refs)
    await sleep(0)
    raise ValueError(state and "why")


async def crashes_deep(refs: Any) -> None:
    async def deeper(level: int) -> None:
        state = watched(refs)
        if not level:
            raise ValueError("deep")
        try:
            await deeper(level - 1)
        except ValueError as error:
            raise RuntimeError(level, bool(state)) from error

    await deeper(5)


async def stops(refs: Any) -> None:
    state = watched(refs)
    raise Stop(("why", bool(state)))


async def waits_for_ever(refs: Any) -> None:
    state = watched(refs)
    await receive()
    _ = state


async def waits_deep(refs: Any) -> None:
    async def deeper(level: int) -> None:
        state = watched(refs)
        await (deeper(level - 1) if level else sleep(3600))
        _ = state

    await deeper(5)


async def loops(refs: Any) -> None:
    state = watched(refs)
    while state:
        pass


async def swallows(refs: Any) -> None:
    state = watched(refs)
    while True:
        try:
            await receive()
        except BaseException:  # noqa: BLE001
            _ = state


def plain_waits(refs: Any) -> None:
    state = watched(refs)
    transom.sync.receive()
    _ = state


def plain_crashes(refs: Any) -> None:
    state = watched(refs)
    raise ValueError(bool(state))


async def naps(refs: Any) -> None:
    state = watched(refs)
    time.sleep(0.3)  # noqa: ASYNC251
    _ = state


async def handles(refs: Any) -> None:
    """Is killed while it handles an exception of its own."""
    try:
        state = watched(refs)
        raise ValueError(state)
    except ValueError:
        await receive()


async def predicate(refs: Any) -> None:
    state = watched(refs)
    await receive(lambda message: message is state)


@pytest.mark.parametrize("end", ["by itself", "kill", "exit"])
@pytest.mark.parametrize(
    "body",
    [
        falls_off,
        crashes,
        crashes_deep,
        stops,
        waits_for_ever,
        waits_deep,
        loops,
        swallows,
        plain_waits,
        plain_crashes,
        naps,
        handles,
        predicate,
    ],
)
@in_node(schedulers=2)
async def test_state_is_gone_after_the_end(body: Callable[..., Any], end: str) -> None:
    """What a dead process held is reclaimed on exit: weakref of its state is dead."""
    endless = body not in (falls_off, crashes, crashes_deep, stops, plain_crashes, naps)
    if end == "by itself" and endless:
        pytest.skip("it does not end by itself")
    refs: list[weakref.ref[State]] = []

    def shares() -> Any:
        # A closure, so that the list is not copied.
        if body in (plain_waits, plain_crashes):
            return lambda: body(refs)

        async def main() -> None:
            await body(refs)

        return main

    for _ in range(10):
        pid, ref = spawn_monitor(shares())
        if endless:
            await until(lambda: refs)
        if end == "kill":
            kill(pid)
        elif end == "exit":
            exit(pid, "enough")
        await reason_of(ref)
        await until(lambda: not node_info()["occupied"])
        await until(lambda: all(ref() is None for ref in refs), f"{body.__name__} keeps its state")
        refs.clear()


@pytest.mark.parametrize(
    "how", ["received", "left in the mailbox", "sent to the dead", "sent to a dead alias", "timer"]
)
@in_node(schedulers=2)
async def test_messages_are_released(how: str) -> None:
    """Nothing lost, nothing kept: a message is released when it was received and dropped, or its receiver ended."""

    class Message:
        pass

    # An immutable wrapper would be copied, so weak references to the copies are taken where they arrive; here the memory
    # of the original is watched: nobody but this frame may keep it.
    for _ in range(50):
        message = Message()
        watch = weakref.ref(message)
        if how == "received":
            send(current_pid(), message)
            copy = await take(Message)
            copy_watch = weakref.ref(copy)
            del copy
            await until(lambda copy_watch=copy_watch: copy_watch() is None)
        elif how == "left in the mailbox":
            pid, ref = spawn_monitor(waits)
            send(pid, message)
            kill(pid)
            assert await reason_of(ref) == "killed"
        elif how == "sent to the dead":
            pid, ref = spawn_monitor(returns)
            assert await reason_of(ref) == "normal"
            send(pid, message)
        elif how == "sent to a dead alias":
            address = alias()
            unalias(address)
            send(address, message)
        else:
            assert cancel_timer(send_after(100, current_pid(), message)) is not None
        del message
        await until(lambda watch=watch: watch() is None)


@in_node(schedulers=2)
async def test_reference_counts_of_shared_values_come_back() -> None:
    """Immutable values go by reference: after thousands of messages, reasons, tags and labels the count is what it was."""
    value = ("an immutable value", 12345678901234567890)
    me = current_pid()

    async def ends_with_it() -> None:
        raise Stop(value)

    async def use() -> None:
        for _ in range(500):
            send(me, value)
            assert await take(tuple) is value
            pid, ref = spawn_monitor(waits)
            send(pid, value)
            demonitor(monitor(pid, tag=value), flush=True)
            cancel_timer(send_after(100, me, value))
            exit(pid, value)
            assert await reason_of(ref) == value
            _, ref = spawn_monitor(ends_with_it)
            assert await reason_of(ref) == value
            _, ref = spawn_monitor(takes_it, value)
            assert await reason_of(ref) == "normal"

    async def takes_it(argument: Any) -> None:
        assert argument is value

    await use()
    await until(lambda: len(transom.processes()) == 1)
    before = sys.getrefcount(value)
    await use()
    await until(lambda: len(transom.processes()) == 1)
    await until(lambda: abs(sys.getrefcount(value) - before) < 20, lambda: f"{before} -> {sys.getrefcount(value)}")


@in_node(schedulers=2)
async def test_reference_counts_of_singletons_come_back() -> None:
    """None, types, functions and small values handed through the runtime keep their counts."""
    name = "a name that is made at run time " + str(time.time())
    before = sys.getrefcount(name)
    for _ in range(500):
        register(name, current_pid())
        send(name, 1)
        assert await take() == 1
        assert transom.whereis(name) == current_pid()
        assert transom.registered() == [name]
        demonitor(monitor(name), flush=True)
        transom.unregister(name)
    await until(lambda: abs(sys.getrefcount(name) - before) < 20, lambda: f"{before} -> {sys.getrefcount(name)}")


@in_node(schedulers=2)
async def test_bodies_and_arguments_are_released() -> None:
    """What a process was started with is released at its end: the function, its closure, its arguments."""

    def make() -> tuple[Any, weakref.ref[State]]:
        state = State()

        async def body() -> None:
            await receive(is_("go"))
            _ = state

        return body, weakref.ref(state)

    for how in ("end", "kill", "never ran"):
        for _ in range(20):
            body, watch = make()
            pid, ref = spawn_monitor(body)
            del body
            if how == "end":
                send(pid, "go")
            else:
                if how == "kill":
                    await sleep(0)
                kill(pid)
            await reason_of(ref)
            await until(lambda watch=watch: watch() is None, f"{how}: its closure is kept")


@in_node(schedulers=2)
async def test_predicates_and_timers_of_the_dead_are_released() -> None:
    """A receive that never came to an end keeps nothing: its clauses go with the process."""
    for _ in range(20):
        state = State()
        watch = weakref.ref(state)

        def make(held: State) -> Any:
            async def body() -> None:
                await receive(lambda message: message is held, timeout=3600)

            return body

        pid, ref = spawn_monitor(make(state))
        del state
        await until(lambda pid=pid: transom.process_info(pid, "status") == {"status": "waiting"})
        kill(pid)
        await reason_of(ref)
        await until(lambda watch=watch: watch() is None)


@in_node(schedulers=2)
async def test_finalisers_may_use_the_runtime() -> None:
    """Dropping a message may run user code: a __del__ that sends, spawns and links does no harm, wherever it runs."""
    me = current_pid()

    class Noisy:
        def __deepcopy__(self, memo: Any) -> Noisy:
            return Noisy()

        def __del__(self) -> None:
            try:
                send(me, "dropped")
                spawn(returns)
            except transom.TransomError:
                pass

    count = 50
    for _ in range(count):
        pid, ref = spawn_monitor(waits)
        send(pid, [Noisy()])
        send(pid, [Noisy()])
        kill(pid)
        assert await reason_of(ref) == "killed"
    await sleep(0.05)
    seen = 0
    while True:
        try:
            await receive(is_("dropped"), timeout=0.2)
            seen += 1
        except TimeoutError:
            break
    assert seen >= count


def test_references_to_agents_leave_the_count_of_their_class() -> None:
    """A class of references that is given back once too often is freed under those that live."""

    class Idle(transom.Agent):
        pass

    kind = type(Idle.at("nobody"))
    before = sys.getrefcount(kind)
    for _ in range(1_000):
        Idle.at("nobody")
    assert abs(sys.getrefcount(kind) - before) < 10
