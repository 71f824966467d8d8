"""What state functions of a ``transom.StateMachine`` are written with: events, transitions and their actions.

Example:
    >>> import transom
    >>> from transom.statem import Event, keep_state, next_state, reply, state
    >>> class Light(transom.StateMachine):
    ...     def init(self): return "off"
    ...     @transom.method
    ...     def press(self): ...
    ...     @state
    ...     def off(self, event): return next_state("on", reply(event, "on"))
    ...     @state
    ...     def on(self, event): return next_state("off", reply(event, "off"))
    >>> async def main():
    ...     light = await Light.start_link()
    ...     return [await light.press() for _ in range(3)]
    >>> transom.run(main)
    ['on', 'off', 'on']
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from transom._statem import STATE_MARK
from transom._statem_values import Action as Action
from transom._statem_values import Event as Event
from transom._statem_values import StateMachineError as StateMachineError
from transom._statem_values import Transition as Transition
from transom._statem_values import event_timeout as event_timeout
from transom._statem_values import hibernate as hibernate
from transom._statem_values import keep_state as keep_state
from transom._statem_values import next_event as next_event
from transom._statem_values import next_state as next_state
from transom._statem_values import postpone as postpone
from transom._statem_values import repeat_state as repeat_state
from transom._statem_values import reply as reply
from transom._statem_values import state_timeout as state_timeout
from transom._statem_values import stop as stop
from transom._statem_values import stop_and_reply as stop_and_reply
from transom._statem_values import timeout as timeout


def state[F: Callable[..., Any]](function: F) -> F:
    """Mark a method as a state function: ``def locked(self, event)``; its name is the name of the state.

    Overriding methods in subclasses need no mark.

    Source: the state functions of gen_statem.
    """
    if not callable(function) or not hasattr(function, "__name__"):
        raise TypeError(f"@state marks a method, not {function!r}")
    setattr(function, STATE_MARK, True)
    return function
