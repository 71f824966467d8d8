"""Looking into running agents, and changing them: OTP's sys, a protocol that every behaviour can speak.

A request is a message like others, handled between two of them. Who asks monitors the agent with an alias, so an answer
that comes too late vanishes.
"""

from __future__ import annotations

import copy
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from transom import _core, _errors, _report
from transom._operation import Operation, Receive, of_steps

LOG_LENGTH = 10
TIMEOUT_SECONDS = 5.0
HIDDEN = ("__dict__", "__weakref__", "_transom_held", "_transom_state", "_transom_turn")
MACHINE = 32  # as in _serve.py


@dataclass(frozen=True, slots=True)
class Request:
    """What an agent is asked; ref is where the answer goes."""

    what: str
    argument: Any
    ref: _core.Ref


@dataclass(frozen=True, slots=True)
class Failed:
    """The request could not be carried out; the agent goes on as before."""

    reason: Any


# -- asking ------------------------------------------------------------------------------------------------------------


def ask(dest: Any, what: str, argument: Any, timeout: float | None) -> Operation[Any]:
    """A request to any process that speaks this protocol."""

    async def steps(receive: Receive) -> Any:
        target = _target(dest, what)
        ref = _core.monitor(target, alias="reply_demonitor")
        _core.send(target, Request(what, argument, ref))
        try:
            answer = await receive(ref, timeout=timeout)
        except TimeoutError:
            _core.demonitor(ref, flush=True)
            raise _errors.CallTimeout(f"sys.{what} to {dest}: no answer in time; it may be busy", "timeout") from None
        if isinstance(answer, _core.Down):
            raise _errors.CallError(f"sys.{what} to {dest}: it is not alive", answer.reason)
        if isinstance(answer[1], Failed):
            raise _errors.CallError(f"sys.{what} to {dest}: {answer[1].reason}", answer[1].reason)
        return answer[1]

    return of_steps(steps)


def _target(dest: Any, what: str) -> _core.Pid:
    if isinstance(dest, str):
        found = _core.whereis(dest)
        if found is None:
            raise _errors.CallError(f"sys.{what}: no process is registered as {dest!r}", "noproc")
        dest = found
    pid: _core.Pid = dest if isinstance(dest, _core.Pid) else dest._transom_pid
    if pid == _core.current_pid():
        raise _errors.CallError(f"sys.{what}: an agent cannot ask itself", "calling_self")
    return pid


# -- in the agent ------------------------------------------------------------------------------------------------------


def handle(server: Any, request: Request) -> Any:
    """Carry out a request; suspend goes on as a coroutine until the agent is resumed."""
    if request.what == "suspend":
        _answer(request, None)
        return _suspended(server)
    _answer(request, _carried_out(server, request))
    return None


async def _suspended(server: Any) -> None:
    """Only requests are handled; all else waits in the mailbox."""
    _extra(server)["suspended"] = True
    while True:
        request = await _core.receive(Request)
        if request.what == "resume":
            break
        _answer(request, None if request.what == "suspend" else _carried_out(server, request))
        if "terminate" in _extra(server):
            break
    _extra(server).pop("suspended", None)
    if request.what == "resume":
        _answer(request, None)
    reason = _extra(server).pop("terminate", None)
    if reason is not None:
        raise _errors.Stop(reason[0])


def _answer(request: Request, value: Any) -> None:
    try:
        _core.send(request.ref, (request.ref, value))
    except TypeError as error:
        _core.send(request.ref, (request.ref, Failed(f"the answer cannot be sent: {error}")))


def _carried_out(server: Any, request: Request) -> Any:
    work = _REQUESTS.get(request.what)
    if work is None:
        return Failed(f"unknown request {request.what!r}")
    try:
        return work(server, request.argument)
    except Exception as error:
        return Failed(("callback_failed", f"{type(error).__name__}: {error}"))


def _extra(server: Any) -> dict[str, Any]:
    if server.extra is None:
        server.extra = {}
    return server.extra  # type: ignore[no-any-return]


def state_of(agent: Any) -> dict[str, Any]:
    """The attributes of an agent, those in slots included."""
    state = {name: value for name, value in getattr(agent, "__dict__", {}).items() if name not in HIDDEN}
    for kind in type(agent).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in HIDDEN and hasattr(agent, name):
                state[name] = getattr(agent, name)
    return state


def shown_state(agent: Any) -> str:
    """The state as reports show it; an agent can have a say in it by format_status."""
    try:
        state = agent.format_status(state_of(agent))
    except Exception as error:
        return f"<format_status failed: {type(error).__name__}>"
    shown = _report.shown("state", state)
    return f"{agent.current_state!r}, {shown}" if hasattr(type(agent), "current_state") else shown


