"""State machines: the statements on gen_statem (semantics 1.9), and what they share with agents."""

from __future__ import annotations

import asyncio
import enum
import functools
import gc
import inspect
import json
import logging
import random
import threading
from pathlib import Path
from typing import Any

import pytest
from statem_scripts import run as run_script_machine
from support import all_down, messages, reason_of, scaled, status_is, take, until
from support import run_node as run_checked

import transom
from transom.statem import (
    Action,
    Event,
    StateMachineError,
    event_timeout,
    hibernate,
    keep_state,
    next_event,
    next_state,
    postpone,
    repeat_state,
    reply,
    state,
    state_timeout,
    stop,
    stop_and_reply,
    timeout,
)


def run_node(main: Any) -> None:
    """As support.run_node; ends what the test has started and left."""

    async def cleared() -> None:
        before = set(transom.processes())
        try:
            await main()
        finally:
            for pid in set(transom.processes()) - before:
                transom.unlink(pid)
                transom.kill(pid)

    run_checked(cleared)


def in_node() -> Any:
    """The test is the main process of a node."""

    def decorate(main: Any) -> Any:
        @functools.wraps(main)
        def test() -> None:
            run_node(main)

        del test.__wrapped__  # pytest would take it for a coroutine
        return test

    return decorate


RECORDED = Path(__file__).with_name("gen_statem_order.json")


# -- order ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asynchronous", [False, True], ids=["def", "async def"])
def test_random_machines_do_what_gen_statem_did(asynchronous: bool) -> None:
    """Recorded from gen_statem by benchmarks/peers/statem_order: callbacks, state, postponed events, timers."""
    recorded = json.loads(RECORDED.read_text())
    assert len(recorded) >= 50 and sum(len(outcome[0]) for _, outcome in recorded) > 500

    async def main() -> None:
        for machine, outcome in recorded:
            assert await run_script_machine(machine, asynchronous) == outcome, machine

    run_node(main)


class Table(transom.StateMachine):
    """Answers from a table; notes what it sees."""

    def init(self, first: Any, answers: dict[str, Any]) -> Any:
        self.answers = answers
        self.seen: list[str] = []
        return first

    def tell(self, word: str) -> None: ...

    def handle_event(self, event: Event, state: Any) -> Any:
        word = event.content[1] if event.type == "cast" else event.content
        line = f"{event.type}{'' if event.name is None else ' ' + event.name} {word} in {state}"
        self.seen.append(line)
        answer = self.answers.get(line, [])
        answer = self.answers[line] = list(answer) if isinstance(answer, list) else [answer]
        return decoded(answer.pop(0)) if answer else keep_state()


class TableWithEnter(Table):
    state_enter = True


def decoded(answer: Any) -> Any:
    """Answers travel as plain values: ("next_state", state, (action, ...), ...)."""
    kind, *rest = answer
    actions = {
        "postpone": postpone, "next_event": next_event, "state_timeout": state_timeout,
        "event_timeout": event_timeout, "timeout": timeout, "hibernate": hibernate,
    }  # fmt: skip
    if kind == "next_state":
        return next_state(rest[0], *(actions[name](*args) for name, *args in rest[1:]))
    return {"keep_state": keep_state, "repeat_state": repeat_state}[kind](
        *(actions[name](*args) for name, *args in rest)
    )


