"""A call is message and monitor in one signal: the caller is told of every end, and nothing of a call stays behind."""

from __future__ import annotations

import time
from typing import Any

import transom
from tests.support import DEADLINE, in_node, reason_of, run_node, take
from transom.statem import Event, keep_state, reply, state
from transom.testing import explore, faults


class Desk(transom.Agent):
    def init(self) -> None:
        self.open: list[Any] = []

    def ask(self) -> Any:
        self.open.append(transom.defer())

    async def block(self) -> None:
        await transom.receive(lambda m: m == "go on")

    def answer_all(self) -> int:
        answered = len(self.open)
        for caller in self.open:
            caller.reply(1)
        self.open.clear()
        return answered


class Switch(transom.StateMachine):
    def init(self) -> str:
        return "on"

    def ask(self) -> Any: ...

    def slow(self) -> Any: ...

    @state
    def on(self, event: Event) -> Any:
        if event.content[0] == "slow":
            time.sleep(0.3)
        return keep_state(reply(event, "ok"))


class Ended(transom.Agent):
    def end(self) -> None:
        raise transom.Stop("normal")


async def impatient(ref: Any) -> None:
    try:
        await ref.ask.options(timeout=0.01)()
    except transom.CallTimeout:
        pass


async def patient(ref: Any) -> None:
    await ref.ask.options(timeout=None)()


def watchers(ref: Any) -> list[transom.Pid]:
    found: list[transom.Pid] = transom.process_info(transom.pid_of(ref), "monitored_by")["monitored_by"]
    return found


async def blocked(desk: Any) -> Any:
    call = desk.block.options(timeout=None)()
    return call.send()


async def go_on(desk: Any, call: Any) -> None:
    transom.send(desk, "go on")
    await call


@in_node()
async def test_a_queued_call_shows_its_caller_until_that_gives_up() -> None:
    desk = await Desk.start()
    block = await blocked(desk)
    waiting, _ = transom.spawn_monitor(patient, desk)
    given_up = [transom.spawn_monitor(impatient, desk)[1] for _ in range(20)]
    for ref in given_up:
        assert await reason_of(ref) == "normal"
    assert sorted(watchers(desk)) == sorted([transom.current_pid(), waiting])
    await go_on(desk, block)
    assert await desk.answer_all() == 21
    transom.kill(transom.pid_of(desk))
    assert (await take(transom.Down)).reason == "normal"  # of the one that waited: it was answered


@in_node()
async def test_calls_whose_callers_gave_up_or_died_leave_nothing_at_who_answers_late() -> None:
    desk = await Desk.start()
    block = await blocked(desk)
    refs = [transom.spawn_monitor(impatient, desk)[1] for _ in range(50)]
    killed = [transom.spawn_monitor(patient, desk) for _ in range(50)]
    for ref in refs:
        assert await reason_of(ref) == "normal"
    while transom.process_info(transom.pid_of(desk), "message_queue_len")["message_queue_len"] < 100:
        await transom.sleep(0.001)
    for pid, ref in killed:
        transom.kill(pid)
        assert await reason_of(ref) == "killed"
    await go_on(desk, block)
    assert await desk.answer_all() == 100
    assert watchers(desk) == []
    transom.kill(transom.pid_of(desk))


@in_node(check=False)
async def test_calls_to_a_state_machine_that_timed_out_leave_nothing() -> None:
    switch = await Switch.start()
    slow = switch.slow.options(timeout=None)().send()
    refs = [transom.spawn_monitor(impatient, switch)[1] for _ in range(200)]
    for ref in refs:
        assert await reason_of(ref) == "normal"
    assert await slow == "ok"
    assert await switch.ask() == "ok"
    assert watchers(switch) == []
    transom.kill(transom.pid_of(switch))


@in_node(check=False)
async def test_calls_that_gather_gives_up_leave_nothing() -> None:
    desk = await Desk.start()
    block = await blocked(desk)
    for _ in range(10):
        ended = await Ended.start()
        try:
            await transom.gather(ended.end(), *[desk.ask() for _ in range(5)])
        except transom.CallError:
            pass
    await go_on(desk, block)
    assert await desk.answer_all() == 50
    assert watchers(desk) == []
    transom.kill(transom.pid_of(desk))


@in_node()
async def test_a_call_in_the_mailbox_of_one_that_dies_is_told_the_reason() -> None:
    desk = await Desk.start()
    await blocked(desk)
    me = transom.current_pid()

    async def caller() -> None:
        try:
            await desk.ask.options(timeout=None)()
        except transom.CallError as error:
            transom.send(me, error.reason)

    for _ in range(30):
        transom.spawn(caller)
    while transom.process_info(transom.pid_of(desk), "message_queue_len")["message_queue_len"] < 30:
        await transom.sleep(0.001)
    transom.exit(transom.pid_of(desk), "over")
    assert [await take(str) for _ in range(30)] == ["over"] * 30
    await take(transom.Down)  # of our own call, which stands unanswered


async def called_beside(fault: Any) -> tuple[Any, int]:
    desk = await Desk.start()
    active = fault(desk)

    async def killer() -> None:
        await transom.sleep(1)
        transom.kill(transom.pid_of(desk))

    transom.spawn(killer)
    try:
        await desk.answer_all.options(timeout=60)()
    except transom.CallError as error:
        return error.reason, active.hits
    return None, active.hits


def test_a_fault_that_takes_the_answer_leaves_the_monitor() -> None:
    async def main() -> tuple[Any, int]:
        return await called_beside(lambda desk: faults.drop(desk, transom.current_pid(), times=1))

    assert transom.run(main, deterministic=1) == ("killed", 1)


def test_a_fault_that_holds_up_the_call_leaves_the_monitor() -> None:
    async def main() -> tuple[Any, int]:
        return await called_beside(lambda desk: faults.delay(transom.current_pid(), desk, seconds=10, times=1))

    assert transom.run(main, deterministic=1) == ("killed", 1)


def test_a_call_to_the_dead_is_a_lost_message_for_the_search() -> None:
    async def main() -> None:
        desk, ref = await Desk.start_monitor()
        transom.kill(transom.pid_of(desk))
        await transom.receive(ref)
        try:
            await desk.ask()
        except transom.CallError:
            pass

    assert explore(main, lost_messages=True, schedules=3).finding is not None


def test_a_wait_that_finds_the_timer_of_an_earlier_one_is_not_shorter() -> None:
    async def main() -> list[float]:
        me = transom.current_pid()
        waited = []
        for first, second in ((0.02, 0.06), (0.06, 0.02), (0.03, 0.03)):
            transom.send(me, "at once")
            await transom.receive(timeout=first)  # its timer stays
            began = time.monotonic()
            try:
                await transom.receive(timeout=second)
            except TimeoutError:
                waited.append(time.monotonic() - began - second)
        return waited

    late = run_node(main, schedulers=1)
    assert len(late) == 3 and min(late) >= 0, late
    assert max(late) < DEADLINE
