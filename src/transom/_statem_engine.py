"""The order of events in a state machine. One Turn handles one message and everything that follows from it.

Between messages a machine is its attributes, its state and, when it has postponed events or timers, one Held.

    a message -> Event -> state function -> Transition
                                              replies, in the order of the actions
                                              state changed: postponed events before the waiting ones, oldest first
                                              inserted events before those
                                              enter call
                                              timers
    while there are events: the first one; then zero timeouts, in the order set; then the next message

Source: gen_statem; compared with it in docs/decisions/0014-state-machines.md.
"""

from __future__ import annotations

import inspect
import itertools
import logging
import time
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from transom import _core, _errors, _hibernate, _report, _sys
from transom._call import Refused
from transom._serve import AFTER, DEBUG
from transom._statem_values import Action, Event, StateMachineError, Transition
from transom._turn import From

_log = logging.getLogger("transom")
_serials = itertools.count(1)

type Key = tuple[str, Any]

STATE_TIMEOUT: Key = ("state_timeout", None)
EVENT_TIMEOUT: Key = ("event_timeout", None)
KEEP = Transition("keep_state", None, ())

NEXT, ENTER, COMMON = range(3)  # what comes next in a turn: an event, the enter call, the method the event is named by


@dataclass(frozen=True, slots=True)
class Fired:
    """The message of a timer."""

    key: Key
    serial: int


class Held:
    """What a machine keeps between messages beside its state and data."""

    __slots__ = ("postponed", "timers", "zeros")

    def __init__(self) -> None:
        self.postponed: list[Event] = []
        self.timers: dict[Key, tuple[_core.Timer, int, Any]] = {}
        self.zeros: dict[Key, Any] = {}  # timeouts that are due: in the order set

    def cancel(self, key: Key) -> None:
        """The timeout does not come, also when its message is in the mailbox."""
        running = self.timers.pop(key, None)
        if running is not None:
            _core.cancel_timer(running[0])
        self.zeros.pop(key, None)

    def set(self, key: Key, seconds: Any, content: Any) -> None:
        """What a timer action asks for."""
        if seconds == "update" and key in self.timers:
            timer, serial, _ = self.timers[key]
            self.timers[key] = (timer, serial, content)
        elif seconds == "update" and key in self.zeros:
            self.zeros[key] = content
        else:
            self.cancel(key)
            if seconds in (0, "update"):
                self.zeros[key] = content
            elif seconds is not None and seconds != "cancel":
                delay = max(0.0, seconds[1] - time.monotonic()) if isinstance(seconds, tuple) else seconds
                serial = next(_serials)
                timer = _core.send_after(delay, _core.current_pid(), Fired(key, serial))
                self.timers[key] = (timer, serial, content)

    def due(self) -> Event:
        """The first of the timeouts that are due."""
        key = next(iter(self.zeros))
        return Event(key[0], self.zeros.pop(key), key[1])

    def fired(self, message: Fired) -> Event | None:
        """The event of a timer's message; None: it was cancelled."""
        running = self.timers.get(message.key)
        if running is None or running[1] != message.serial:
            return None
        del self.timers[message.key]
        return Event(message.key[0], running[2], message.key[1])


def same(a: Any, b: Any) -> bool:
    """Are these the same state? As 1 == 1.0 == True, equality alone does not do."""
    return a is b or (type(a) is type(b) and bool(a == b))


def dispatch(server: Any, message: Any) -> Any:
    """Handle one message of a machine; a coroutine is gone on with."""
    if type(message) is _sys.Request:
        return _sys.handle(server, message)
    event = _event_of(server, message)
    if event is None:
        return None
    if server.flags & DEBUG:
        _sys.note_event(server, event)
    return Turn(server, server.agent, event).run()


def _event_of(server: Any, message: Any) -> Event | None:
    kind = type(message)
    if kind is _core.Call and message._mine:
        return _called(server, message)
    if kind is Fired:
        held = server.agent._transom_held
        return None if held is None else held.fired(message)
    return Event("info", message)


def _called(server: Any, call: Any) -> Event | None:
    agent = server.agent
    args, kwargs = call._arguments()
    ref = call._ref
    event = Event("cast" if ref is None else "call", (call._method, *args))
    event._call = call
    problem: Any = None
    owner = call._owner
    if type(agent) is not owner and not isinstance(agent, owner):
        problem = ("undef", type(agent).__qualname__)
    elif kwargs or len(args) != agent._transom_events[call._method].count:
        try:
            args, event.kwargs = agent._transom_events[call._method].bind(args, kwargs)
            event.content = (call._method, *args)
        except TypeError as error:
            problem = ("badarg", str(error))
    if problem is None:
        return event
    if ref is not None:
        call._settle()
        _core.send(ref, Refused(problem))
    else:
        _log.warning("%s refused a cast: %s: %s", type(agent).__qualname__, _report.shown_call(call), problem[1])
    return None