# name: (state_enter, first answer of init or state, casts, answers by what was seen, what is seen)
ORDER: dict[str, tuple[bool, Any, list[str], dict[str, Any], list[str]]] = {
    "postponed events are retried oldest first, before the waiting ones": (
        False,
        "a",
        ["1", "2", "go", "3"],
        {
            "cast 1 in a": ("keep_state", ("postpone",)),
            "cast 2 in a": ("keep_state", ("postpone",)),
            "cast go in a": ("next_state", "b"),
        },
        ["cast 1 in a", "cast 2 in a", "cast go in a", "cast 1 in b", "cast 2 in b", "cast 3 in b"],
    ),
    "an event postponed while the state changes is retried at once, as the youngest of them": (
        False,
        "a",
        ["1", "go", "3"],
        {
            "cast 1 in a": ("keep_state", ("postpone",)),
            "cast go in a": ("next_state", "b", ("postpone",)),
        },
        ["cast 1 in a", "cast go in a", "cast 1 in b", "cast go in b", "cast 3 in b"],
    ),
    "inserted events come before postponed ones, in listed order": (
        False,
        "a",
        ["1", "go"],
        {
            "cast 1 in a": ("keep_state", ("postpone",)),
            "cast go in a": ("next_state", "b", ("next_event", "internal", "x"), ("next_event", "internal", "y")),
        },
        ["cast 1 in a", "cast go in a", "internal x in b", "internal y in b", "cast 1 in b"],
    ),
    "the enter call comes first, and once at the start with the state itself": (
        True,
        "a",
        ["go"],
        {"cast go in a": ("next_state", "b", ("next_event", "internal", "x"))},
        ["enter a in a", "cast go in a", "enter a in b", "internal x in b"],
    ),
    "keep_state and the same next_state make no enter call and no retry": (
        True,
        "a",
        ["1", "same", "2"],
        {
            "cast 1 in a": ("keep_state", ("postpone",)),
            "cast same in a": ("next_state", "a"),
        },
        ["enter a in a", "cast 1 in a", "cast same in a", "cast 2 in a"],
    ),
    "repeat_state makes an enter call and retries nothing": (
        True,
        "a",
        ["1", "again", "2"],
        {
            "cast 1 in a": ("keep_state", ("postpone",)),
            "cast again in a": ("repeat_state",),
        },
        ["enter a in a", "cast 1 in a", "cast again in a", "enter a in a", "cast 2 in a"],
    ),
    "zero timeouts come after queued events and before the next message, in the order set": (
        False,
        "a",
        ["go", "2"],
        {
            "cast go in a": (
                "keep_state",
                ("timeout", "n", 0, "t"),
                ("next_event", "internal", "x"),
                ("state_timeout", 0, "s"),
            ),
        },  # fmt: skip
        ["cast go in a", "internal x in a", "timeout n t in a", "state_timeout s in a", "cast 2 in a"],
    ),
    "any event cancels the event timeout, also an inserted one": (
        False,
        "a",
        ["go", "2"],
        {"cast go in a": ("keep_state", ("event_timeout", 0, "e"), ("next_event", "internal", "x"))},
        ["cast go in a", "internal x in a", "cast 2 in a"],
    ),
    "a change of the state cancels the state timeout, a named one survives": (
        False,
        "a",
        ["go"],
        {
            "cast go in a": (
                "keep_state",
                ("state_timeout", 0, "s"),
                ("timeout", "n", 0, "t"),
                ("next_event", "internal", "x"),
            ),
            "internal x in a": ("next_state", "b"),
        },  # fmt: skip
        ["cast go in a", "internal x in a", "timeout n t in b"],
    ),
    "setting again restarts: its turn is that of the last time": (
        False,
        "a",
        ["go"],
        {
            "cast go in a": ("keep_state", ("timeout", "n", 0, 1), ("timeout", "m", 0, 2), ("next_event", "info", "x")),
            "info x in a": ("keep_state", ("timeout", "n", 0, 3)),
        },
        ["cast go in a", "info x in a", "timeout m 2 in a", "timeout n 3 in a"],
    ),
    "update changes what is running and keeps its turn; when nothing runs it is as zero": (
        False,
        "a",
        ["go"],
        {
            "cast go in a": ("keep_state", ("timeout", "n", 0, 1), ("timeout", "m", 0, 2), ("next_event", "info", "x")),
            "info x in a": ("keep_state", ("timeout", "n", "update", 3), ("state_timeout", "update", 4)),
        },
        ["cast go in a", "info x in a", "timeout n 3 in a", "timeout m 2 in a", "state_timeout 4 in a"],
    ),
    "cancel and None cancel": (
        False,
        "a",
        ["go", "2"],
        {
            "cast go in a": ("keep_state", ("timeout", "n", 0, 1), ("timeout", "m", 0, 2), ("next_event", "info", "x")),
            "info x in a": ("keep_state", ("timeout", "n", "cancel"), ("timeout", "m", None)),
        },
        ["cast go in a", "info x in a", "cast 2 in a"],
    ),
    "of several actions for one timer the last one counts": (
        False,
        "a",
        ["go", "2"],
        {"cast go in a": ("keep_state", ("state_timeout", 0, 1), ("state_timeout", "cancel"))},
        ["cast go in a", "cast 2 in a"],
    ),
    "of several postpone actions the last one counts": (
        False,
        "a",
        ["1", "go"],
        {
            "cast 1 in a": ("keep_state", ("postpone", True), ("postpone", False)),
            "cast go in a": ("next_state", "b"),
        },
        ["cast 1 in a", "cast go in a"],
    ),
    "timers of the enter call come after those of the transition": (
        True,
        "a",
        [],
        {"enter a in a": ("keep_state", ("timeout", "m", 0, 2))},
        ["enter a in a", "timeout m 2 in a"],
    ),
    "states are compared by type, too": (
        True,
        1,
        ["go", "to"],
        {"cast go in 1": ("next_state", 1.0), "cast to in 1.0": ("next_state", True)},
        ["enter 1 in 1", "cast go in 1", "enter 1 in 1.0", "cast to in 1.0", "enter 1.0 in True"],
    ),
}


