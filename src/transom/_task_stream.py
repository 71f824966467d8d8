"""async_stream: a function over many items, in as many tasks at once as wanted.

Two processes: the consumer, which iterates, and a driver of its own, which starts the tasks and gathers what comes of
them. Only the driver is linked to tasks and gets their signals, so nothing of them is ever in the consumer's mailbox,
and a loop that is left half-way leaves nothing behind.

Protocol    Consumer to driver: (ITEM, position, item), as many as there is room for; (NEXT, ref), a monitored request;
            HALT. Driver to consumer: one answer to each NEXT.
            The driver monitors the consumer and ends with it; it ends tasks by killing them.

Source: Elixir's Task.async_stream/5, Task.Supervised.stream.
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Self

from transom import _core, _errors, _values
from transom._child import ChildSpec
from transom._core import Down, Exit, Pid, Ref
from transom._process import spawn_opt
from transom._start_function import StartFunction
from transom._supervisor_ref import ask
from transom._values import SpawnOptions

ITEM = "$stream_item"
NEXT = "$stream_next"
VALUE = "$stream_value"
LATE = "$stream_late"
HALT = "$stream_halt"
BEGIN = "$stream_begin"
LABEL = "task of a stream"


@dataclass(frozen=True, slots=True)
class Plan:
    """What the driver needs to know."""

    fn: Callable[..., Any]
    ordered: bool
    timeout: float | None
    supervisor: Pid | str | None
    nolink: bool


class TaskStream:
    """What ``Task.async_stream`` gives; iterate over it with ``async for``, in one process.

    Example:
        >>> import transom
        >>> async def square(n):
        ...     return n * n
        >>> async def main():
        ...     async for outcome in transom.Task.async_stream([3], square):
        ...         return outcome
        >>> transom.run(main)
        ('ok', 9)

    Source: the enumerable of Elixir's Task.async_stream/3.
    """

    def __init__(
        self, items: Iterator[Any] | AsyncIterator[Any], plan: Plan, room: int, kill_late: bool, zip_input: bool
    ) -> None:
        self._items = items
        self._plan = plan
        self._room = room
        self._kill_late = kill_late
        self._zip_input = zip_input
        self._driver: Pid | None = None
        self._next = 0  # position of the next item
        self._inside: dict[int, Any] = {}  # positions whose outcome has not been given
        self._more = True

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> tuple[str, Any]:
        try:
            await self._fill()
            if not self._inside:
                raise StopAsyncIteration
            answer = await self._ask()
            position, outcome = answer
            item = self._inside.pop(position)
            return self._given(item, outcome)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the tasks that are running. Leaving the loop does it, too; from any process or thread."""
        self._more = False
        self._inside.clear()
        driver, self._driver = self._driver, None
        if driver is not None and _core._is_running():
            _core.send(driver, HALT)

    async def aclose(self) -> None:
        """As close."""
        self.close()

    def __del__(self) -> None:
        self.close()

    async def _fill(self) -> None:
        while self._more and len(self._inside) < self._room:
            try:
                if isinstance(self._items, AsyncIterator):
                    item = await anext(self._items)
                else:
                    item = next(self._items)
            except (StopIteration, StopAsyncIteration):
                self._more = False
                return
            driver = self._driver
            if driver is None:
                options = SpawnOptions(trap_exit=True, label="driver of a task stream")
                driver = self._driver = spawn_opt(options, _drive, _core.current_pid(), self._plan)
            assert driver is not None
            _core.send(driver, (ITEM, self._next, item))
            self._inside[self._next] = item if self._zip_input else None
            self._next += 1

    async def _ask(self) -> tuple[int, Any]:
        assert self._driver is not None
        ref = _core.monitor(self._driver, alias="reply_demonitor")
        _core.send(self._driver, (NEXT, ref))
        answer = await _core.receive(ref)
        if isinstance(answer, Down):
            raise _errors.TaskError(answer.reason, "the driver of a task stream")
        return answer  # type: ignore[no-any-return]

    def _given(self, item: Any, outcome: tuple[str, Any]) -> tuple[str, Any]:
        kind, value = outcome
        if kind == "ok":
            return outcome
        if kind == "late":
            if not self._kill_late:
                raise _errors.TaskError("timeout", f"a task of a stream ({self._plan.fn.__qualname__})")
            value = "timeout"
        elif not self._plan.nolink and not _traps_exits():
            cause = value.exception if isinstance(value, _values.Crash) else None
            raise _errors.TaskError(value, f"a task of a stream ({self._plan.fn.__qualname__})") from cause
        return ("exit", (item, value) if self._zip_input else value)


def _traps_exits() -> bool:
    info = _core.process_info(_core.current_pid(), "trap_exit")
    return info is not None and bool(info["trap_exit"])


def stream(
    items: Any,
    fn: Callable[..., Any],
    max_concurrency: int | None,
    ordered: bool,
    timeout: float | None,
    on_timeout: str,
    zip_input: bool,
    *,
    supervisor: Pid | str | None,
    nolink: bool,
) -> TaskStream:
    """A TaskStream, its arguments checked."""
    if not callable(fn):
        raise TypeError(f"async_stream() takes the items and a function, not {type(fn).__name__}")
    room: int = _core.node_info()["slots"] if max_concurrency is None else max_concurrency
    if type(room) is not int:
        raise TypeError(f"async_stream(): max_concurrency must be an int, not {max_concurrency!r}")
    if room < 1:
        raise ValueError(f"async_stream(): max_concurrency must be at least 1, not {max_concurrency}")
    if on_timeout not in ("exit", "kill_task"):
        raise ValueError(f"async_stream(): on_timeout must be 'exit' or 'kill_task', not {on_timeout!r}")
    if timeout is not None and not timeout > 0:
        raise ValueError(f"async_stream(): timeout must be > 0 seconds or None, not {timeout!r}")
    iterator = aiter(items) if hasattr(items, "__aiter__") else iter(items)
    plan = Plan(fn, ordered, timeout, supervisor, nolink)
    return TaskStream(iterator, plan, room, on_timeout == "kill_task", zip_input)