class Method:
    """A public method of a machine: an event, and what to do with it when the state has no say."""

    __slots__ = ("count", "declared", "function", "signature")

    def __init__(self, function: Any) -> None:
        self.function = function
        signature = inspect.signature(function)
        self.signature = signature.replace(parameters=list(signature.parameters.values())[1:])
        kinds = [parameter.kind for parameter in self.signature.parameters.values()]
        plain = all(kind is inspect.Parameter.POSITIONAL_OR_KEYWORD for kind in kinds)
        self.count = len(kinds) if plain else -1  # so many arguments need no closer look
        self.declared = _is_empty(function)

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """All arguments, defaults included: positional ones, keyword-only ones."""
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return bound.args, bound.kwargs


def _is_empty(function: Any) -> bool:
    """Is the body only ``...`` or a docstring?"""
    code = function.__code__
    constants = code.co_consts if function.__doc__ is None else code.co_consts[1:]
    instructions = code.co_code[::2] == _nothing.__code__.co_code[::2]  # whatever place None has among the constants
    return instructions and set(constants) <= {None}


def _nothing() -> None: ...


class Turn:
    """One message, and all that follows before the next one."""

    # What few turns have, so that making one is quick.
    event: Event | None = None
    stage = NEXT
    old: Any = None
    timers: tuple[Action, ...] = ()  # to be set after the enter call
    hibernate = False
    deferred = False

    def __init__(self, server: Any, agent: Any, event: Event | None) -> None:
        self.server = server
        self.agent = agent
        self.held: Held | None = agent._transom_held
        self.queue: deque[Event] | None = None
        self.first = event
        agent._transom_turn = self

    # -- the loop: plain as long as no callback is async ---------------------------------------------------------------

    def run(self) -> Coroutine[Any, Any, None] | None:
        """Go on until nothing is left; what is returned is to be gone on with."""
        while self._prepare():
            result = self._call()
            if inspect.iscoroutine(result):
                return self._finish(result)
            self._took(result)
        return None

    async def _finish(self, result: Any) -> None:
        self._took(await result)
        while self._prepare():
            result = self._call()
            if inspect.iscoroutine(result):
                result = await result
            self._took(result)

    def _prepare(self) -> bool:
        """Is there something to call? If not, the turn is over."""
        if self.stage != NEXT:
            return True
        if self.server.flags & AFTER:
            return False  # stop_after
        if self.first is not None:
            self.event, self.first = self.first, None
            return True
        if self.queue:
            self.event = self.queue.popleft()
            return True
        held = self.held
        if held is not None and held.zeros:
            self.event = held.due()
            if self.server.flags & DEBUG:
                _sys.note_event(self.server, self.event)
            return True
        agent = self.agent
        agent._transom_turn = None
        if held is not None:
            agent._transom_held = held if held.postponed or held.timers else None
        if self.hibernate:
            _hibernate.compact(agent)
        return False

    def _call(self) -> Any:
        agent = self.agent
        if self.stage == COMMON:
            return self._common()
        event = self.event if self.stage == NEXT else Event("enter", self.old)
        if agent._transom_states is None:
            return agent.handle_event(event, agent._transom_state)
        return getattr(agent, agent._transom_state)(event)

    def _common(self) -> Any:
        """What happens to an event in every state that has no say in it."""
        event = self.event
        agent = self.agent
        assert event is not None
        if event.type == "info":
            return agent.handle_info(event.content)
        if event.type in ("call", "cast") and type(event.content) is tuple and event.content:
            method = agent._transom_events.get(event.content[0])
            if method is not None and not method.declared:
                try:
                    return method.function(agent, *event.content[1:], **event.kwargs)
                except NotImplementedError as error:
                    error.add_note(self._unhandled())
                    raise
        raise StateMachineError(("unhandled", _report.shown("message", event)), self._unhandled())

    def _unhandled(self) -> str:
        return (
            f"{type(self.agent).__qualname__} in state {self.agent._transom_state!r} returned nothing for "
            f"{_report.shown('message', self.event)}; return keep_state() if that is all there is to do"
        )

    # -- what came of it -----------------------------------------------------------------------------------------------

    def _took(self, result: Any) -> None:
        stage = self.stage
        if stage == COMMON:
            self.stage = NEXT
            event = self.event
            replies = event is not None and event.type == "call" and not self.deferred
            self.deferred = False
            self._event_done(Transition("keep_state", None, (Action("reply", event, result),)) if replies else KEEP)
        elif result is None and stage == NEXT:
            self.stage = COMMON
        elif result is None:
            self._entered(KEEP)
        elif type(result) is not Transition:
            which = "state_enter_return" if stage == ENTER else "return"
            raise self._bad(which, result, "return one of next_state, keep_state, repeat_state, stop, stop_and_reply")
        elif result.kind == "stop":
            self._act(result.actions)
            raise _errors.Stop(result.state)
        elif stage == NEXT:
            self._event_done(result)
        else:
            self._entered(result)

    def _bad(self, which: str, value: Any, hint: str) -> StateMachineError:
        shown = _report.shown("message", value)
        text = f"{type(self.agent).__qualname__} in state {self.agent._transom_state!r}: bad_{which}: {shown}; {hint}"
        return StateMachineError((f"bad_{which}_from_state_function", shown), text)

    def _event_done(self, result: Transition) -> None:
        agent, event = self.agent, self.event
        old = agent._transom_state
        new = agent._transom_known(result.state) if result.kind == "next_state" else old
        changed = new is not old and not same(old, new)
        self.hibernate = False
        inserted: list[Event] = []
        postponed = bool(result.actions) and self._act(result.actions, inserted)
        if event is None:
            if postponed:
                raise self._bad("action", "postpone()", "init handles no event that could be postponed")
        elif postponed:
            self._holding().postponed.append(event)
        elif event._call is not None:
            event._call._settle()
        if self.held is not None:
            self.held.cancel(EVENT_TIMEOUT)
            if changed:
                self.held.cancel(STATE_TIMEOUT)
                self._first_to_come(self.held.postponed)
        if inserted:
            self._first_to_come(inserted)
        if changed:
            agent._transom_state = new
        if agent.state_enter and (changed or result.kind == "repeat_state" or event is None):
            self.old = old
            self.stage = ENTER
        elif self.timers:
            self._set_timers()

    def _first_to_come(self, events: list[Event]) -> None:
        """Put these before the events that wait, and empty the list."""
        if events:
            if self.queue is None:
                self.queue = deque()
            self.queue.extendleft(reversed(events))
            events.clear()

    def _holding(self) -> Held:
        if self.held is None:
            self.held = Held()
        return self.held

    def _entered(self, result: Transition) -> None:
        agent = self.agent
        if result.kind == "next_state" and not same(agent._transom_known(result.state), agent._transom_state):
            raise self._bad("state_enter_return", result, "the state cannot be changed while it is entered")
        self._act(result.actions)
        if result.kind != "repeat_state":  # else it is called once more, with the same old state
            self.stage = NEXT
            self._set_timers()

    def _act(self, actions: tuple[Any, ...], inserted: list[Event] | None = None) -> bool:
        """Carry out what is to be carried out at once, note the rest. Is the event postponed? No list: an enter call."""
        postponed = False
        for action in actions:
            if type(action) is not Action:
                raise self._bad("action", action, "actions are made by the functions of transom.statem")
            kind = action.kind
            if kind == "reply":
                self._reply(action.one, action.two)
            elif kind == "timer":
                self.timers += (action,)
            elif kind == "hibernate":
                self.hibernate = action.one
            elif inserted is None:
                raise self._bad("state_enter_action", action, "an enter call cannot postpone or insert events")
            elif kind == "next_event":
                inserted.append(action.one)
            else:
                postponed = action.one
        return postponed

    def _set_timers(self) -> None:
        last = {action.one: action for action in self.timers}  # of several for one timer the last one counts
        for action in self.timers:
            if last[action.one] is action:
                self._holding().set(action.one, action.two, action.three)
        self.timers = ()

    def _reply(self, to: Event | From, value: Any) -> None:
        if self.server.flags & DEBUG:
            _sys.note_out(self.server, value)
        call = to._call if type(to) is Event else None
        if call is None:
            (to.from_ if isinstance(to, Event) else to).reply(value)
        elif (ref := call._ref) is not None:
            call._settle()
            _core.send(ref, value)

    def defer(self) -> From:
        """The call being handled by a public method is answered later."""
        event = self.event
        if self.stage != COMMON or event is None or event.type not in ("call", "cast"):
            raise RuntimeError("defer(): a state function keeps event.from_ instead")
        self.deferred = True
        return event.from_

    def last_message(self) -> str:
        """For crash reports."""
        return "none" if self.event is None else _report.shown("message", self.event)


def begin(server: Any, first: Any) -> None:
    """init has returned: note the state; the enter call and the actions come before any message."""
    agent = server.agent
    transition = first if type(first) is Transition else Transition("next_state", first, ())
    if transition.kind != "next_state":
        raise TypeError(f"{type(agent).__qualname__}.init must return a state or next_state(...), not {first!r}")
    agent._transom_state = agent._transom_known(transition.state)
    turn = Turn(server, agent, None)
    turn._event_done(transition)
    extra = server.extra or {}
    server.extra = {**extra, "begin": turn}
    server.flags |= AFTER