def _get_state(server: Any, _: None) -> Any:
    data = state_of(server.agent)
    return (server.agent.current_state, data) if server.flags & MACHINE else data


def _replace_state(server: Any, change: Callable[[Any], Any]) -> Any:
    new = change(copy.deepcopy(_get_state(server, None)))
    machine = bool(server.flags & MACHINE)
    if machine and (type(new) is not tuple or len(new) != 2):
        raise TypeError(f"the function must return (state, data), not {type(new).__name__}")
    state, data = (server.agent._transom_known(new[0]), new[1]) if machine else (None, new)
    if not isinstance(data, dict):
        raise TypeError(f"the function must return the new state as a dict, not {type(data).__name__}")
    for name in state_of(server.agent).keys() - data.keys():
        delattr(server.agent, name)
    for name, value in data.items():
        setattr(server.agent, name, value)
    if machine:
        server.agent._transom_state = state
    return new


def _get_status(server: Any, _: None) -> dict[str, Any]:
    info = _core.process_info(_core.current_pid(), "parent", "ancestors", "registered_name") or {}
    return _machine_status(server) | {
        "class": type(server.agent).__qualname__,
        "status": "suspended" if _extra(server).get("suspended") else "running",
        "parent": info.get("parent"),
        "ancestors": info.get("ancestors"),
        "name": info.get("registered_name"),
        "state": server.agent.format_status(state_of(server.agent)),
        "log": list(_extra(server).get("log", ())),
    }


def _machine_status(server: Any) -> dict[str, Any]:
    if not server.flags & MACHINE:
        return {}
    held = server.agent._transom_held
    return {
        "current_state": server.agent.current_state,
        "postponed": [] if held is None else [_report.shown("message", event) for event in held.postponed],
        "timeouts": [] if held is None else list(held.timers),
    }


def _terminate(server: Any, reason: Any) -> None:
    if _extra(server).get("suspended"):
        _extra(server)["terminate"] = (reason,)
    else:
        _extra(server)["stop"] = reason
        server.flags |= 1  # AFTER


def _watch(server: Any, what: str, value: Any) -> None:
    from transom._serve import DEBUG

    extra = _extra(server)
    if value is None:
        extra.pop(what, None)
    else:
        extra[what] = value
    watched = any(name in extra for name in ("log", "trace", "statistics"))
    server.flags = server.flags | DEBUG if watched else server.flags & ~DEBUG


def _log(server: Any, length: int | None) -> list[Any]:
    before = list(_extra(server).get("log", ()))
    _watch(server, "log", None if length is None else deque(before, maxlen=length))
    return before


def _trace(server: Any, on: bool) -> None:
    _watch(server, "trace", True if on else None)


def _statistics(server: Any, on: bool | None) -> dict[str, Any] | None:
    counted = _extra(server).get("statistics")
    if on is None:
        if counted is None:
            return None
        start, reds, messages_in, messages_out = counted
        return {
            "start_time": start,
            "current_time": time.time(),
            "reductions": _core.reductions() - reds,
            "messages_in": messages_in,
            "messages_out": messages_out,
        }
    _watch(server, "statistics", [time.time(), _core.reductions(), 0, 0] if on else None)
    return None


_REQUESTS: dict[str, Callable[[Any, Any], Any]] = {
    "resume": lambda server, _: None,
    "get_state": _get_state,
    "replace_state": _replace_state,
    "get_status": _get_status,
    "terminate": _terminate,
    "log": _log,
    "trace": _trace,
    "statistics": _statistics,
}


# -- watching ----------------------------------------------------------------------------------------------------------


def note_in(server: Any, message: Any) -> None:
    """A message is about to be handled."""
    _note(server, "in", _report.shown_message(message), 2)


def note_event(server: Any, event: Any) -> None:
    """The same for an event of a state machine."""
    _note(server, "in", _report.shown("message", event), 2)


def note_out(server: Any, answer: Any) -> None:
    """A call has been answered."""
    _note(server, "out", _report.shown("message", answer), 3)


def _note(server: Any, direction: str, text: str, count: int) -> None:
    extra = _extra(server)
    if "log" in extra:
        extra["log"].append((direction, text))
    if "statistics" in extra:
        extra["statistics"][count] += 1
    if "trace" in extra:
        _report.trace(f"*DBG* {_core.current_pid()} {'got' if direction == 'in' else 'sent'} {text}")
