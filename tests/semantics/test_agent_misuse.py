"""Agents, calls and references used in ways nobody should: an exception or an odd answer, but the interpreter lives."""

from __future__ import annotations

import contextlib
import gc
import subprocess
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
from support import in_node, messages, scaled, status_is, until

import transom
import transom.sync


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


class Copied:
    """As an argument: when it is copied it does something first."""

    def __init__(self, act: Callable[[], Any]) -> None:
        self.act = act
        self.of: list[int] = [1, 2, 3]

    def __deepcopy__(self, memo: Any) -> int:
        self.act()
        return sum(self.of)


@pytest.mark.parametrize("how", ["send", "await", "result"])
@in_node()
async def test_a_call_is_not_sent_while_it_is_being_sent(how: str) -> None:
    """Copying its arguments is user code, and may have the call in its hands."""
    desk: Any = await Desk.start()
    errors: list[str] = []

    def again() -> None:
        with pytest.raises(RuntimeError) as error:
            if how == "send":
                call.send()
            elif how == "result":
                call.result()
            else:
                next(call)
        errors.append(str(error.value))

    call = desk.count(Copied(again), [1], Copied(again))
    assert await call == 3
    assert len(errors) == 2 and all("sent" in error for error in errors)
    transom.kill(transom.pid_of(desk))


@in_node()
async def test_a_call_that_could_not_be_sent_is_as_it_was() -> None:
    """A failed copy gives it back: it can be tried again."""
    desk: Any = await Desk.start()
    tries = iter([ValueError("not yet"), ValueError("nor now"), None])

    def act() -> None:
        if (error := next(tries)) is not None:
            raise error

    call = desk.count(Copied(act))
    with pytest.raises(ValueError, match="not yet"):
        await call
    with pytest.raises(ValueError, match="nor now"):
        call.send()
    assert await call == 1
    transom.kill(transom.pid_of(desk))


@in_node(schedulers=2)
async def test_of_many_who_await_one_call_one_gets_the_answer() -> None:
    """The others are told so, at once, whenever they come."""
    desk: Any = await Desk.start()
    box: list[Any] = []
    me = transom.current_pid()

    async def ask() -> None:
        try:
            transom.send(me, await box[0])
        except RuntimeError:
            transom.send(me, "no")

    for _ in range(scaled(400)):
        box[:] = [desk.count(*[[n, [n]] for n in range(20)])]
        for _ in range(3):
            transom.spawn(ask)
        assert sorted([str(await transom.receive()) for _ in range(3)]) == ["20", "no", "no"]
    transom.kill(transom.pid_of(desk))


@in_node(schedulers=2)
async def test_who_steps_the_call_of_another_does_not_disturb_it() -> None:
    """Also while that one waits for the answer."""

    class Slow(transom.Agent):
        def init(self) -> None:
            self.callers: list[transom.From] = []

        def get(self) -> None:
            self.callers.append(transom.defer())

        def put(self, value: Any) -> None:
            self.callers.pop().reply(value)

    slow: Any = await Slow.start()
    box = [slow.get.options(timeout=None)()]

    async def waits() -> None:
        assert await box[0] == "answer"

    async def disturbs() -> None:
        with pytest.raises(RuntimeError, match="another process"):
            await box[0]

    first, ref = transom.spawn_monitor(waits)
    await status_is(first, "waiting")
    _, other = transom.spawn_monitor(disturbs)
    assert (await transom.receive(other)).reason == "normal"
    await slow.put("answer")
    assert (await transom.receive(ref)).reason == "normal"
    transom.kill(transom.pid_of(slow))


@in_node(schedulers=2)
async def test_a_call_in_a_message_is_a_message() -> None:
    """Only what was sent to an agent as a call is handled as one: two agents would have the same arguments."""
    desk, other = await Desk.start(), await Desk.start()
    new: Any = desk.count(1)
    for to in (desk, other):
        transom.send(transom.pid_of(to), new)
    sent = await_later = desk.count(1, 2).send()
    transom.send(transom.pid_of(other), sent)
    assert await await_later == 2 and await new == 1
    assert await desk.give() == ["<call of count, not sent>"]
    assert [text.split(",")[0] for text in await other.give()] == ["<call of count"] * 2
    for to in (desk, other):
        transom.kill(transom.pid_of(to))


@in_node()
async def test_a_call_among_its_own_arguments_is_collected() -> None:
    """One that is never sent is all that holds it."""
    desk: Any = await Desk.start()
    gone: list[weakref.ref[Any]] = []
    for extra in range(6):  # calls with few arguments have their own memory
        argument: Any = deque([Desk])
        call = desk.count(*[argument] * (extra + 1))
        argument.append(call)
        gone.append(weakref.ref(argument))
        del argument, call
    gc.collect()
    assert [ref() for ref in gone] == [None] * 6
    kept: Any = [1, 2]
    again = desk.count(kept, kept, kept)
    gc.collect()
    assert await again == 3
    transom.kill(transom.pid_of(desk))


@in_node()
async def test_no_answers_are_waited_for_inside_a_predicate() -> None:
    me = transom.current_pid()
    waiting: Any = transom._core._first((), 5)  # what as_completed() waits with

    def predicate(message: Any) -> bool:
        with pytest.raises(RuntimeError, match="inside a predicate"):
            next(waiting)
        return message == 2

    me.send(1)
    me.send(2)
    assert await transom.receive(predicate) == 2
    assert await transom.receive(int) == 1


