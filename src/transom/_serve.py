"""What a server does with a message that is no plain call, and at its end. The core calls these functions.

The flags are those of ext/bind/tsm_server.c.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from transom import _core, _errors, _hibernate, _loop_agent, _report, _sys, _values
from transom._call import Refused

AFTER = 1  # the handler asked for something beside its answer
DEBUG = 2  # sys watches every message
DEFERRED = 4  # the call is answered later, by whom ever
ENDING = 8
LINKED = 16  # started with a link: an exit of the parent ends it
MACHINE = 32  # a state machine: every message is an event
LOOP = _loop_agent.LOOP
UNBORN = 128  # the core's alone, as the next
BOOT = 256

type Server = Any  # _core._Server


class _Timeout:
    """What an idle server handles when its time is up."""

    def __repr__(self) -> str:
        return "timeout"


TIMEOUT = _Timeout()


def dispatch(server: Server, message: Any) -> Any:
    """Handle one message; what it returns is the answer when it was a call, a coroutine is gone on with."""
    if server.flags & MACHINE:
        if _ends(server, message):
            raise _errors.Stop(message.reason)
        return server.agent._transom_dispatch(server, message)
    if server.flags & DEBUG and type(message) is not _sys.Request:
        return _watched(server, message)
    return _handle(server, message)


def _handle(server: Server, message: Any) -> Any:
    agent = server.agent
    kind = type(message)
    if kind is _core.Call and message._mine:
        args, kwargs = message._arguments()
        if server.flags & LOOP and not isinstance(agent, message._owner):
            return refuse(server, message)
        return _call(server, getattr(agent, message._method), *args, **kwargs)
    if message is TIMEOUT:
        return _call(server, agent.handle_timeout)
    if kind is _sys.Request:
        return _sys.handle(server, message)
    if _ends(server, message):
        raise _errors.Stop(message.reason)
    if kind is _loop_agent.Job:
        return message.as_message()
    if kind is _loop_agent.Over:
        raise message.error
    return _call(server, agent.handle_info, message)


def _call(server: Server, method: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """A handler of the agent: here, or on its loop."""
    if server.flags & LOOP:
        return _loop_agent.perform(server, method, args, kwargs)
    return method(*args, **kwargs)


def _ends(server: Server, message: Any) -> bool:
    """Is it the exit signal of the parent?"""
    return type(message) is _core.Exit and server.flags & LINKED != 0 and message.sender == _parent()


def _parent() -> Any:
    info = _core.process_info(_core.current_pid(), "parent")
    return None if info is None else info["parent"]


async def _watched(server: Server, message: Any) -> Any:
    _sys.note_in(server, message)
    if type(message) is _core.Call and message._mine and not isinstance(server.agent, message._owner):
        return refuse(server, message)
    result = _handle(server, message)
    if inspect.iscoroutine(result):
        result = await result
    if server.call is not None and not server.flags & DEFERRED:
        _sys.note_out(server, result)
    return result


async def enter(server: Server, /, *args: Any, **kwargs: Any) -> Any:
    """The init of an agent on the loop."""
    agent = server.agent
    await _loop_agent.enter(server, agent, _core.current_pid(), agent._loop)
    return await _loop_agent.perform(server, agent.init, args, kwargs)


def booted(server: Server, result: Any) -> None:
    """The init of a state machine is done."""
    server.agent._transom_booted(server, result)


def refuse(server: Server, call: Any) -> Refused:
    """The answer to a call of a method that another class of agents has."""
    return Refused(("undef", type(server.agent).__qualname__))


async def after(server: Server) -> None:
    """What is to be done after init or a handler: begin as a state machine, hibernate, continue, stop."""
    extra = server.extra or {}
    if "begin" in extra:
        turn = extra.pop("begin").run()
        if not extra:
            server.extra = None
        if turn is not None:
            await turn
    if extra.pop("hibernate", False):
        _hibernate.compact(server.agent)
    if "continue" in extra:
        result = _call(server, server.agent.handle_continue, extra.pop("continue"))
        if inspect.iscoroutine(result):
            await result
    if "stop" in extra:
        raise _errors.Stop(extra.pop("stop"))


async def crashed(server: Server, error: BaseException) -> None:
    """Run terminate, then end by the error."""
    reason = error.reason if isinstance(error, _errors.Stop) else _values.make_crash(error)
    if not _is_ordinary(reason):
        _describe(server)
    if not _loop_agent.is_over(server):
        result = _call(server, server.agent.terminate, reason)
        if inspect.iscoroutine(result):
            await result
        _loop_agent.leave(server)
    raise error


def _is_ordinary(reason: Any) -> bool:
    return reason in ("normal", "shutdown") or (isinstance(reason, tuple) and reason[:1] == ("shutdown",))


def _describe(server: Server) -> None:
    """Keep for the crash report what the agent was at: its last message and its state."""
    if server.extra is None:
        server.extra = {}
    server.extra["report"] = [
        f"last message: {_last_message(server)}",
        f"state: {_sys.shown_state(server.agent)}",
    ]


def _last_message(server: Server) -> str:
    if server.flags & MACHINE:
        turn = server.agent._transom_turn
        return "none" if turn is None else turn.last_message()
    return "none" if server.call is None else _report.shown_call(server.call)
