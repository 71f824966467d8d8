"""State machines: agents whose answer to an event depends on their state. OTP's gen_statem.

StateMachine         the class users derive from
statem.py            events, transitions, actions: what state functions are written with
_statem_values.py    those
_statem_engine.py    the order of events
"""

from __future__ import annotations

import inspect
from typing import Any

from transom import _serve, _start, _statem_engine
from transom._agent import Agent
from transom._statem_engine import Held, Method, Turn
from transom._statem_values import Event, StateMachineError, closest

STATE_MARK = "__transom_state__"


class StateMachine(Agent):
    """An agent with a state: what an event does depends on the state the machine is in.

    Derive from it. ``init`` sets up the data, which are the attributes of self, and returns the first state. What clients
    can do are public methods, as of any Agent; each call or cast is an event. In style one, each state is a method, marked
    with ``@statem.state``, that gets the events; in style two there is one method ``handle_event(self, event, state)``
    and a state is anything. Both may be def or async def, and return:

    - ``next_state(state, *actions)``, ``keep_state(*actions)``, ``repeat_state(*actions)``,
    - ``stop(reason)``, ``stop_and_reply(reason, *replies)``,
    - None: the state has no say in it. Then a call or cast runs the public method itself, whose value is the answer, and
      another message ``handle_info``. A public method with an empty body, or that raises NotImplementedError, only
      declares an event; that, a timeout or an internal event that no state handles ends the machine.

    After each event, in this order:

    1. Replies are sent, in the order of the actions.
    2. If the state changed, postponed events come again, oldest first, before the waiting ones.
    3. Events of ``next_event`` come before those, in the order of the actions.
    4. With the class attribute ``state_enter = True``, the new state (or the repeated one) gets
       ``Event("enter", old_state)``; also at the start, with the first state as old one. It may do anything but change the state, postpone or insert events.
    5. Timers are set; of several actions for one timer the last one counts. Any event cancels the event timeout, a change of the state the state timeout.
    6. The next event is handled; if there is none, timeouts of 0 seconds, in the order set; then the next message.

    Example:
        >>> import transom
        >>> from transom.statem import Event, keep_state, next_state, postpone, reply, state, state_timeout
        >>> class Door(transom.StateMachine):
        ...     def init(self, code): self.code = code; return "locked"
        ...     def unlock(self, code): ...
        ...     def pass_through(self): ...
        ...     @state
        ...     def locked(self, event):
        ...         match event:
        ...             case Event("call", ("unlock", code)) if code == self.code:
        ...                 return next_state("open", reply(event, True), state_timeout(10))
        ...             case Event("call", ("unlock", _)):
        ...                 return keep_state(reply(event, False))
        ...             case Event("call", ("pass_through",)):
        ...                 return keep_state(postpone())
        ...     @state
        ...     def open(self, event):
        ...         match event:
        ...             case Event("call", ("pass_through",)):
        ...                 return keep_state(reply(event, "welcome"))
        ...             case Event("state_timeout"):
        ...                 return next_state("locked")
        >>> async def main():
        ...     door = await Door.start_link("4711")
        ...     guest = door.pass_through().send()      # waits until it is open
        ...     return await door.unlock("0"), await door.unlock("4711"), await guest
        >>> transom.run(main)
        (False, True, 'welcome')

    Source: OTP gen_statem.
    """

    # Kept among the attributes: with slots of its own an object has no room for attributes in itself, and twice the size.
    _transom_callbacks = (*Agent._transom_callbacks, "handle_event")
    _transom_server_flags = _serve.MACHINE
    _transom_states: dict[str, None] | None
    _transom_events: dict[str, Method]
    _transom_state: Any
    _transom_held: Held | None
    _transom_turn: Turn | None

    state_enter: bool = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        states = {
            name: None
            for kind in cls.__mro__
            for name, value in vars(kind).items()
            if getattr(value, STATE_MARK, False)
        }
        own = cls.handle_event is not StateMachine.handle_event
        if own and states:
            raise TypeError(
                f"{cls.__qualname__} has both handle_event and state functions ({', '.join(states)}); use one style"
            )
        for name in states:
            if name in (*cls._transom_callbacks, *cls._transom_reserved):
                raise TypeError(
                    f"{cls.__qualname__}.{name} cannot be a state: it is a method of StateMachine; rename it"
                )
        if not isinstance(cls.state_enter, bool):
            raise TypeError(f"{cls.__qualname__}.state_enter must be True or False, not {cls.state_enter!r}")
        cls._transom_states = None if own else states
        if kwargs.get("loop", False) is not False:
            raise TypeError(f"{cls.__qualname__}: a state machine runs on no event loop; use aio() in its handlers")
        super().__init_subclass__(**kwargs)
        cls._transom_events = {
            name: Method(inspect.getattr_static(cls, name)) for name in cls._transom_public_methods()
        }

    @classmethod
    def _transom_is_call(cls, name: str) -> bool:
        return super()._transom_is_call(name) and (cls._transom_states is None or name not in cls._transom_states)

    @property
    def current_state(self) -> Any:
        """The state it is in; in style one, its name. For use by its own methods."""
        return self._transom_state

    def handle_event(self, event: Event, state: Any) -> Any:
        """Style two: an event in a state. What it returns is described above."""
        raise NotImplementedError(f"{type(self).__qualname__} has neither state functions nor handle_event")

    # -- what the server calls -----------------------------------------------------------------------------------------

    def _transom_known(self, state: Any) -> Any:
        """The state as it is kept: of a state function its name."""
        states = self._transom_states
        if states is None:
            return state
        name = state if type(state) is str else getattr(state, "__name__", None)
        if name not in states:
            hint = closest(name or state, list(states)) + "; mark state functions with @statem.state"
            text = f"{type(self).__qualname__} has no state {state!r}; {hint}"
            raise StateMachineError(("unknown_state", repr(state)), text)
        return name

    def _transom_dispatch(self, server: Any, message: Any) -> Any:
        return _statem_engine.dispatch(server, message)

    def _transom_booted(self, server: Any, result: Any) -> None:
        self._transom_held = self._transom_turn = None
        _statem_engine.begin(server, result)


StateMachine._transom_reserved = (*Agent._transom_reserved, "current_state")
StateMachine._transom_states = {}
StateMachine._transom_events = {}
StateMachine._reference = _start.reference_class(StateMachine, [])
