"""What a state machine is told and what it answers: events, transitions and their actions. All are plain values."""

from __future__ import annotations

import difflib
import time
from collections.abc import Hashable
from typing import Any, Literal, overload

from transom import _errors
from transom._core import Call
from transom._turn import From

type Insertable = Literal["call", "cast", "info", "internal", "state_timeout", "event_timeout", "timeout"]

INSERTABLE = ("call", "cast", "info", "internal", "state_timeout", "event_timeout", "timeout")
NO_ARGUMENTS: dict[str, Any] = {}  # never changed
MAX_SECONDS = 8e9


class Event:
    """What a state function gets; made to be matched: ``case Event("call", ("push", digit)):``.

    Attributes:
        type: ``"call"``, ``"cast"``: a client called a public method, or cast to it. ``"info"``: any other message.
            ``"internal"``: inserted by next_event. ``"state_timeout"``, ``"event_timeout"``, ``"timeout"`` (a named
            one): a timer ran out. ``"enter"``: the state has just been entered.
        content: Of calls and casts: ``(method, *arguments)``, defaults filled in. ``"info"``: the message.
            ``"enter"``: the state before. Else what was given to next_event or with the timer.
        name: Of a named timeout its name, else None.
        kwargs: Keyword-only arguments of a call or cast; a dict.

    Source: the event types and contents of gen_statem.
    """

    __match_args__ = ("type", "content", "name")
    # What few events have, so that making one is quick.
    name: Hashable = None
    kwargs: dict[str, Any] = NO_ARGUMENTS
    _call: Call[Any] | None = None
    _from: From | None = None

    def __init__(self, type: str, content: Any = None, name: Hashable = None, *, from_: From | None = None) -> None:
        self.type = type
        self.content = content
        if name is not None:
            self.name = name
        if from_ is not None:
            self._from = from_

    @property
    def from_(self) -> From:
        """Where the answer of a call goes: keep it, or send it to the process that is to answer.

        Its ``reply(value)`` may be used once, by any process. For a cast nobody gets the answer.

        Raises:
            TypeError: The event is neither a call nor a cast.
        """
        if self._from is None:
            if self.type not in ("call", "cast"):
                raise TypeError(f"{self!r} has no sender that waits for an answer: it is no call")
            call = self._call
            if call is not None:
                call._settle()
            self._from = From(None if call is None else call._ref)
        return self._from

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Event):
            return NotImplemented
        return (self.type, self.content, self.name, self.kwargs) == (
            other.type,
            other.content,
            other.name,
            other.kwargs,
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        name = "" if self.name is None else f", {self.name!r}"
        return f"Event({self.type!r}, {self.content!r}{name})"


class StateMachineError(_errors.TransomError, TypeError):
    """A state machine was programmed wrongly; it ends by this.

    Attributes:
        reason: ``("bad_return_from_state_function", value)``, ``("bad_action_from_state_function", value)``,
            ``("bad_state_enter_action_from_state_function", value)``, ``("bad_state_enter_return_from_state_function",
            value)``, ``("unknown_state", state)`` or ``("unhandled", event)``; values as text.
    """

    def __init__(self, reason: tuple[str, str], text: str) -> None:
        super().__init__(reason, text)
        self.reason = reason

    def __str__(self) -> str:
        return str(self.args[1])


# -- actions -----------------------------------------------------------------------------------------------------------


class Action:
    """Something to do with a transition; made by the functions of ``transom.statem``."""

    __slots__ = ("kind", "one", "three", "two")

    def __init__(self, kind: str, one: Any = None, two: Any = None, three: Any = None) -> None:
        self.kind = kind
        self.one = one
        self.two = two
        self.three = three

    def __repr__(self) -> str:
        rest = ", ".join(repr(value) for value in (self.one, self.two) if value is not None)
        return f"{self.kind}({rest})"


def reply(to: Event | From, value: Any = None) -> Action:
    """Answer a call.

    Args:
        to: The call's event, or the ``from_`` of it that was kept. An answer to a cast goes nowhere.
        value: The answer; copied unless deeply immutable.

    Source: {reply, From, Reply}.
    """
    if isinstance(to, Event):
        if to.type not in ("call", "cast"):
            raise TypeError(f"reply() takes the event of a call or its from_, not {to!r}")
    elif not isinstance(to, From):
        raise TypeError(f"reply() takes the event of a call or its from_, not {type(to).__name__}")
    return Action("reply", to, value)


def postpone(on: bool = True) -> Action:
    """Handle this event once more when the state has changed. Postponed events come again oldest first, before those that
    have not been handled yet.

    Source: postpone.
    """
    return Action("postpone", bool(on))


def hibernate(on: bool = True) -> Action:
    """When no event is left, give back memory before waiting, as ``transom.hibernate`` does. Source: hibernate."""
    return Action("hibernate", bool(on))


@overload
def next_event(type: Event, /) -> Action: ...
@overload
def next_event(
    type: Insertable, content: Any = None, *, name: Hashable = None, from_: From | None = None
) -> Action: ...
def next_event(
    type: Insertable | Event, content: Any = None, *, name: Hashable = None, from_: From | None = None
) -> Action:
    """Insert an event before all others; several ones come in the order of the actions.

    Args:
        type: Mostly ``"internal"``, which no client can send; any type but ``"enter"``. Or a whole Event.
        content: What the state function is to see; of a call or cast ``(method, *arguments)``.
        name: For ``"timeout"``: the name.
        from_: For ``"call"``: who gets the answer.

    Source: {next_event, EventType, EventContent}.
    """
    event = type if isinstance(type, Event) else Event(type, content, name, from_=from_)
    if event.type not in INSERTABLE:
        raise ValueError(f"next_event(): the type must be one of {', '.join(INSERTABLE)}, not {event.type!r}")
    return Action("next_event", event)


def state_timeout(
    seconds: float | Literal["update", "cancel"] | None, content: Any = None, *, absolute: bool = False
) -> Action:
    """An event ``"state_timeout"`` unless the state changes before.

    Setting it again restarts it.

    Args:
        seconds: 0 to 8e9. 0: no timer is started; the event comes after those that are queued in the machine and
            before any message not yet received. ``"update"``: only the content of the running one changes; when none
            runs, as 0. ``"cancel"`` or None: there is none any more.
        content: Of the event.
        absolute: seconds is a time of ``time.monotonic()``.

    Source: {state_timeout, Time, EventContent, Options}.
    """
    return _timer("state_timeout", None, seconds, content, absolute)


def event_timeout(
    seconds: float | Literal["update", "cancel"] | None, content: Any = None, *, absolute: bool = False
) -> Action:
    """An event ``"event_timeout"`` unless any other event comes before. Arguments as of state_timeout.

    Source: {timeout, Time, EventContent}.
    """
    return _timer("event_timeout", None, seconds, content, absolute)


def timeout(
    name: Hashable,
    seconds: float | Literal["update", "cancel"] | None,
    content: Any = None,
    *,
    absolute: bool = False,
) -> Action:
    """An event ``"timeout"`` of this name, whatever happens before: any number of them, each until it is cancelled.

    Args:
        name: Anything hashable but None.
        seconds: As of state_timeout.
        content: Of the event.
        absolute: As of state_timeout.

    Source: {{timeout, Name}, Time, EventContent, Options}.
    """
    if name is None:
        raise ValueError("timeout(): the name must not be None; event_timeout() has none")
    hash(name)
    return _timer("timeout", name, seconds, content, absolute)


def _timer(kind: str, name: Hashable, seconds: Any, content: Any, absolute: bool) -> Action:
    if isinstance(seconds, str) or seconds is None:
        if seconds not in ("update", "cancel", None):
            raise ValueError(f"{kind}(): seconds must be a number, 'update', 'cancel' or None, not {seconds!r}")
    elif isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError(f"{kind}(): seconds must be a number, 'update', 'cancel' or None, not {seconds!r}")
    elif absolute:
        seconds = ("at", min(float(seconds), time.monotonic() + MAX_SECONDS))
        if seconds[1] != seconds[1]:
            raise ValueError(f"{kind}(): seconds must be a number, not nan")
    elif not 0 <= seconds <= MAX_SECONDS:
        raise ValueError(f"{kind}(): seconds must be 0 to 8e9, not {seconds!r}")
    return Action("timer", (kind, name), seconds, content)


# -- transitions -------------------------------------------------------------------------------------------------------


class Transition:
    """What a state function returns; made by next_state, keep_state, repeat_state, stop and stop_and_reply."""

    __slots__ = ("actions", "kind", "state")

    def __init__(self, kind: str, state: Any, actions: tuple[Action, ...]) -> None:
        self.kind = kind
        self.state = state  # of stop: the reason
        self.actions = actions

    def __repr__(self) -> str:
        first = () if self.kind in ("keep_state", "repeat_state") else (repr(self.state),)
        return f"{self.kind}({', '.join((*first, *map(repr, self.actions)))})"


def next_state(state: Any, *actions: Action) -> Transition:
    """Go to a state, which may be the same; then it is as keep_state.

    Args:
        state: The name of a state function or the function itself; with handle_event: anything. Two states are the
            same when they are of one type and equal.
        actions: What to do with it, in the order that ``StateMachine`` describes.

    Source: {next_state, NextState, NewData, Actions}.
    """
    return Transition("next_state", state, actions)


def keep_state(*actions: Action) -> Transition:
    """Stay. As the data are the attributes of self, it is keep_state_and_data, too. Source: {keep_state, NewData, Actions}."""
    return Transition("keep_state", None, actions)


def repeat_state(*actions: Action) -> Transition:
    """Stay, but with an enter call if the machine has them. Else it is as keep_state: postponed events stay so, and the state
    timeout goes on.

    Source: {repeat_state, NewData, Actions}.
    """
    return Transition("repeat_state", None, actions)


def stop(reason: Any = "normal") -> Transition:
    """End the machine: ``terminate(reason)`` runs. Who waits for an answer, gets CallError(reason).

    Source: {stop, Reason, NewData}.
    """
    return Transition("stop", reason, ())


def stop_and_reply(reason: Any, *replies: Action) -> Transition:
    """Send these replies, then end as stop does. Source: {stop_and_reply, Reason, Replies}."""
    for action in replies:
        if not isinstance(action, Action) or action.kind != "reply":
            raise TypeError(f"stop_and_reply() takes a reason and replies, not {action!r}")
    return Transition("stop", reason, replies)


def closest(name: object, known: list[str]) -> str:
    """A hint for a name that is none of these."""
    close = difflib.get_close_matches(str(name), known, 1)
    return f"did you mean {close[0]!r}?" if close else f"there are {', '.join(map(repr, known)) or 'none'}"
