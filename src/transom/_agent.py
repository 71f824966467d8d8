"""Agents: state and methods in a process of their own. OTP's gen_server, with methods for messages.

Agent           the class users derive from
_start.py       starting: options, references by name, child specs
_serve.py       what happens to a message; the loop itself is ext/bind/tsm_server.c
_call.py        calls; the call object is ext/bind/tsm_call.c
_turn.py        what a handler can ask for beside its answer
"""

from __future__ import annotations

import inspect
import logging
from typing import TYPE_CHECKING, Any, ClassVar, Self

from transom import _core, _report, _start
from transom._child import ChildSpec
from transom._operation import Operation

_log = logging.getLogger("transom")

# Called by the server, never by clients.
CALLBACKS = ("init", "handle_info", "handle_continue", "handle_timeout", "terminate", "format_status", "lifespan")
# Of the class itself.
RESERVED = ("start", "start_link", "start_monitor", "options", "at", "child")


class Agent:
    """State on self, one message at a time, in a process of its own.

    Derive from it and write methods. Every public method, def or async def, is a call: on a reference it sends a
    message and gives the answer when awaited. Names with an underscore are private. At rest an agent is its
    attributes and a few hundred bytes; there is no frame and no thread.

    In the agent itself ``self.method()`` is an ordinary call of Python. What is sent and answered is copied unless
    deeply immutable. A method that raises ends the agent; the caller gets CallError with the traceback.

    Callbacks to override, each def or async def, each run by the agent's process:

    - ``init(self, ...)``: takes the arguments of start; raising makes the start fail.
    - ``handle_info(self, message)``: any message that is no call; also ``Exit`` and ``Down``.
    - ``handle_continue(self, value)``: see ``continue_with``.
    - ``handle_timeout(self)``: see ``idle_timeout``.
    - ``terminate(self, reason)``: before it ends: it stopped, crashed, or its parent told it to while it traps exits.
      Not when it is killed.
    - ``format_status(self, state)``: what of its state reports and sys.get_status show.

    ``class Client(Agent, loop=True)`` is an agent on the loop: its callbacks and methods, def or async def, run on an
    event loop's thread (``loop=1``: on the second one, see ``io_threads`` of run), where asyncio code works as in any
    asyncio program; they must not block. They all run in one task, which lasts as long as the agent; tasks they begin
    are cancelled when it ends. Such a class may have one more callback:

    - ``async def lifespan(self)``, with one ``yield``: what stands before it runs before init, what stands behind it,
      in ``async with`` and ``finally`` blocks, at the end, also when the agent is killed.

    A plain ``def`` handler that blocks occupies an OS thread meanwhile; ``async def`` handlers that await do not.

    Example:
        >>> import transom
        >>> class Counter(transom.Agent):
        ...     def init(self, start=0): self.n = start
        ...     def add(self, k): self.n += k; return self.n
        >>> async def main():
        ...     c = await Counter.start_link(1)
        ...     c.add.cast(2)
        ...     return await c.add(3)
        >>> transom.run(main)
        6

    When not to use: for a plain computation beside yours, spawn a process or a task; for state that many read and
    hardly anybody writes, an agent makes readers queue.

    Source: OTP gen_server.
    """

    __slots__ = ("__dict__", "__weakref__")
    _transom_callbacks: ClassVar[tuple[str, ...]] = CALLBACKS
    _transom_reserved: ClassVar[tuple[str, ...]] = RESERVED
    _transom_server_flags: ClassVar[int] = 0
    _transom_start: ClassVar[_start.Start[Any]]  # without options
    _reference: type[_start.Reference]
    if TYPE_CHECKING:
        _transom_pid: _core.Pid  # references have it

    _loop: int | None = None  # the event loop its handlers run on

    def __init_subclass__(cls, *, loop: bool | int | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if loop is not None:
            cls._loop = _loop_index(cls, loop)
        if "__init__" in cls.__dict__:
            raise TypeError(
                f"{cls.__qualname__}.__init__ would never run: an agent sets up its state in init(self, ...), "
                f"in its own process, with the arguments of start"
            )
        for name in cls._transom_reserved:
            if name in cls.__dict__:
                raise TypeError(
                    f"{cls.__qualname__}.{name}: the name is taken by Agent.{name}, a method of the class; rename yours"
                )
        cls._reference = _start.reference_class(cls, cls._transom_public_methods())
        cls._transom_start = _start.Start(cls)

    @classmethod
    def _transom_public_methods(cls) -> list[str]:
        """The methods that are calls: public functions of the class and of its bases up to Agent."""
        names: dict[str, None] = {}
        for kind in cls.__mro__:
            if kind is Agent or kind is object:
                continue
            for name, value in kind.__dict__.items():
                if inspect.isfunction(value) and cls._transom_is_call(name):
                    names[name] = None
        return list(names)

    @classmethod
    def _transom_is_call(cls, name: str) -> bool:
        return not name.startswith("_") and name not in cls._transom_callbacks

    if not TYPE_CHECKING:  # to type checkers it takes no arguments

        def __init__(self, *args, **kwargs):
            # Without arguments it is for those who try their methods without a process.
            if args or kwargs:
                name = type(self).__qualname__
                raise TypeError(f"{name}(...) starts no agent; write await {name}.start_link(...), or start(...)")

    # -- callbacks -----------------------------------------------------------------------------------------------------

    def init(self, *args: Any, **kwargs: Any) -> Any:
        """Set up the state, with the arguments of start. Runs in the new process before start returns."""
        if args or kwargs:
            raise TypeError(f"{type(self).__qualname__} takes no arguments: it has no init method")

    def handle_info(self, message: Any) -> Any:
        """A message that is no call. By default it is logged and dropped."""
        _log.warning("%s got a message it does not handle: %s", _who(self), _report.shown("message", message))

    def handle_continue(self, value: Any) -> Any:
        """What ``continue_with(value)`` asked for; runs before any other message."""
        raise NotImplementedError(f"{type(self).__qualname__} asked to continue and has no handle_continue method")

    def handle_timeout(self) -> Any:
        """No message came for as long as ``idle_timeout`` said."""
        raise NotImplementedError(f"{type(self).__qualname__} set an idle timeout and has no handle_timeout method")

    def terminate(self, reason: Any) -> Any:
        """Clean up; the process ends with this reason afterwards."""

    def format_status(self, state: dict[str, Any]) -> Any:
        """What of the state (a dict of the attributes) reports show. Secrets by name are masked in any case."""
        return state

    # -- starting ------------------------------------------------------------------------------------------------------

    @classmethod
    def start(cls, *args: Any, **kwargs: Any) -> Operation[Self]:
        """Start an agent on its own, wait for its init, and give a reference to it.

        Await it (in processes and asyncio programs) or ask for its ``result()`` (plain functions and threads).

        Args:
            args: For init; copied unless deeply immutable.
            kwargs: The same.

        Returns:
            A reference: call its methods. None when init called ``proc_lib.init_ignore()``.

        Raises:
            StartError: init raised, or took longer than options(timeout=) says.
            AlreadyStarted: The name of options(name=) is taken; init did not run.

        Source: gen_server:start/3.
        """
        return cls._transom_start.start(*args, **kwargs)

    @classmethod
    def start_link(cls, *args: Any, **kwargs: Any) -> Operation[Self]:
        """As ``start``, linked to the caller; only in a process. A failed start raises and leaves no Exit behind.

        When the caller ends, so does the agent: with ``terminate`` first if it traps exits.

        Source: gen_server:start_link/3 of OTP 26.
        """
        return cls._transom_start.start_link(*args, **kwargs)

    @classmethod
    def start_monitor(cls, *args: Any, **kwargs: Any) -> Operation[tuple[Self, _core.Ref]]:
        """As ``start``, monitored by the caller; gives (reference, Ref). Source: gen_server:start_monitor/3."""
        return cls._transom_start.start_monitor(*args, **kwargs)

    @classmethod
    def options(cls, **options: Any) -> _start.Start[Self]:
        """The same class with options for starting.

        Args:
            options: ``name=`` to register (see ``at``); ``timeout=`` seconds init may take, default None;
                ``priority=``, ``trap_exit=``, ``pinned=``, ``max_heap=``, ``label=`` as in SpawnOptions.

        Example:
            >>> import transom
            >>> class Desk(transom.Agent):
            ...     def ask(self): return "yes"
            >>> async def main():
            ...     await Desk.options(name="desk").start_link()
            ...     return await Desk.at("desk").ask()
            >>> transom.run(main)
            'yes'
        """
        return cls._transom_start.options(**options)

    @classmethod
    def at(cls, where: str | _core.Pid) -> Self:
        """A reference to an agent; sends nothing and does not wait.

        Args:
            where: A name: whoever is registered under it when a method is called. Or a Pid.
        """
        return cls._reference(where)  # type: ignore[return-value]

    @classmethod
    def child(cls, *args: Any, **kwargs: Any) -> ChildSpec:
        """A child specification for a supervisor: start_link with args and kwargs. Its id is the class's name."""
        return cls._transom_start.child(*args, **kwargs)


def _loop_index(cls: type[Agent], loop: bool | int) -> int | None:
    if loop is True:
        return 0
    if loop is False:
        return None
    if type(loop) is not int:
        raise TypeError(f"{cls.__qualname__}: loop= takes True or the number of a loop, not {type(loop).__name__}")
    if not 0 <= loop < 64:
        raise ValueError(f"{cls.__qualname__}: loop= takes the number of a loop, from 0 to 63, not {loop}")
    return loop


def _who(agent: Agent) -> str:
    return f"{type(agent).__qualname__} {_core.current_pid()}"


Agent._reference = _start.reference_class(Agent, [])
Agent._transom_start = _start.Start(Agent)
