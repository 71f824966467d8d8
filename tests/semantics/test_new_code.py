"""Code that is called for the first time: found out about without waiting for anybody."""

from __future__ import annotations

import builtins
import random
import re
import sys
import threading
import time
import types
from collections.abc import Callable
from types import CodeType, FunctionType

import pytest

import transom
import transom.instrument
from tests import hogs
from tests.support import in_node, scaled, spin, take, until
from transom import _gc

ROUNDS = 12


def fresh() -> Callable[[], int]:
    """A function of agent code that nobody has called yet."""
    module = compile("def made():\n    return sum(i for i in range(3))\n", "/agents/made.py", "exec")
    return FunctionType(next(const for const in module.co_consts if isinstance(const, CodeType)), vars(builtins))


@pytest.mark.skipif(hogs.gil, reason="a regex keeps the GIL from everybody")
@pytest.mark.timeout(180)
@in_node(schedulers=2)
async def test_first_calls_while_a_native_call_begins() -> None:
    """Nobody knows of the native call yet; it takes far longer than all the first calls of the round."""
    me = transom.current_pid()
    text = hogs.slow_input(0.5)
    seeds = random.Random(7)

    async def hog(begun: threading.Event) -> None:
        begun.set()
        re.match(r"(a+)+$", text)
        transom.send(me, "done")

    async def calls(begun: threading.Event, made: list[Callable[[], int]], turns: int) -> None:
        while not begun.is_set():
            pass
        for function in made:
            spin(turns)
            assert function() == 3
        transom.send(me, "called")

    for _ in range(scaled(ROUNDS)):
        begun = threading.Event()
        transom.spawn_link(calls, transom.share(begun), [fresh() for _ in range(5)], seeds.randrange(20_000))
        transom.spawn_link(hog, transom.share(begun))
        assert [await take(str) for _ in range(2)] == ["called", "done"]


@pytest.mark.skipif(hogs.gil, reason="a regex keeps the GIL from everybody")
def test_a_collection_is_put_off_when_a_native_call_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is found to be due in the very moment; others go on, and it is done when the call has ended."""
    text = hogs.slow_input(1.0)
    due, begun = threading.Event(), threading.Event()
    spent: list[Callable[[], float]] = []  # processor time of the hog's thread since it began

    def why() -> str | None:
        if not due.is_set():
            return None
        begun.set()
        while not spent or spent[0]() < 0.003:  # until it is in the regex for certain
            time.sleep(0.0001)
        return "growth"

    monkeypatch.setattr(_gc, "_why", why)

    @in_node(schedulers=2)
    async def run() -> None:
        me = transom.current_pid()

        async def hog() -> None:
            while not begun.is_set():
                pass
            clock = time.pthread_getcpuclockid(threading.get_ident())
            before = time.clock_gettime(clock)
            spent.append(lambda: time.clock_gettime(clock) - before)
            await hogs.regex(me, text)

        async def ticks() -> None:
            while not begun.is_set():
                await transom.sleep(0.001)
            for _ in range(20):
                await transom.sleep(0.001)
            transom.send(me, "ticked")

        transom.spawn_link(ticks)
        transom.spawn_link(hog)
        due.set()
        assert [await take(str) for _ in range(3)] == ["hogging", "ticked", "done hogging"]
        await until(lambda: transom.gc_info()["growth"] > 0)

    run()


def test_a_busy_node_collects(monkeypatch: pytest.MonkeyPatch) -> None:
    """More processes compute than there are slots, and more threads than cores."""
    monkeypatch.setattr(_gc, "_why", lambda: "growth")

    @in_node(schedulers=4)
    async def run() -> None:
        me = transom.current_pid()
        busy = [transom.spawn(hogs.loops, me) for _ in range(8)]
        for _ in busy:
            assert await take(str) == "hogging"
        done = transom.gc_info()["growth"]
        await until(lambda: transom.gc_info()["growth"] > done + 2)
        for pid in busy:
            transom.kill(pid)

    run()


@in_node(schedulers=2)
async def test_the_verdict_on_code_that_has_run_can_be_changed() -> None:
    module = types.ModuleType("undecided")
    module.__file__ = "/nowhere/undecided.py"
    exec(compile("def spin(n):\n    for _ in range(n):\n        pass\n", module.__file__, "exec"), module.__dict__)
    sys.modules["undecided"] = module

    def counts() -> bool:
        before = transom.reductions()
        module.spin(3_000)
        return transom.reductions() - before >= 3_000

    assert counts()
    for _ in range(3):
        transom.instrument.exclude("undecided")
        await until(lambda: not counts())
        assert not counts()
        transom.instrument.include("undecided")
        await until(counts)
        assert counts()
