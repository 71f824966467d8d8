"""Running a test as a process of a fresh node.

Three processes take part: a controller, which is the node's main process; the test, monitored by it; and, once it is
asked for, the supervisor of start_supervised. The test ends with reason "shutdown", so what is linked to it ends, too.
What lives on after that, and after the supervisor has stopped, is leaked.
"""

from __future__ import annotations

import inspect
import secrets
from collections.abc import Callable
from typing import Any

from transom import _core, _errors, _replay, _runtime
from transom._core import Pid
from transom._values import Crash
from transom.testing import _context, _crashes, _fixture
from transom.testing._context import Node

STEP_SECONDS = 0.005
END_SECONDS = 5.0
INFO = ("label", "registered_name", "initial_call", "current_function", "parent", "status", "message_queue_len")


class LeakedProcesses(AssertionError):
    """Processes that a test started live on after it.

    Attributes:
        processes: Their Pids and what is known of each, as ``process_info`` gives it.
    """

    def __init__(self, processes: dict[Pid, dict[str, Any]]) -> None:
        lines = [f"  {_described(pid, info)}" for pid, info in list(processes.items())[:20]]
        more = [f"  ... and {len(processes) - 20} more"] if len(processes) > 20 else []
        what = "a process" if len(processes) == 1 else f"{len(processes)} processes"
        super().__init__(
            "\n".join(
                [
                    f"{what} of this test lives on after it:"
                    if len(processes) == 1
                    else f"{what} live on after the test:",
                    *lines,
                    *more,
                    "Link it to the test (spawn_link, start_link), start it with start_supervised(), or end it.",
                ]
            )
        )
        self.processes = processes


def _described(pid: Pid, info: dict[str, Any]) -> str:
    parts = [str(pid)]
    for name in (info["label"], info["registered_name"]):
        if name is not None:
            parts.append(repr(name))
    parts.append(f"running {info['initial_call']}")
    if info["current_function"] is not None:
        parts.append(f"now at {info['current_function']}")
    parts.append(f"spawned by {info['parent']}" if info["parent"] is not None else "spawned from outside")
    parts.append(f"{info['status']}, {info['message_queue_len']} messages waiting")
    return ", ".join(parts)


class TestEnded(AssertionError):
    """The process of the test was ended by an exit signal, or took too long.

    Attributes:
        reason: The exit reason, or ``"timeout"``.
    """

    __test__ = False

    def __init__(self, reason: Any, seconds: float, where: str) -> None:
        if reason == "timeout":
            text = f"the test was not over after {seconds} s{where}"
        elif isinstance(reason, Crash):
            text = f"the test was ended by the crash of a process linked to it: {reason.summary()}\n{reason.traceback}"
        else:
            text = f"the test was ended by an exit signal with reason {reason!r}"
        super().__init__(text.rstrip())
        self.reason = reason


