"""assert_receive and its kin, stubs, watching: without pytest's help."""

from __future__ import annotations

import logging
from typing import Any

import pytest

import transom
from transom import Agent, current_pid, send
from transom.testing import (
    LeakedProcesses,
    Node,
    Stub,
    UnexpectedCrash,
    assert_down,
    assert_receive,
    crash_reports,
    refute_receive,
    run_test,
    start_stub,
    start_supervised,
    watch,
)


class Model(Agent):
    def init(self) -> None:
        raise RuntimeError("the real one costs money")

    def ask(self, question: str, *, system: str = "") -> str:
        return "real"

    async def stream(self, question: str) -> list[str]:
        return []


class Echo(Agent):
    def say(self, text: str) -> str:
        return text


async def says(*messages: Any) -> None:
    for message in messages:
        send(current_pid(), message)


@pytest.mark.transom
async def test_patterns() -> None:
    await says(1, "a", ("done", 7, [1, 2]), {"k": (1, "x")}, True, 2.0)
    assert await assert_receive(("done", int, [1, ...])) == ("done", 7, [1, 2])
    assert await assert_receive({"k": (1, str)}) == {"k": (1, "x")}
    assert await assert_receive(str) == "a"
    await refute_receive("b", (1,), ("done", ..., ...), timeout=0)
    assert await assert_receive(lambda message: message == 2) == 2.0
    assert await assert_receive(True) is True  # no 1
    assert await assert_receive(1) == 1


@pytest.mark.transom
async def test_what_is_missing_shows_the_mailbox() -> None:
    await says("late", ("x", 1))
    with pytest.raises(AssertionError, match=r"no message like \('done', Ellipsis\).*\n  'late'\n  \('x', 1\)"):
        await assert_receive(("done", ...), timeout=0)
    with pytest.raises(AssertionError, match="an unexpected message came: 'late'"):
        await refute_receive(str)
    await assert_receive()
    with pytest.raises(AssertionError, match="the mailbox is empty"):
        await assert_receive(timeout=0)


@pytest.mark.transom
def test_in_a_plain_function() -> None:
    send(current_pid(), ("go", 1))
    assert assert_receive(("go", int)).result() == ("go", 1)
    refute_receive(timeout=0).result()


@pytest.mark.transom
async def test_assert_down() -> None:
    async def ends(reason: Any) -> None:
        await transom.receive()
        raise transom.Stop(reason)

    pid = transom.spawn(ends, ("shutdown", 1))
    with pytest.raises(AssertionError, match="is alive after 0 s"):
        await assert_down(pid, timeout=0)
    send(pid, "go")
    assert await assert_down(pid, ("shutdown", int)) == ("shutdown", 1)
    with pytest.raises(AssertionError, match="ended with reason 'noproc', not 'normal'"):
        await assert_down(pid, "normal")


@pytest.mark.transom
async def test_a_stub_answers_and_records() -> None:
    stub = await start_stub(Model, {"ask": "yes", "stream": lambda question: question.split()}, name="model")
    assert isinstance(stub, Stub) and isinstance(stub.received, list)
    model = Model.at("model")
    assert await model.ask("is it?", system="be brief") == "yes"
    assert await model.stream("a b") == ["a", "b"]
    model.ask.cast("again")  # type: ignore[attr-defined]
    send("model", "hello")
    first = await stub.assert_received("ask", str)
    assert first.kwargs == {"system": "be brief"} and first.sender == current_pid()
    assert (await stub.assert_received("ask", "again")).sender is None
    assert (await stub.assert_received(None, "hello")).kind == "message"
    assert stub.calls("ask") == [("is it?",), ("again",)]
    with pytest.raises(AssertionError, match="received nothing like"):
        await stub.assert_received("ask", "never", timeout=0)
    with pytest.raises(TypeError, match="no public method 'asks'"):
        await start_stub(Model, {"asks": 1})


@pytest.mark.transom
async def test_a_stub_of_no_class() -> None:
    stub = await start_stub()
    send(stub.ref, ("order", 3))
    assert (await stub.assert_received(None, ("order", int))).args == (("order", 3),)
    assert stub.pid == stub.ref


def test_a_stub_without_an_answer_fails_the_test() -> None:
    async def body() -> None:
        transom.trap_exit(True)
        stub = await start_stub(Model, {"stream": ValueError("broken")})
        with pytest.raises(transom.CallError):
            await stub.ref.ask("what?")

    with pytest.raises(UnexpectedCrash, match="Model.ask was called, and its stub has no answer") as caught:
        run_test(body)
    assert len(caught.value.reports) == 1


@pytest.mark.transom
async def test_watching_an_agent() -> None:
    echo = await start_supervised(Echo)
    await echo.say("before")
    async with watch(echo) as events:
        await echo.say("hello")
    await echo.say("after")
    assert [event.direction for event in events] == ["in", "out"]
    assert "say('hello')" in events[0].text and str(events[1]) == "sent 'hello'"


def test_errors_come_before_crashes_and_these_before_leaks() -> None:
    async def crash() -> None:
        raise KeyError("crash")

    async def waits() -> None:
        await transom.receive()

    async def body(error: bool, crashes: bool) -> int:
        transom.spawn(waits)
        if crashes:
            await assert_down(transom.spawn(crash))
        assert not error
        return len(crash_reports())

    node = Node(leak_seconds=0.02)
    with pytest.raises(AssertionError, match="assert not True"):
        run_test(body, True, True, node=node)
    with pytest.raises(UnexpectedCrash):
        run_test(body, False, True, node=node)
    with pytest.raises(LeakedProcesses) as leak:
        run_test(body, False, False, node=node)
    assert len(leak.value.processes) == 1
    assert run_test(body, False, False, node=Node(allow_leaks=True)) == 0


def test_outside_of_tests_the_tools_say_so() -> None:
    with pytest.raises(RuntimeError, match="start_supervised.* works inside a test only"):
        start_supervised(Echo)
    with pytest.raises(ValueError, match="timeout must be seconds"):
        Node(timeout=-1)


def test_the_logger_is_left_as_it_was() -> None:
    before = list(logging.getLogger("transom").filters)
    run_test(lambda: None)
    assert logging.getLogger("transom").filters == before
