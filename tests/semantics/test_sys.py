"""sys on agents (semantics 1.10): suspend, resume, states, statistics, trace, log."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from support import in_node, messages, take

import transom


class Counter(transom.Agent):
    def init(self, start: int = 0) -> None:
        self.n = start

    def add(self, k: int) -> int:
        self.n += k
        return self.n

    async def wait(self) -> str:
        return str(await transom.receive(str))


def kill(agent: Any) -> None:
    transom.kill(transom.pid_of(agent))


@in_node()
async def test_suspended_messages_queue_up_and_calls_time_out() -> None:
    c = await Counter.start()  # type: Any
    await transom.sys.suspend(c)
    with pytest.raises(transom.CallTimeout):
        await c.add.options(timeout=0.002)(1)
    c.add.cast(1)
    assert await transom.sys.get_state(c) == {"n": 0}, "still answers sys"
    await transom.sys.suspend(c)
    await transom.sys.resume(c)
    assert await c.add(0) == 2, "what queued up is handled, in order"
    await transom.sys.resume(c)
    assert messages() == []
    kill(c)


@in_node()
async def test_replace_state() -> None:
    c = await Counter.start(3)  # type: Any
    assert await transom.sys.replace_state(c, lambda state: {"n": state["n"] * 10}) == {"n": 30}
    assert await c.add(1) == 31

    def fails(state: dict[str, Any]) -> dict[str, Any]:
        state["n"] = 0
        raise ValueError("no")

    for change in (fails, lambda state: 7):
        with pytest.raises(transom.CallError) as caught:
            await transom.sys.replace_state(c, change)  # type: ignore[arg-type]
        assert caught.value.reason[0] == "callback_failed"
    assert await transom.sys.get_state(c) == {"n": 31}, "the state is as it was"
    kill(c)


@in_node()
async def test_get_status() -> None:
    c = await Counter.options(name="c").start()  # type: Any
    status = await transom.sys.get_status("c")
    assert (status["class"], status["status"], status["name"], status["state"]) == ("Counter", "running", "c", {"n": 0})
    await transom.sys.suspend(c)
    assert (await transom.sys.get_status(c))["status"] == "suspended"
    kill(c)


@in_node()
async def test_format_status_has_a_say() -> None:
    class Shy(Counter):
        def format_status(self, state: dict[str, Any]) -> Any:
            return "hidden"

    c = await Shy.start()
    assert (await transom.sys.get_status(c))["state"] == "hidden"
    kill(c)


@in_node()
async def test_log_keeps_the_last_events() -> None:
    c = await Counter.start()  # type: Any
    assert await transom.sys.log(c, 3) == []
    for n in range(5):
        await c.add(n)
    events = await transom.sys.log(c, None)
    assert [kind for kind, _ in events] == ["out", "in", "out"] and events[-1] == ("out", "10")
    await c.add(1)
    assert await transom.sys.log(c, None) == []
    with pytest.raises(ValueError, match="length"):
        transom.sys.log(c, 0)
    kill(c)


@in_node()
async def test_statistics() -> None:
    c = await Counter.start()  # type: Any
    assert await transom.sys.statistics(c) is None
    await transom.sys.statistics(c, True)
    await c.add(1)
    c.add.cast(1)
    counted = await transom.sys.statistics(c)
    assert counted is not None and (counted["messages_in"], counted["messages_out"]) == (2, 2)
    assert counted["reductions"] > 0 and counted["current_time"] >= counted["start_time"]
    await transom.sys.statistics(c, False)
    assert await transom.sys.statistics(c) is None
    kill(c)


@in_node()
async def test_trace(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "transom.trace")
    c = await Counter.start()  # type: Any
    await transom.sys.trace(c, True)
    await c.add(1)
    await transom.sys.trace(c, False)
    await c.add(1)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2 and "got add(1)" in lines[0] and "sent 1" in lines[1]
    kill(c)


@in_node()
async def test_terminate_also_while_suspended() -> None:
    me = transom.current_pid()

    class Ends(Counter):
        def terminate(self, reason: Any) -> None:
            transom.send(me, ("terminate", reason))

    for suspended in (False, True):
        c, ref = await Ends.start_monitor()
        if suspended:
            await transom.sys.suspend(c)
        await transom.sys.terminate(c, "shutdown")
        assert await take(tuple) == ("terminate", "shutdown")
        assert (await take(ref)).reason == "shutdown"


@in_node()
async def test_errors_are_call_errors() -> None:
    c = await Counter.start()  # type: Any
    c.wait.cast()
    with pytest.raises(transom.CallTimeout):
        await transom.sys.get_state(c, timeout=0.002)
    transom.send(transom.pid_of(c), "go")
    assert await transom.sys.get_state(c) == {"n": 0}
    with pytest.raises(transom.CallError) as caught:
        await transom.sys.get_state(transom.current_pid())
    assert caught.value.reason == "calling_self"
    kill(c)
    for dest in (c, "nobody"):
        with pytest.raises(transom.CallError) as caught:
            await transom.sys.get_state(dest)
        assert caught.value.reason == "noproc"
    assert messages() == []


def test_from_everywhere() -> None:
    async def in_asyncio(c: Any) -> Any:
        return await transom.sys.get_state(c)

    transom.start()
    try:
        c = Counter.start(5).result()
        assert transom.sys.get_state(c).result() == {"n": 5} == asyncio.run(in_asyncio(c))
    finally:
        transom.stop()
