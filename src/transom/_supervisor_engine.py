"""The process of a supervisor: what it does about its children, message by message.

Who touches what
    The engine lives in the supervisor's process alone. Others reach it by requests (_supervisor_ref.py), answered
    between two messages. A child that is slow to start or stop keeps the supervisor from answering meanwhile, as in
    OTP; restarts that failed are tried again by a message to itself, so between two tries it answers.

Invariants
    children    every known child by key, in start order; a restart keeps the place
    by_pid      exactly the children that run: by_pid[c.pid] is c for each child c with a pid
    retry       a child that waits for its restart has pid None and a token; a retry message with another token is
                from a wait that was called off, and does nothing
    An Exit from a pid that is not in by_pid is of no child (any more): stopped children are unlinked first, so a
    leftover Exit of one is told from a crash by that alone. Nothing is restarted twice.

Cost        One end and restart is what a supervisor does most, and it does it while others wait. The free-threaded
            interpreter does not specialise: an attribute costs 300 instructions, a global name 200, a call of a method
            1,000. So the restart of a permanent child by itself stands in run, in one frame and with local names. What
            it does is what _ended and launch do for any child. Elsewhere there are plain functions, which return
            a coroutine where something has to be waited for.

Rejected    Taking leftover Exits out of the mailbox after each stop: a scan per child, quadratic when many end at once.

Source: OTP supervisor.erl, Elixir's DynamicSupervisor.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Coroutine, Hashable, Iterable, Sequence
from typing import Any, NoReturn

from transom import _core, _errors, _restart, _sys, _values
from transom._child import ChildSpec
from transom._core import Exit, Pid, Ref, _adopt, _monotonic, receive
from transom._operation import Operation
from transom._proc_lib import Start
from transom._restart import is_clean, wants_restart
from transom._start import ChildStart

_log = logging.getLogger("transom")
_is_logged = _log.isEnabledFor  # names that are found at once: see Cost
INFO, ERROR = logging.INFO, logging.ERROR

CALL = "$supervisor_call"
RETRY = "$supervisor_retry"
END = "$supervisor_end"
RESTARTED = "it is restarted"
NODE = "<0.0.0>"  # the sender of the exit signals of stop()


class Failed(Exception):
    """A request cannot be met; carries the answer."""


class Child:
    """One child and where it stands."""

    __slots__ = ("args", "begin", "key", "last_pid", "pid", "progress", "retry", "spec", "started", "timer")
    args: tuple[Any, ...]  # of begin

    def __init__(self, key: Hashable, spec: ChildSpec) -> None:
        self.key = key
        self.spec = spec
        self.pid: Pid | None = None
        self.last_pid: Pid | None = None
        self.started: Any = None  # what its start function gave: a reference or a Pid
        self.retry: Ref | None = None
        self.timer: _core.Timer | None = None
        self.progress = None if spec.recovery is None else _restart.Progress()
        self.begin: Any = None  # a function, of a plain child, once it has ended

    def is_plain(self) -> bool:
        """Is it started again whenever it ends, at once? Then begin(*args) is spec.start(), without a frame of ours."""
        spec = self.spec
        if spec.restart != "permanent" or spec.recovery is not None:
            return False
        start: Any = spec.start
        self.begin, self.args = start.parts() if type(start) is ChildStart else (start, ())
        return True

    def state(self) -> Pid | str | None:
        return "restarting" if self.retry is not None else self.pid


class _View:
    """What sys shows as the state of a supervisor."""

    def __init__(self, engine: Engine) -> None:
        self.strategy = engine.strategy
        self.max_restarts = engine.max_restarts
        self.max_seconds = engine.max_seconds
        self.auto_shutdown = engine.auto_shutdown
        self.children = [(child.spec.id, child.state(), child.spec.kind) for child in engine.children.values()]

    def format_status(self, state: dict[str, Any]) -> dict[str, Any]:
        """As agents have it."""
        return state


type Step = Coroutine[Any, Any, Any] | None  # what is to be awaited before the next message


class Engine:
    """The children of a supervisor and the rules they live by."""

    notes_starts = False  # on_started wants to be called

    def __init__(
        self,
        who: str,
        strategy: str,
        max_restarts: int,
        max_seconds: float,
        auto_shutdown: str,
        parent: Pid | None,
    ) -> None:
        self.who = who
        self.strategy = strategy
        self.max_restarts = max_restarts
        self.max_seconds = max_seconds
        self.auto_shutdown = auto_shutdown
        self.parent = parent
        self.alone = strategy == "one_for_one"  # a child is restarted without others
        self.note_restart = _restart.intensity(max_restarts, max_seconds)
        self.children: dict[Hashable, Child] = {}
        self.by_pid: dict[Pid, Child] = {}
        self.extra: Any = None  # of sys, as the following
        self.flags = 0
        self.agent: Any = None

    # -- the process --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve until told or forced to end; then stop all children and end with the reason."""
        # Local names for the most frequent case: see Cost.
        by_pid, note_restart, now = self.by_pid, self.note_restart, _monotonic
        next_message, kind, exits, native, link = receive, type, Exit, Start, _adopt
        is_logged, error_level = _is_logged, ERROR
        at_once = self.alone and not self.notes_starts
        try:
            while True:
                message = await next_message()
                child = by_pid.pop(message.sender, None) if kind(message) is exits else None
                step = None
                if child is None:
                    step = self.handle(message)
                elif not (at_once and (child.begin or child.is_plain())):
                    step = self._ended(child, message.reason)
                else:
                    child.pid = None
                    if not note_restart(now()):
                        self._give_up("ended", child, message.reason)
                    logged = is_logged(error_level)
                    if logged:
                        self._report("ended", child, message.reason, RESTARTED)
                    try:
                        started: Any = child.begin(*child.args)
                        if kind(started) is native or waits(started):
                            started = await started
                        pid = None if started is None else link(started)
                    except Exception as error:
                        self._failed_again(child, _reason_of(error))
                    else:
                        child.pid = pid
                        child.started = started
                        if pid is None:
                            self.forget(child)
                        else:
                            by_pid[pid] = child
                            child.last_pid = pid
                        if logged and is_logged(INFO):
                            self._report_start(child)
                message = None  # a reason may be large
                if step is not None:
                    await step
        except Exception as error:
            # Not a Killed: then the links end the children.
            await self.stop_all()
            if not isinstance(error, _errors.Stop):
                _log.error("%s: a mistake in the supervisor itself", self.who)
            raise

    def handle(self, message: Any) -> Step:
        """What is no Exit of a child."""
        if type(message) is Exit:
            if message.sender == self.parent or str(message.sender) == NODE:
                raise _errors.Stop(message.reason)
            return None
        match message:
            case (str() as word, Ref() as reply_to, str() as operation, tuple() as args) if word == CALL:
                return self._on_call(reply_to, operation, args)
            case (str() as word, key, Ref() as token) if word == RETRY:
                return self._on_retry(key, token)
            case _sys.Request():
                return self._on_sys(message)
            case (str() as word, reason) if word == END:
                raise _errors.Stop(reason)
        _log.error("%s: unexpected message %r", self.who, message)
        return None

    async def _on_call(self, reply_to: Ref, operation: str, args: tuple[Any, ...]) -> None:
        try:
            answer = ("ok", await getattr(self, "do_" + operation)(*args))
        except Failed as failure:
            answer = ("error", *failure.args)
        _core.send(reply_to, answer)

    def _on_retry(self, key: Hashable, token: Ref) -> Step:
        child = self.children.get(key)
        if child is None or child.retry != token:
            return None
        return self._start_group(child)

    async def _on_sys(self, request: _sys.Request) -> None:
        """sys looks into a supervisor as into an agent; what it would change there, it may not here."""
        self.agent = _View(self)
        if request.what not in ("get_state", "get_status", "suspend", "resume", "terminate"):
            refusal = _sys.Failed(f"a supervisor does not offer {request.what}")
            _core.send(request.ref, (request.ref, refusal))
            return
        suspended = _sys.handle(self, request)
        if suspended is not None:
            await suspended
        if "stop" in (self.extra or {}):
            raise _errors.Stop(self.extra["stop"])

    # -- start --------------------------------------------------------------------------------------------------------

    async def start_all(self, specs: Iterable[Any]) -> None:
        """Start the first children from left to right; when one fails, stop those before it and end."""
        children, launch = self.children, self.launch
        try:
            for spec in check_specs(specs, self.auto_shutdown):
                child = children[spec.id] = Child(spec.id, spec)
                failure = await launch(child)
                if failure is not None:
                    self._report("failed to start", child, failure[0], "the supervisor gives up")
                    raise _errors.Stop(("shutdown", ("failed_to_start_child", spec.id, failure[0])))
                if child.pid is None and spec.restart == "temporary":
                    del children[spec.id]
        except Exception:
            await self.stop_all()
            raise

    async def launch(self, child: Child, again: bool = False) -> tuple[Any] | None:
        """Start a child once. Returns None, or the reason of the failure in a tuple.

        again: it is a restart, and what has to follow is done.
        """
        if child.retry is not None:
            self._call_off(child)
        progress = child.progress
        try:
            started: Any = (child.spec.start if progress is None else progress.start_of(child.spec))()
            if type(started) is Start or waits(started):
                started = await started
            # Linked once more: a start function may have forgotten it.
            pid = None if started is None else _adopt(started)
        except Exception as error:
            reason = _reason_of(error)
            if again:
                self._failed_again(child, reason)
            return (reason,)
        child.pid = pid
        child.started = started
        if pid is not None:
            self.by_pid[pid] = child
            child.last_pid = pid
        if progress is not None:
            progress.since = _monotonic()
        if _is_logged(INFO):
            self._report_start(child)
        if self.notes_starts:
            self.on_started(child)
        if pid is None and again:
            self.forget(child)
        return None

    def on_started(self, child: Child) -> None:
        """For those who keep a table of children (notes_starts)."""

    # -- restart ------------------------------------------------------------------------------------------------------

    def _ended(self, child: Child, reason: Any) -> Step:
        """A child ended by itself."""
        child.pid = None
        if not wants_restart(child.spec.restart, reason):
            if not is_clean(reason):
                self._report("ended", child, reason, "it is not restarted")
            self.forget(child)
            self._auto_shutdown(child)
            return None
        delay = self._delay("ended", child, reason)
        return self._start_later(child, delay) if delay else self._start_group(child)

    def forget(self, child: Child) -> None:
        """A child ended for good or was stopped: temporary ones leave nothing behind."""
        self._call_off(child)
        child.started = None
        if child.spec.restart == "temporary":
            self.children.pop(child.key, None)

    def _auto_shutdown(self, child: Child) -> None:
        if not child.spec.significant or self.auto_shutdown == "never":
            return
        if self.auto_shutdown == "all_significant" and any(
            other.spec.significant and other.state() is not None for other in self.children.values()
        ):
            return
        raise _errors.Stop("shutdown")

    def _delay(self, how: str, child: Child, reason: Any) -> float:
        """Seconds until its restart; raises Stop when it is one too many."""
        now = _monotonic()
        step = "count" if child.progress is None else child.progress.next_step(child.spec.recovery, now)
        if step == "give_up" or (step == "count" and not self.note_restart(now)):
            self._give_up(how, child, reason, step == "give_up")
        delay = step if isinstance(step, float) else 0.0
        if _is_logged(ERROR):
            then = f"it is restarted in {delay:.3g} s" if delay else RESTARTED
            self._report(how, child, reason, "its fallback is started" if step == "fall_back" else then)
        return delay

    def _give_up(self, how: str, child: Child, reason: Any, attempts_used: bool = False) -> NoReturn:
        self._report(how, child, reason, "the supervisor gives up")
        limit = f"more than {self.max_restarts} restarts within {self.max_seconds} s"
        recovery = child.spec.recovery
        if attempts_used and recovery is not None:
            limit = f"{recovery.attempts} restarts of child {child.spec.id!r} did not help"
        _log.error("%s: gives up: %s", self.who, limit)
        self.forget(child)
        raise _errors.Stop("shutdown")

    def _failed_again(self, child: Child, reason: Any) -> None:
        if child.progress is not None:
            child.progress.since = _monotonic()
        # By a message, so that requests get their turn.
        self._wait(child, self._delay("failed to start", child, reason))

    async def _start_later(self, child: Child, delay: float) -> None:
        await self._stop_group(child)
        self._wait(child, delay)

    def _wait(self, child: Child, delay: float) -> None:
        child.retry = _core.make_ref()
        message = (RETRY, child.key, child.retry)
        if delay > 0:
            child.timer = _core.send_after(delay, _core.current_pid(), message)
        else:
            _core.send(_core.current_pid(), message)

    def _call_off(self, child: Child) -> None:
        child.retry = None
        if child.timer is not None:
            _core.cancel_timer(child.timer)
            child.timer = None

    async def _stop_group(self, ended: Child) -> list[Child]:
        if self.strategy == "one_for_one":
            return [ended]
        group = _restart.group_of(self.strategy, list(self.children.values()), ended)
        for child in reversed(group):
            if child is not ended:
                await self.stop(child)
        return [child for child in group if child.key in self.children]

    def _start_group(self, ended: Child) -> Coroutine[Any, Any, Any]:
        return self.launch(ended, True) if self.alone else self._restart_group(ended)

    async def _restart_group(self, ended: Child) -> None:
        for child in await self._stop_group(ended):
            if child.pid is None and await self.launch(child, True) is not None:
                return

    # -- stop ---------------------------------------------------------------------------------------------------------

    async def stop(self, child: Child) -> None:
        """Stop a child and wait until it is gone; whatever it does, it is gone then."""
        if child.pid is not None:
            ref = self._ask_to_stop(child)
            try:
                down = await receive(ref, timeout=patience(child.spec))
            except TimeoutError:
                self._kill(child)
                down = await receive(ref)
            self._stopped(child, down.reason)
        self.forget(child)

    def _ask_to_stop(self, child: Child) -> Ref:
        pid = child.pid
        assert pid is not None
        # The monitor, for a child may have unlinked itself; and then no exit signal of its link can come.
        ref = _core.monitor(pid)
        _core.unlink(pid)
        if child.spec.shutdown == "brutal_kill":
            _core.kill(pid)
        else:
            _core.exit(pid, "shutdown")
        return ref

    def _kill(self, child: Child) -> None:
        assert child.pid is not None
        _log.error("%s: child %r (%s) did not stop in time and is killed", self.who, child.spec.id, child.pid)
        _core.kill(child.pid)

    def _stopped(self, child: Child, reason: Any) -> None:
        assert child.pid is not None
        # "noproc": it had ended before, and its Exit is on the way or here.
        expected = _restart.is_clean(reason) or reason == "noproc" or reason == "killed"
        if not expected:
            self._report("ended while it was stopped", child, reason, "it is gone")
        self.by_pid.pop(child.pid, None)
        child.pid = None

    async def stop_all(self) -> None:
        """Stop the children from right to left, one by one."""
        for child in reversed(list(self.children.values())):
            await self.stop(child)

    # -- requests -----------------------------------------------------------------------------------------------------

    async def do_which_children(self) -> list[tuple[Hashable, Pid | str | None, str]]:
        return [(c.spec.id, c.state(), c.spec.kind) for c in reversed(self.children.values())]

    async def do_count_children(self) -> dict[str, int]:
        all_ = self.children.values()
        supervisors = sum(child.spec.kind == "supervisor" for child in all_)
        return {
            "specs": len(all_),
            "active": len(self.by_pid),
            "supervisors": supervisors,
            "workers": len(all_) - supervisors,
        }

    async def do_start_child(self, spec: ChildSpec) -> Any:
        present = self.children.get(spec.id)
        if present is not None:
            raise Failed("exists", spec.id, present.state())
        try:
            check_combination(spec, self.auto_shutdown)
        except ValueError as error:
            raise Failed("invalid", str(error)) from None
        child = self.children[spec.id] = Child(spec.id, spec)
        return await self.add(child)

    async def add(self, child: Child) -> Any:
        """Start a new child; one that fails is forgotten."""
        failure = await self.launch(child)
        if failure is not None:
            del self.children[child.key]
            raise Failed("start", failure[0])
        started = child.started
        if child.pid is None:
            self.forget(child)
        return started

    async def do_restart_child(self, id: Hashable) -> Any:
        child = self._known(id)
        if child.state() is not None:
            raise Failed("running", id, child.state())
        child.progress = None if child.spec.recovery is None else _restart.Progress()
        failure = await self.launch(child)
        if failure is not None:
            raise Failed("start", failure[0])
        return child.started

    async def do_terminate_child(self, id: Hashable) -> None:
        await self.stop(self._known(id))

    async def do_delete_child(self, id: Hashable) -> None:
        child = self._known(id)
        if child.state() is not None:
            raise Failed("running", id, child.state())
        del self.children[id]

    async def do_get_child(self, id: Hashable) -> Any:
        return self._known(id).started

    async def do_get_spec(self, id: Hashable) -> ChildSpec:
        return self._known(id).spec

    def _known(self, id: Hashable) -> Child:
        child = self.children.get(id)
        if child is None:
            raise Failed("unknown", id)
        return child

    # -- reports ------------------------------------------------------------------------------------------------------

    def _report_start(self, child: Child) -> None:
        _log.info("%s: child %r started as %s", self.who, child.spec.id, child.pid)

    def _report(self, what: str, child: Child, reason: Any, then: str) -> None:
        if not _is_logged(ERROR):
            return
        shown = reason.summary() if isinstance(reason, _values.Crash) else repr(reason)
        pid = child.last_pid if what != "failed to start" else None
        who = f"{child.spec.id!r} ({pid})" if pid is not None else repr(child.spec.id)
        _log.error("%s: child %s %s: %s; %s", self.who, who, what, shown, then)