@pytest.mark.parametrize("case", ORDER, ids=lambda case: case.replace(" ", "_"))
def test_order(case: str) -> None:
    enter, first, casts, answers, seen = ORDER[case]

    async def main() -> None:
        machine = await (TableWithEnter if enter else Table).start_link(first, answers)
        for word in casts:
            machine.tell.cast(word)  # type: ignore[attr-defined]
        await until_seen(machine, seen)

    run_node(main)


async def until_seen(machine: Any, seen: list[str]) -> None:
    _, data = await transom.sys.get_state(machine)
    assert data["seen"] == seen


@in_node()
async def test_the_actions_of_init_come_before_the_first_message() -> None:
    class First(Table):
        def init(self, *_: Any) -> Any:
            super().init("a", {})
            transom.send(transom.current_pid(), "message")
            return next_state("a", timeout("n", 0, "t"), next_event("internal", "x"))

    machine = await First.start_link()
    await until_seen(machine, ["internal x in a", "timeout n t in a", "info message in a"])


class Door(transom.StateMachine):
    """Style one, as in the documentation of gen_statem."""

    def init(self, code: str, seconds: float = 3600.0) -> str:
        self.code = code
        self.entered = ""
        self.seconds = seconds
        return "locked"

    def push(self, digit: str, *, times: int = 1) -> bool: ...  # type: ignore[empty-body]
    def walk(self) -> str: ...  # type: ignore[empty-body]
    def length(self) -> int:
        return len(self.code)

    def shut(self, now: bool = False) -> None:
        raise NotImplementedError

    @state
    def locked(self, event: Event) -> Any:
        match event:
            case Event("call", ("push", digit)):
                self.entered += digit * event.kwargs["times"]
                if self.entered != self.code:
                    return keep_state(reply(event, False))
                self.entered = ""
                return next_state("open", reply(event, True), state_timeout(self.seconds, "lock"))
            case Event("call", ("walk",)):
                return keep_state(postpone())

    @state
    async def open(self, event: Event) -> Any:
        match event:
            case Event("call", ("walk",)):
                await transom.sleep(0)
                return keep_state(reply(event, "welcome"))
            case Event("state_timeout", "lock"):
                return next_state(self.locked)
            case Event("cast", ("shut", _)):
                return next_state("locked")


# -- calls, states, styles --------------------------------------------------------------------------------------------


@in_node()
async def test_state_functions() -> None:
    door = await Door.start_link("12")  # type: Any
    guest = door.walk().send()
    assert await door.push("1") is False
    assert await transom.sys.get_state(door) == ("locked", {"code": "12", "entered": "1", "seconds": 3600.0})
    assert await door.push("2") is True
    assert await guest == "welcome", "postponed in locked, answered in open"
    assert await door.length() == 2, "no state has a say: the method itself answers"
    door.shut.cast()
    assert await door.push("12") is True
    assert await Door.at(transom.pid_of(door)).walk() == "welcome"  # type: ignore[misc]
    assert messages() == []


@in_node()
async def test_the_state_timeout() -> None:
    door = await Door.start_link("1", 0.001)  # type: Any
    assert await door.push("1", times=1)
    while (await transom.sys.get_state(door))[0] != "locked":
        await transom.sleep(0.001)


@in_node()
async def test_calls_from_everywhere() -> None:
    door = await Door.options(name="door").start_link("1")  # type: Any
    outcome: list[Any] = []

    def thread() -> None:
        outcome.append(door.length().result())
        outcome.append(asyncio.run(program()))

    async def program() -> Any:
        return await Door.at("door").length()  # type: ignore[misc]

    worker = threading.Thread(target=thread)
    worker.start()
    await until(lambda: not worker.is_alive())
    assert outcome == [1, 1]
    assert door.length().result() == 1
    with pytest.raises(transom.CallTimeout):
        await door.walk.options(timeout=0.01)()
    assert await door.push("1")
    assert messages() == [], "the late answer to the postponed call finds no address"


@in_node()
async def test_calls_that_do_not_fit_are_refused_and_nothing_is_lost() -> None:
    door = await Door.start_link("1")  # type: Any
    with pytest.raises(TypeError, match="too many positional"):
        await door.push("1", "2")
    with pytest.raises(TypeError, match="missing a required"):
        await door.push()
    with pytest.raises(TypeError, match="missing a required"):
        door.push.cast()

    class Other(transom.Agent):
        def go(self) -> None: ...

    with pytest.raises(transom.CallError, match="no such method") as caught:
        await Other.at(transom.pid_of(door)).go()  # type: ignore[func-returns-value,misc]
    assert caught.value.reason == ("undef", "Door")
    assert await door.push("1"), "it lives on"


