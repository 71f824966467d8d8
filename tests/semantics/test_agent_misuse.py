"""Agents, calls and references used in ways nobody should: an exception or an odd answer, but the interpreter lives."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from typing import Any

import pytest
from support import in_node

import transom


class Desk(transom.Agent):
    def init(self) -> None:
        self.seen: list[Any] = []

    def count(self, *args: Any) -> int:
        return len(args)

    def give(self) -> list[Any]:
        return self.seen

    def handle_info(self, message: Any) -> None:
        self.seen.append(repr(message))


@in_node(schedulers=2)
async def test_a_pinned_agent_keeps_its_thread() -> None:
    """options(pinned=True) is for agents, too: init and every handler run on one OS thread."""

    class Pinned(transom.Agent):
        def init(self) -> None:
            self.threads = {threading.get_ident()}

        async def look(self) -> int:
            await transom.sleep(0)
            self.threads.add(threading.get_ident())
            return len(self.threads)

    refs: list[Any] = [await Pinned.options(pinned=True).start() for _ in range(8)]
    for _ in range(3):
        assert await transom.gather(*[ref.look() for ref in refs]) == [1] * 8
    for ref in refs:
        transom.kill(transom.pid_of(ref))


@pytest.mark.parametrize("base", [dict, set, str, bytearray, deque, Exception])
def test_an_agent_that_derives_from_a_container_cannot_start(base: type[Any]) -> None:
    """The object would be made without what the container needs: object.__new__ refuses, as it does in Python."""
    kind: Any = type("Mixed", (transom.Agent, base), {"count": lambda self: len(self)})

    @in_node()
    async def test() -> None:
        with pytest.raises(transom.StartError, match="not safe"):
            await kind.start()

    test()


@in_node()
async def test_a_new_of_the_class_itself_is_not_called() -> None:
    """An agent is made as object.__new__ makes it, whatever its class does there."""

    class Odd(Desk):
        def __new__(cls, *args: Any) -> Any:
            raise AssertionError

    ref: Any = await Odd.start()
    assert await ref.count(1) == 1
    transom.kill(transom.pid_of(ref))


@in_node()
async def test_a_method_may_get_other_code() -> None:
    """As reloading tools do: arguments are judged by the code that will run."""

    class Changing(transom.Agent):
        def method(self, a: int) -> Any:
            return a

    def other(self: Any, a: int, b: int, c: int, d: int, e: int, *, f: int, g: int = 7) -> Any:
        return a, b, c, d, e, f, g

    ref: Any = await Changing.start()
    Changing.method.__code__ = other.__code__
    for wrong in ((lambda: ref.method(1)), (lambda: ref.method(1, 2, 3, 4, 5, g=1)), (lambda: ref.method(1, 2, 3, 4, 5, h=1))):
        with pytest.raises(TypeError, match="method"):
            wrong()
    assert await ref.method(1, 2, 3, 4, 5, f=6, g=8) == (1, 2, 3, 4, 5, 6, 8)
    transom.kill(transom.pid_of(ref))


@pytest.mark.parametrize("position", [0, 1, 2])
@in_node(schedulers=2)
async def test_a_process_may_die_in_a_predicate_that_looks_at_a_call(position: int) -> None:
    """Its death takes the calls out of the mailbox; a predicate that swallows Killed is not looked at any more."""

    def last(message: Any) -> bool:
        with contextlib.suppress(transom.Killed):
            transom.kill(transom.current_pid())
        return True

    async def receiver() -> None:
        await transom.receive(lambda message: message == "go")
        await transom.receive(lambda message: isinstance(message, transom.Call) and message._method == f"m{position}" and last(message))

    class Three(transom.Agent):
        def m0(self) -> None: ...
        def m1(self) -> None: ...
        def m2(self) -> None: ...

    pid, ref = transom.spawn_monitor(receiver)
    other: Any = Three.at(pid)
    calls = [call.send() for call in (other.m0(), other.m1(), other.m2())]
    transom.send(pid, "go")
    assert (await transom.receive(ref)).reason == "killed"
    for call in calls:
        with pytest.raises(transom.CallError, match="killed"):
            await call
