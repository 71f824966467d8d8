"""Tasks under a supervisor: they end when it does, and their number can be limited."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from transom import _core, _errors
from transom._child import ChildSpec
from transom._core import Pid
from transom._operation import Operation
from transom._start_function import StartFunction
from transom._supervisor import DynamicBase
from transom._supervisor_ref import AnySupervisorRef, ask
from transom._task import Task, body_of, demand_function, name_of
from transom._task_stream import TaskStream, stream


@dataclass(frozen=True, slots=True)
class TaskSupervisorRef(AnySupervisorRef):
    """A running TaskSupervisor.

    Attributes:
        dest: Its Pid or registered name.

    Example:
        >>> import transom
        >>> async def double(n):
        ...     return 2 * n
        >>> async def main():
        ...     tasks = await transom.TaskSupervisor.start_link()
        ...     task = await tasks.start_task(double, 21)
        ...     return await task
        >>> transom.run(main)
        42

    Source: the functions of Elixir's Task.Supervisor.
    """

    def start_child(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Operation[Pid]:
        """Run fn(*args, **kwargs) in a process of its own and forget about it.

        Raises:
            TooManyChildren: There are ``max_children``.
            CallError: The supervisor does not run.

        Source: Elixir's Task.Supervisor.start_child/2.
        """
        demand_function("start_child", fn)
        return self._start(fn, fn, args, kwargs)

    async def start_task(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Task[Any]:
        """Start a task as ``Task.start`` does, linked to the caller, under the supervisor.

        Raises:
            TooManyChildren: There are ``max_children``.
            CallError: The supervisor does not run.

        Source: Elixir's Task.Supervisor.async/2.
        """
        task = await self.start_nolink(fn, *args, **kwargs)
        try:
            _core.link(task.pid)
        except _errors.NoProcess:
            pass  # it has ended, which its monitor tells
        return task

    async def start_nolink(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Task[Any]:
        """The same without the link: its crash is told by ``await task`` alone.

        Example:
            >>> import transom
            >>> async def divide(a, b):
            ...     return a / b
            >>> async def main():
            ...     tasks = await transom.TaskSupervisor.start_link()
            ...     kind, reason = await (await tasks.start_nolink(divide, 1, 0)).yield_()
            ...     return kind, reason.summary()
            >>> import logging; logging.getLogger("transom").setLevel(logging.CRITICAL)
            >>> transom.run(main)
            ('exit', 'ZeroDivisionError: division by zero')

        Source: Elixir's Task.Supervisor.async_nolink/2.
        """
        demand_function("start_task", fn)
        pid = await self._start(fn, body_of(fn), (_core.current_pid(), fn, args, kwargs), {})
        return Task(pid, name_of(fn))

    def terminate_child(self, pid: Pid) -> Operation[None]:
        """Stop a task, and wait until it is gone.

        Args:
            pid: Its Pid: what ``start_child`` gave, or ``task.pid``.

        Raises:
            NoChild: It is no child (any more).
        """
        return ask(self.dest, "terminate_child", pid)

    def async_stream(
        self,
        items: Any,
        fn: Callable[..., Any],
        *,
        max_concurrency: int | None = None,
        ordered: bool = True,
        timeout: float | None = 5.0,
        on_timeout: Literal["exit", "kill_task"] = "exit",
        zip_input: bool = False,
    ) -> TaskStream:
        """As ``Task.async_stream``, the tasks under this supervisor.

        Source: Elixir's Task.Supervisor.async_stream/4.
        """
        return stream(
            items, fn, max_concurrency, ordered, timeout, on_timeout, zip_input, supervisor=self.dest, nolink=False
        )

    def async_stream_nolink(
        self,
        items: Any,
        fn: Callable[..., Any],
        *,
        max_concurrency: int | None = None,
        ordered: bool = True,
        timeout: float | None = 5.0,
        on_timeout: Literal["exit", "kill_task"] = "exit",
        zip_input: bool = False,
    ) -> TaskStream:
        """The same, and a task that fails gives ``("exit", reason)`` always, instead of raising.

        Source: Elixir's Task.Supervisor.async_stream_nolink/4.
        """
        return stream(
            items, fn, max_concurrency, ordered, timeout, on_timeout, zip_input, supervisor=self.dest, nolink=True
        )

    def _start(
        self, what: Callable[..., Any], body: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Operation[Pid]:
        label = f"task {name_of(what)}"
        start = StartFunction(body, args, tuple(kwargs.items()), label=label)
        return ask(self.dest, "start_child", ChildSpec(id=name_of(what), start=start, restart="temporary"))


class TaskSupervisor(DynamicBase[TaskSupervisorRef]):
    """A supervisor of tasks; a DynamicSupervisor whose children are functions that end, and are never restarted.

    Attributes:
        max_children: How many tasks there may be at once, at least 0; None: no limit.

    Example:
        >>> import transom
        >>> async def job():
        ...     await transom.receive()
        >>> async def main():
        ...     tasks = await transom.TaskSupervisor.start_link(max_children=1)
        ...     await tasks.start_child(job)
        ...     try:
        ...         await tasks.start_child(job)
        ...     except transom.TooManyChildren as error:
        ...         return str(error)
        >>> transom.run(main)
        'the supervisor has 1 children, as many as its max_children allows'

    Source: Elixir's Task.Supervisor.
    """

    _ref = TaskSupervisorRef
