"""What the Python tests share: a fresh node per test, deadlines, seeds, child interpreters.

A test body is a process. `in_node` runs it as the main process of a fresh node and, when it returns, demands what every
statement of the semantics demands: its mailbox is empty, every process it started is gone, and the node's books balance
(spawned == exited + live). Nothing waits for ever: `take` and `until` raise after `DEADLINE` seconds.
"""

from __future__ import annotations

import functools
import inspect
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import transom
import transom.sync

DEADLINE = 20.0
TESTS = Path(__file__).parent
# Not empty: test bodies run deterministically, once for each of these; see "Races under the search" in CONTRIBUTING.
SEEDS = [int(seed) for seed in os.environ.get("TRANSOM_TEST_SEEDS", "").split(",") if seed]


def scaled(rounds: int) -> int:
    """How many rounds a race is repeated: `rounds` times the environment's TRANSOM_TEST_SCALE."""
    return max(1, int(rounds * float(os.environ.get("TRANSOM_TEST_SCALE", "1"))))


# -- the node ---------------------------------------------------------------------------------------------------------


def run_node(main: Callable[..., Any], *args: Any, check: bool = True, **options: Any) -> Any:
    """Run `main` as the main process of a fresh node and return its value, checking that it leaves nothing behind."""
    if inspect.iscoroutinefunction(main):

        async def checked() -> Any:
            before = set(transom.processes())
            value = await main(*args)
            if check:
                await until(lambda: books_balance(before), books)
                check_mailbox()
            return value

    else:

        def checked() -> Any:  # type: ignore[misc]
            before = set(transom.processes())
            value = main(*args)
            if check:
                until_sync(lambda: books_balance(before), books)
                check_mailbox()
            return value

    if SEEDS:
        options.pop("schedulers", None)
        return [transom.run(checked, deterministic=seed, **options) for seed in SEEDS][-1]
    return transom.run(checked, **options)


def in_node(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., None]]:
    """Make a test of a body that is to run as the main process of a fresh node with these options."""

    def decorate(body: Callable[..., Any]) -> Callable[..., None]:
        @functools.wraps(body)
        def test(*args: Any, **kwargs: Any) -> None:
            if inspect.iscoroutinefunction(body):

                async def main() -> None:
                    await body(*args, **kwargs)

            else:

                def main() -> None:  # type: ignore[misc]
                    body(*args, **kwargs)

            run_node(main, **options)

        return test

    return decorate


def books_balance(before: set[transom.Pid]) -> bool:
    """No process is left but those of before, and the node counts as many as there are."""
    counted = transom.node_info()
    return set(transom.processes()) <= before and counted["spawned"] == counted["exited"] + len(before)


def books() -> str:
    counted = transom.node_info()
    return f"spawned {counted['spawned']}, exited {counted['exited']}, live {transom.processes()}"


def check_mailbox() -> None:
    """The calling process has an empty mailbox."""
    left = messages()
    assert left == [], f"messages nobody waited for: {left[:10]}"


# -- waiting, always with a deadline ----------------------------------------------------------------------------------


async def take(*match: Any) -> Any:
    """Receive a message that must come."""
    return await transom.receive(*match, timeout=DEADLINE)


async def nothing(*match: Any) -> None:
    """No matching message is in the mailbox now."""
    try:
        message = await transom.receive(*match, timeout=0)
    except TimeoutError:
        return
    raise AssertionError(f"unexpected message {message!r}")


async def reason_of(ref: transom.Ref) -> Any:
    """Wait for the Down of a monitor; the reason it carries."""
    down = await take(ref)
    assert isinstance(down, transom.Down), down
    return down.reason


async def until(
    condition: Callable[[], Any], what: str | Callable[[], str] = "", *, seconds: float | None = None
) -> Any:
    """Wait until `condition()` is true; its value."""
    seconds = DEADLINE if seconds is None else seconds
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {seconds} s: {_describe(what, condition)}"
        await transom.sleep(0.001)
    return value


def until_sync(
    condition: Callable[[], Any], what: str | Callable[[], str] = "", *, seconds: float | None = None
) -> Any:
    """The same for a plain `def` process, and outside of any process."""
    seconds = DEADLINE if seconds is None else seconds
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {seconds} s: {_describe(what, condition)}"
        time.sleep(0.001)
    return value


def _describe(what: str | Callable[[], str], condition: Callable[[], Any]) -> str:
    if callable(what):
        return what()
    return what or inspect.getsource(condition).strip()


async def all_down(refs: list[transom.Ref]) -> list[Any]:
    """The reasons of all these monitors, in order of the refs."""
    return [await reason_of(ref) for ref in refs]


