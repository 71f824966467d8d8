"""Agents: the statements on gen_server (semantics 1.8), and calls from everywhere."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any

import pytest
from support import all_down, in_node, info, messages, nothing, run_node, scaled, status_is, take, until

import transom
import transom.sync
from transom import proc_lib


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    """Crash reports are not shown, but made; caplog sees them."""
    log = logging.getLogger("transom")
    before = log.propagate
    yield
    log.propagate = before


class Counter(transom.Agent):
    def init(self, start: int = 0) -> None:
        self.n = start
        self.seen: list[Any] = []

    def add(self, k: int = 1, *, times: int = 1) -> int:
        self.n += k * times
        return self.n

    async def slowly(self, k: int) -> int:
        await transom.sleep(0.001)
        self.n += k
        return self.n

    def pid(self) -> transom.Pid:
        return transom.current_pid()

    def fail(self, text: str) -> None:
        raise ValueError(text)

    async def fail_later(self, text: str) -> None:
        await transom.sleep(0)
        raise ValueError(text)

    def end(self, reason: Any) -> None:
        raise transom.Stop(reason)

    def give(self) -> Any:
        return self.seen

    def handle_info(self, message: Any) -> None:
        self.seen.append(message)


class Silent(transom.Agent):
    """Answers nobody."""

    def hang(self) -> Any:
        transom.defer()

    def ask(self, other: Any, method: str) -> Any:
        return getattr(other, method)().result(1)


# -- calls ------------------------------------------------------------------------------------------------------------


@in_node()
async def test_methods_are_calls() -> None:
    c = await Counter.start(1)  # type: Any
    assert await c.add(2) == 3
    assert await c.add(2, times=3) == 9
    assert await c.slowly(1) == 10
    assert await c.pid() == transom.pid_of(c)
    assert c.add(1).result() == 11, "the blocking form, in any process"
    assert c.add.cast(5) is None
    assert await c.add(0) == 16, "one sender's calls and casts are handled in order"
    transom.kill(transom.pid_of(c))


@in_node()
async def test_what_is_sent_and_answered_is_copied() -> None:
    class Keeper(transom.Agent):
        def init(self) -> None:
            self.kept: list[Any] = []

        def keep(self, value: Any) -> Any:
            self.kept.append(value)
            return self.kept

    k = await Keeper.start_link()  # type: Any
    mine = [1]
    first = await k.keep(mine)
    mine.append(2)
    first.append("changed")
    assert await k.keep(0) == [[1], 0]
    with pytest.raises(TypeError, match="an argument of a call"):
        await k.keep(threading.Lock())
    assert await k.keep(1) == [[1], 0, 1], "a call that cannot be sent does not reach the agent"
    transom.unlink(transom.pid_of(k))
    transom.kill(transom.pid_of(k))


@in_node()
async def test_failures_are_call_errors() -> None:
    c = await Counter.start()  # type: Any
    with pytest.raises(transom.CallError, match="broken") as caught:
        await c.fail("broken")
    assert caught.value.reason == transom.Crash(ValueError("broken"))
    assert "in fail" in str(caught.value), "with the traceback of the agent"
    with pytest.raises(transom.CallError) as caught:
        await c.add(1)
    assert caught.value.reason == "noproc"
    with pytest.raises(transom.CallError) as caught:
        await Counter.at("nobody").add(1)  # type: ignore[misc]
    assert caught.value.reason == "noproc"
    c = await Counter.start()
    with pytest.raises(transom.CallError, match="later"):
        await c.fail_later("later")
    c = await Counter.start()
    with pytest.raises(transom.CallError) as caught:
        await c.end(("shutdown", 1))
    assert caught.value.reason == ("shutdown", 1)


@in_node()
async def test_casts_never_fail() -> None:
    c = await Counter.start()  # type: Any
    transom.kill(transom.pid_of(c))
    c.add.cast(1)
    Counter.at("nobody").add.cast(1)  # type: ignore[attr-defined]


@in_node()
async def test_time_out_and_late_answer() -> None:
    class Late(transom.Agent):
        def init(self) -> None:
            self.waiting: list[transom.From] = []

        def ask(self) -> Any:
            self.waiting.append(transom.defer())

        def answer(self) -> int:
            for one in self.waiting:
                one.reply("late")
            return len(self.waiting)

    agent = await Late.start()  # type: Any
    for timeout in (0, 0.002):
        with pytest.raises(transom.CallTimeout, match="options\\(timeout=60\\)") as caught:
            await agent.ask.options(timeout=timeout)()
        assert caught.value.reason == "timeout" and isinstance(caught.value, TimeoutError)
    with pytest.raises(transom.CallTimeout):
        agent.ask().result(0.001)
    assert await agent.answer() == 3
    assert messages() == []
    assert info(transom.current_pid(), "monitors") == []
    transom.kill(transom.pid_of(agent))


@in_node()
async def test_calling_oneself_is_an_error_not_a_deadlock() -> None:
    class Selfish(transom.Agent):
        def blocking(self) -> str:
            try:
                return str(Selfish.at(transom.current_pid()).nothing().result())  # type: ignore[attr-defined]
            except transom.CallError as error:
                return str(error.reason)

        async def awaiting(self) -> str:
            try:
                return str(await Selfish.at(transom.current_pid()).nothing())  # type: ignore[misc, func-returns-value]
            except transom.CallError as error:
                return str(error.reason)

        def nothing(self) -> None: ...

    agent = await Selfish.start()  # type: Any
    assert await agent.blocking() == "calling_self"
    assert await agent.awaiting() == "calling_self"
    transom.kill(transom.pid_of(agent))


@in_node()
async def test_a_call_to_an_agent_of_another_class() -> None:
    agent = await Silent.options(name="desk").start()
    with pytest.raises(transom.CallError, match="no such method") as caught:
        await Counter.at("desk").add(1)  # type: ignore[misc]
    assert caught.value.reason == ("undef", "Silent")
    assert transom.is_alive(transom.pid_of(agent)), "it lives on"
    transom.kill(transom.pid_of(agent))


@in_node()
async def test_methods_of_derived_classes() -> None:
    class Double(Counter):
        def add(self, k: int = 1, *, times: int = 1) -> int:
            return super().add(2 * k, times=times)

        def twice(self) -> int:
            return 2 * self.n

    d = await Double.start(1)  # type: Any
    assert (await d.add(1), await d.twice()) == (3, 6)
    assert await Counter.at(transom.pid_of(d)).add(1) == 5, "its base's calls reach its own methods"  # type: ignore[misc]
    transom.kill(transom.pid_of(d))


@in_node()
async def test_unknown_and_private_names_on_a_reference() -> None:
    c = await Counter.start()  # type: Any
    with pytest.raises(AttributeError, match="did you mean slowly"):
        c.slowli(1)
    with pytest.raises(AttributeError, match="private"):
        c._n  # noqa: B018
    transom.kill(transom.pid_of(c))


def test_a_class_cannot_hide_how_it_is_started() -> None:
    with pytest.raises(TypeError, match="Bad.start"):
        type("Bad", (transom.Agent,), {"start": lambda self: None, "__qualname__": "Bad"})


# -- references -------------------------------------------------------------------------------------------------------


@in_node()
async def test_common_slips_say_what_to_write() -> None:
    with pytest.raises(TypeError, match=r"await Counter\.start_link\(\.\.\.\)"):
        Counter(1)
    starting = Counter.start(1)
    with pytest.raises(AttributeError, match="no attribute 'add'; await it first"):
        starting.add(1)
    counter = await starting
    assert await counter.add(1) == 2
    transom.kill(counter)


@in_node()
async def test_references_are_values() -> None:
    c = await Counter.start()  # type: Any
    pid = transom.pid_of(c)
    assert c == Counter.at(pid) and hash(c) == hash(Counter.at(pid)) and c != Counter.at("x")
    transom.send(transom.current_pid(), [c])
    assert await take() == [c]
    assert transom.is_alive(c) and transom.process_info(c, "parent") == {"parent": transom.current_pid()}  # type: ignore[arg-type]
    ref = transom.monitor(c)  # type: ignore[arg-type]
    transom.send(c, "hello")  # type: ignore[arg-type]
    assert await c.give() == ["hello"]
    transom.link(c)  # type: ignore[arg-type]
    transom.unlink(c)  # type: ignore[arg-type]
    transom.exit(c, "done")  # type: ignore[arg-type]
    assert (await take(ref)).reason == "done"
    assert str(pid) in repr(c) and "Counter" in repr(c)


# -- starting ---------------------------------------------------------------------------------------------------------


@in_node()
async def test_start_waits_for_init_and_tells_its_failure() -> None:
    class Fails(transom.Agent):
        async def init(self, how: str) -> None:
            if how == "raise":
                raise ValueError("bad")
            if how == "ignore":
                proc_lib.init_ignore()
            await transom.sleep(100)

    transom.trap_exit(True)
    for start in (Fails.start, Fails.start_link):
        with pytest.raises(transom.StartError, match="bad"):
            await start("raise")
        assert await start("ignore") is None
    with pytest.raises(transom.StartError) as caught:
        await Fails.options(timeout=0.001, name="half").start_link("hang")
    assert caught.value.reason == "timeout" and transom.whereis("half") is None
    with pytest.raises(transom.StartError, match="no init method"):
        await Silent.start(1)
    assert messages() == []


@in_node()
async def test_names() -> None:
    first = await Counter.options(name="counter").start_link(5)
    assert transom.whereis("counter") == transom.pid_of(first)
    assert await Counter.at("counter").add(1) == 6  # type: ignore[misc]
    with pytest.raises(transom.AlreadyStarted) as caught:
        await Counter.options(name="counter").start_link()
    assert caught.value.pid == transom.pid_of(first)
    transom.unlink(transom.pid_of(first))
    transom.kill(transom.pid_of(first))
    with pytest.raises(TypeError, match="color"):
        Counter.options(color="red")
    with pytest.raises(ValueError, match="timeout"):
        Counter.options(timeout=-1)


@in_node()
async def test_child_specs_start_linked() -> None:
    transom.trap_exit(True)
    spec = Counter.child(3).options(name="kid", restart="transient")
    c = await spec.start()
    assert (spec.id, spec.name) == ("Counter", "kid")
    assert info(transom.pid_of(c), "links") == [transom.current_pid()]
    assert transom.whereis("kid") == transom.pid_of(c)
    transom.kill(transom.pid_of(c))
    await take(transom.Exit)


# -- turns ------------------------------------------------------------------------------------------------------------


@in_node()
async def test_deferred_answers_come_from_anybody() -> None:
    class Front(transom.Agent):
        def ask(self, n: int) -> Any:
            who = transom.defer()

            async def worker() -> None:
                who.reply(n * n)

            transom.spawn(worker)

    front = await Front.start()  # type: Any
    assert await transom.gather(*[front.ask(n) for n in range(20)]) == [n * n for n in range(20)]
    front.ask.cast(1)
    with pytest.raises(transom.NotInProcess):
        transom.defer()
    transom.kill(transom.pid_of(front))


@in_node()
async def test_stop_with_an_answer_and_terminate() -> None:
    me = transom.current_pid()

    class Ends(transom.Agent):
        def close(self, reason: Any) -> str:
            transom.stop_after(reason)
            return "bye"

        async def terminate(self, reason: Any) -> None:
            await transom.sleep(0)
            transom.send(me, ("terminate", reason))

    agent, ref = await Ends.start_monitor()  # type: Any, Any
    assert await agent.close("shutdown") == "bye"
    assert await take() == ("terminate", "shutdown")
    assert (await take(ref)).reason == "shutdown"


@pytest.mark.parametrize("trapping", [True, False])
def test_when_terminate_runs(trapping: bool) -> None:
    """On stop, crash, and exit of the parent when trapping; not on kill, nor when not trapping."""

    class Ends(transom.Agent):
        def init(self, tell: transom.Pid) -> None:
            transom.trap_exit(trapping)
            self.tell = tell

        def fail(self) -> None:
            raise ValueError("x")

        def terminate(self, reason: Any) -> None:
            transom.send(self.tell, ("terminate", reason))

    async def main() -> None:
        me = transom.current_pid()
        agent, ref = await Ends.start_monitor(me)  # type: Any, Any
        with pytest.raises(transom.CallError):
            await agent.fail()
        assert await take() == ("terminate", transom.Crash(ValueError("x")))
        assert (await take(ref)).reason == transom.Crash(ValueError("x"))

        agent, ref = await Ends.start_monitor(me)
        transom.kill(transom.pid_of(agent))
        assert (await take(ref)).reason == "killed"
        await nothing()

        async def parent() -> None:
            started = await Ends.start_link(me)
            transom.send(me, started)
            await transom.receive()
            raise transom.Stop("tired")

        pid = transom.spawn(parent)
        agent = await take()
        ref = transom.monitor(transom.pid_of(agent))
        transom.send(pid, "go")
        if trapping:
            assert await take() == ("terminate", "tired")
        assert (await take(ref)).reason == "tired"
        await nothing()

    run_node(main)


@in_node()
async def test_exits_of_others_go_to_handle_info() -> None:
    class Traps(Counter):
        def init(self, start: int = 0) -> None:
            super().init(start)
            transom.trap_exit(True)

    c = await Traps.start()  # type: Any
    transom.exit(transom.pid_of(c), "whatever")
    assert await c.give() == [transom.Exit(transom.current_pid(), "whatever")], "started without a link: no parent"
    transom.kill(transom.pid_of(c))


@in_node()
async def test_continue_comes_before_any_other_message() -> None:
    class Steps(transom.Agent):
        def init(self) -> None:
            self.log: list[Any] = []
            transom.continue_with("first")
            transom.send(transom.current_pid(), "message")

        def handle_continue(self, value: Any) -> None:
            self.log.append(value)
            if value == "first":
                transom.continue_with("second")

        def handle_info(self, message: Any) -> None:
            self.log.append(message)

        def get(self) -> Any:
            transom.continue_with("after the answer")
            return self.log

    agent = await Steps.start()  # type: Any
    assert await agent.get() == ["first", "second", "message"]
    assert (await agent.get())[3:] == ["after the answer"]
    transom.kill(transom.pid_of(agent))


@in_node()
async def test_idle_timeout() -> None:
    class Idle(transom.Agent):
        def init(self, tell: transom.Pid) -> None:
            self.tell = tell

        def set(self, seconds: float) -> None:
            transom.idle_timeout(seconds)

        async def set_while_mail_waits(self) -> None:
            await transom.receive(lambda message: message == "go")
            transom.idle_timeout(0)

        def handle_timeout(self) -> None:
            transom.send(self.tell, "idle")

        def handle_info(self, message: Any) -> None:
            transom.send(self.tell, message)

    agent = await Idle.start(transom.current_pid())  # type: Any
    for seconds in (0, 0.001, 0):
        await agent.set(seconds)
        assert await take() == "idle"
    await agent.set(1000)
    await agent.set(None)
    agent.set_while_mail_waits.cast()
    for message in ("mail", "go"):
        transom.send(transom.pid_of(agent), message)
    assert await take() == "mail"
    assert await transom.sys.get_state(agent) == {"tell": transom.current_pid()}
    await nothing()
    transom.kill(transom.pid_of(agent))


@in_node()
async def test_while_an_async_handler_waits_other_messages_wait() -> None:
    class Slow(transom.Agent):
        def init(self) -> None:
            self.log: list[str] = []

        async def work(self) -> None:
            self.log.append("begin")
            await transom.receive(lambda message: message == "go")
            self.log.append("end")

        def note(self) -> list[str]:
            self.log.append("note")
            return self.log

    agent = await Slow.start()  # type: Any
    agent.work.cast()
    note = agent.note().send()
    transom.send(transom.pid_of(agent), "go")
    assert await note == ["begin", "end", "note"]
    transom.kill(transom.pid_of(agent))


@in_node()
async def test_a_killed_handler_is_unwound() -> None:
    me = transom.current_pid()

    class Holds(transom.Agent):
        async def hold(self) -> None:
            try:
                transom.send(me, "holding")
                await transom.sleep(1000)
            finally:
                done.set()

    done = threading.Event()
    agent = await Holds.start()  # type: Any
    agent.hold.cast()
    assert await take() == "holding"
    transom.kill(transom.pid_of(agent))
    await until(done.is_set)


@in_node(schedulers=1)
async def test_a_circle_in_the_state_goes_with_the_agent() -> None:
    gone: list[int] = []

    class Part:
        def __init__(self, whole: Any) -> None:
            self.whole = whole

        def __del__(self) -> None:
            gone.append(1)

    class Round(transom.Agent):
        def init(self) -> None:
            self.part = Part(self)

    agent, ref = await Round.start_monitor()
    transom.kill(transom.pid_of(agent))
    await take(ref)
    await until(lambda: gone, "the state is left to the collector")


# -- calls from everywhere --------------------------------------------------------------------------------------------


def test_one_expression_everywhere() -> None:
    async def in_asyncio() -> Any:
        c = await Counter.start(1)  # type: Any
        first = await asyncio.gather(c.add(1), c.add(1))
        with pytest.raises(transom.CallError):
            await c.fail("x")
        task = asyncio.ensure_future(Silent.start())
        silent = await task  # type: Any
        waiting = asyncio.ensure_future(_awaited(silent.hang.options(timeout=None)()))
        await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        other = await Counter.start(3)  # type: Any
        assert [answer.value async for answer in transom.as_completed([other.add(0)])] == [3]
        return sorted(first)

    async def _awaited(call: Any) -> Any:
        return await call

    def plain() -> Any:
        c = Counter.start(1).result()  # type: Any
        return c.add(1).result(), transom.gather(c.add(1), c.add(1)).result()

    transom.start()
    try:
        assert asyncio.run(in_asyncio()) == [2, 3]
        c = Counter.start(10).result()  # type: Any
        answers: list[int] = []
        threads = [threading.Thread(target=lambda: answers.append(c.add(1).result(20))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(answers) == list(range(11, 19))
        with pytest.raises(transom.CallError, match="crashed"):
            c.fail("x").result()
        with pytest.raises(transom.NotInProcess):
            next(c.add(1).__await__())
    finally:
        transom.stop()
    assert transom.run(plain) == (2, [3, 4])


@in_node()
async def test_a_call_is_awaited_once() -> None:
    c = await Counter.start()  # type: Any
    call = c.add(1)
    assert await call == 1
    with pytest.raises(RuntimeError, match="once"):
        await call
    with pytest.raises(RuntimeError):
        call.send()
    transom.kill(transom.pid_of(c))


class Link(transom.Agent):
    """Passes a call on to the next; the last one answers."""

    def init(self, following: Any = None) -> None:
        self.following = following

    async def ask(self, how: str) -> Any:
        if self.following is None:
            return "the end"
        return await self.following.ask(how) if how == "await" else self.following.ask(how).result()

    def close_circle(self, first: Any) -> None:
        self.following = first

    def call_back(self, who: transom.Pid) -> str:
        """Answers, and calls its caller afterwards: no circle."""
        transom.continue_with(who)
        return "answered"

    async def handle_continue(self, value: Any) -> None:
        await Link.at(value).close_circle(None)  # type: ignore[func-returns-value]

    async def talk(self, other: Any) -> Any:
        return await other.call_back(transom.current_pid())


@pytest.mark.parametrize("how", ["await", "result"])
@pytest.mark.parametrize("length", [2, 3])
def test_a_circle_of_calls_is_found(how: str, length: int) -> None:
    async def main() -> None:
        last = await Link.start()  # type: Any
        ring = [last]
        for _ in range(length - 1):
            ring.insert(0, await Link.start(ring[0]))
        assert await ring[0].ask(how) == "the end"
        await last.close_circle(ring[0])
        with pytest.raises(transom.CallError, match="circle"):
            await ring[0].ask(how)
        for agent in ring:
            transom.kill(transom.pid_of(agent))

    before = transom.detect_call_cycles(True)
    try:
        run_node(main)
    finally:
        transom.detect_call_cycles(before)


def test_calling_back_after_the_answer_is_no_circle() -> None:
    async def main() -> None:
        a, b = await Link.start(), await Link.start()  # type: Any, Any
        for _ in range(scaled(200)):
            assert await a.talk(b) == "answered"
            await transom.sys.get_state(b)  # it has called back: else the next talk would be a real circle
        for agent in (a, b):
            transom.kill(transom.pid_of(agent))

    before = transom.detect_call_cycles(True)
    try:
        run_node(main, schedulers=2)
    finally:
        transom.detect_call_cycles(before)


# -- many at once -----------------------------------------------------------------------------------------------------


@in_node()
async def test_gather() -> None:
    agents = [await Counter.start(n) for n in range(5)]  # type: list[Any]
    assert await transom.gather(*[c.add(1) for c in agents]) == [1, 2, 3, 4, 5]
    mixed = await transom.gather(agents[0].add(1), agents[1].fail("no"), return_exceptions=True)
    assert mixed[0] == 2 and isinstance(mixed[1], transom.CallError)
    with pytest.raises(transom.CallError, match="no"):
        await transom.gather(agents[2].fail("no"), agents[3].add(1), agents[4].add(1))
    await nothing()
    for c in agents:
        transom.kill(transom.pid_of(c))


@in_node()
async def test_as_completed_labels_the_answers() -> None:
    agents = {name: await Counter.start(n) for n, name in enumerate("abc")}  # type: dict[str, Any]
    transom.send(transom.current_pid(), "mail")
    calls = {name: c.add(10) for name, c in agents.items()}
    calls["failing"] = agents["a"].fail("no")
    calls["nobody"] = Counter.at("nobody").add(1)  # type: ignore[assignment]
    found = {answer.label: answer async for answer in transom.as_completed(calls)}
    assert {name: found[name].result() for name in "abc"} == {"a": 10, "b": 11, "c": 12}
    assert found["nobody"].error is not None and found["nobody"].error.reason == "noproc"
    with pytest.raises(transom.CallError, match="no"):
        found["failing"].result()
    assert await take() == "mail"
    for c in agents.values():
        transom.kill(transom.pid_of(c))


@in_node()
async def test_as_completed_gives_the_quick_before_the_slow_and_forgets_the_rest() -> None:
    slow, quick = await Silent.start(), await Counter.start()  # type: Any, Any
    answers = transom.as_completed([slow.hang(), quick.add(1)])
    first = await anext(answers)
    assert (first.label, first.value) == (1, 1)
    await answers.aclose()  # type: ignore[attr-defined]
    assert info(transom.current_pid(), "monitors") == []
    with pytest.raises(TimeoutError):
        async for _ in transom.as_completed([slow.hang()], timeout=0.002):
            pass
    assert info(transom.current_pid(), "monitors") == [] and messages() == []
    transom.kill(transom.pid_of(slow))
    transom.kill(transom.pid_of(quick))


# -- races ------------------------------------------------------------------------------------------------------------


@pytest.mark.race
@in_node(schedulers=2)
async def test_death_during_a_call_is_told_once() -> None:
    answered = died = 0
    for round_ in range(scaled(500)):
        c = await Counter.start()  # type: Any
        call = c.add(1).send()
        for _ in range(round_ % 40):
            pass
        transom.kill(transom.pid_of(c))
        try:
            assert await call == 1
            answered += 1
        except transom.CallError as error:
            assert error.reason == "killed"
            died += 1
    assert answered + died == scaled(500)


@pytest.mark.race
@in_node(schedulers=2)
async def test_a_time_out_races_with_the_answer() -> None:
    c = await Counter.start()  # type: Any
    late = 0
    for n in range(scaled(1000)):
        try:
            await c.add.options(timeout=(n % 3) * 0.0005)(1)
        except transom.CallTimeout:
            late += 1
        if n % 50 == 0:
            await nothing()
    assert await c.add(0) == scaled(1000), "a call that timed out has been handled all the same"
    assert late > 0 and info(transom.current_pid(), "monitors") == []
    transom.kill(transom.pid_of(c))


@pytest.mark.race
@in_node(schedulers=2)
async def test_many_callers_lose_nothing() -> None:
    c = await Counter.start()  # type: Any

    async def caller() -> None:
        for _ in range(scaled(300)):
            await c.add(1)

    refs = [transom.spawn_monitor(caller)[1] for _ in range(10)]
    assert await all_down(refs) == ["normal"] * 10
    assert await c.add(0) == 10 * scaled(300)
    transom.kill(transom.pid_of(c))


@in_node()
async def test_calls_skip_old_mail() -> None:
    for n in range(1000):
        transom.send(transom.current_pid(), n)
    c = await Counter.start()  # type: Any
    before = transom.reductions()
    for _ in range(10):
        await c.add(1)
    assert transom.reductions() - before < 1000, "ten calls have not looked at a thousand messages each"
    for _ in range(1000):
        await take()
    transom.kill(transom.pid_of(c))


# -- reports ----------------------------------------------------------------------------------------------------------


@in_node()
async def test_a_crash_report_has_message_and_state_without_secrets(caplog: pytest.LogCaptureFixture) -> None:
    class Holder(transom.Agent):
        def init(self) -> None:
            self.api_key = "sk-123"
            self.n = 7

        def fail(self, what: str, *, token: str) -> None:
            raise ValueError(what)

    agent, ref = await Holder.start_monitor()  # type: Any, Any
    with pytest.raises(transom.CallError):
        await agent.fail("this", token="t-456")
    await take(ref)
    await until(lambda: caplog.records)
    text = caplog.records[0].getMessage()
    assert "last message: fail('this', token=<redacted>)" in text and "'n': 7" in text, text
    assert "sk-123" not in text and "initial call:" in text and "ancestors:" in text


@in_node()
async def test_a_redaction_hook_sees_every_value(caplog: pytest.LogCaptureFixture) -> None:
    before = transom.set_redaction(lambda what, value: f"<{what}>")
    try:
        c, ref = await Counter.start_monitor()  # type: Any, Any
        with pytest.raises(transom.CallError):
            await c.fail("a prompt")
        await take(ref)
        await until(lambda: caplog.records)
        assert "fail('<message>')" in caplog.text and "state: '<state>'" in caplog.text
    finally:
        transom.set_redaction(before)


@in_node()
async def test_an_agent_at_rest_is_waiting_and_keeps_no_thread() -> None:
    c = await Counter.start()  # type: Any
    await c.slowly(1)
    await status_is(transom.pid_of(c), "waiting")
    assert info(transom.pid_of(c), "thread") is None
    assert info(transom.pid_of(c), "initial_call") == "Counter.init"
    transom.kill(transom.pid_of(c))


@in_node()
async def test_a_plain_handler_with_its_own_event_loop_awaits_calls() -> None:
    class Runs(transom.Agent):
        def ask(self, other: Any) -> Any:
            async def program() -> Any:
                return await asyncio.wait_for(other.add(2), 5)

            return asyncio.run(program())

    c = await Counter.start(1)  # type: Any
    runs = await Runs.start()  # type: Any
    assert await runs.ask(c) == 3
    assert runs.ask(c).result() == 5
    transom.kill(transom.pid_of(c))
    transom.kill(transom.pid_of(runs))


@in_node()
async def test_hibernate_gives_back_room_and_touches_nothing_else() -> None:
    class Cache(transom.Agent):
        def init(self) -> None:
            self.items = {n: n for n in range(10_000)}
            self.names = {str(n) for n in range(10_000)}
            self.shared = {n: n for n in range(10_000)}
            self.also = self.shared
            for n in range(9_999):
                del self.items[n], self.shared[n]
                self.names.remove(str(n))

        def room(self) -> list[int]:
            return [value.__sizeof__() for value in (self.items, self.names, self.shared)]

        def content(self) -> Any:
            return self.items, self.names, self.shared, self.also is self.shared

        def rest(self) -> str:
            transom.hibernate()
            return "good night"

    cache = await Cache.start_link()  # type: Any
    before = await cache.room()
    assert await cache.rest() == "good night"
    after = await cache.room()
    assert after[0] < before[0] / 100 and after[1] < before[1] / 100
    assert after[2] == before[2], "what has two names is left alone"
    assert await cache.content() == ({9_999: 9_999}, {"9999"}, {9_999: 9_999}, True)
    transom.unlink(transom.pid_of(cache))
    transom.kill(transom.pid_of(cache))


class Signatures(transom.Agent):
    def two(self, a: int, b: int = 2) -> tuple[Any, ...]:
        return a, b

    def named(self, a: int, /, b: int, *, c: int, d: int = 4) -> tuple[Any, ...]:
        return a, b, c, d

    def rest(self, a: int, *args: int, **kwargs: int) -> tuple[Any, ...]:
        return a, args, kwargs

    async def later(self, *, a: int) -> int:
        return a

    def anything(*args: Any) -> int:  # type: ignore[misc]
        return len(args)


@in_node()
async def test_arguments_that_do_not_fit_are_the_callers_error() -> None:
    """The agent lives on, and no message is sent."""
    ref: Any = await Signatures.start()
    wrong: list[Any] = [
        lambda: ref.two(),
        lambda: ref.two(1, 2, 3),
        lambda: ref.two(1, a=1),
        lambda: ref.two(b=1),
        lambda: ref.two(1, c=1),
        lambda: ref.named(1, 2),
        lambda: ref.named(1, 2, 3),
        lambda: ref.named(a=1, b=2, c=3),
        lambda: ref.named(1, c=3),
        lambda: ref.rest(),
        lambda: ref.rest(b=1),
        lambda: ref.later(1),
        lambda: ref.later(),
        lambda: ref.two.cast(),
        lambda: ref.two.options(timeout=1)(),
    ]
    for call in wrong:
        with pytest.raises(TypeError, match=r"Signatures\.(two|named|rest|later)\(\): "):
            call()
    assert await ref.two(1) == (1, 2) and await ref.two(b=1, a=2) == (2, 1)
    assert await ref.named(1, 2, c=3) == (1, 2, 3, 4) and await ref.named(1, d=5, b=2, c=3) == (1, 2, 3, 5)
    assert await ref.rest(1, 2, 3, b=4) == (1, (2, 3), {"b": 4}) and await ref.rest(a=1, b=2) == (1, (), {"b": 2})
    assert await ref.later(a=1) == 1 and await ref.anything(1, 2) == 3
    transom.kill(transom.pid_of(ref))