class Run:
    """One run of a test, and what came of it."""

    def __init__(
        self,
        body: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        node: Node,
        replay: _replay.Replay | None = None,
    ) -> None:
        self.body, self.args, self.kwargs, self.node = body, args, kwargs, node
        if replay is None and node.deterministic is not False:
            seed = secrets.randbits(32) if node.deterministic is True else node.deterministic
            replay = _replay.Replay(seed)
        self.replay = replay
        self.test = _context.Test(node, _crashes.Recorder())
        self.ended = self.explained = False
        self.value: Any = None
        self.error: BaseException | None = None
        self.leaked: dict[Pid, dict[str, Any]] = {}
        self.unexpected: list[_crashes.CrashReport] = []

    def go(self) -> None:
        """Run it; outside of processes. What came of it stands in the attributes afterwards."""
        options: dict[str, Any] = {"schedulers": self.node.schedulers} if self.node.schedulers is not None else {}
        _context.enter(self.test)
        try:
            with self.test.recorder:
                if self.replay is None:
                    _runtime.run(self._control, **options)
                else:
                    self._go_deterministically(self.replay, options)
        finally:
            _context.leave()
        self.unexpected = self.test.recorder.unexpected(self.test)

    def _go_deterministically(self, replay: _replay.Replay, options: dict[str, Any]) -> None:
        try:
            _runtime._run_deterministic(self._control, (), replay, options, self.node.timeout)
        except _replay.Deadlock as error:
            self.error = self.error or error
        except _replay.TooLong:
            self.error = self.error or TestEnded("timeout", self.node.timeout, " of the real clock")

    def failure(self) -> BaseException | None:
        """What the test fails with: its own error comes before a crash report, and that before a leak."""
        failure = self.error
        if failure is None and self.unexpected:
            failure = _crashes.UnexpectedCrash(self.unexpected)
        if failure is None and self.leaked:
            failure = LeakedProcesses(self.leaked)
        if failure is not None and self.replay is not None and not self.explained:
            self.explained = True
            failure.add_note(f"{self.replay.note()}\nto run it again: --transom-seed={self.replay.what}")
        return failure

    # -- in the node ---------------------------------------------------------------------------------------------------

    async def _control(self) -> None:
        before = set(_core.processes())
        pid, ref = _core.spawn_monitor(self._entry())
        try:
            # A timer would hide a deadlock from a deterministic run, which has the real clock for too long.
            down = await _core.receive(ref, timeout=self.node.timeout if self.replay is None else None)
        except TimeoutError:
            await self._give_up(pid, ref)
        else:
            if not self.ended:
                self.error = TestEnded(down.reason, self.node.timeout, "")
        if self.replay is not None:
            _core._replay_calm()
        await self._stop_supervisor()
        if not self.node.allow_leaks:
            self.leaked = await self._left(before)

    def _entry(self) -> Callable[[], Any]:
        """The test as the body of a process. It never crashes: its error is a value to the controller."""

        async def entry_async() -> None:
            _core.set_label("test")
            try:
                self.value = await _fixture.call(self.body, self.args, self.kwargs)
            except _errors.Killed:
                raise
            except BaseException as error:
                self.error = error
            self.ended = True
            raise _errors.Stop("shutdown")

        def entry() -> None:
            _core.set_label("test")
            try:
                self.value = self.body(*self.args, **self.kwargs)
            except _errors.Killed:
                raise
            except BaseException as error:
                self.error = error
            self.ended = True
            raise _errors.Stop("shutdown")

        return entry_async if inspect.iscoroutinefunction(self.body) or _fixture.needed(self.kwargs) else entry

    async def _give_up(self, pid: Pid, ref: _core.Ref) -> None:
        info = _core.process_info(pid, "current_function", "message_queue_len", "status")
        where = ""
        if info is not None:
            at = f" at {info['current_function']}" if info["current_function"] is not None else ""
            where = f"; it is {info['status']}{at} with {info['message_queue_len']} messages in its mailbox"
        _core.kill(pid)
        try:
            await _core.receive(ref, timeout=END_SECONDS)
        except TimeoutError:
            where += "; it could not be ended"
        if self.error is None:
            self.error = TestEnded("timeout", self.node.timeout, where)

    async def _stop_supervisor(self) -> None:
        if self.test.supervisor is None:
            return
        try:
            await self.test.supervisor.stop("shutdown", timeout=self.node.timeout)
        except _errors.CallError as error:
            if error.reason != "noproc" and self.error is None:
                self.error = AssertionError(f"the supervisor of start_supervised() ended: {error.reason!r}")

    async def _left(self, before: set[Pid]) -> dict[Pid, dict[str, Any]]:
        waited = 0.0
        while left := set(_core.processes()) - before - {_core.current_pid()}:
            if waited >= self.node.leak_seconds:
                infos = {pid: _core.process_info(pid, *INFO) for pid in sorted(left)}
                return {pid: info for pid, info in infos.items() if info is not None}
            await _core.sleep(STEP_SECONDS)
            waited += STEP_SECONDS
        return {}


def run_test(body: Callable[..., Any], /, *args: Any, node: Node | None = None, **kwargs: Any) -> Any:
    """Run a function as a test: as a process of a fresh node, which it must leave as it was.

    Blocks the calling thread, which is no process. The pytest plugin does the same for tests with the marker
    ``transom``.

    Args:
        body: Coroutine function, or plain function, which borrows an OS thread.
        args: Handed to it as they are.
        node: How the node is set up; see Node.
        kwargs: Handed to it as they are.

    Returns:
        What body returned.

    Raises:
        BaseException: What body raised.
        UnexpectedCrash: A process crashed and the test did not expect it.
        LeakedProcesses: Processes live on after the test.
        AlreadyRunning: A node runs in this OS process already.

    Example:
        >>> import transom
        >>> from transom.testing import LeakedProcesses, Node, run_test
        >>> async def forgotten():
        ...     await transom.receive()
        >>> async def test():
        ...     transom.spawn(forgotten)
        >>> try:
        ...     run_test(test, node=Node(leak_seconds=0.01))
        ... except LeakedProcesses as leak:
        ...     print(len(leak.processes))
        1
    """
    run = Run(body, args, kwargs, node if node is not None else Node())
    run.go()
    failure = run.failure()
    if failure is not None:
        raise failure
    return run.value
