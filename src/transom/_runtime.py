"""Starting and stopping the node, and run()."""

from __future__ import annotations

import contextlib
import copyreg
import inspect
import logging
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, overload

from transom import (
    _aio,
    _call,
    _copying,
    _core,
    _cycles,
    _errors,
    _foreign,
    _gc,
    _instrument,
    _isolated_data,
    _isolated_pool,
    _limits,
    _loop_agent,
    _loop_thread,
    _outside,
    _proc_lib,
    _process,
    _replay,
    _report,
    _serve,
    _start,
    _values,
)

_log = logging.getLogger("transom")
_lock = threading.Lock()  # one start or stop at a time

STOP_SECONDS = 5.0
GRACE_SECONDS = 1.0
SETTLE_SECONDS = 0.05  # between two looks for threads left behind
LOOK_SECONDS = 1.0  # how often run() looks whether main has gone without a word
MAX_SCHEDULERS = 256
MAX_PROCESSES = 1 << 27
MAX_PROCESSES_DEFAULT = 1_048_576
MAX_THREADS_DEFAULT = 256

T = TypeVar("T")


_core._setup(
    {name: getattr(_errors, name) for name in dir(_errors) if isinstance(getattr(_errors, name), type)}
    | {
        "make_crash": _values.make_crash,
        "report": _report.report,
        "report_heap": _limits.report_heap,
        "report_queue": _limits.report_queue,
        "safepoint": _process.safepoint,
        "discover": _instrument.discover,
        "restart_events": _instrument.restart,
        "collection_due": _gc.due,
        "collect": _gc.collect,
        "outside": _outside.may_send,
        "classify": _copying.classify,
        "explain_copy": _copying.explain,
        "move_array": _copying.move_array,
        "copyreg_table": copyreg.dispatch_table,
        "own_context": _process.own_context,
        "check_arguments": _call.check_arguments,
        "call_error": _call.error_of,
        "no_method": _start.no_method,
        "call_outside": _call.outside,
        "call_blocking": _call.blocking,
        "call_watch": _cycles.watch,
        "call_unwatch": _cycles.unwatch,
        "foreign_await": _foreign.foreign_await,
        "home_var": _loop_agent.current,
        "aio_loop": _loop_thread.core_of,
        "aio_outside": _aio.outside,
        "aio_outside_stream": _aio.outside_stream,
        "aio_blocking": _aio.blocking,
        "aio_blocking_stream": _aio.blocking_stream,
        "Refused": _call.Refused,
        "server_dispatch": _serve.dispatch,
        "server_crashed": _serve.crashed,
        "server_after": _serve.after,
        "server_refuse": _serve.refuse,
        "server_timeout": _serve.TIMEOUT,
        "server_booted": _serve.booted,
        "server_enter": _serve.enter,
        "Starting": _proc_lib.Start,
        "start_demand": _proc_lib.demand_process,
        "start_outside": _proc_lib.outside,
        "start_blocking": _proc_lib.blocking,
        "start_error": _proc_lib.error_of,
        "start_taken": _proc_lib.taken,
        "DISABLE": sys.monitoring.DISABLE,
    }
)
os.register_at_fork(after_in_child=_core._forked)


def start(
    *,
    schedulers: int | None = None,
    name: str | None = None,
    max_processes: int = MAX_PROCESSES_DEFAULT,
    max_threads: int = MAX_THREADS_DEFAULT,
    isolated_workers: int | None = None,
    io_threads: int = 1,
) -> None:
    """Start the node and return at once; the program goes on beside it.

    Args:
        schedulers: Slots that run processes, 1 to 256. Default: one for each core this program may use; 1 when
            the GIL is on.
        name: The node's name, for reports.
        max_processes: How many processes may live at once, 1 to 134,217,728.
        max_threads: How many processes may occupy an OS thread beyond the slots at once, at least 1: plain
            functions, preempted processes, blocking calls.
        isolated_workers: How many OS processes ``isolated`` may use at once, 1 to 1,024. Default: one for each core,
            at least 2. None is started before the first call.
        io_threads: Threads with event loops for ``aio`` and agents on the loop, 1 to 64. Each is started when it
            is first used, and ended with the node.

    Raises:
        AlreadyRunning: A node runs in this OS process already.
        ForkedError: This is a fork of a program that ran a node.
        ValueError: An argument out of range.

    Example:
        >>> import transom
        >>> transom.start(schedulers=1)
        >>> transom.stop()

    Source: the options +S and +P of erl.
    """
    slots = _check("schedulers", schedulers, 1, MAX_SCHEDULERS) if schedulers is not None else _default_slots()
    _check("max_processes", max_processes, 1, MAX_PROCESSES)
    _check("max_threads", max_threads, 1, 1 << 20)
    workers = isolated_workers if isolated_workers is not None else max(2, _cores())
    _check("isolated_workers", workers, 1, 1024)
    _check("io_threads", io_threads, 1, _loop_thread.MAX_LOOPS)
    if name is not None and not isinstance(name, str):
        raise TypeError(f"name must be a str, not {type(name).__name__}")
    if _isolated_data.importing_main:
        raise RuntimeError(
            "a worker of isolated() imports the program's main module for a function of it, and that starts the "
            "program again: put its start under if __name__ == '__main__', or the function into another module"
        )
    with _lock:
        if _core._is_running():
            raise _errors.AlreadyRunning("a node is running in this program already; stop() it first")
        _loop_thread.configure(io_threads)
        _core._start(slots, max_processes, max_threads, name if name is not None else "nonode")
        try:
            _instrument.activate()
            _gc.take_over()
            _isolated_pool.configure(workers)
        except BaseException:
            _core._stop(0.0, STOP_SECONDS)
            _settle()
            raise


