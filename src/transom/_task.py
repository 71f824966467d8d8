"""Tasks: processes that compute one value for the process that started them.

A task is linked to its owner and monitored by it; its value comes by the monitor's alias. So a task whose owner ends
is ended, an owner is ended by a task's crash (unless it traps exits or the task is unlinked), and a value nobody waits
for any more never reaches a mailbox.

Protocol    The owner starts the task, monitors it with an alias, and sends it the alias. The task waits for that,
            computes, sends ("ok", value) to the alias, ends. A task whose owner ends before that ends, too.

Source: Elixir's Task, Task.Supervised.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Generator, Iterable
from dataclasses import replace
from typing import Any, Literal

from transom import _core, _errors, _values
from transom._child import ChildSpec
from transom._core import Down, Exit, Pid, Ref
from transom._operation import Receive, _blocking
from transom._process import spawn_opt
from transom._start_function import StartFunction
from transom._supervisor_ref import drop
from transom._task_stream import TaskStream, stream
from transom._values import SpawnOptions

type Outcome[T] = tuple[Literal["ok"], T] | tuple[Literal["exit"], Any]

SHUTDOWN_SECONDS = 5.0


class Task[T]:
    """A process that computes one value. Make one with ``Task.start``; only the process that did may wait for it.

    Attributes:
        pid: The task's process.
        owner: The process that started it.

    Example:
        >>> import transom
        >>> async def double(n):
        ...     return 2 * n
        >>> async def main():
        ...     tasks = [transom.Task.start(double, n) for n in (1, 2, 3)]
        ...     return [await task for task in tasks]
        >>> transom.run(main)
        [2, 4, 6]

    Source: Elixir's Task.
    """

    __slots__ = ("_call", "_over", "_ref", "owner", "pid")

    def __init__(self, pid: Pid, call: str) -> None:
        self.pid = pid
        self.owner = _core.current_pid()
        self._call = call
        self._over = False
        # The alias lives as long as the monitor: shutdown wants both the value and the end.
        self._ref = _core.monitor(pid, alias="demonitor")
        _core.send(pid, (_BEGIN, self._ref))

    def __repr__(self) -> str:
        return f"Task({self._call} {self.pid})"

    @staticmethod
    def start[V](fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Task[Any]:
        """Start a task, linked to the caller.

        Args:
            fn: Coroutine function, or plain function, which borrows an OS thread.
            args: Copied for the task unless deeply immutable.
            kwargs: The same.

        Raises:
            NotInProcess: Called outside a process.

        Source: Elixir's Task.async/1.
        """
        return Task(spawn_task(SpawnOptions(link=True), fn, args, kwargs), name_of(fn))

    @staticmethod
    def child(fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> ChildSpec:
        """A ChildSpec of a process that runs fn(*args, **kwargs) and ends; temporary unless ``options`` says otherwise.

        Nobody waits for its value. Also the way to put any function under a supervisor.

        Source: Elixir's Task.child_spec/1.
        """
        demand_function("Task.child", fn)
        start = StartFunction(fn, args, tuple(sorted(kwargs.items())))
        return ChildSpec(id=name_of(fn), start=start, restart="temporary")

    def __await__(self) -> Generator[Any, Any, T]:
        return self.await_().__await__()

    async def await_(self, timeout: float | None = None) -> T:
        """Wait for the value; ``await task`` is the same without a limit.

        After it, whatever came of it, the task is over for its owner: a late value vanishes. The process itself may
        go on after a timeout, still linked; ``shutdown`` ends it.

        Args:
            timeout: Seconds; None waits for ever.

        Raises:
            TaskError: The task ended without a value (``.reason``), or had none in time (reason ``"timeout"``).
            NotOwner: The caller did not start it.

        Source: Elixir's Task.await/2, which ends the caller instead of raising.
        """
        return await self._await(_core.receive, timeout)

    def result(self, timeout: float | None = None) -> T:
        """As await_, for plain functions: it blocks the calling process."""
        return _blocking(lambda receive: self._await(receive, timeout), None)

    async def _await(self, receive: Receive, timeout: float | None) -> T:
        outcome = await self._yield(receive, timeout)
        if outcome is None:
            await self._abandon(receive)
            raise _errors.TaskError("timeout", repr(self))
        if outcome[0] == "ok":
            return outcome[1]
        reason = outcome[1]
        raise _errors.TaskError(reason, repr(self)) from _cause(reason)

    async def yield_(self, timeout: float | None = 5.0) -> Outcome[T] | None:
        """Wait for the task, and do not raise for what came of it.

        Args:
            timeout: Seconds; 0 looks; None waits for ever.

        Returns:
            ``("ok", value)``, ``("exit", reason)``, or None when it is not done in time; then one may ask again.

        Raises:
            NotOwner: The caller did not start it.

        Source: Elixir's Task.yield/2.
        """
        return await self._yield(_core.receive, timeout)

    async def _yield(self, receive: Receive, timeout: float | None) -> Outcome[T] | None:
        self._demand_owner()
        if self._over:
            return ("exit", "noproc")
        try:
            answer = await receive(self._ref, timeout=timeout)
        except TimeoutError:
            return None
        self._finish()
        return ("exit", answer.reason) if isinstance(answer, Down) else ("ok", answer[1])

    async def shutdown(self, timeout: float | None | Literal["brutal_kill"] = SHUTDOWN_SECONDS) -> Outcome[T] | None:
        """End the task and wait until it is gone. The caller is unlinked from it first.

        Args:
            timeout: Seconds after which it is killed; None: any time; ``"brutal_kill"``: it is killed at once.

        Returns:
            ``("ok", value)`` when it had replied already, None when it ended because of this, or its end was known,
            ``("exit", reason)`` when it ended otherwise; ``("exit", "killed")`` when the time was up.

        Raises:
            NotOwner: The caller did not start it.

        Source: Elixir's Task.shutdown/2.
        """
        self._demand_owner()
        expected = ["killed" if timeout == "brutal_kill" else "shutdown"]
        if self._over:  # its value is not wanted any more, but after a timeout its process may go on
            self._ref = _core.monitor(self.pid)
            expected.append("noproc")
        _core.unlink(self.pid)
        if timeout == "brutal_kill":
            _core.kill(self.pid)
        else:
            _core.exit(self.pid, "shutdown")
        seconds = timeout if not isinstance(timeout, str) else None
        outcome: Outcome[T] | None = None
        while True:
            try:
                answer = await _core.receive(self._ref, timeout=seconds)
            except TimeoutError:
                _core.kill(self.pid)
                seconds = None
                continue
            if isinstance(answer, Down):
                break
            outcome = ("ok", answer[1])
        self._finish()
        await _take_exit(self.pid)
        if outcome is None and answer.reason not in expected:
            return ("exit", answer.reason)
        return outcome

    async def ignore(self) -> Outcome[T] | None:
        """Let the task go on, unlinked; nobody waits for its value any more. Does not wait.

        Returns:
            What had come of it already, as yield_ gives it; else None.

        Source: Elixir's Task.ignore/1.
        """
        outcome = await self.yield_(0)
        _core.unlink(self.pid)
        await _take_exit(self.pid)
        if outcome is None:
            await self._abandon(_core.receive)
        return outcome

    async def _abandon(self, receive: Receive) -> None:
        self._finish()
        await drop(self._ref, receive)

    def _finish(self) -> None:
        self._over = True
        _core.demonitor(self._ref, flush=True)

    def _demand_owner(self) -> None:
        if _core.current_pid() != self.owner:
            raise _errors.NotOwner(f"{self!r} belongs to {self.owner}; only that process can wait for it or end it")

    @staticmethod
    async def await_many(tasks: Iterable[Task[Any]], timeout: float | None = None) -> list[Any]:
        """Wait for all tasks; their values in the order of the tasks.

        Args:
            tasks: Each once.
            timeout: Seconds for all of them together; None waits for ever.

        Raises:
            TaskError: As soon as one ends without a value, or the time is up. The others are over for their owner,
                too: their values vanish.
            NotOwner: The caller did not start all of them.

        Source: Elixir's Task.await_many/2, which ends the caller instead of raising.
        """
        return await _await_many(list(tasks), timeout)

    @staticmethod
    def async_stream(
        items: Any,
        fn: Callable[..., Any],
        *,
        max_concurrency: int | None = None,
        ordered: bool = True,
        timeout: float | None = 5.0,
        on_timeout: Literal["exit", "kill_task"] = "exit",
        zip_input: bool = False,
    ) -> TaskStream:
        """Run fn(item) for each item, each in a task of its own, only so many at once; an asynchronous iterator.

        Nothing runs before the first item is asked for. Leaving the loop early ends the tasks that are running.

        Args:
            items: Iterable or asynchronous iterable; taken from as tasks become free, in the consuming process.
            fn: Coroutine function or plain function.
            max_concurrency: Tasks at once, at least 1. Default: as many as the node has schedulers.
            ordered: Outcomes in the order of the items, else as they come.
            timeout: Seconds each item may take; None: any time.
            on_timeout: ``"exit"`` raises TaskError("timeout"), ``"kill_task"`` gives ``("exit", "timeout")``.
            zip_input: Failures come as ``("exit", (item, reason))``.

        Returns:
            An iterator of ``("ok", value)`` and, in a consumer that traps exits, ``("exit", reason)``.

        Raises:
            TaskError: A task failed, and the consumer does not trap exits; or a timeout. The others are ended.

        Example:
            >>> import transom
            >>> async def fetch(n):
            ...     await transom.sleep(0.001 * n)
            ...     return n * n
            >>> async def main():
            ...     return [v async for _, v in transom.Task.async_stream(range(4), fetch, max_concurrency=2)]
            >>> transom.run(main)
            [0, 1, 4, 9]

        Source: Elixir's Task.async_stream/3.
        """
        return stream(
            items, fn, max_concurrency, ordered, timeout, on_timeout, zip_input, supervisor=None, nolink=False
        )


async def _await_many(tasks: list[Task[Any]], timeout: float | None) -> list[Any]:
    values: dict[Ref, Any] = {}
    left = {}
    for task in tasks:
        task._demand_owner()
        if task._ref in left:
            raise ValueError(f"await_many(): {task!r} is there twice")
        if task._over:
            raise _errors.TaskError("noproc", repr(task))
        left[task._ref] = task
    wake = _core.make_ref()
    timer = None if timeout is None else _core.send_after(timeout, _core.current_pid(), (_TIMEOUT, wake))
    try:
        # One after the other in the order of the tasks would miss a failure of a later one.
        while left:
            answer = await _core.receive(functools.partial(_is_answer, left, wake))
            if not isinstance(answer, Down) and answer[0] == _TIMEOUT:
                timer = None
                raise _errors.TaskError("timeout", repr(next(iter(left.values()))))
            ref = answer.ref if isinstance(answer, Down) else answer[2]
            task = left.pop(ref)
            task._finish()
            if isinstance(answer, Down):
                raise _errors.TaskError(answer.reason, repr(task)) from _cause(answer.reason)
            values[ref] = answer[1]
        return [values[task._ref] for task in tasks]
    finally:
        for task in left.values():
            await task._abandon(_core.receive)
        if timer is not None:
            await _drop_timer(timer, wake)


def _is_answer(left: dict[Ref, Task[Any]], wake: Ref, message: Any) -> bool:
    if isinstance(message, Down):
        return message.ref in left
    if type(message) is not tuple or not 2 <= len(message) <= 3 or type(message[-1]) is not Ref:
        return False
    return message[-1] in left or message[-1] == wake


async def _drop_timer(timer: _core.Timer, wake: Ref) -> None:
    if _core.cancel_timer(timer) is None:
        await _core.receive(lambda message: type(message) is tuple and message == (_TIMEOUT, wake))


def _cause(reason: Any) -> BaseException | None:
    return reason.exception if isinstance(reason, _values.Crash) else None


async def _take_exit(pid: Pid) -> None:
    """An owner that traps exits may have got the task's Exit before it was unlinked."""
    try:
        await _core.receive(lambda message: type(message) is Exit and message.sender == pid, timeout=0)
    except TimeoutError:
        pass


