"""Synchronous start, ancestors and crash reports (semantics 1.8, 1.10)."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from support import all_down, in_node, info, messages, nothing, run_node, scaled, take, until

import transom
from transom import proc_lib


async def ready(value: Any = None) -> None:
    proc_lib.init_ack(value)
    await transom.receive(lambda message: message == "go")


async def fails(error: BaseException) -> None:
    raise error


async def hangs() -> None:
    await transom.receive()


async def ends_silently() -> None:
    pass


def silence() -> None:
    logging.getLogger("transom").setLevel(logging.CRITICAL + 1)


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    log = logging.getLogger("transom")
    before = log.level
    yield
    log.setLevel(before)


@in_node()
async def test_start_returns_when_it_is_ready() -> None:
    pid = await proc_lib.start(ready)
    assert transom.is_alive(pid)
    assert await proc_lib.start(ready, ({"a": 1},)) == {"a": 1}
    for process in set(transom.processes()) - {transom.current_pid()}:
        transom.send(process, "go")


@in_node()
async def test_a_plain_function_and_keywords() -> None:
    def plain(word: str = "") -> None:
        proc_lib.init_ack(word)

    assert await proc_lib.start(plain, kwargs={"word": "x"}) == "x"


@in_node()
async def test_start_link_links_and_start_monitor_monitors() -> None:
    transom.trap_exit(True)
    pid = await proc_lib.start_link(ready)
    assert info(pid, "links") == [transom.current_pid()]
    transom.send(pid, "go")
    assert await take(transom.Exit) == transom.Exit(pid, "normal")
    pid, ref = await proc_lib.start_monitor(ready)
    transom.send(pid, "go")
    assert await take(ref) == transom.Down(ref, pid, "normal")


@pytest.mark.parametrize("trapping", [True, False])
@pytest.mark.parametrize("kind", ["start", "start_link", "start_monitor"])
@pytest.mark.parametrize(
    ("body", "args", "reason"),
    [
        (fails, (transom.Stop("no"),), "no"),
        (fails, (ValueError("bad"),), transom.Crash(ValueError("bad"))),
        (hangs, (), "timeout"),
        (ends_silently, (), "normal"),
    ],
)
def test_a_failed_start_leaves_nothing(trapping: bool, kind: str, body: Any, args: Any, reason: Any) -> None:
    """OTP 26: the process is gone, and no Exit or Down is in the mailbox, trapping or not."""
    silence()

    async def main() -> None:
        transom.trap_exit(trapping)
        timeout = 0.01 if reason == "timeout" else None
        options = transom.SpawnOptions(name="half")
        with pytest.raises(transom.StartError) as caught:
            await getattr(proc_lib, kind)(body, args, timeout=timeout, options=options)
        assert caught.value.reason == reason
        assert transom.whereis("half") is None
        if kind == "start_monitor":
            down = await take(caught.value.ref)
            assert down.reason == ("killed" if reason == "timeout" else reason)
        else:
            assert caught.value.ref is None
        await nothing()

    run_node(main)


@in_node()
async def test_the_cause_is_the_exception_of_init() -> None:
    silence()
    with pytest.raises(transom.StartError, match="bad thing") as caught:
        await proc_lib.start(fails, (ValueError("bad thing"),))
    assert isinstance(caught.value.__cause__, ValueError)
    assert "in fails" in str(caught.value), "the traceback as text"


@in_node()
async def test_ignore_gives_none_and_leaves_nothing() -> None:
    async def not_needed() -> None:
        proc_lib.init_ignore()

    transom.trap_exit(True)
    assert await proc_lib.start(not_needed) is None
    assert await proc_lib.start_link(not_needed) is None
    assert messages() == []


@in_node()
async def test_a_taken_name_is_told_with_its_holder() -> None:
    options = transom.SpawnOptions(name="desk")
    pid = await proc_lib.start(ready, options=options)
    for start in (proc_lib.start, proc_lib.start_link, proc_lib.start_monitor):
        with pytest.raises(transom.AlreadyStarted) as caught:
            await start(ready, options=options)
        assert caught.value.pid == pid
    transom.send(pid, "go")


@in_node()
async def test_an_answer_counts_once() -> None:
    async def twice() -> None:
        proc_lib.init_ack()
        with pytest.raises(RuntimeError):
            proc_lib.init_ack()

    pid, ref = await proc_lib.start_monitor(twice)
    assert await take(ref) == transom.Down(ref, pid, "normal")


@pytest.mark.race
@in_node(schedulers=2)
async def test_races_of_readiness_and_timeout_leave_nothing() -> None:
    silence()
    transom.trap_exit(True)

    async def late(turns: int) -> None:
        for _ in range(turns):
            pass
        proc_lib.init_ack()

    ended = 0
    for round_ in range(scaled(300)):
        try:
            pid, ref = await proc_lib.start_monitor(late, (round_ % 50,), timeout=0.0 if round_ % 2 else 0.0001)
        except transom.StartError as error:
            assert error.reason == "timeout"
            ended += 1
            down = await take(error.ref)
            assert down.reason in ("killed", "normal")
        else:
            await take(ref)
        try:
            await proc_lib.start_link(late, (round_ % 50,), timeout=0.0001)
        except transom.StartError:
            pass
        else:
            await take(transom.Exit)
        await nothing()
    assert ended > 0


@in_node()
async def test_ancestors_and_initial_call() -> None:
    me = transom.current_pid()

    async def child() -> None:
        proc_lib.init_ack(transom.process_info(transom.current_pid(), "ancestors", "initial_call", "parent"))

    async def parent() -> None:
        proc_lib.init_ack(await proc_lib.start(child))

    async def named() -> None:
        transom.register("desk", transom.current_pid())
        proc_lib.init_ack((await proc_lib.start(child), transom.current_pid()))

    seen = await proc_lib.start(parent)
    assert seen["ancestors"] == (seen["parent"], me)
    assert seen["initial_call"].endswith("child")
    seen, pid = await proc_lib.start(named)
    assert seen["ancestors"] == ("desk", me)
    assert info(me, "ancestors") == ()
    assert pid == seen["parent"]


@in_node()
async def test_children_share_their_origin() -> None:
    one, two = [await proc_lib.start(ready) for _ in range(2)]
    assert info(one, "ancestors") is info(two, "ancestors")
    transom.send(one, "go")
    transom.send(two, "go")


@in_node()
async def test_a_crash_report_names_ancestors_label_and_call(caplog: pytest.LogCaptureFixture) -> None:
    async def worker() -> None:
        transom.set_label("the worker")
        proc_lib.init_ack()
        raise ValueError("broken")

    pid, ref = await proc_lib.start_monitor(worker, options=transom.SpawnOptions(name="desk"))
    await take(ref)
    await until(lambda: caplog.records)
    text = caplog.records[0].getMessage()
    for part in (f"{pid} (desk, the worker)", "the worker", "ValueError: broken", "worker", f"ancestors: {transom.current_pid()}"):
        assert part in text, text


@in_node()
async def test_no_report_for_ordinary_ends(caplog: pytest.LogCaptureFixture) -> None:
    async def ends(reason: Any) -> None:
        proc_lib.init_ack()
        raise transom.Stop(reason)

    started = [await proc_lib.start_monitor(ends, (r,)) for r in ("normal", "shutdown", ("shutdown", 1))]
    assert await all_down([ref for _, ref in started]) == ["normal", "shutdown", ("shutdown", 1)]
    assert not caplog.records


@in_node()
async def test_a_start_that_is_killed_leaves_nothing() -> None:
    """Whoever kills it: the starter, which is linked and does not trap, goes on."""

    async def told(boss: transom.Pid) -> None:
        transom.send(boss, transom.current_pid())
        await transom.receive()

    me = transom.current_pid()

    async def killer() -> None:
        transom.kill(await transom.receive(transom.Pid))

    for kind in (proc_lib.start, proc_lib.start_link):
        with pytest.raises(transom.StartError) as caught:
            await kind(told, (transom.spawn(killer),))
        assert caught.value.reason == "killed"
        assert info(me, "links") == [] and info(me, "monitors") == []
    await nothing()


@in_node()
async def test_a_start_can_be_awaited_again_and_given_up() -> None:
    start = proc_lib.start(ready, ("x",))
    assert [await start, await start] == ["x", "x"], "each await starts one"

    async def waits() -> None:
        await proc_lib.start(hangs)

    helper = waits()
    assert helper.send(None) is not None
    helper.close()
    assert info(transom.current_pid(), "monitors") == []
    for pid in set(transom.processes()) - {transom.current_pid()}:
        transom.kill(pid)
    await nothing()


@in_node()
async def test_links_are_told_before_monitors() -> None:
    """Who hears of an end by a monitor can rely on it that the linked have been sent their exits."""
    transom.trap_exit(True)
    pid = await proc_lib.start_link(ready)
    transom.monitor(pid)
    transom.send(pid, "go")
    assert [type(await take(object)) for _ in range(2)] == [transom.Exit, transom.Down]


def test_one_expression_everywhere() -> None:
    def in_plain() -> Any:
        return proc_lib.start(answers, (1,)).result()

    async def answers(value: Any) -> None:
        proc_lib.init_ack(value)

    async def in_asyncio() -> Any:
        return await proc_lib.start(answers, (2,))

    assert transom.run(in_plain) == 1
    transom.start()
    try:
        assert asyncio.run(in_asyncio()) == 2
        assert proc_lib.start(answers, (3,)).result(20) == 3
        with pytest.raises(TimeoutError):
            proc_lib.start(hangs).result(0.01)
        with pytest.raises(transom.NotInProcess):
            proc_lib.start_link(answers, (4,))
    finally:
        transom.stop()


def test_without_a_node() -> None:
    with pytest.raises(transom.NotRunning):
        proc_lib.start(ready).result()