def _check(what: str, value: int, low: int, high: int) -> int:
    if type(value) is not int:
        raise TypeError(f"{what} must be an int, not {type(value).__name__}")
    if not low <= value <= high:
        raise ValueError(f"{what} must be between {low} and {high}, not {value}")
    return value


def _default_slots() -> int:
    if _gil_enabled():
        _warn_gil()
        return 1
    return min(_cores(), MAX_SCHEDULERS)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _gil_enabled() -> bool:
    return getattr(sys, "_is_gil_enabled", lambda: True)()


_warned = False


def _warn_gil() -> None:
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(
            "the GIL is on: one process runs at a time, and native code that keeps the GIL stops all of them; "
            "use a free-threaded Python (3.13t) for the real thing",
            RuntimeWarning,
            stacklevel=4,
        )


def stop(timeout: float | None = None) -> None:
    """Stop the node: every process gets exit "shutdown", after a second "kill"; then the threads go home.

    Args:
        timeout: Seconds it may take in all, default 5. Threads that sit in native code longer are left to
            themselves, named in a warning to the logger ``transom``; they end when their call returns. Until then
            the interpreter's automatic collection stays off, and the interpreter waits for them when the program
            ends: all that stops the world does. ``os._exit`` does not.

    Raises:
        NotRunning: No node is running.
        RuntimeError: Called from inside a process.

    Blocks the calling thread until then.

    Example:
        >>> import transom
        >>> transom.start()
        >>> pid = transom.spawn(transom.receive)
        >>> transom.stop(timeout=10)

    Source: init:stop/0.
    """
    seconds = STOP_SECONDS if timeout is None else float(timeout)
    if not seconds >= 0:
        raise ValueError(f"timeout must be at least 0 seconds, not {timeout!r}")
    with _lock:
        ended = _core._stop(min(GRACE_SECONDS, seconds / 2), seconds)
        _isolated_pool.close()
        loops_ended = _loop_thread.stop_all(max(seconds / 2, 0.1))
        _settle()
    if not loops_ended:
        _log.warning("stop: an event loop is blocked by what runs on it; its thread is left behind")
    if not ended:
        _log.warning("stop: some threads are still in native code after %.1f s; they are left behind", seconds)


_settles_later = False  # under _lock


def _settle() -> None:
    """Give back events and collection. Stops the world, so not while a thread left behind would hold that up.

    Caller holds _lock.
    """
    global _settles_later
    if not _core._left_behind():
        _instrument.deactivate()
        _gc.give_back()
    elif not _settles_later:
        _settles_later = True
        threading.Thread(target=_settle_when_home, name="transom-settle", daemon=True).start()


def _settle_when_home() -> None:
    global _settles_later
    while True:
        time.sleep(SETTLE_SECONDS)
        with _lock:
            if _core._is_running() or not _core._left_behind():
                _settles_later = False
                if not _core._is_running():  # else the stop of that node does it
                    _settle()
                return


def _at_exit() -> None:
    if _core._is_running():
        with contextlib.suppress(_errors.NotRunning):  # who runs it stopped it just now
            stop()


threading._register_atexit(_at_exit)  # type: ignore[attr-defined]  # before threads are joined


