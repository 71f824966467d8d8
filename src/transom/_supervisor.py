"""Supervisors: processes that start, watch, restart and stop other processes.

A supervisor is declared as a class, or made from data:

    class Desk(transom.Supervisor):
        strategy = "rest_for_one"
        def children(self):
            return [Store.child(), Clerk.child("anna").options(id="anna")]

    desk = await Desk.start_link()
    desk = await transom.Supervisor.start_link(children=[Store.child()], strategy="one_for_all")

What its process does is in _supervisor_engine.py, the rules of restarting in _restart.py.

Source: OTP supervisor.erl, Elixir's Supervisor and DynamicSupervisor.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, cast

from transom import _core, _proc_lib, _restart
from transom._child import ChildSpec
from transom._core import Pid
from transom._operation import Operation, in_process
from transom._restart import AutoShutdown, Strategy
from transom._supervisor_dynamic import DynamicEngine
from transom._supervisor_engine import Engine
from transom._supervisor_ref import AnySupervisorRef, DynamicSupervisorRef, SupervisorRef
from transom._values import SpawnOptions


@dataclass(frozen=True)
class Start[R: AnySupervisorRef]:
    """How to start a supervisor, as a value: the start of its ChildSpec."""

    cls: type[Base[R]]
    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(hash=False)
    options: SpawnOptions

    def __call__(self) -> Operation[R]:
        return self.cls._begin("start_link", self.args, self.kwargs, self.options)

    def with_name(self, name: str | None) -> Self:
        return replace(self, options=replace(self.options, name=name))


class Configured[R: AnySupervisorRef]:
    """A supervisor class with options; what ``options`` gives. Start it as the class itself."""

    def __init__(self, cls: type[Base[R]], options: SpawnOptions) -> None:
        self._cls = cls
        self._options = options

    def start(self, *args: Any, **kwargs: Any) -> Operation[R]:
        """As the class's start, with the options."""
        return self._cls._begin("start", args, kwargs, self._options)

    def start_link(self, *args: Any, **kwargs: Any) -> Operation[R]:
        """As the class's start_link, with the options."""
        return self._cls._begin("start_link", args, kwargs, self._options)

    def child(self, *args: Any, **kwargs: Any) -> ChildSpec:
        """As the class's child, with the options."""
        return self._cls._spec(args, kwargs, self._options)


