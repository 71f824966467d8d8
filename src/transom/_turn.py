"""What a handler of an agent can ask for beside its answer. These functions work on the agent that calls them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from transom import _core, _errors, _loop_agent
from transom._serve import AFTER, DEFERRED

booting: dict[_core.Pid, _core._Server] = {}  # agents whose init runs


@dataclass(frozen=True, slots=True)
class From:
    """The caller of a call that is answered later: ``reply`` from any process or thread, once.

    Attributes:
        ref: Where the answer goes; None when it was cast.
    """

    ref: _core.Ref | None

    def reply(self, value: Any) -> None:
        """Answer the call. If the caller has given up, nothing happens. Source: gen_server:reply/2."""
        if self.ref is not None:
            _core.send(self.ref, value)


def _current(what: str) -> _core._Server:
    server = _core._server()
    if server is None:
        home = _loop_agent.current.get()
        server = booting.get(_core.current_pid()) if home is None else _of_handler(what, home)
    if server is None:
        raise _errors.NotInProcess(f"{what}() is for the methods and callbacks of an Agent; the caller is none")
    return server


def _of_handler(what: str, home: _loop_agent.Home) -> _core._Server:
    if not home.busy:
        raise RuntimeError(f"{what}() is for handlers; no handler of the agent is running, only a task it began")
    server: _core._Server = home.server
    return server


def _extra(server: _core._Server) -> dict[str, Any]:
    if server.extra is None:
        server.extra = {}
    return server.extra


def defer() -> From:
    """Answer the call being handled later: what the method returns is not sent.

    Returns:
        A From; keep it in the state, or send it to the process that is to answer.

    Raises:
        RuntimeError: No call is being handled.
        NotInProcess: The caller is no agent.

    Example:
        >>> import transom
        >>> class Queue(transom.Agent):
        ...     def init(self): self.waiting = []
        ...     def get(self): self.waiting.append(transom.defer())
        ...     def put(self, item): self.waiting.pop(0).reply(item)
        >>> async def main():
        ...     queue = await Queue.start_link()
        ...     item = queue.get().send()
        ...     await queue.put("x")
        ...     return await item
        >>> transom.run(main)
        'x'

    Source: noreply and gen_server:reply/2.
    """
    server = _current("defer")
    if server.call is None:
        raise RuntimeError("defer(): no call is being handled")
    server.flags |= DEFERRED
    server.call._settle()
    return From(server.call._ref)


def stop_after(reason: Any = "normal") -> None:
    """End the agent after this handler, whose answer is still sent; ``terminate(reason)`` runs.

    To end without an answer raise ``Stop(reason)``: the caller gets CallError(reason).

    Source: {stop, Reason, Reply, State} of gen_server.
    """
    server = _current("stop_after")
    _extra(server)["stop"] = reason
    server.flags |= AFTER


def continue_with(value: Any = None) -> None:
    """After this handler and its answer, run ``handle_continue(value)`` before any other message.

    Called in init it lets start return early and the rest of the set-up come first all the same.

    Source: {continue, Value} of gen_server.
    """
    server = _current("continue_with")
    _extra(server)["continue"] = value
    server.flags |= AFTER


def idle_timeout(seconds: float | None) -> None:
    """Run ``handle_timeout`` when no message comes for so long after this handler. Any message cancels it.

    Args:
        seconds: 0 to 8e9; 0: at once, if no message waits. None takes it back.

    Source: the timeout of gen_server's return values.
    """
    _current("idle_timeout").set_timeout(seconds)


def hibernate() -> None:
    """For programs that come from Erlang. An idle agent keeps no frame, so there is nothing left to put away.

    Source: the hibernate action of gen_server.
    """
    _current("hibernate")