async def status_is(pid: transom.Pid, *wanted: str) -> None:
    """Wait until a process is seen in one of these states."""
    await until(lambda: info(pid, "status") in wanted, f"{pid} never became {wanted}")


# -- short forms ------------------------------------------------------------------------------------------------------


def info(pid: transom.Pid, item: str) -> Any:
    """One item of process_info, None for a dead process."""
    found = transom.process_info(pid, item)
    return None if found is None else found[item]


def messages() -> list[Any]:
    """The caller's own mailbox."""
    return list(info(transom.current_pid(), "messages"))


def is_(wanted: Any) -> Callable[[Any], bool]:
    """A predicate for receive: this very value."""
    return lambda message: type(message) is type(wanted) and message == wanted


def tagged(tag: str) -> Callable[[Any], bool]:
    """A predicate for receive: a tuple that begins with this word."""
    return lambda message: isinstance(message, tuple) and len(message) > 0 and message[0] == tag


def spin(turns: int) -> None:
    """Shift a race by a few microseconds of work."""
    for _ in range(turns):
        pass


def occupied(pid: transom.Pid) -> dict[str, Any] | None:
    """What node_info() says about the OS thread this process holds."""
    for entry in transom.node_info()["occupied"]:
        if entry["pid"] == pid:
            return dict(entry)
    return None


# -- processes many tests start ---------------------------------------------------------------------------------------


async def waits() -> None:
    """Wait for the word "go" and end normally."""
    await transom.receive(is_("go"))


async def waits_and_ends(reason: Any) -> None:
    """Wait for the word "go" and end with this reason."""
    await transom.receive(is_("go"))
    raise transom.Stop(reason)


async def ends(reason: Any) -> None:
    """End at once with this reason."""
    raise transom.Stop(reason)


async def returns() -> None:
    """End at once by returning."""


async def forwards(owner: transom.Pid) -> None:
    """Tell the owner every message, until "go"; traps exits."""
    transom.trap_exit(True)
    transom.send(owner, ("ready", transom.current_pid()))
    while (message := await transom.receive()) != "go":
        transom.send(owner, ("got", message))


async def apply(fn: Callable[..., Awaitable[Any]], *args: Any, **options: Any) -> Any:
    """Run `fn` in a process of its own and return what it returned; it must end normally."""
    me, tag = transom.current_pid(), transom.make_ref()

    async def body() -> None:
        transom.send(me, (tag, await fn(*args)))

    _, ref = transom.spawn_opt(transom.SpawnOptions(monitor=True, **options), body)
    reason = await reason_of(ref)
    assert reason == "normal", reason
    return (await take(tag))[1]


async def other(fn: Callable[..., Any], *args: Any) -> Any:
    """fn(*args) in another process: its result, or the exception it raised."""
    me = transom.current_pid()

    async def body() -> None:
        try:
            transom.send(me, ("result", fn(*args)))
        except Exception as error:
            transom.send(me, ("result", error))

    transom.spawn(body)
    return (await take(tuple))[1]


# -- child interpreters -----------------------------------------------------------------------------------------------


def run_script(
    script: Path,
    *args: Any,
    timeout: float = 50.0,
    returncode: int | tuple[int, ...] = 0,
    interrupt_on: str | None = None,
    env: dict[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a script in an interpreter of its own, so that a crash or a hang of it is a failed test with a trace.

    A hang is ended by SIGABRT, at which faulthandler prints the stack of every thread. With `interrupt_on` the child gets
    SIGINT as soon as it has printed a line that begins so.
    """
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "PYTHONFAULTHANDLER": "1", **(env or {})}
    child = subprocess.Popen(
        [sys.executable, "-u", str(script), *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert child.stdout is not None
    hung = threading.Event()

    def abort() -> None:
        hung.set()
        child.send_signal(signal.SIGABRT)

    timer = threading.Timer(timeout, abort)
    timer.start()
    head = ""
    try:
        if interrupt_on is not None:
            for line in child.stdout:
                head += line
                if line.startswith(interrupt_on):
                    child.send_signal(signal.SIGINT)
                    break
        out, err = child.communicate()
    finally:
        timer.cancel()
        if child.poll() is None:
            child.kill()
            child.wait()
    wanted = returncode if isinstance(returncode, tuple) else (returncode,)
    assert not hung.is_set() and child.returncode in wanted, (
        f"{f'still running after {timeout} s; ' if hung.is_set() else ''}exit status {child.returncode}, wanted {returncode}\n--- stdout\n{head}{out}\n--- stderr\n{err}"
    )
    return subprocess.CompletedProcess(child.args, child.returncode, head + out, err)