def _reason_of(error: Exception) -> Any:
    """Why a child could not start."""
    match error:
        case _errors.StartError():
            return error.reason
        case _errors.AlreadyStarted():
            return ("already_started", error.pid)
        case _errors.Stop():
            if error.reason == "shutdown":
                raise error  # the node is stopping: spawn says so in this way
            return error.reason
        case _:
            return _values.make_crash(error)


def waits(started: object) -> bool:
    """Has what a start function gave to be awaited?"""
    return type(started) is not Pid and (isinstance(started, Operation) or inspect.isawaitable(started))


def patience(spec: ChildSpec) -> float | None:
    """Seconds to wait for a child that has been asked to stop."""
    return None if isinstance(spec.shutdown, str) else spec.shutdown


def check_combination(spec: Any, auto_shutdown: str) -> None:
    """Raise unless the spec fits the supervisor."""
    if not isinstance(spec, ChildSpec):
        raise TypeError(f"children must be ChildSpecs, such as MyAgent.child(...), not {spec!r}")
    if spec.significant and auto_shutdown == "never":
        raise ValueError(f"ChildSpec {spec.id!r}: significant needs a supervisor whose auto_shutdown is not 'never'")


def check_specs(specs: Any, auto_shutdown: str) -> Sequence[ChildSpec]:
    """The children of a new supervisor as a list; raises TypeError or ValueError, naming the culprit."""
    if isinstance(specs, ChildSpec) or not isinstance(specs, Iterable):
        raise TypeError(f"children must be a list of ChildSpecs, not {specs!r}")
    seen: dict[Hashable, ChildSpec] = {}
    for spec in specs:
        check_combination(spec, auto_shutdown)
        if spec.id in seen:
            raise _errors.DuplicateChild(spec.id)
        seen[spec.id] = spec
    return list(seen.values())
