"""Event loop threads: where asyncio code runs for processes.

One LoopThread is one OS thread that runs one asyncio loop (uvloop's where it is installed), started when it is first
needed and ended with the node. Processes reach it through operations (ext/bind/tsm_aio.h), which `transom.aio` makes.

For other parts of transom that need a loop, such as ports, this is the interface:

    thread = loop_thread(0)         # LoopThread, started; blocks for a moment the first time
    thread.loop                     # the asyncio loop; touch it only on its own thread
    thread.call(fn, *args)          # any thread: run fn(*args) on the loop soon; False: it has stopped
    await aio(lambda: coro(), ...)  # in a process: run a coroutine there, be woken with its result
    thread.at_close(fn)             # on the loop thread: call fn() when the loop ends, before its tasks are cancelled
    thread.not_at_close(fn)

What a callback on the loop tells a process it sends with `transom.send` (any thread may), wrapped in `transom.share`
or `transom.move` where it must not be copied.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from transom import _core, _errors, _io_task, _loop_watch

_log = logging.getLogger("transom")
_lock = threading.Lock()

MAX_LOOPS = 64
BATCH = 64  # operations begun before the loop looks at its sockets again
CLOSE_SECONDS = 2.0  # what tasks may take to end when the loop ends


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()  # type: ignore[no-any-return, unused-ignore]


class LoopThread:
    """One thread with one loop. Its attributes are set when the constructor returns."""

    loop: asyncio.AbstractEventLoop

    def __init__(self, index: int) -> None:
        self.index = index
        self.core = _core._IoLoop()
        self.tasks: dict[asyncio.Task[Any], Any] = {}  # of operations; changed by the loop thread only
        self.homes: set[Any] = set()  # of agents on the loop; the same
        self.ports: set[Any] = set()  # cores of ports that hold something of the system; the same
        self.begun = 0  # operations
        self.sign = _loop_watch.Sign(self)
        self.stopped = False
        self._closers: list[Callable[[], None]] = []
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._main, name=f"transom-io-{index}", daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise self._failure

    # -- for everybody -------------------------------------------------------------------------------------------------

    def call(self, fn: Callable[..., Any], *args: Any) -> bool:
        """Run fn(*args) on the loop thread soon. False: the loop has stopped, or is about to."""
        try:
            self.loop.call_soon_threadsafe(fn, *args)
        except RuntimeError:
            return False
        return not self.stopped

    def at_close(self, fn: Callable[[], None]) -> None:
        """Loop thread: call fn() when the loop ends, before its tasks are cancelled."""
        self._closers.append(fn)

    def not_at_close(self, fn: Callable[[], None]) -> None:
        """Loop thread: take that back."""
        self._closers.remove(fn)

    # -- the loop ------------------------------------------------------------------------------------------------------

    def _main(self) -> None:
        try:
            self.loop = _new_loop()
            asyncio.set_event_loop(self.loop)
            self._executor = ThreadPoolExecutor(thread_name_prefix=f"transom-io-{self.index}-work")
            self.loop.set_default_executor(self._executor)
            self.loop.set_task_factory(_io_task.factory)
            self.loop.add_reader(self.core.fd, self._woken)
            self.core.attach()
        except BaseException as error:
            self._failure = error
            return
        finally:
            self._ready.set()
        try:
            self._run()
        finally:
            self.core.detach()

    def _run(self) -> None:
        while not self.stopped:
            try:
                self.loop.run_forever()
            except BaseException as error:  # SystemExit out of a callback; the loop itself is whole
                _log.error("%s left an event loop's callback; the loop goes on", type(error).__name__, exc_info=error)
        try:
            self._close()
        except BaseException:
            _log.exception("closing an event loop failed")

    def _woken(self) -> None:
        self._look(True)

    def _look(self, woken: bool = False) -> None:
        """Begin and change operations, a batch at a time."""
        for _ in range(2):
            operations = self.core.take(BATCH, woken)
            if operations is None:
                return
            woken = False
            self.begun += len(operations)
            if _watch is not None and not _watch.awake.is_set():
                _watch.awake.set()
            for operation in operations:
                _io_task.serve(self, operation)
        self.loop.call_soon(self._look)

    def over(self, task: asyncio.Task[Any]) -> None:
        """The task of an operation has ended."""
        self.tasks.pop(task).task = _io_task.GONE

    # -- the end -------------------------------------------------------------------------------------------------------

    def stop(self, timeout: float) -> bool:
        """Cancel what runs, wait for it, end the thread. Any other thread. False: it did not end in time."""
        self.stopped = True
        self.call(self.loop.stop)
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _close(self) -> None:
        self.loop.remove_reader(self.core.fd)
        for closer in list(self._closers):
            try:
                closer()
            except Exception:
                _log.exception("closing what an event loop held failed")
        for port in list(self.ports):
            port.shut(("ESHUTDOWN", "the node stopped"))
        for operation in self.core.close():
            _io_task.refuse(operation)
        self.loop.run_until_complete(self._end_tasks())
        self.loop.run_until_complete(self._end_ports())
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self._executor.shutdown(wait=False, cancel_futures=True)
        asyncio.set_event_loop(None)
        self.loop.close()

    async def _end_tasks(self) -> None:
        me = asyncio.current_task()
        late: set[asyncio.Task[Any]] = set()
        for _ in range(3):  # a task may begin others while it ends
            tasks = [task for task in asyncio.all_tasks() if task is not me]
            if not tasks:
                return
            for task in tasks:
                task.cancel()
            _, late = await asyncio.wait(tasks, timeout=CLOSE_SECONDS / 3)
            for task in tasks:
                if task not in late and not task.cancelled():
                    task.exception()  # seen: no warning about it
        _log.warning("stop: %d tasks on an event loop do not end when cancelled; they are left behind", len(late))


    async def _end_ports(self) -> None:
        """Programs are reaped and connections closed."""
        until = self.loop.time() + CLOSE_SECONDS
        while self.ports and self.loop.time() < until:
            await asyncio.sleep(0.002)


# -- the node's loops --------------------------------------------------------------------------------------------------

_watch: _loop_watch.Watch | None = None
_threads: list[LoopThread | None] = [None]
_cores: list[Any] = [None]


def configure(count: int) -> None:
    """The node starts: it may have so many loops."""
    _threads[:] = [None] * count
    _cores[:] = [None] * count


def loop_thread(index: int = 0) -> LoopThread:
    """The loop thread with this number, started if need be.

    Raises:
        ValueError: The node has fewer (``io_threads``).
        NotRunning: No node is running.
    """
    if not 0 <= index < len(_threads):
        raise ValueError(
            f"there is no event loop {index}: the node has {len(_threads)}; start it with run(main, io_threads={index + 1})"
        )
    thread = _threads[index]
    if thread is None or thread.stopped:
        failures: list[BaseException] = []
        maker = threading.Thread(target=_make, args=(index, failures), name=f"transom-io-{index}-start", daemon=True)
        maker.start()
        maker.join()
        thread = _threads[index]
        if failures:
            raise failures[0]
        if thread is None or thread.stopped:
            raise _errors.NotRunning("no node is running: call transom.run(main) or transom.start() first")
    return thread


def _make(index: int, failures: list[BaseException]) -> None:
    """On a thread of its own: the caller may be a process that is killed meanwhile, and the loop must not be forgotten."""
    global _watch
    try:
        with _lock:
            thread = _threads[index]
            if _core._is_running() and (thread is None or thread.stopped):
                thread = LoopThread(index)
                if _watch is None:
                    _watch = _loop_watch.Watch(running)
                _threads[index] = thread
                _cores[index] = thread.core
    except BaseException as error:
        failures.append(error)


def core_of(index: int) -> Any:
    """The door of loop `index`. Called by the core when an operation begins."""
    try:
        core = _cores[index]
    except IndexError:
        core = None
    return core if core is not None else loop_thread(index).core


def running() -> list[LoopThread]:
    """The loops that run."""
    return [thread for thread in _threads if thread is not None and not thread.stopped]


def stop_all(timeout: float) -> bool:
    """The node has stopped: end its loops. False: some thread did not end in time."""
    global _watch
    with _lock:
        threads = running()
        watch, _watch = _watch, None
        for index in range(len(_cores)):
            _cores[index] = None
    if watch is not None:
        watch.stop()
    return all([thread.stop(timeout) for thread in threads])


def io_info() -> list[dict[str, Any]]:
    """What the event loops of the node are doing.

    Returns:
        One dict for each loop that runs: ``loop`` (its number), ``kind`` (``"uvloop"`` or ``"asyncio"``), ``tasks``
        (operations under way, agents on the loop among them), ``agents``, ``requests`` (operations begun, given up or
        gone on with, since the start), ``blocked`` (how often something kept it from working for over 50 ms) and
        ``longest_block`` (seconds).

    Example:
        >>> import asyncio, transom
        >>> async def main():
        ...     await transom.aio(asyncio.sleep(0))
        ...     return [info["loop"] for info in transom.io_info()]
        >>> transom.run(main)
        [0]

    Source: erlang:system_info/1, of asyncio's loops.
    """
    return [
        {
            "loop": thread.index,
            "kind": "asyncio" if type(thread.loop).__module__.startswith("asyncio") else "uvloop",
            "tasks": len(thread.tasks),
            "agents": len(thread.homes),
            "requests": thread.begun,
            "blocked": thread.sign.blocked,
            "longest_block": thread.sign.longest,
        }
        for thread in running()
    ]
