"""Processes under the supervisor of the test: started by it, stopped after it."""

from __future__ import annotations

from typing import Any

from transom import _core
from transom._child import ChildSpec
from transom._operation import Operation, Receive, of_steps
from transom._supervisor import Supervisor
from transom._supervisor_ref import SupervisorRef
from transom.testing import _context

MANY = 1_000_000  # restarts: what ends it is the test


def start_supervised(child: Any, /, *args: Any, id: Any = None, restart: Any = None) -> Operation[Any]:
    """Start a process under the test's supervisor, which stops it, in reverse order, when the test is over.

    Await it, or ask for its ``result()`` in a plain function.

    Args:
        child: A ChildSpec, such as ``Counter.child(1)``, or what has a ``child`` method: an Agent or Supervisor class,
            with options or without.
        args: For ``child.child(*args)``.
        id: Names the child within the supervisor; default: that of the specification, the class's name.
        restart: ``"permanent"``, ``"transient"`` or ``"temporary"``; default: that of the specification.

    Returns:
        What its start gives: a reference, or a Pid.

    Raises:
        ChildExists: There is one with this id; give another ``id``.
        StartError: It could not start.
        TypeError: It is nothing that can be started.

    Example:
        >>> import transom
        >>> from transom.testing import run_test, start_supervised
        >>> class Counter(transom.Agent):
        ...     def init(self, n): self.n = n
        ...     def add(self, k): self.n += k; return self.n
        >>> async def test():
        ...     counter = await start_supervised(Counter, 1)
        ...     return await counter.add(2)
        >>> run_test(test)
        3

    Source: ExUnit.Callbacks.start_supervised!/2.
    """
    test = _context.current("start_supervised")
    spec = _spec(child, args)
    if id is not None:
        spec = spec.options(id=id)
    if restart is not None:
        spec = spec.options(restart=restart)

    async def steps(receive: Receive) -> Any:
        supervisor = await _supervisor(test, receive)
        return await supervisor.start_child(spec)._steps(receive)

    return of_steps(steps)


def stop_supervised(id: Any) -> Operation[None]:
    """Stop a child of the test's supervisor before the test is over, and forget it.

    Args:
        id: Its id; a class stands for its name.

    Raises:
        NoChild: There is none with this id.

    Source: ExUnit.Callbacks.stop_supervised!/1.
    """
    test = _context.current("stop_supervised")
    name = id.__name__ if isinstance(id, type) else id

    async def steps(receive: Receive) -> None:
        supervisor = await _supervisor(test, receive)
        spec = await supervisor.get_spec(name)._steps(receive)
        await supervisor.terminate_child(name)._steps(receive)
        if spec.restart != "temporary":
            await supervisor.delete_child(name)._steps(receive)

    return of_steps(steps)


def _spec(child: Any, args: tuple[Any, ...]) -> ChildSpec:
    if isinstance(child, ChildSpec):
        if args:
            raise TypeError("start_supervised(): a ChildSpec has its arguments already; write MyAgent.child(...)")
        return child
    make = getattr(child, "child", None)
    spec = make(*args) if callable(make) else None
    if not isinstance(spec, ChildSpec):
        raise TypeError(f"start_supervised() takes a ChildSpec, an Agent or a Supervisor class, not {child!r}")
    return spec


async def _supervisor(test: _context.Test, receive: Receive) -> SupervisorRef:
    if test.supervisor is None:
        start = Supervisor.start(children=[], strategy="one_for_one", max_restarts=MANY, max_seconds=1)
        test.supervisor = await start._steps(receive)
    elif not _core.is_alive(test.supervisor.pid):
        raise AssertionError("the supervisor of this test has ended")
    return test.supervisor