@in_node(schedulers=2)
async def test_no_call_is_asked_inside_a_predicate() -> None:
    """result() would walk the mailbox that receive is walking."""
    desk: Any = await Desk.start()
    me = transom.current_pid()

    def body() -> None:
        def predicate(message: Any) -> bool:
            with pytest.raises(RuntimeError, match="inside a predicate"):
                desk.count(1).result()
            return bool(message == 2)

        for n in range(4):
            transom.send(transom.current_pid(), n)
        transom.send(me, [transom.sync.receive(predicate), *[transom.sync.receive() for _ in range(3)]])

    transom.spawn(body)
    assert await transom.receive() == [2, 0, 1, 3]
    transom.kill(transom.pid_of(desk))


@in_node(max_threads=2)
async def test_result_that_may_not_block_has_started_and_sent_nothing() -> None:
    """All threads are taken: RuntimeError, and no answer or start that nobody takes."""

    def hog() -> None:
        transom.sync.receive()

    desk: Any = await Desk.start()
    hogs = [transom.spawn(hog) for _ in range(2)]
    for pid in hogs:
        await status_is(pid, "waiting")
    before = set(transom.processes())
    call = desk.count(1)
    for blocking in (call.result, Desk.start().result):
        with pytest.raises(RuntimeError, match="max_threads"):
            blocking()
    assert set(transom.processes()) == before
    assert await call == 1 and messages() == []
    for pid in [*hogs, transom.pid_of(desk)]:
        transom.kill(pid)


@in_node(schedulers=2)
async def test_gather_leaves_no_answer_behind_whatever_fails() -> None:
    """A call that cannot be sent, or is not the caller's; and the call of another goes on undisturbed."""

    class Slow(Desk):
        def init(self) -> None:
            self.callers: list[transom.From] = []

        def later(self) -> None:
            self.callers.append(transom.defer())

        def now(self, value: Any) -> None:
            for caller in self.callers:
                caller.reply(value)

    desk: Any = await Slow.start()
    with pytest.raises(TypeError, match="not sendable"):
        await transom.gather(desk.count(1), desk.count(threading.Lock()))
    box = [desk.later.options(timeout=None)()]

    async def other() -> None:
        assert await box[0] == "answer"

    pid, ref = transom.spawn_monitor(other)
    await status_is(pid, "waiting")
    with pytest.raises(RuntimeError, match="another process"):
        await transom.gather(desk.count(1), box[0], desk.count(2))
    await desk.now("answer")
    assert (await transom.receive(ref)).reason == "normal"
    await desk.count()
    assert messages() == []
    transom.kill(transom.pid_of(desk))


def test_a_program_that_ends_while_a_thread_stops_its_node_says_nothing() -> None:
    """run() in a daemon thread is in the middle of its stop when the interpreter wants to stop what runs."""
    program = (
        "import threading, transom\n"
        "ended = threading.Event()\n"
        "async def stays():\n"
        "    while True:\n"
        "        if isinstance(await transom.receive(), transom.Exit): ended.set()\n"
        "def main():\n"
        "    transom.spawn_opt(transom.SpawnOptions(trap_exit=True), stays)\n"
        "threading.Thread(target=transom.run, args=(main,), daemon=True).start()\n"
        "ended.wait()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")


@in_node(schedulers=2)
async def test_finalisers_on_the_thread_of_a_waiting_process_run_in_no_process() -> None:
    """It sleeps: an operation in its name would find it asleep, or put it to sleep twice."""

    class Thing:
        def __init__(self, told: list[Any]) -> None:
            self.told = told

        def __del__(self) -> None:
            for wait in (lambda: transom.sync.receive(timeout=0.001), desk.count(1).result, transom.gather(desk.count(1)).result):
                try:
                    self.told.append(wait())
                except Exception as error:
                    self.told.append(type(error))

    desk: Any = await Desk.start()
    told: list[Any] = []
    box: list[Any] = []
    me = transom.current_pid()

    def waiter() -> None:
        box.extend([Thing(told) for _ in range(20)])
        transom.send(me, [transom.sync.receive() for _ in range(3)])

    pid, ref = transom.spawn_monitor(waiter)
    await status_is(pid, "waiting")
    box.clear()  # other threads' objects: they end on the thread that made them
    await until(lambda: len(told) == 60)
    for n in range(3):
        transom.send(pid, n)
    assert await transom.receive() == [0, 1, 2]
    assert (await transom.receive(ref)).reason == "normal"
    assert told == [transom.NotInProcess, RuntimeError, RuntimeError] * 20
    transom.kill(transom.pid_of(desk))


@pytest.mark.parametrize("step", ["close", "next"])
@in_node(schedulers=2)
async def test_a_start_is_not_gone_on_with_inside_a_predicate(step: str) -> None:
    """Its message may be the one that the predicate looks at."""
    started: Any = Desk.start().__await__()
    next(started)  # begun by hand; the marker is nobody's
    await until(lambda: len(messages()) == 1)
    errors: list[str] = []

    def predicate(message: Any) -> bool:
        with pytest.raises(RuntimeError, match="predicate") as error:
            started.close() if step == "close" else next(started)
        errors.append(str(error.value))
        return True

    ready: Any = await transom.receive(predicate)
    assert ready[1] == "ready" and len(errors) == 1
    for pid in set(transom.processes()) - {transom.current_pid()}:
        transom.kill(pid)


def test_an_agent_with_a_constructor() -> None:
    """It would be passed over without a word."""
    with pytest.raises(TypeError, match=r"Wrong\.__init__ would never run: an agent sets up its state in init\(self"):
        type("Wrong", (transom.Agent,), {"__init__": lambda self: None})
