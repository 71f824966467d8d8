"""Operations that wait: one expression for processes, asyncio programs and plain threads.

An Operation is a coroutine function over "how to receive". Awaited in a process, it runs there. Its result() blocks:
in a plain def process by the blocking receive. Outside of processes there is no mailbox to wait at, so a short-lived
process (a relay) runs the steps and brings the outcome out.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any, Protocol

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

    __slots__ = ()

    if TYPE_CHECKING:

        async def _steps(self, receive: Receive) -> T:
            raise NotImplementedError

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"an Operation has no attribute {name!r}; await it first, or ask for its result()")

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


class _Stepwise[T](Operation[T]):
    __slots__ = ("_steps",)

    def __init__(self, steps: Steps[T]) -> None:
        self._steps = steps  # type: ignore[method-assign, assignment]


def of_steps[T](steps: Steps[T]) -> Operation[T]:
    """The operation whose steps these are."""
    return _Stepwise(steps)


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop that runs in the calling thread."""
    return asyncio._get_running_loop()


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

    def __init__(self, tell: Callable[[_Outcome], None]) -> None:
        self.done = False
        self.value: Any = None
        self.error: BaseException | None = None
        self._tell = tell

    def finish(self, value: Any, error: BaseException | None) -> None:
        self.value, self.error, self.done = value, error, True
        self._tell(self)

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
    if _core._in_service():
        raise RuntimeError("result(): a finaliser that runs while a process waits cannot wait; it can send or cast")
    ready = threading.Event()
    outcome = _Outcome(lambda _: ready.set())
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
    """The same for a coroutine of an asyncio program. When it is cancelled, the relay is; not what the relay asked."""
    bridge = _bridge(asyncio.get_running_loop())
    outcome = _Outcome(bridge.tell)
    relay = _spawn_relay(steps, outcome)
    future = bridge.expect(outcome, relay)
    try:
        await future
        return outcome.get()  # type: ignore[no-any-return]
    finally:
        bridge.forget(outcome)
        if not outcome.done and _core._is_running():
            _core.kill(relay)


class _Bridge:
    """Between processes and one asyncio loop of the program: outcomes cross in batches, one wake-up for each batch."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)
        self._lock = threading.Lock()
        self._told: list[_Outcome] = []  # under the lock; when it is not empty the loop knows
        self._waiting: dict[_Outcome, tuple[asyncio.Future[None], _core.Pid]] = {}  # the loop's thread only
        self._look: asyncio.TimerHandle | None = None

    def tell(self, outcome: _Outcome) -> None:
        """Any thread: it is done."""
        with self._lock:
            first = not self._told
            self._told.append(outcome)
        if first:
            loop = self._loop()
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                if loop is not None:
                    loop.call_soon_threadsafe(self._take)

    def _take(self) -> None:
        with self._lock:
            told, self._told = self._told, []
        for outcome in told:
            self._end(outcome)

    def _end(self, outcome: _Outcome) -> None:
        entry = self._waiting.get(outcome)
        if entry is not None and not entry[0].done():
            entry[0].set_result(None)

    def expect(self, outcome: _Outcome, relay: _core.Pid) -> asyncio.Future[None]:
        """A future that is done when outcome is, or the relay has gone without one."""
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self._waiting[outcome] = (future, relay)
        if outcome.done:
            future.set_result(None)
        elif self._look is None:
            self._look = loop.call_later(POLL_SECONDS, self._look_after)
        return future

    def forget(self, outcome: _Outcome) -> None:
        self._waiting.pop(outcome, None)
        if not self._waiting and self._look is not None:
            self._look.cancel()
            self._look = None

    def _look_after(self) -> None:
        """Relays end without a word when the node stops."""
        self._look = asyncio.get_running_loop().call_later(POLL_SECONDS, self._look_after)
        running = _core._is_running()
        for outcome, (_, relay) in list(self._waiting.items()):
            if not running or not _core.is_alive(relay):
                self._end(outcome)


_bridges: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Bridge] = weakref.WeakKeyDictionary()
_bridges_lock = threading.Lock()
_mine = threading.local()


def _bridge(loop: asyncio.AbstractEventLoop) -> _Bridge:
    last: tuple[Any, _Bridge] | None = getattr(_mine, "last", None)
    if last is not None and last[0]() is loop:
        return last[1]
    with _bridges_lock:
        bridge = _bridges.get(loop)
        if bridge is None:
            bridge = _bridges[loop] = _Bridge(loop)
    _mine.last = (weakref.ref(loop), bridge)
    return bridge
