"""What a handler of an agent can ask for beside its answer. These functions work on the agent that calls them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from transom import _core, _errors, _loop_agent
from transom._serve import AFTER, DEFERRED, MACHINE


@dataclass(frozen=True, slots=True)
class From:
    """The caller of a call that is answered later: ``reply`` from any process or thread, once.

    Attributes:
        ref: Where the answer goes; None when it was cast.

    Example:
        >>> import transom
        >>> class Slow(transom.Agent):
        ...     def ask(self):
        ...         caller = transom.defer()
        ...         async def think():
        ...             caller.reply("done")
        ...         transom.spawn_link(think)
        >>> async def main():
        ...     return await (await Slow.start_link()).ask()
        >>> transom.run(main)
        'done'

    Source: the From of gen_server.
    """

    ref: _core.Ref | None

    def reply(self, value: Any) -> None:
        """Answer the call with value, which is copied unless deeply immutable. If the caller has given up, nothing happens.

        Source: gen_server:reply/2.
        """
        if self.ref is not None:
            _core.send(self.ref, value)


def _current(what: str) -> _core._Server:
    server = _core._server()
    if server is None:
        home = _loop_agent.current.get()
        server = None if home is None else _of_handler(what, home)
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


def _agent(what: str, instead: str) -> _core._Server:
    server = _current(what)
    if server.flags & MACHINE:
        raise RuntimeError(f"{what}() is for Agents; a state function of a StateMachine returns {instead}")
    return server


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
    if server.flags & MACHINE:
        turn = server.agent._transom_turn
        if turn is None:
            raise RuntimeError("defer(): no call is being handled")
        return turn.defer()  # type: ignore[no-any-return]
    if server.call is None:
        raise RuntimeError("defer(): no call is being handled")
    server.flags |= DEFERRED
    server.call._settle()
    return From(server.call._ref)


def stop_after(reason: Any = "normal") -> None:
    """End the agent after this handler, whose answer is still sent; ``terminate(reason)`` runs.

    To end without an answer raise ``Stop(reason)``: the caller gets CallError(reason). Does not block.

    Args:
        reason: Any value that can be sent; ``"normal"`` and ``"shutdown"`` make no crash report.

    Raises:
        NotInProcess: The caller is no agent.

    Example:
        >>> import transom
        >>> class Door(transom.Agent):
        ...     def close(self):
        ...         transom.stop_after()
        ...         return "bye"
        >>> async def main():
        ...     door, ref = await Door.start_monitor()
        ...     return await door.close(), (await transom.receive(ref)).reason
        >>> transom.run(main)
        ('bye', 'normal')

    Source: {stop, Reason, Reply, State} of gen_server.
    """
    server = _current("stop_after")
    _extra(server)["stop"] = reason
    server.flags |= AFTER


def continue_with(value: Any = None) -> None:
    """After this handler and its answer, run ``handle_continue(value)`` before any other message.

    Called in init it lets start return early and the rest of the set-up come first all the same. Does not block.

    Args:
        value: For ``handle_continue``; not copied.

    Raises:
        NotInProcess: The caller is no agent.

    Example:
        >>> import transom
        >>> class Lazy(transom.Agent):
        ...     def init(self): transom.continue_with("index")
        ...     def handle_continue(self, what): self.loaded = what
        ...     def get(self): return self.loaded
        >>> async def main():
        ...     return await (await Lazy.start_link()).get()
        >>> transom.run(main)
        'index'

    Source: {continue, Value} of gen_server.
    """
    server = _agent("continue_with", "next_event('internal', ...)")
    _extra(server)["continue"] = value
    server.flags |= AFTER


def idle_timeout(seconds: float | None) -> None:
    """Run ``handle_timeout`` when no message comes for so long after this handler. Any message cancels it.

    Args:
        seconds: 0 to 8e9; 0: at once, if no message waits. None takes it back.

    Raises:
        NotInProcess: The caller is no agent.

    Does not block.

    Example:
        >>> import transom
        >>> class Session(transom.Agent):
        ...     def init(self): transom.idle_timeout(0.01)
        ...     def handle_timeout(self): raise transom.Stop("normal")
        >>> async def main():
        ...     session, ref = await Session.start_monitor()
        ...     return (await transom.receive(ref)).reason
        >>> transom.run(main)
        'normal'

    Source: the timeout of gen_server's return values.
    """
    _agent("idle_timeout", "event_timeout(...)").set_timeout(seconds)


def hibernate() -> None:
    """Give back memory after this handler, as the agent will have nothing to do for long.

    An idle agent keeps no frame anyway. What is given back is the room in dicts and sets that are its attributes and have
    held more than they hold now; Python never does that by itself. Takes as long as copying them does.

    Only in handlers of an agent; does not block.

    Example:
        >>> import transom
        >>> class Sleeper(transom.Agent):
        ...     def rest(self): transom.hibernate()
        >>> async def main():
        ...     return await (await Sleeper.start_link()).rest()
        >>> transom.run(main)

    Source: the hibernate action of gen_server.
    """
    server = _current("hibernate")
    if server.flags & MACHINE:
        turn = server.agent._transom_turn
        if turn is not None:
            turn.hibernate = True
        return
    _extra(server)["hibernate"] = True
    server.flags |= AFTER