# -- in the driver -----------------------------------------------------------------------------------------------------


class _Driver:
    """The tasks of one stream."""

    def __init__(self, consumer: Pid, plan: Plan) -> None:
        self.plan = plan
        self.watch = _core.monitor(consumer)
        self.me = _core.current_pid()
        self.tasks: dict[Pid, int] = {}  # running task -> position
        self.pids: dict[int, Pid] = {}
        self.monitors: dict[Ref, Pid] = {}
        self.values: dict[int, Any] = {}  # what tasks sent that have not ended yet
        self.timers: dict[int, _core.Timer] = {}
        self.done: dict[int, tuple[str, Any]] = {}  # outcomes not asked for yet, by position
        self.finished: deque[int] = deque()  # the same positions as they came
        self.expected = 0  # position that is due, when ordered
        self.asking: Ref | None = None

    async def run(self) -> None:
        while await self.handle(await _core.receive()):
            self.answer()
        for pid in self.tasks:
            _core.unlink(pid)
            _core.kill(pid)

    async def handle(self, message: Any) -> bool:
        """Returns False when it is over."""
        match message:
            case (str() as word, int() as position, item) if word == ITEM:
                await self.start(position, item)
            case (str() as word, Ref() as asking) if word == NEXT:
                self.asking = asking
            case (str() as word, Pid() as pid, value) if word == VALUE:
                if pid in self.tasks:
                    self.values[self.tasks[pid]] = value
            case (str() as word, int() as position) if word == LATE:
                self.late(position)
            case Exit(pid, reason):
                self.ended(pid, reason)
            case Down(ref, _, reason) if ref in self.monitors:
                self.ended(self.monitors.pop(ref), reason)
            case Down(ref):
                return ref != self.watch
            case _:
                return bool(message != HALT)
        return True

    async def start(self, position: int, item: Any) -> None:
        body = _run_item if inspect.iscoroutinefunction(self.plan.fn) else _run_item_plain
        if self.plan.supervisor is None:
            pid = spawn_opt(SpawnOptions(link=True, label=LABEL), body, self.me, self.plan.fn, item)
        else:
            # It waits until it is watched, or its reason would be lost when it ends at once.
            body = _run_watched if body is _run_item else _run_watched_plain
            start = StartFunction(body, (self.me, self.plan.fn, item), label=LABEL)
            pid = await ask(self.plan.supervisor, "start_child", ChildSpec(id=LABEL, start=start, restart="temporary"))
            self.monitors[_core.monitor(pid)] = pid
            if not self.plan.nolink:
                _core.link(pid)
            _core.send(pid, BEGIN)
        self.tasks[pid] = position
        self.pids[position] = pid
        if self.plan.timeout is not None:
            self.timers[position] = _core.send_after(self.plan.timeout, self.me, (LATE, position))

    def late(self, position: int) -> None:
        self.timers.pop(position, None)
        pid = self.pids.get(position)
        if pid is not None and position not in self.values:
            _core.unlink(pid)
            _core.kill(pid)
            self.finish(pid, ("late", None))

    def ended(self, pid: Pid, reason: Any) -> None:
        position = self.tasks.get(pid)
        if position is None:
            return
        if position in self.values:
            self.finish(pid, ("ok", self.values.pop(position)))
        else:
            self.finish(pid, ("exit", reason))

    def finish(self, pid: Pid, outcome: tuple[str, Any]) -> None:
        position = self.tasks.pop(pid)
        del self.pids[position]
        timer = self.timers.pop(position, None)
        if timer is not None:
            _core.cancel_timer(timer)
        self.done[position] = outcome
        self.finished.append(position)

    def answer(self) -> None:
        if self.asking is None or not self.finished:
            return
        if self.plan.ordered:
            position = self.expected
            if position not in self.done:
                return
            self.expected += 1
            self.finished.remove(position)
        else:
            position = self.finished.popleft()
        _core.send(self.asking, (position, self.done.pop(position)))
        self.asking = None


async def _drive(consumer: Pid, plan: Plan) -> None:
    await _Driver(consumer, plan).run()


async def _run_item(driver: Pid, fn: Callable[..., Any], item: Any) -> None:
    _core.send(driver, (VALUE, _core.current_pid(), await fn(item)))


def _run_item_plain(driver: Pid, fn: Callable[..., Any], item: Any) -> None:
    _core.send(driver, (VALUE, _core.current_pid(), fn(item)))


async def _run_watched(driver: Pid, fn: Callable[..., Any], item: Any) -> None:
    watch = _core.monitor(driver)
    if isinstance(await _core.receive(_is_begin, watch), Down):
        raise _errors.Stop("shutdown")
    _core.demonitor(watch, flush=True)
    await _run_item(driver, fn, item)


def _run_watched_plain(driver: Pid, fn: Callable[..., Any], item: Any) -> None:
    watch = _core.monitor(driver)
    if isinstance(_core._sync_receive(_is_begin, watch), Down):
        raise _errors.Stop("shutdown")
    _core.demonitor(watch, flush=True)
    _run_item_plain(driver, fn, item)


def _is_begin(message: Any) -> bool:
    return type(message) is str and message == BEGIN
