"""Starting agents: options, references, child specifications."""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from types import FunctionType
from typing import Any

from transom import _core, _process, _serve
from transom._child import ChildSpec
from transom._core import Pid, Ref
from transom._operation import Operation
from transom._values import SpawnOptions

# -- references --------------------------------------------------------------------------------------------------------


class Reference(_core._AgentRef):
    """What names an agent: call its methods. A value: equal, hashable, sendable; every primitive takes it for a Pid."""

    __slots__ = ()
    _agent: type[Any]

    def __repr__(self) -> str:
        name = self._transom_name
        return f"<{self._agent.__qualname__} {self._transom_pid if name is None else repr(name)}>"

    def __reduce__(self) -> tuple[Any, ...]:
        name = self._transom_name
        return (_remake, (self._agent, self._transom_pid if name is None else name))


def no_method(ref: Reference, name: str) -> None:
    """Called by the core when ref has no attribute of this name: raises AttributeError."""
    kind = type(ref)
    if name.startswith("_"):
        raise AttributeError(f"{name} of {kind._agent.__qualname__} is private to the agent", name=name, obj=ref)
    calls = [key for base in kind.__mro__ for key, value in vars(base).items() if type(value) is _core._Method]
    close = difflib.get_close_matches(name, calls, 1)
    hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(calls) or 'none'}"
    raise AttributeError(f"{kind._agent.__qualname__} has no public method {name!r}; {hint}", name=name, obj=ref)


def _remake(agent: Any, where: Pid | str) -> Any:
    return agent.at(where)


def reference_class(agent: type[Any], methods: list[str]) -> type[Reference]:
    """The class of references to agents of one class."""
    body: dict[str, Any] = {name: _core._Method(name, agent, _function(agent, name)) for name in methods}
    body |= {
        "__slots__": (),
        "_agent": agent,
        "__module__": __name__,
        "__qualname__": f"{agent.__qualname__}._reference",
    }
    return type(agent.__name__, (Reference,), body)


def _function(agent: type[Any], name: str) -> Any:
    found = inspect.getattr_static(agent, name)
    return found if isinstance(found, FunctionType) else _takes_anything  # a subclass made something else of it


def _takes_anything(*args: Any, **kwargs: Any) -> None:
    """Stands for what has no signature to check."""


def pid_of(ref: Any) -> Pid:
    """The Pid of a reference; a Pid is its own.

    Args:
        ref: A reference to an agent or supervisor, a Via, or a Pid.

    Raises:
        NoProcess: It is a reference by name, and nobody has the name.
        TypeError: It is no reference.

    Callable from any thread; does not block, and does not ask the process.

    Example:
        >>> import transom
        >>> class Desk(transom.Agent):
        ...     pass
        >>> async def main():
        ...     desk = await Desk.options(name="desk").start_link()
        ...     return transom.pid_of(Desk.at("desk")) == transom.pid_of(desk)
        >>> transom.run(main)
        True

    Source: GenServer.whereis/1.
    """
    if isinstance(ref, Pid):
        return ref
    pid = getattr(ref, "_transom_pid", None)
    if not isinstance(pid, Pid):
        raise TypeError(f"pid_of() takes a reference to an agent or a Pid, not {type(ref).__name__}")
    return pid


# -- starting ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Start[A]:
    """An agent class with options: start it, or make a child specification. Made by ``MyAgent.options(...)``."""

    agent: type[A]
    spawn: SpawnOptions = SpawnOptions()
    timeout: float | None = None
    how: _core._How = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        kind: Any = self.agent
        flags = kind._transom_server_flags | (0 if kind._loop is None else _serve.LOOP)
        core = _process.core_options(self.spawn)
        how = _core._How(kind, kind._reference, flags, f"{kind.__qualname__}.init", self.timeout, False, *core)
        object.__setattr__(self, "how", how)

    def options(self, **options: Any) -> Start[A]:
        """A copy with these options, as ``Agent.options`` takes them."""
        known = [field.name for field in fields(SpawnOptions) if field.name not in ("link", "monitor")]
        for name in options:
            if name not in known and name != "timeout":
                raise TypeError(
                    f"{self.agent.__qualname__}.options(): there is no option {name!r}; "
                    f"there are {', '.join(['timeout', *known])}"
                )
        timeout = options.pop("timeout", self.timeout)
        if timeout is not None and (
            isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 <= timeout < math.inf
        ):
            raise ValueError(f"{self.agent.__qualname__}.options(): timeout must be seconds >= 0, not {timeout!r}")
        return replace(self, spawn=replace(self.spawn, **options), timeout=timeout)

    def start(self, *args: Any, **kwargs: Any) -> Operation[A]:
        """As ``Agent.start``."""
        return self.how.start(*args, **kwargs)

    def start_link(self, *args: Any, **kwargs: Any) -> Operation[A]:
        """As ``Agent.start_link``."""
        return self.how.start_link(*args, **kwargs)

    def start_monitor(self, *args: Any, **kwargs: Any) -> Operation[tuple[A, Ref]]:
        """As ``Agent.start_monitor``."""
        return self.how.start_monitor(*args, **kwargs)

    def child(self, *args: Any, **kwargs: Any) -> ChildSpec:
        """As ``Agent.child``."""
        return ChildSpec(
            id=self.agent.__name__, start=ChildStart(self, args, tuple(kwargs.items())), name=self.spawn.name
        )


@dataclass(frozen=True, slots=True)
class ChildStart:
    """The start function of a child: a value, so that it can be compared and shown."""

    how: Start[Any]
    args: tuple[Any, ...]
    kwargs: tuple[tuple[str, Any], ...]

    def __call__(self) -> Operation[Any]:
        if not self.kwargs:
            return self.how.how.start_link(*self.args)
        return self.how.how.start_link(*self.args, **dict(self.kwargs))

    def parts(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """A function and the arguments with which it does the same, sooner."""
        return (self, ()) if self.kwargs else (self.how.how.start_link, self.args)

    def with_name(self, name: str | None) -> ChildStart:
        return replace(self, how=self.how.options(name=name))
