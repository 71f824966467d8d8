"""References to supervisors: what others may ask them, from processes, asyncio programs and plain threads."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from transom import _core, _errors, _supervisor_engine
from transom._child import ChildSpec
from transom._core import Pid
from transom._operation import Operation, Receive, of_steps
from transom._start import pid_of

_FAILURES: dict[str, Callable[..., Exception]] = {
    "exists": _errors.ChildExists,
    "unknown": _errors.NoChild,
    "running": _errors.ChildRunning,
    "start": _errors.StartError,
    "full": _errors.TooManyChildren,
    "invalid": ValueError,
}


def _send(dest: Pid | str, request: tuple[Any, ...]) -> None:
    try:
        _core.send(dest, request)
    except _errors.NoProcess:
        pass  # nobody has the name: the Down of the monitor tells


def ask(dest: Pid | str, operation: str, *args: Any, timeout: float | None = None) -> Operation[Any]:
    """A request to a supervisor and its answer, or the exception that stands for it."""

    async def steps(receive: Receive) -> Any:
        ref = _core.monitor(dest, alias="reply_demonitor")
        _send(dest, (_supervisor_engine.CALL, ref, operation, args))
        try:
            answer = await receive(ref, timeout=timeout)
        except TimeoutError:
            _core.demonitor(ref, flush=True)
            await drop(ref, receive)
            raise _no_answer(dest, "timeout") from None
        if isinstance(answer, _core.Down):
            raise _no_answer(dest, answer.reason)
        if answer[0] == "ok":
            return answer[1]
        raise _FAILURES[answer[1]](*answer[2:])

    return of_steps(steps)


def _no_answer(dest: Pid | str, reason: Any) -> _errors.CallError:
    who = f"supervisor {dest if isinstance(dest, Pid) else repr(dest)}"
    if reason == "timeout":
        return _errors.CallTimeout(f"{who}: no answer in time; it waits for a child to start or stop", reason)
    if reason == "noproc":
        return _errors.CallError(f"{who}: it is not alive, or was never started", reason)
    return _errors.CallError(f"{who}: it ended, reason {reason!r}", reason)


async def drop(ref: _core.Ref, receive: Receive) -> None:
    """Take an answer out of the mailbox that came just before its alias was given up."""
    try:
        await receive(ref, timeout=0)
    except TimeoutError:
        pass


@dataclass(frozen=True, slots=True)
class AnySupervisorRef:
    """What references to all kinds of supervisors have."""

    dest: Pid | str

    @property
    def pid(self) -> Pid:
        """The supervisor's process; of a reference by name, who has the name now.

        Raises:
            NoProcess: Nobody has the name.
        """
        if isinstance(self.dest, Pid):
            return self.dest
        pid = _core.whereis(self.dest)
        if pid is None:
            raise _errors.NoProcess(f"nobody has registered the name {self.dest!r}")
        return pid

    @property
    def _transom_pid(self) -> Pid:
        return self.pid  # what pid_of and sys look for in references

    def which_children(self) -> Operation[list[tuple[Hashable, Any, str]]]:
        """The children, newest first: (id, Pid or None or "restarting", kind).

        None stands for a child that is stopped.

        Source: supervisor:which_children/1.
        """
        return ask(self.dest, "which_children")

    def count_children(self) -> Operation[dict[str, int]]:
        """How many children there are: "specs" in all, "active" running ones, "supervisors" and "workers".

        Source: supervisor:count_children/1.
        """
        return ask(self.dest, "count_children")

    def stop(self, reason: Any = "normal", timeout: float | None = None) -> Operation[None]:
        """Stop the supervisor and all its children, and wait until it is gone.

        Args:
            reason: What it ends with.
            timeout: Seconds to wait; None: as long as its children take.

        Raises:
            CallError: It did not run, or was not gone in time.

        Source: gen_server:stop/3.
        """

        async def steps(receive: Receive) -> None:
            ref = _core.monitor(self.dest)
            _send(self.dest, (_supervisor_engine.END, reason))
            try:
                down = await receive(ref, timeout=timeout)
            except TimeoutError:
                _core.demonitor(ref, flush=True)
                raise _no_answer(self.dest, "timeout") from None
            if down.reason != reason:
                raise _no_answer(self.dest, down.reason)

        return of_steps(steps)


@dataclass(frozen=True, slots=True)
class SupervisorRef(AnySupervisorRef):
    """A running Supervisor. Each method gives an Operation: await it, or call its ``result()`` in plain functions.

    All of them raise CallError when the supervisor does not run, or ends before it has answered. It answers between two
    starts, stops and restarts of children, however long these take.

    Attributes:
        dest: Its Pid or registered name.

    Example:
        >>> import transom
        >>> async def clerk():
        ...     await transom.receive()
        >>> async def main():
        ...     desk = await transom.Supervisor.start_link()
        ...     await desk.start_child(transom.Task.child(clerk).options(id="clerk", restart="permanent"))
        ...     await desk.terminate_child("clerk")
        ...     return await desk.which_children()
        >>> transom.run(main)
        [('clerk', None, 'worker')]

    Source: the functions of OTP's supervisor.
    """

    def start_child(self, spec: ChildSpec) -> Operation[Any]:
        """Add a child behind the others and start it.

        Args:
            spec: What ``MyAgent.child(...)`` gives, with an id that is new here.

        Returns:
            What its start gave: a reference or a Pid; None when it was not needed.

        Raises:
            ChildExists: There is a child with this id, running or stopped.
            StartError: It could not start, and is not kept.
            ValueError: It is significant, and the supervisor has ``auto_shutdown`` "never".

        Source: supervisor:start_child/2.
        """
        return ask(self.dest, "start_child", _demand_spec(spec))

    def terminate_child(self, id: Hashable) -> Operation[None]:
        """Stop a child, or call off its restart. It is kept as stopped; a temporary one is forgotten.

        Raises:
            NoChild: There is none with this id.

        Source: supervisor:terminate_child/2.
        """
        return ask(self.dest, "terminate_child", _demand_id(id))

    def restart_child(self, id: Hashable) -> Operation[Any]:
        """Start a stopped child again; gives what its start gave.

        Raises:
            NoChild: There is none with this id.
            ChildRunning: It runs, or waits for its restart.
            StartError: It could not start, and stays stopped.

        Source: supervisor:restart_child/2.
        """
        return ask(self.dest, "restart_child", _demand_id(id))

    def delete_child(self, id: Hashable) -> Operation[None]:
        """Forget a stopped child.

        Raises:
            NoChild: There is none with this id.
            ChildRunning: It runs, or waits for its restart.

        Source: supervisor:delete_child/2.
        """
        return ask(self.dest, "delete_child", _demand_id(id))

    def get_child(self, id: Hashable) -> Operation[Any]:
        """What the start of a child gave: a reference or a Pid; None when it is stopped.

        Raises:
            NoChild: There is none with this id.
        """
        return ask(self.dest, "get_child", _demand_id(id))

    def get_spec(self, id: Hashable) -> Operation[ChildSpec]:
        """The specification of a child.

        Raises:
            NoChild: There is none with this id.

        Source: supervisor:get_childspec/2.
        """
        return ask(self.dest, "get_spec", _demand_id(id))


@dataclass(frozen=True, slots=True)
class DynamicSupervisorRef(AnySupervisorRef):
    """A running DynamicSupervisor. Each method gives an Operation, as those of SupervisorRef.

    Attributes:
        dest: Its Pid or registered name.

    Example:
        >>> import transom
        >>> async def job():
        ...     await transom.receive()
        >>> async def main():
        ...     jobs = await transom.DynamicSupervisor.start_link()
        ...     pid = await jobs.start_child(transom.Task.child(job))
        ...     await jobs.terminate_child(pid)
        ...     return await jobs.which_children()
        >>> transom.run(main)
        []

    Source: the functions of Elixir's DynamicSupervisor.
    """

    def start_child(self, spec: ChildSpec) -> Operation[Any]:
        """Start a child.

        Args:
            spec: What ``MyAgent.child(...)`` gives; its id need not be unique.

        Returns:
            What its start gave: a reference or a Pid; None when it was not needed.

        Raises:
            TooManyChildren: There are ``max_children``, those that wait for their restart included.
            StartError: It could not start.

        Source: DynamicSupervisor.start_child/2.
        """
        return ask(self.dest, "start_child", _demand_spec(spec))

    def terminate_child(self, child: Any) -> Operation[None]:
        """Stop a child and forget it.

        Args:
            child: Its Pid or reference; of one that waits for its restart, the last it had.

        Raises:
            NoChild: It is no child (any more).

        Source: DynamicSupervisor.terminate_child/2.
        """
        return ask(self.dest, "terminate_child", pid_of(child))


def _demand_spec(spec: Any) -> ChildSpec:
    if not isinstance(spec, ChildSpec):
        raise TypeError(f"start_child() takes a ChildSpec, such as MyAgent.child(...), not {spec!r}")
    return spec


def _demand_id(id: Any) -> Any:
    try:
        hash(id)
    except TypeError:
        raise TypeError(f"the id of a child is hashable, and {id!r} is not") from None
    return id