# -- in the task's process ---------------------------------------------------------------------------------------------

_BEGIN = "$task_begin"
_TIMEOUT = "$task_timeout"


def name_of(fn: Any) -> str:
    return getattr(fn, "__qualname__", None) or type(fn).__qualname__


def demand_function(what: str, fn: Any) -> None:
    if not callable(fn):
        hint = f"; write {what}(fn, x), not {what}(fn(x))" if inspect.iscoroutine(fn) else ""
        raise TypeError(f"{what}() takes the function to run first, not {type(fn).__name__}{hint}")


def spawn_task(options: SpawnOptions, fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Pid:
    demand_function("Task.start", fn)
    options = replace(options, label=options.label or f"task {name_of(fn)}")
    pid: Pid = spawn_opt(options, body_of(fn), _core.current_pid(), fn, args, kwargs)
    return pid


def body_of(fn: Any) -> Callable[..., Any]:
    """What a task's process runs; its arguments are the owner, fn, args and kwargs."""
    return _compute if inspect.iscoroutinefunction(fn) else _compute_plain


async def _compute(owner: Pid, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    watch = _core.monitor(owner)
    begin = await _core.receive(functools.partial(_is_begin, watch))
    _leave_if_down(watch, begin)
    _core.send(begin[1], ("ok", await fn(*args, **kwargs), begin[1]))


def _compute_plain(owner: Pid, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    watch = _core.monitor(owner)
    begin = _core._sync_receive(functools.partial(_is_begin, watch))
    _leave_if_down(watch, begin)
    _core.send(begin[1], ("ok", fn(*args, **kwargs), begin[1]))


def _is_begin(watch: Ref, message: Any) -> bool:
    if isinstance(message, Down):
        return message.ref == watch
    return type(message) is tuple and len(message) == 2 and type(message[0]) is str and message[0] == _BEGIN


def _leave_if_down(watch: Ref, begin: Any) -> None:
    if isinstance(begin, Down):
        raise _errors.Stop("shutdown")  # nobody is there to want the value
    _core.demonitor(watch, flush=True)
