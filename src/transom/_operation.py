"""Operations that wait: one expression for processes, asyncio programs and plain threads.

An Operation is a coroutine function over "how to receive". Awaited in a process, it runs there. Its result() blocks:
in a plain def process by the blocking receive. Outside of processes there is no mailbox to wait at, so a short-lived
process (a relay) runs the steps and brings the outcome out.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, Protocol

from transom import _core, _errors

POLL_SECONDS = 0.2  # how often someone outside looks whether the relay is still there


class Receive(Protocol):
    """receive, as await-able in the place where the steps run."""

    def __call__(self, *match: Any, timeout: float | None = None) -> Awaitable[Any]: ...


type Steps[T] = Callable[[Receive], Coroutine[Any, Any, T]]


class Operation[T]:
    """Something under way or about to begin; await it in a process or an asyncio program, or ask for its result().

    Nothing happens before it is awaited or asked. Each await runs it once more.
    """

    __slots__ = ("_steps",)

    def __init__(self, steps: Steps[T]) -> None:
        self._steps = steps

    def __await__(self) -> Generator[Any, Any, T]:
        if in_process() and asyncio._get_running_loop() is None:
            return self._steps(_core.receive).__await__()
        return awaited_outside(self._steps).__await__()

    def result(self, timeout: float | None = None) -> T:
        """Block the calling thread until it is done and return the result; for plain functions and threads.

        In a process only the process waits: its slot goes on with others.

        Args:
            timeout: Seconds; None leaves it to the operation's own limit.

        Raises:
            TimeoutError: Not done in time.
        """
        if in_process():
            return _blocking(self._steps, timeout)
        return result_outside(self._steps, timeout)


def in_process() -> bool:
    """Is the caller a process?"""
    try:
        _core.current_pid()
    except _errors.NotInProcess:
        return False
    return True


def _blocking[T](steps: Steps[T], timeout: float | None) -> T:
    end = None if timeout is None else _core._monotonic() + timeout

    async def receive(*match: Any, timeout: float | None = None) -> Any:
        left = None if end is None else max(0.0, end - _core._monotonic())
        limits = [limit for limit in (left, timeout) if limit is not None]
        return _core._sync_receive(*match, timeout=min(limits)) if limits else _core._sync_receive(*match)

    running = steps(receive)
    try:
        running.send(None)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    running.close()
    raise RuntimeError("result(): the operation awaited something that cannot be waited for in a plain function")


class _Outcome:
    """How the steps came out; set once by the relay."""

    def __init__(self, tell: Callable[[], None]) -> None:
        self.done = False
        self.value: Any = None
        self.error: BaseException | None = None
        self._tell = tell

    def finish(self, value: Any, error: BaseException | None) -> None:
        self.value, self.error, self.done = value, error, True
        self._tell()

    def get(self) -> Any:
        if not self.done:
            raise _errors.NotRunning("the node stopped before the operation was done")
        if self.error is not None:
            raise self.error
        return self.value


def _spawn_relay(steps: Steps[Any], outcome: _Outcome) -> _core.Pid:
    async def relay() -> None:
        _core.set_label("relay of a caller outside")
        try:
            value = await steps(_core.receive)
        except _errors.Killed:
            outcome.finish(None, _errors.NotRunning("the node stopped before the operation was done"))
            raise
        except BaseException as error:
            outcome.finish(None, error)
        else:
            outcome.finish(value, None)

    return _core.spawn(relay)


def result_outside[T](steps: Steps[T], timeout: float | None) -> T:
    """Run the steps in a relay while the calling thread, which is no process, waits."""
    ready = threading.Event()
    outcome = _Outcome(ready.set)
    relay = _spawn_relay(steps, outcome)
    end = None if timeout is None else time.monotonic() + timeout
    try:
        while not ready.wait(POLL_SECONDS if end is None else max(0.0, min(POLL_SECONDS, end - time.monotonic()))):
            if end is not None and time.monotonic() >= end:
                raise TimeoutError(f"result(): not done within {timeout} seconds")
            if not _core._is_running() or not _core.is_alive(relay):
                break
        return outcome.get()  # type: ignore[no-any-return]
    finally:
        if not outcome.done and _core._is_running():
            _core.kill(relay)


async def awaited_outside[T](steps: Steps[T]) -> T:
    """The same for a coroutine of an asyncio program."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()

    def tell() -> None:
        try:
            loop.call_soon_threadsafe(ready.set)
        except RuntimeError:
            pass  # the loop is closed: nobody waits any more

    outcome = _Outcome(tell)
    relay = _spawn_relay(steps, outcome)
    try:
        while not outcome.done:
            try:
                await asyncio.wait_for(ready.wait(), POLL_SECONDS)
            except TimeoutError:
                if not _core._is_running() or not _core.is_alive(relay):
                    break
        return outcome.get()  # type: ignore[no-any-return]
    finally:
        if not outcome.done and _core._is_running():
            _core.kill(relay)