@in_node()
async def test_what_no_state_handles_ends_it_and_says_so() -> None:
    for event, text in (
        (lambda d: d.push.cast("1"), "locked.*returned nothing for Event.'cast', .'push', '1'"),
        (lambda d: d.shut.cast(), "locked.*returned nothing for Event.'cast', .'shut', False"),
    ):
        door, ref = await Door.start_monitor("1")
        event(door)
        reason = await reason_of(ref)
        assert isinstance(reason.exception, StateMachineError | NotImplementedError)
        import re

        assert re.search(text, reason.traceback), reason.traceback
    door, ref = await Door.start_monitor("1")
    with pytest.raises(transom.CallError, match="returned nothing"):
        await door.shut()  # type: ignore[func-returns-value]
    await reason_of(ref)


class Light(enum.Enum):
    RED = 1
    GREEN = 2


@in_node()
async def test_handle_event_and_any_state() -> None:
    class Crossing(transom.StateMachine):
        state_enter = True

        def init(self) -> Light:
            self.log: list[Any] = []
            return Light.RED

        def switch(self) -> Any: ...
        def seen(self) -> Any:
            return self.log

        async def handle_event(self, event: Event, state: Light) -> Any:
            match event, state:
                case Event("enter", old), _:
                    self.log.append((old, state))
                case Event("call", ("switch",)), Light.RED:
                    return next_state(Light.GREEN, reply(event, state))
                case Event("call", ("switch",)), Light.GREEN:
                    return next_state(Light.RED, reply(event, state))

    crossing = await Crossing.start_link()  # type: Any
    assert [await crossing.switch() for _ in range(3)] == [Light.RED, Light.GREEN, Light.RED]
    assert await crossing.seen() == [
        (Light.RED, Light.RED),
        (Light.RED, Light.GREEN),
        (Light.GREEN, Light.RED),
        (Light.RED, Light.GREEN),
    ]


@in_node()
async def test_subclasses_override_states_and_methods() -> None:
    class Loud(Door):
        def length(self) -> int:
            return -1

        async def open(self, event: Event) -> Any:
            if event.type == "call" and event.content == ("walk",):
                return keep_state(reply(event, "WELCOME"))
            return await super().open(event)

    door = await Loud.start_link("1")  # type: Any
    assert await door.push("1")
    assert (await door.walk(), await door.length()) == ("WELCOME", -1)


def test_classes_that_cannot_work_are_refused() -> None:
    with pytest.raises(TypeError, match="both handle_event and state functions"):

        class Both(transom.StateMachine):
            @state
            def on(self, event: Event) -> Any: ...
            def handle_event(self, event: Event, state: Any) -> Any: ...

    with pytest.raises(TypeError, match="terminate cannot be a state"):

        class Bad(transom.StateMachine):
            @state
            def terminate(self, event: Event) -> Any: ...  # type: ignore[override]

    with pytest.raises(TypeError, match="current_state"):

        class Worse(transom.StateMachine):
            current_state = 1  # type: ignore[assignment]

    with pytest.raises(TypeError, match="state_enter must be"):

        class Worst(transom.StateMachine):
            state_enter = "yes"  # type: ignore[assignment]

    with pytest.raises(TypeError, match="@state marks a method"):
        state(1)  # type: ignore[type-var]


# -- replies and ends --------------------------------------------------------------------------------------------------


class Asked(transom.StateMachine):
    """Collects calls and answers them all with the last one."""

    def init(self, count: int) -> str:
        self.count = count
        self.waiting: list[Event] = []
        return "open"

    def ask(self, n: int) -> Any: ...
    def end(self, how: str) -> Any: ...
    def later(self) -> Any:
        return transom.defer()

    @state
    def open(self, event: Event) -> Any:
        match event:
            case Event("call", ("ask", n)):
                self.waiting.append(event)
                if len(self.waiting) == self.count:
                    waiting, self.waiting = self.waiting, []
                    return keep_state(*(reply(e, n) for e in reversed(waiting)))
                return keep_state()
            case Event("call", ("end", "stop")):
                return stop(("shutdown", "stop"))
            case Event("call", ("end", "reply")):
                return stop_and_reply("normal", reply(event, "bye"), *(reply(e, "end") for e in self.waiting))
            case Event("call", ("end", "raise")):
                raise ValueError("broken")

    def terminate(self, reason: Any) -> None:
        self.last = (reason, self.current_state)
        transom.send("observer", self.last) if transom.whereis("observer") else None