class _Outcome:
    """How the main process ended."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.value: Any = None
        self.error: BaseException | None = None
        self.on_end: Callable[[], None] | None = None  # by the process, at once

    def end(self) -> None:
        if self.on_end is not None:
            self.on_end()
        self.done.set()

    def fail(self, error: BaseException) -> None:
        if isinstance(error, _errors.Killed):
            reason = _core._exit_reason()
            self.error = _errors.Exited(reason)
            if isinstance(reason, _values.Crash):
                self.error.__cause__ = reason.exception
        elif not (isinstance(error, _errors.Stop) and error.reason == "normal"):
            _foreign.note_no_loop(error)
            self.error = error


def _run_deterministic(
    main: Callable[..., Any],
    args: tuple[Any, ...],
    replay: _replay.Replay,
    options: dict[str, Any],
    seconds: float | None = None,
) -> Any:
    """seconds: of the real clock, then TooLong."""
    if options.setdefault("schedulers", 1) != 1:
        raise ValueError(f"a deterministic run has one scheduler, not {options['schedulers']}")
    if _core._is_running():
        raise _errors.AlreadyRunning("a node is running in this program already; stop() it first")
    outcome = _Outcome()
    outcome.on_end = _core._replay_close
    error: BaseException | None = None
    replay.begin()
    try:
        try:
            start(**options)
            _core.spawn(_entry(main, args, outcome))
            stalled = over = False
            ends = time.monotonic() + seconds if seconds is not None else None
            while not (stalled or over):
                stalled, over = _core._replay_wait(0.1)
                if ends is not None and time.monotonic() > ends and not (stalled or over):
                    error = _replay.TooLong(f"not over after {seconds} s")
                    break
            if stalled and not over:
                error = _replay.Deadlock(_replay.who_waits())
        finally:
            _core._replay_close()
            if _core._is_running():
                stop()
    finally:
        replay.end()
    error = error or outcome.error
    if error is not None:
        error.add_note(replay.note())
        raise error
    return outcome.value


def _entry(main: Callable[..., Any], args: tuple[Any, ...], outcome: _Outcome) -> Callable[[], Any]:
    """main as a process body that notes its outcome. What run() raises is not reported as a crash, too."""

    async def entry_async() -> None:
        try:
            outcome.value = await main(*args)
        except BaseException as error:
            outcome.fail(error)
            raise
        finally:
            outcome.end()

    def entry() -> None:
        try:
            outcome.value = main(*args)
        except BaseException as error:
            outcome.fail(error)
            raise
        finally:
            outcome.end()

    return entry_async if inspect.iscoroutinefunction(main) else entry


@overload
def run(
    main: Callable[..., Coroutine[Any, Any, T]],
    /,
    *args: Any,
    schedulers: int | None = None,
    name: str | None = None,
    max_processes: int = MAX_PROCESSES_DEFAULT,
    max_threads: int = MAX_THREADS_DEFAULT,
    isolated_workers: int | None = None,
    io_threads: int = 1,
    deterministic: int | str | None = None,
) -> T: ...
@overload
def run(
    main: Callable[..., T],
    /,
    *args: Any,
    schedulers: int | None = None,
    name: str | None = None,
    max_processes: int = MAX_PROCESSES_DEFAULT,
    max_threads: int = MAX_THREADS_DEFAULT,
    isolated_workers: int | None = None,
    io_threads: int = 1,
    deterministic: int | str | None = None,
) -> T: ...
def run(main: Callable[..., Any], /, *args: Any, deterministic: int | str | None = None, **options: Any) -> Any:
    """Start a node, run main(*args) as its first process, stop the node, and return main's value.

    Blocks the calling thread, which must be no process. When main ends, processes still alive are ended as by ``stop``. Ctrl-C stops
    the node and raises KeyboardInterrupt here.

    Args:
        main: Coroutine function or plain function.
        args: Handed to main as they are.
        deterministic: A seed, 0 to 2**64 - 1: one scheduler, virtual time, and the seed decides who runs when, so
            the same seed gives the same run; or a schedule as a failed run prints it. None, the default: off.
        options: As for ``start``.

    Returns:
        What main returned; None when it ended with ``Stop("normal")``.

    Raises:
        BaseException: What main raised.
        Exited: main was ended by an exit signal.
        AlreadyRunning: A node runs in this OS process already.
        TransomError: In a deterministic run every process waits and no timer is set.

    Example:
        >>> import transom
        >>> async def main(text):
        ...     transom.send(transom.current_pid(), text)
        ...     return await transom.receive()
        >>> transom.run(main, "hello")
        'hello'

    Source: none in OTP, where the node is the program; as asyncio.run.
    """
    if not callable(main):
        hint = "; write run(main), not run(main())" if inspect.iscoroutine(main) else ""
        raise TypeError(f"run() takes the main function, not {type(main).__name__}{hint}")
    if deterministic is not None:
        return _run_deterministic(main, args, _replay.Replay(deterministic), options)
    outcome = _Outcome()
    start(**options)
    try:
        pid = _core.spawn(_entry(main, args, outcome))
        while not outcome.done.wait(LOOK_SECONDS) and _core.is_alive(pid):
            pass
    finally:
        stop()
    if outcome.error is not None:
        raise outcome.error
    return outcome.value
