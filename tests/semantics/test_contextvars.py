"""Process-local contextvars: spawn copies the spawner's context."""

from __future__ import annotations

import contextvars
import decimal
import random

import pytest
from support import all_down, apply, in_node, is_, scaled, spin, take

from transom import Pid, current_pid, receive, send, sleep, spawn_monitor

name: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="nobody")


async def reads() -> str:
    return name.get()


@in_node()
async def test_spawn_copies_the_spawners_context() -> None:
    """spawn copies the spawner's context: as it is at that moment."""
    assert await apply(reads) == "nobody"
    name.set("parent")
    assert await apply(reads) == "parent"

    me = current_pid()

    async def late() -> None:
        await receive(is_("go"))
        send(me, name.get())

    pid, ref = spawn_monitor(late)
    name.set("changed")
    send(pid, "go")
    assert await take(str) == "parent"
    assert await all_down([ref]) == ["normal"]


@in_node()
async def test_a_child_does_not_change_its_parents_context() -> None:
    """Process-local contextvars."""
    name.set("parent")

    async def sets() -> str:
        name.set("child")
        await sleep(0)
        return name.get()

    def sets_plainly() -> None:
        name.set("plain child")
        send(me, name.get())

    me = current_pid()
    assert await apply(sets) == "child"
    _, ref = spawn_monitor(sets_plainly)
    assert await take(str) == "plain child"
    assert await all_down([ref]) == ["normal"]
    assert name.get() == "parent"


@in_node(schedulers=2)
async def test_each_process_keeps_its_own_context(rng: random.Random) -> None:
    """Process-local contextvars: over awaits, preemption, migration between threads, and in plain functions."""

    async def body(n: int, seed: int) -> None:
        mine = random.Random(seed)
        token = name.set(f"process {n}")
        for _ in range(50):
            choice = mine.randrange(3)
            if choice == 0:
                await sleep(0)
            elif choice == 1:
                await sleep(0.001)
            else:
                spin(5_000)
            assert name.get() == f"process {n}"
        # A token is good only in the context it was made in.
        name.reset(token)
        assert name.get() == "nobody"

    refs = [spawn_monitor(body, n, rng.getrandbits(32))[1] for n in range(40)]
    assert await all_down(refs) == ["normal"] * 40


@in_node(schedulers=2)
async def test_the_decimal_context_is_process_local() -> None:
    """What the standard library keeps in a contextvar is process-local, too."""

    async def body(digits: int) -> None:
        decimal.getcontext().prec = digits
        for _ in range(30):
            await sleep(0)
            spin(3_000)
            assert len((decimal.Decimal(1) / 3).as_tuple().digits) == digits

    refs = [spawn_monitor(body, digits)[1] for digits in range(3, 23)]
    assert await all_down(refs) == ["normal"] * 20


@pytest.mark.race
@in_node()
async def test_exception_state_does_not_leak_between_processes() -> None:
    """A process that handles an exception while others run: none becomes the context of theirs."""
    me = current_pid()

    async def handles() -> None:
        try:
            raise KeyError("mine")
        except KeyError:
            send(me, "handling")
            await receive(is_("go"))
            try:
                raise ValueError
            except ValueError as error:
                assert isinstance(error.__context__, KeyError)

    async def raises() -> None:
        for _ in range(scaled(100)):
            try:
                raise ValueError("clean")
            except ValueError as error:
                assert error.__context__ is None
            await sleep(0)

    pids: list[Pid] = []
    refs = []
    for _ in range(4):
        pid, ref = spawn_monitor(handles)
        await take(is_("handling"))
        pids.append(pid)
        refs.append(ref)
    assert await all_down([spawn_monitor(raises)[1] for _ in range(8)]) == ["normal"] * 8
    for pid in pids:
        send(pid, "go")
    assert await all_down(refs) == ["normal"] * 4
