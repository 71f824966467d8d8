"""What the tests of supervisors share: children that tell when they start, and end as they are told."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from support import DEADLINE, tagged, take

import transom
from transom import ChildSpec, Pid, Stop, Supervisor, SupervisorRef, proc_lib


async def kid(owner: Pid, name: Any) -> None:
    """Say ("up", name, pid), then end as ("end", how) says."""
    announce(owner, name)
    _, how = await transom.receive(tagged("end"))
    end(how)


async def stubborn(owner: Pid, name: Any) -> None:
    """As kid, but it traps exits, and tells of them instead of ending."""
    transom.trap_exit(True)
    announce(owner, name)
    while True:
        match await transom.receive():
            case ("end", how):
                end(how)
            case transom.Exit(_, reason):
                transom.send(owner, ("told", name, reason))


async def orderly(owner: Pid, name: Any) -> None:
    """As kid, but it traps exits, tells of the first and ends with its reason."""
    transom.trap_exit(True)
    announce(owner, name)
    match await transom.receive():
        case ("end", how):
            end(how)
        case transom.Exit(_, reason):
            transom.send(owner, ("told", name, reason))
            raise Stop(reason)


def announce(owner: Pid, name: Any) -> None:
    """Say ("up", name, pid), and only then be ready, so that these come in the order of the starts."""
    transom.send(owner, ("up", name, transom.current_pid()))
    try:
        proc_lib.init_ack()
    except RuntimeError:
        pass  # started as Task.child, which does not wait


class Start:
    """Starts a child and waits until it has said so."""

    def __init__(self, body: Callable[..., Any], *args: Any) -> None:
        self.body = body
        self.args = args

    def __call__(self) -> Any:
        return proc_lib.start_link(self.body, self.args)


def end(how: Any) -> None:
    if how == "crash":
        raise ZeroDivisionError("on purpose")
    if how == "killed":
        transom.kill(transom.current_pid())
    raise Stop(how)


def spec(name: Any, body: Callable[..., Any] = kid, **options: Any) -> ChildSpec:
    """A child of this name that reports to the calling process."""
    return ChildSpec(id=name, start=Start(body, transom.current_pid(), name), **options)


async def desk(children: list[ChildSpec], **options: Any) -> tuple[SupervisorRef, dict[Any, Pid]]:
    """Start a supervisor and wait until its children are up: it, and the children's pids."""
    transom.trap_exit(True)
    ref = await Supervisor.start_link(children=children, **options)
    return ref, {child.id: await up(child.id) for child in children}


async def up(name: Any) -> Pid:
    """Wait for a start of this child."""
    pid: Pid = (await take(lambda m: tagged("up")(m) and m[1] == name))[2]
    return pid


async def states(ref: Any) -> dict[Any, Any]:
    """The children in start order: id -> Pid, None or "restarting"."""
    return {id: pid for id, pid, _ in reversed(await ref.which_children())}


async def eventually(question: Callable[[], Awaitable[Any]], wanted: Any) -> None:
    """Ask until the answer is as wanted."""
    deadline = time.monotonic() + DEADLINE
    while (answer := await question()) != wanted:
        assert time.monotonic() < deadline, f"{answer} never became {wanted}"
        await transom.sleep(0.001)


async def gone(ref: Any, *, reason: Any) -> None:
    """Wait for the Exit of a linked supervisor."""
    signal = await take(lambda m: isinstance(m, transom.Exit) and m.sender == ref.pid)
    assert signal.reason == reason, signal


async def close(ref: Any) -> None:
    """Stop a supervisor; its Exit is taken, too."""
    pid = ref.pid
    await ref.stop("normal", DEADLINE)
    await take(lambda m: isinstance(m, transom.Exit) and m.sender == pid)