@in_node()
async def test_replies_in_listed_order() -> None:
    machine = await Asked.start_link(3)  # type: Any
    calls = {n: machine.ask(n).send() for n in range(3)}
    answers = [answer async for answer in transom.as_completed(calls)]
    assert [(answer.label, answer.value) for answer in answers] == [(2, 2), (1, 2), (0, 2)]


@in_node()
async def test_stop_replies_and_terminate() -> None:
    transom.register("observer", transom.current_pid())
    machine, ref = await Asked.start_monitor(2)  # type: Any
    waiting = machine.ask(1).send()
    assert await machine.end("reply") == "bye"
    assert await waiting == "end"
    assert await reason_of(ref) == "normal"
    assert await take(tuple) == ("normal", "open")

    machine, ref = await Asked.start_monitor(2)
    waiting = machine.ask(1).send()
    with pytest.raises(transom.CallError) as caught:
        await machine.end("stop")
    assert caught.value.reason == ("shutdown", "stop")
    with pytest.raises(transom.CallError):
        await waiting
    assert await reason_of(ref) == ("shutdown", "stop")
    assert (await take(tuple))[1] == "open"

    machine, ref = await Asked.start_monitor(2)
    with pytest.raises(transom.CallError, match="broken"):
        await machine.end("raise")
    assert await reason_of(ref) == transom.Crash(ValueError("broken"))
    assert (await take(tuple))[0] == transom.Crash(ValueError("broken"))
    transom.unregister("observer")


@in_node()
async def test_from_is_answered_by_any_process() -> None:
    class Delegate(transom.StateMachine):
        def init(self) -> str:
            return "on"

        def ask(self) -> Any: ...
        def ask_twice(self) -> Any:
            to = transom.defer()
            transom.spawn(lambda: to.reply("deferred"))

        @state
        def on(self, event: Event) -> Any:
            if event.type == "call" and event.content == ("ask",):
                to = event.from_
                transom.spawn(lambda: to.reply("from elsewhere"))
                return keep_state()

    machine = await Delegate.start_link()  # type: Any
    assert await machine.ask() == "from elsewhere"
    assert await machine.ask_twice() == "deferred"


@in_node()
async def test_agents_functions_in_machines() -> None:
    class Mixed(transom.StateMachine):
        def init(self) -> str:
            return "on"

        def bye(self) -> str:
            transom.stop_after("shutdown")
            return "bye"

        def wrong(self, what: str) -> Any:
            getattr(transom, what)(1)

        @state
        def on(self, event: Event) -> Any: ...

    machine, ref = await Mixed.start_monitor()
    assert await machine.bye() == "bye"
    assert await reason_of(ref) == "shutdown"
    for what in ("idle_timeout", "continue_with"):
        machine, ref = await Mixed.start_monitor()
        with pytest.raises(transom.CallError, match="a state function of a StateMachine returns"):
            await machine.wrong(what)
        await reason_of(ref)


@in_node()
async def test_a_trapping_machine_ends_with_its_parent() -> None:
    transom.register("observer", transom.current_pid())

    async def parent() -> None:
        await Asked.options(trap_exit=True).start_link(1)
        raise transom.Stop("parent gone")

    transom.spawn(parent)
    assert await take(tuple) == ("parent gone", "open")
    transom.unregister("observer")


# -- wrong programs ----------------------------------------------------------------------------------------------------


class Wrong(transom.StateMachine):
    state_enter = True

    def init(self, what: Any = "fine") -> Any:
        self.what = what
        return {"fine": "on", "unknown": "onn", "none": None, "stop": stop("no")}.get(what, "on")

    def go(self, what: str) -> Any: ...

    @state
    def on(self, event: Event) -> Any:
        if event.type == "enter":
            return {
                "postpone": keep_state(postpone()), "insert": keep_state(next_event("internal")),
                "move": next_state("off"), "number": 5, "same": next_state("on"),
            }.get(self.what)  # fmt: skip
        match event.content[1]:
            case "action":
                return keep_state("postpone")  # type: ignore[arg-type]
            case "return":
                return ("next_state", "off")
            case "state":
                return next_state("of")

    @state
    def off(self, event: Event) -> Any:
        return None


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("action", "bad_action_from_state_function"),
        ("return", "bad_return_from_state_function"),
        ("state", "unknown_state"),
    ],
)
def test_wrong_answers_end_the_machine(what: str, reason: str) -> None:
    async def main() -> None:
        machine, ref = await Wrong.start_monitor()  # type: Any
        with pytest.raises(transom.CallError):
            await machine.go(what)
        crash = await reason_of(ref)
        assert isinstance(crash.exception, StateMachineError) and crash.exception.reason[0] == reason
        assert "Wrong" in crash.summary()
        if what == "state":
            assert "did you mean 'off'?" in crash.summary()

    run_node(main)


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("postpone", "bad_state_enter_action_from_state_function"),
        ("insert", "bad_state_enter_action_from_state_function"),
        ("move", "bad_state_enter_return_from_state_function"),
        ("number", "bad_state_enter_return_from_state_function"),
    ],
)
def test_enter_calls_cannot_do_everything(what: str, reason: str) -> None:
    async def main() -> None:
        _, ref = await Wrong.start_monitor(what)
        crash = await reason_of(ref)
        assert crash.exception.reason[0] == reason, crash

    run_node(main)