class Base[R: AnySupervisorRef]:
    """What all kinds of supervisors have."""

    max_restarts: int = 3
    max_seconds: float = 5.0
    _ref: ClassVar[type[AnySupervisorRef]]

    def _engine(self, parent: Pid | None) -> Engine:
        raise NotImplementedError

    def _first_children(self) -> Any:
        return ()

    def init(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError

    @classmethod
    def start_link(cls, *args: Any, **kwargs: Any) -> Operation[R]:
        """Start it, linked to the caller, and wait until its children have started. Only inside a process.

        Args:
            args: For ``init``; copied unless deeply immutable.
            kwargs: The same.

        Returns:
            An Operation that gives the reference.

        Raises:
            StartError: A child could not start: the reason is
                ``("shutdown", ("failed_to_start_child", id, reason))``, and those before it have been stopped.
            AlreadyStarted: Its name is taken.
        """
        return cls._begin("start_link", args, kwargs, SpawnOptions())

    @classmethod
    def start(cls, *args: Any, **kwargs: Any) -> Operation[R]:
        """As start_link, without a link; also from asyncio programs and plain threads."""
        return cls._begin("start", args, kwargs, SpawnOptions())

    @classmethod
    def child(cls, *args: Any, **kwargs: Any) -> ChildSpec:
        """A ChildSpec of this supervisor, for another one: kind "supervisor", shutdown "infinity"."""
        return cls._spec(args, kwargs, SpawnOptions())

    @classmethod
    def options(cls, *, name: str | None = None, label: str | None = None) -> Configured[R]:
        """The class with options, to be started instead of it.

        Args:
            name: Register it under this name before it runs.
            label: Text for reports.
        """
        return Configured(cls, SpawnOptions(name=name, label=label))

    @classmethod
    def at(cls, dest: Pid | str) -> R:
        """A reference to a supervisor that runs, by Pid or by name."""
        return cast(R, cls._ref(dest))

    @classmethod
    def _spec(cls, args: tuple[Any, ...], kwargs: dict[str, Any], options: SpawnOptions) -> ChildSpec:
        start = Start(cls, args, kwargs, options)
        name = options.name
        return ChildSpec(id=name or cls.__qualname__, start=start, kind="supervisor", shutdown="infinity", name=name)

    @classmethod
    def _begin(
        cls, kind: Literal["start", "start_link"], args: tuple[Any, ...], kwargs: dict[str, Any], options: SpawnOptions
    ) -> Operation[R]:
        parent = _core.current_pid() if kind == "start_link" and in_process() else None
        options = replace(options, trap_exit=True, label=options.label or cls.__qualname__)
        start = _proc_lib.start_link if kind == "start_link" else _proc_lib.start
        return start(_supervise, (cls, parent, args, kwargs), options=options, initial_call=cls.__qualname__)


async def _supervise(
    cls: type[Base[AnySupervisorRef]], parent: Pid | None, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    supervisor = cls()
    supervisor.init(*args, **kwargs)
    engine = supervisor._engine(parent)
    await engine.start_all(supervisor._first_children())
    _proc_lib.init_ack(cls._ref(_core.current_pid()))
    await engine.run()


def who_of(cls: type) -> str:
    """The calling supervisor as reports name it."""
    me = _core.current_pid()
    info = _core.process_info(me, "registered_name")
    name = None if info is None else info["registered_name"]
    return f"supervisor {name or cls.__qualname__} {me}"


class Supervisor(Base[SupervisorRef]):
    """A process that starts its children in order, restarts them when they end, and stops them in reverse.

    Subclass it and define ``children``, or use it as it is: ``Supervisor.start_link(children=[...])``. A supervisor
    serves its children alone; put work into them.

    Attributes:
        strategy: Who is restarted when a child ends: ``"one_for_one"`` it alone, ``"one_for_all"`` all,
            ``"rest_for_one"`` it and those started after it.
        max_restarts: More restarts than this within max_seconds, and the supervisor stops all children and ends with
            ``"shutdown"``; its own supervisor decides then. Restarts that fail count, too. At least 0.
        max_seconds: Seconds, > 0.
        auto_shutdown: Whether it ends with ``"shutdown"`` when significant children have ended by themselves and are
            not restarted: ``"never"``, ``"any_significant"``, ``"all_significant"``.

    Example:
        >>> import transom
        >>> async def clerk():
        ...     await transom.receive()
        >>> class Desk(transom.Supervisor):
        ...     strategy = "one_for_all"
        ...     def children(self):
        ...         return [transom.Task.child(clerk).options(id=name, restart="permanent") for name in ("a", "b")]
        >>> async def main():
        ...     desk = await Desk.start_link()
        ...     return [(id, kind) for id, pid, kind in await desk.which_children()]
        >>> transom.run(main)
        [('b', 'worker'), ('a', 'worker')]

    Source: OTP supervisor; max_restarts is 3 as in Elixir.
    """

    strategy: Strategy = "one_for_one"
    auto_shutdown: AutoShutdown = "never"
    _ref = SupervisorRef
    _given: Iterable[ChildSpec] = ()

    if not TYPE_CHECKING:  # to type checkers it is Base.init: subclasses may take any arguments

        def init(
            self,
            children: Iterable[ChildSpec] = (),
            *,
            strategy: Strategy | None = None,
            max_restarts: int | None = None,
            max_seconds: float | None = None,
            auto_shutdown: AutoShutdown | None = None,
        ) -> None:
            """Runs first, in the supervisor's process, with the arguments of start_link. Override it to take others.

            Args:
                children: What ``children`` returns, unless it is overridden.
                strategy: Overrides the attribute, as the following.
                max_restarts: See the class.
                max_seconds: See the class.
                auto_shutdown: See the class.
            """
            self._given = children
            if strategy is not None:
                self.strategy = strategy
            if max_restarts is not None:
                self.max_restarts = max_restarts
            if max_seconds is not None:
                self.max_seconds = max_seconds
            if auto_shutdown is not None:
                self.auto_shutdown = auto_shutdown

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not callable(cls.children):
            raise TypeError(
                f"{cls.__qualname__}.children is a {type(cls.children).__name__}, and has to be a method: "
                f"def children(self): return [...]; or no class: Supervisor.start_link(children=[...])"
            )

    def children(self) -> Iterable[ChildSpec]:
        """The children to start, from left to right. Runs in the supervisor's process, after ``init``."""
        return self._given

    def _first_children(self) -> Any:
        return self.children()

    def _engine(self, parent: Pid | None) -> Engine:
        cls = type(self).__qualname__
        check_word(cls, "strategy", self.strategy)
        check_word(cls, "auto_shutdown", self.auto_shutdown)
        check_intensity(cls, self.max_restarts, self.max_seconds)
        return Engine(
            who_of(type(self)), self.strategy, self.max_restarts, self.max_seconds, self.auto_shutdown, parent
        )


class DynamicBase[R: AnySupervisorRef](Base[R]):
    """What DynamicSupervisor and TaskSupervisor share."""

    max_children: int | None = None

    if not TYPE_CHECKING:  # to type checkers it is Base.init: subclasses may take any arguments

        def init(
            self,
            *,
            max_restarts: int | None = None,
            max_seconds: float | None = None,
            max_children: int | None = None,
        ) -> None:
            """Runs first, in the supervisor's process, with the arguments of start_link. Override it to take others.

            Args:
                max_restarts: Overrides the attribute, as the following.
                max_seconds: See the class.
                max_children: See the class.
            """
            if max_restarts is not None:
                self.max_restarts = max_restarts
            if max_seconds is not None:
                self.max_seconds = max_seconds
            if max_children is not None:
                self.max_children = max_children

    def _engine(self, parent: Pid | None) -> Engine:
        cls = type(self).__qualname__
        check_intensity(cls, self.max_restarts, self.max_seconds)
        limit = self.max_children
        if limit is not None and (type(limit) is not int or limit < 0):
            raise ValueError(f"{cls}: max_children must be an int of at least 0 or None, not {limit!r}")
        return DynamicEngine(who_of(type(self)), self.max_restarts, self.max_seconds, limit, parent)


class DynamicSupervisor(DynamicBase[DynamicSupervisorRef]):
    """A supervisor for any number of children that are started later, each by itself.

    They are known by their Pid, restarted one by one, and forgotten when they end for good. When it ends, they are
    stopped side by side.

    Attributes:
        max_restarts: As of Supervisor.
        max_seconds: As of Supervisor.
        max_children: How many there may be, at least 0, those that wait for their restart included; None: no limit.

    Example:
        >>> import transom
        >>> async def job(text):
        ...     print(text)
        >>> async def main():
        ...     jobs = await transom.DynamicSupervisor.start_link(max_children=10)
        ...     pid = await jobs.start_child(transom.Task.child(job, "done"))
        ...     _ = await transom.receive(transom.monitor(pid))
        ...     return (await jobs.count_children())["active"]
        >>> transom.run(main)
        done
        0

    Source: Elixir's DynamicSupervisor; OTP's simple_one_for_one.
    """

    _ref = DynamicSupervisorRef


def check_word(cls: str, what: str, value: object) -> None:
    """Raise unless the value is one of those that stand for something."""
    words = _restart.STRATEGIES if what == "strategy" else _restart.AUTO_SHUTDOWNS
    if not isinstance(value, str) or value not in words:
        raise ValueError(f"{cls}: {what} must be one of {', '.join(words)}, not {value!r}")


def check_intensity(cls: str, max_restarts: object, max_seconds: object) -> None:
    """Raise unless the intensity makes sense."""
    if type(max_restarts) is not int:
        raise TypeError(f"{cls}: max_restarts must be an int, not {max_restarts!r}")
    if max_restarts < 0:
        raise ValueError(f"{cls}: max_restarts must be at least 0, not {max_restarts}")
    if isinstance(max_seconds, bool) or not isinstance(max_seconds, int | float):
        raise TypeError(f"{cls}: max_seconds must be seconds, not {max_seconds!r}")
    if not max_seconds > 0:
        raise ValueError(f"{cls}: max_seconds must be > 0, not {max_seconds!r}")