@in_node()
async def test_init_must_give_a_state() -> None:
    for what, text in (("unknown", "did you mean 'on'"), ("none", "no state None"), ("stop", "init must return")):
        with pytest.raises(transom.StartError, match=text):
            await Wrong.start(what)
    machine = await Wrong.start_link("same")
    assert (await transom.sys.get_state(machine))[0] == "on"


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: state_timeout(-1), ValueError),
        (lambda: state_timeout("soon"), ValueError),  # type: ignore[arg-type]
        (lambda: event_timeout([1]), TypeError),  # type: ignore[arg-type]
        (lambda: event_timeout(True), TypeError),
        (lambda: timeout(None, 1), ValueError),
        (lambda: timeout([], 1), TypeError),  # type: ignore[arg-type]
        (lambda: timeout("n", float("nan")), ValueError),
        (lambda: timeout("n", float("nan"), absolute=True), ValueError),
        (lambda: next_event("enter"), ValueError),
        (lambda: reply("x"), TypeError),  # type: ignore[arg-type]
        (lambda: reply(Event("info")), TypeError),
        (lambda: stop_and_reply("normal", postpone()), TypeError),
        (lambda: Event("info").from_, TypeError),
    ],
)
def test_actions_are_checked_where_they_are_made(make: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        make()


# -- timers ------------------------------------------------------------------------------------------------------------


class Timed(transom.StateMachine):
    def init(self, owner: transom.Pid) -> str:
        self.owner = owner
        return "a"

    def do(self, kind: str, *rest: Any) -> Any: ...
    def move(self, to: str) -> Any: ...

    def handle_event(self, event: Event, state: str) -> Any:
        match event:
            case Event("call", ("do", kind, *rest)):
                made = {"state": state_timeout, "event": event_timeout, "named": timeout}[kind](*rest)
                return keep_state(reply(event), made)
            case Event("call", ("move", to)):
                return next_state(to, reply(event))
            case _:
                transom.send(self.owner, (event.type, event.content, event.name, state))
                return keep_state()


@in_node()
async def test_timers_run_out_once_with_their_last_content() -> None:
    machine = await Timed.start_link(transom.current_pid())  # type: Any
    await machine.do("state", 0.001, "s")
    assert await take(tuple) == ("state_timeout", "s", None, "a")
    await machine.do("named", "n", 0.02, "first")
    await machine.do("named", "n", "update", "second")
    await machine.move("b")
    assert await take(tuple) == ("timeout", "second", "n", "b")
    await machine.do("event", 0.001, "e")
    assert await take(tuple) == ("event_timeout", "e", None, "b")
    assert (await transom.sys.get_status(machine))["timeouts"] == []


@in_node()
async def test_absolute_times() -> None:
    class Late(transom.StateMachine):
        def init(self, owner: transom.Pid, at: float) -> Any:
            self.owner = owner
            return next_state("a", timeout("n", at, "due", absolute=True))

        def handle_event(self, event: Event, state: str) -> Any:
            transom.send(self.owner, event.content)
            return keep_state()

    import time

    await Late.start_link(transom.current_pid(), time.monotonic() - 5)
    assert await take(str) == "due"
    start = time.monotonic()
    await Late.start_link(transom.current_pid(), start + 0.02)
    assert await take(str) == "due"
    assert time.monotonic() >= start + 0.02, "never early"


@pytest.mark.race
@in_node()
async def test_cancelled_timers_never_arrive() -> None:
    """Timers that are about to run out race with what cancels them."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    machine = await Timed.start_link(transom.current_pid())  # type: Any
    fired = 0
    for n in range(scaled(500)):
        kind = dice.choice(["state", "event", "named"])
        name = ("n",) if kind == "named" else ()
        await machine.do(kind, *name, dice.random() * 0.002, n)
        if dice.random() < 0.7:
            await transom.sleep(dice.random() * 0.002)
        if kind == "state" and dice.random() < 0.5:
            await machine.move(f"s{n}")
        else:
            await machine.do(kind, *name, dice.choice(["cancel", None]))
        # What it sent before it answered is here by now; nothing may come after.
        try:
            while True:
                assert (await transom.receive(tuple, timeout=0))[1] == n
                fired += 1
        except TimeoutError:
            pass
    await transom.sleep(0.005)
    assert messages() == []
    print(f"{fired} ran out in time")


@pytest.mark.race
@in_node()
async def test_casts_and_state_changes_lose_nothing() -> None:
    """Many senders, postponing and changing at random: each event is handled once, in its sender's order."""

    class Gate(transom.StateMachine):
        def init(self, seed: int) -> str:
            self.dice = random.Random(seed)
            self.passed: list[Any] = []
            return "shut"

        def come(self, who: int, n: int) -> None: ...
        def flip(self) -> None: ...
        def done(self) -> Any:
            return self.passed

        @state
        def shut(self, event: Event) -> Any:
            match event:
                case Event("cast", ("come", *_)):
                    return keep_state(postpone())
                case Event("cast", ("flip",)):
                    return next_state("wide")

        @state
        async def wide(self, event: Event) -> Any:
            match event:
                case Event("cast", ("come", who, n)):
                    self.passed.append((who, n))
                    if self.dice.random() < 0.1:
                        await transom.sleep(0)
                    return keep_state() if self.dice.random() < 0.9 else next_state("shut")
                case Event("cast", ("flip",)):
                    return next_state("shut") if self.dice.random() < 0.5 else keep_state()

    async def sender(gate: Any, who: int, rounds: int) -> None:
        for n in range(rounds):
            gate.come.cast(who, n)
            if n % 3 == 0:
                gate.flip.cast()
            if n % 50 == 0:
                await transom.sleep(0)

    rounds, senders = scaled(600), 5
    gate = await Gate.start_link(random.randrange(2**32))  # type: Any
    refs = [transom.spawn_monitor(sender, gate, who, rounds)[1] for who in range(senders)]
    assert await all_down(refs) == ["normal"] * senders
    passed: list[Any] = []
    while len(passed) < rounds * senders:
        gate.flip.cast()
        passed = await gate.done.options(timeout=60)()
    assert sorted(passed) == [(who, n) for who in range(senders) for n in range(rounds)], "each once"
    for who in range(senders):
        mine = [n for sender_, n in passed if sender_ == who]
        assert mine == sorted(mine), f"the order of sender {who}"
    _, data = await transom.sys.get_state(gate)
    assert len(data["passed"]) == rounds * senders


# -- sys, reports, rest ------------------------------------------------------------------------------------------------


@in_node()
async def test_sys() -> None:
    door = await Door.start_link("1")  # type: Any
    await transom.sys.statistics(door, True)
    await transom.sys.log(door, 10)
    waiting = door.walk().send()
    assert await door.push("1")
    assert await waiting == "welcome"
    log = await transom.sys.log(door, None)
    assert log[0] == ("in", "Event('call', ('walk',))")
    assert ("out", "'welcome'") in log and ("out", "True") in log
    counted = await transom.sys.statistics(door)
    assert counted is not None and (counted["messages_in"], counted["messages_out"]) == (2, 2)
    await transom.sys.statistics(door, False)

    await transom.sys.suspend(door)
    with pytest.raises(transom.CallTimeout):
        await door.length.options(timeout=0.01)()
    assert (await transom.sys.get_state(door))[0] == "open"
    await transom.sys.replace_state(door, lambda s: ("locked", {**s[1], "code": "99"}))
    with pytest.raises(transom.CallError, match="no state 'gone'"):
        await transom.sys.replace_state(door, lambda s: ("gone", s[1]))
    with pytest.raises(transom.CallError, match="return .state, data."):
        await transom.sys.replace_state(door, lambda s: 5)
    await transom.sys.resume(door)
    assert (await transom.sys.get_state(door))[0] == "locked"
    assert await door.push("9") is False
    status = await transom.sys.get_status(door)
    assert (status["class"], status["current_state"], status["postponed"]) == ("Door", "locked", [])
    ref = transom.monitor(door)
    transom.unlink(transom.pid_of(door))
    await transom.sys.terminate(door, "shutdown")
    assert await reason_of(ref) == "shutdown"


def test_a_circle_of_calls_through_a_machine_is_found() -> None:
    class Hub(transom.StateMachine):
        def init(self) -> str:
            return "on"

        def ask(self, other: Any) -> Any: ...
        def hold(self) -> Any: ...

        @state
        async def on(self, event: Event) -> Any:
            match event:
                case Event("call", ("ask", other)):
                    return keep_state(reply(event, await other.ask_back(Hub.at(transom.current_pid()))))
                case Event("call", ("hold",)):
                    self.held = event.from_
                    return keep_state()

    class Back(transom.Agent):
        async def ask_back(self, hub: Any) -> Any:
            try:
                return await hub.hold.options(timeout=20)()
            except transom.CallError as error:
                return error.reason[0]

    async def main() -> None:
        hub, back = await Hub.start(), await Back.start()  # type: Any
        assert await hub.ask(back) == "cycle"

    before = transom.detect_call_cycles(True)
    try:
        run_node(main)
    finally:
        transom.detect_call_cycles(before)


def test_crash_reports_show_event_state_and_data(caplog: pytest.LogCaptureFixture) -> None:
    class Secret(transom.StateMachine):
        def init(self, key: str) -> str:
            self.api_key = key
            return "waiting"

        def ask(self, question: str) -> Any: ...

        @state
        def waiting(self, event: Event) -> Any:
            raise ValueError("cannot")

    async def main() -> None:
        machine, ref = await Secret.start_monitor("sk-1")  # type: Any
        machine.ask.cast("why?")
        await reason_of(ref)

    with caplog.at_level(logging.ERROR, logger="transom"):
        run_node(main)
    text = caplog.text
    assert "last message: Event('cast', ('ask', 'why?'))" in text
    assert "state: 'waiting', {'api_key': '<redacted>'}" in text
    assert "ancestors" in text and "Secret.init" in text and "sk-1" not in text


@in_node()
async def test_as_a_child_of_a_supervisor() -> None:
    class Desk(transom.Supervisor):
        def children(self) -> list[transom.ChildSpec]:
            return [Door.child("1").options(id="door", name="door")]

    desk = await Desk.start_link()
    door = Door.at("door")
    before = transom.pid_of(door)
    assert await door.push("1")
    transom.kill(before)
    await until(lambda: transom.whereis("door") not in (None, before))
    assert (await transom.sys.get_state(door))[0] == "locked"
    ref = transom.monitor(desk)
    transom.unlink(transom.pid_of(desk))
    transom.exit(transom.pid_of(desk), "shutdown")
    await reason_of(ref)


@in_node()
async def test_an_idle_machine_keeps_no_frame() -> None:
    door = await Door.start_link("1")
    await door.length()
    await status_is(transom.pid_of(door), "waiting")
    assert await transom.sys.get_state(door) == ("locked", {"code": "1", "entered": "", "seconds": 3600.0})
    coroutines = [o for o in gc.get_objects() if inspect.iscoroutine(o) and o.cr_code.co_name in ("_boot", "_finish")]
    assert coroutines == []


def test_which_methods_only_declare() -> None:
    class Declared(transom.StateMachine):
        def dots(self) -> Any: ...
        def documented(self) -> Any:
            """As it says."""

        def one(self) -> Any:
            return 1

        def text(self) -> Any:
            return "text"

        def documented_text(self) -> Any:
            """As it says."""
            return "text"

        def own(self) -> Any:
            return self

        async def later(self) -> Any:
            return None

    declared = {name: method.declared for name, method in Declared._transom_events.items()}
    assert declared == {
        "dots": True, "documented": True, "one": False, "text": False, "documented_text": False, "own": False,
        "later": False,
    }  # fmt: skip


@in_node()
async def test_hibernate_gives_back_what_a_dict_has_grown_to() -> None:
    class Big(transom.StateMachine):
        def init(self) -> Any:
            self.items = {n: n for n in range(10_000)}
            for n in range(9_990):
                del self.items[n]
            return "on"

        def rest(self) -> None: ...
        def size(self) -> Any:
            return self.items.__sizeof__(), len(self.items)

        @state
        def on(self, event: Event) -> Any:
            if event.content == ("rest",):
                return keep_state(reply(event), hibernate())

    big = await Big.start_link()  # type: Any
    before, count = await big.size()
    assert count == 10
    await big.rest()
    after, count = await big.size()
    assert count == 10 and after < before / 100


def test_the_repr_of_values() -> None:
    assert repr(Event("timeout", 1, "n")) == "Event('timeout', 1, 'n')"
    assert repr(next_state("on", postpone(), timeout("n", 5, "c"))) == (
        "next_state('on', postpone(True), timer(('timeout', 'n'), 5))"
    )
    assert repr(stop("x")) == "stop('x')" and repr(keep_state()) == "keep_state()"
    assert Event("info", 1) == Event("info", 1) != Event("info", 2)
    assert isinstance(hibernate(), Action)
