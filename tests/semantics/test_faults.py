"""Faults: what goes wrong in a process or around a node ends in a named error and one report, never in the node's fall.

What ends an interpreter, or might, runs in one of its own (the `script` fixture).
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import hogs
import pytest
from support import all_down, in_node, info, is_, nothing, reason_of, returns, run_node, take, until, until_sync, waits

import transom
import transom.sync
from transom import (
    Crash,
    Pid,
    ProcessLimit,
    SpawnOptions,
    Stop,
    current_pid,
    exit,
    kill,
    node_info,
    send,
    spawn,
    spawn_link,
    spawn_monitor,
    spawn_opt,
    trap_exit,
)

# -- crash reports ----------------------------------------------------------------------------------------------------


def reports(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "transom" and record.levelno >= logging.ERROR]


async def crashes(text: str) -> None:
    raise RuntimeError(text)


def crashes_plainly(text: str) -> None:
    raise RuntimeError(text)


@pytest.mark.parametrize("body", [crashes, crashes_plainly])
def test_a_crash_gives_one_report(body: Any, caplog: pytest.LogCaptureFixture) -> None:
    """An exception in a process ends that process with a Crash reason and one crash report through logging (logger
    "transom"), never the node."""

    async def main() -> str:
        pid, ref = spawn_monitor(body, "on purpose")
        assert await reason_of(ref) == Crash(RuntimeError("on purpose"), "")
        return str(pid)

    pid = run_node(main)
    (record,) = reports(caplog)
    assert record.levelno == logging.ERROR
    text = record.getMessage() + (record.exc_text or "")
    assert pid in text and "RuntimeError" in text and "on purpose" in text and body.__name__ in text


def test_each_crash_gives_one_report(caplog: pytest.LogCaptureFixture) -> None:
    """one crash report through logging: exactly one for each of many, at the same time on all schedulers."""

    async def main() -> None:
        refs = [spawn_monitor(crashes, f"number {n}")[1] for n in range(200)]
        for reason in await all_down(refs):
            assert isinstance(reason, Crash)

    run_node(main)
    texts = [record.getMessage() + (record.exc_text or "") for record in reports(caplog)]
    assert len(texts) == 200
    for n in range(200):
        assert (
            sum(f"number {n}'" in text or f"number {n}\n" in text or text.endswith(f"number {n}") for text in texts)
            == 1
        )


@pytest.mark.parametrize("reason", ["normal", "shutdown", ("shutdown", "x")])
def test_an_orderly_end_gives_no_report(reason: Any, caplog: pytest.LogCaptureFixture) -> None:
    """crash report for abnormal reasons; none for normal, shutdown, (shutdown, X)."""

    async def stops() -> None:
        raise Stop(reason)

    async def main() -> None:
        _, ref = spawn_monitor(stops)
        assert await reason_of(ref) == reason
        pid, ref = spawn_monitor(waits)
        if reason != "normal":
            exit(pid, reason)
            assert await reason_of(ref) == reason
        else:
            send(pid, "go")
            assert await reason_of(ref) == "normal"

    run_node(main)
    assert reports(caplog) == []


def test_a_kill_gives_no_report(caplog: pytest.LogCaptureFixture) -> None:
    """one record per abnormal end, not for killed: waiting, running, linked."""

    async def linked() -> None:
        spawn_link(waits)
        spawn_link(waits)
        await transom.receive()

    async def main() -> None:
        for body, args in (
            (waits, ()),
            (linked, ()),
            (hogs.loops, (current_pid(),)),
            (hogs.swallows, (current_pid(),)),
        ):
            pid, ref = spawn_monitor(body, *args)
            if args:
                await take(is_("hogging"))
            kill(pid)
            assert await reason_of(ref) == "killed"
        await until(lambda: not node_info()["occupied"])

    run_node(main)
    assert reports(caplog) == []


def test_an_abnormal_stop_gives_one_report(caplog: pytest.LogCaptureFixture) -> None:
    """one record per abnormal end: also for `raise Stop(reason)`."""

    async def stops() -> None:
        raise Stop(("gave up", 7))

    async def main() -> None:
        _, ref = spawn_monitor(stops)
        assert await reason_of(ref) == ("gave up", 7)

    run_node(main)
    (record,) = reports(caplog)
    assert "gave up" in record.getMessage()


def test_a_raising_log_handler_harms_nobody() -> None:
    """An exception in a process ends that process, never the node: not even when reporting it fails."""

    class Bad(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise OSError("no space left")

    async def main() -> None:
        for _ in range(10):
            _, ref = spawn_monitor(crashes, "on purpose")
            assert isinstance(await reason_of(ref), Crash)

    handler = Bad()
    logger = logging.getLogger("transom")
    logger.addHandler(handler)
    try:
        run_node(main)
    finally:
        logger.removeHandler(handler)


# -- what main returns and raises -------------------------------------------------------------------------------------


def test_run_returns_what_main_returns() -> None:
    """run(main, *args): start the node, run main as a process, return its value, stop the node."""

    async def main(a: int, b: int) -> list[int]:
        return [a, b]

    def plain_main(a: int, b: int) -> list[int]:
        return [a, b]

    for body in (main, plain_main):
        assert transom.run(body, 1, 2) == [1, 2]
    with pytest.raises(transom.NotRunning):
        node_info()


@pytest.mark.parametrize("error", [ValueError("why", 1), KeyError("k"), TimeoutError()])
def test_run_raises_what_main_raised(error: Exception) -> None:
    """run raises what ended it."""

    async def main() -> None:
        raise error

    def plain_main() -> None:
        raise error

    for body in (main, plain_main):
        with pytest.raises(type(error)) as caught:
            transom.run(body)
        assert caught.value.args == error.args


def test_run_raises_when_main_was_ended() -> None:
    """run raises what ended it: an exit signal, too."""

    async def main(reason: str) -> None:
        exit(current_pid(), reason)
        await transom.receive()

    for reason in ("kill", "other"):
        with pytest.raises(BaseException) as caught:
            transom.run(main, reason)
        assert ("killed" if reason == "kill" else "other") in f"{caught.value!r} {caught.value}"
    with pytest.raises(transom.NotRunning):
        node_info()


def test_run_raises_when_a_linked_child_crashed() -> None:
    """run raises what ended it: the crash of a linked child."""

    async def main() -> None:
        spawn_link(crashes, "in the child")
        await transom.receive()

    with pytest.raises(BaseException, match="in the child"):
        transom.run(main)


def test_run_ends_the_processes_main_left() -> None:
    """run stops the node: what main left behind is ended, whatever it does."""

    async def main() -> None:
        for body, args in (
            (waits, ()),
            (hogs.loops, (current_pid(),)),
            (hogs.swallows, (current_pid(),)),
            (hogs.library, (current_pid(),)),
            (hogs.naps, (current_pid(), 0.3)),
        ):
            spawn(body, *args)
        for _ in range(4):
            await take(is_("hogging"))

    for _ in range(3):
        before = time.monotonic()
        run_node(main, check=False)
        assert time.monotonic() - before < 10


def test_a_node_can_be_started_again_and_again() -> None:
    """run starts and stops a node each time: nothing of the last one is left."""

    async def main(n: int) -> int:
        transom.register("main", current_pid())
        spawn(waits)
        transom.send_after(3600, "main", "late")
        assert len(transom.processes()) == 2
        assert transom.registered() == ["main"]
        return n

    for n in range(30):
        assert transom.run(main, n) == n


def test_options_are_checked() -> None:
    """a bad argument gives a named exception, and no node is left running."""
    for options in (
        {"schedulers": 0},
        {"schedulers": -1},
        {"schedulers": 100_000},
        {"max_processes": 0},
        {"max_threads": -1},
    ):
        with pytest.raises(ValueError, match=next(iter(options))):
            transom.run(returns, **options)
    for bad in ({"schedulers": "two"}, {"name": 7}, {"no_such_option": 1}):
        with pytest.raises(TypeError):
            transom.run(returns, **bad)
    with pytest.raises(TypeError):
        transom.run(None)  # type: ignore[arg-type]
    transom.run(returns)


def test_schedulers_option_is_what_node_info_says() -> None:
    """schedulers: slots; node_info() says how many."""

    async def main() -> int:
        return int(node_info()["slots"])

    for count in (1, 2, 3, 8):
        assert run_node(main, schedulers=count) == count


# -- start, stop, calls from outside ----------------------------------------------------------------------------------


def test_calls_outside_of_a_node() -> None:
    """A call without a node gives a named exception."""
    for call in (lambda: spawn(waits), transom.processes, node_info, lambda: send("clerk", 1)):
        with pytest.raises(transom.NotRunning):
            call()


OUTSIDE: list[Callable[[Pid], Any]] = [
    lambda pid: current_pid(),
    lambda pid: transom.link(pid),
    lambda pid: transom.unlink(pid),
    lambda pid: transom.monitor(pid),
    lambda pid: transom.demonitor(transom.make_ref()),
    lambda pid: transom.alias(),
    lambda pid: trap_exit(True),
    lambda pid: transom.set_priority("high"),
    lambda pid: transom.reductions(),
    lambda pid: transom.set_label("outside"),
    lambda pid: spawn_link(waits),
    lambda pid: spawn_monitor(waits),
    lambda pid: transom.sync.receive(timeout=0),
]


def test_calls_outside_of_a_process() -> None:
    """a call outside a process gives a named exception: NotInProcess for what needs a process to stand for."""
    transom.start()
    try:
        pid = spawn(waits)
        for call in OUTSIDE:
            with pytest.raises(transom.NotInProcess):
                call(pid)

        async def receives() -> None:
            await transom.receive(timeout=0)

        coroutine = receives()
        with pytest.raises(transom.NotInProcess):
            coroutine.send(None)
        assert transom.is_alive(pid)
    finally:
        transom.stop(5)


def test_start_and_stop_around_a_program() -> None:
    """start/stop: embed in a program that goes on."""
    for _ in range(5):
        transom.start(schedulers=2)
        with pytest.raises(transom.AlreadyRunning):
            transom.start()
        with pytest.raises(transom.AlreadyRunning):
            transom.run(returns)
        done: list[str] = []

        async def body(done: list[str] = done) -> None:
            done.append(await transom.receive(str))

        pid = spawn(body)
        send(pid, "hello from outside")
        until_sync(lambda done=done: done)
        assert done == ["hello from outside"]
        until_sync(lambda pid=pid: not transom.is_alive(pid))
        transom.stop(5)
        with pytest.raises(transom.NotRunning):
            transom.processes()


def test_stop_without_a_node() -> None:
    """stop without a node: nothing to do, or a named exception."""
    try:
        transom.stop()
    except transom.NotRunning:
        pass
    transom.run(returns)


def test_stop_with_everything_going_on() -> None:
    """stop() with running, parked and natively blocked processes returns within its timeout."""
    transom.start(schedulers=2)
    bodies = [hogs.loops, hogs.loops_plainly, hogs.swallows, hogs.library, hogs.calls]
    inbox: list[str] = []

    async def collects() -> None:
        while True:
            inbox.append(await transom.receive(str))

    owner = spawn(collects)
    for body in bodies * 2:
        spawn(body, owner)
    for _ in range(4):
        spawn(hogs.naps, owner, 6)
        spawn(hogs.naps_plainly, owner, 6)
    for _ in range(100):
        spawn(waits)
    until_sync(lambda: inbox.count("hogging") == 18)
    before = time.monotonic()
    transom.stop(2)
    assert time.monotonic() - before < 4
    with pytest.raises(transom.NotRunning):
        transom.processes()
    # The threads that still sleep natively belong to nobody; a new node does not know them.
    transom.run(returns)


def test_stop_from_inside_is_refused_or_works() -> None:
    """stop() called by a process: a named error, or the node stops; it never hangs."""

    async def main() -> str:
        try:
            transom.stop(1)
        except transom.TransomError as error:
            return type(error).__name__
        await transom.receive()
        return "unreachable"

    try:
        assert transom.run(main) != "unreachable"
    except BaseException as error:  # noqa: BLE001
        assert not isinstance(error, AssertionError)
    with pytest.raises(transom.NotRunning):
        transom.processes()


# -- limits -----------------------------------------------------------------------------------------------------------


@in_node(max_processes=64)
async def test_a_full_process_table() -> None:
    """a full process table gives a named exception: ProcessLimit; when processes end there is room again."""
    for _ in range(3):
        pids = []
        with pytest.raises(ProcessLimit):
            for _ in range(1_000):
                pids.append(spawn(waits))
        assert len(pids) == 63
        for start in (spawn_link, spawn_monitor, lambda fn: spawn_opt(SpawnOptions(name="late"), fn)):
            with pytest.raises(ProcessLimit):
                start(waits)
        # What was refused leaves nothing: no link, no monitor, no name.
        assert len(info(current_pid(), "links")) == len(info(current_pid(), "monitors")) == 0
        assert transom.registered() == []
        for pid in pids:
            send(pid, "go")
        await until(lambda: len(transom.processes()) == 1)
    await nothing()


@in_node(max_processes=64)
async def test_a_full_process_table_from_all_schedulers() -> None:
    """a full process table: the limit holds whoever spawns, and every place comes back."""
    me = current_pid()

    async def spawns() -> None:
        started = refused = 0
        for _ in range(2_000):
            try:
                spawn(returns)
                started += 1
            except ProcessLimit:
                refused += 1
                await transom.sleep(0)
        send(me, (started, refused))

    refs = [spawn_monitor(spawns)[1] for _ in range(6)]
    total = [await take(tuple) for _ in refs]
    assert await all_down(refs) == ["normal"] * 6
    assert sum(started + refused for started, refused in total) == 12_000
    await until(lambda: len(transom.processes()) == 1)
    pids = [spawn(waits) for _ in range(63)]
    for pid in pids:
        send(pid, "go")


# -- signals and forks, each in an interpreter of its own -------------------------------------------------------------

INTERRUPTED = (-signal.SIGINT, 130)


@pytest.mark.parametrize(
    "main",
    [
        "async def main():\n    print('ready')\n    await transom.receive()",
        "async def main():\n    print('ready')\n    await transom.sleep(60)",
        "async def main():\n    print('ready')\n    while True: pass",
        "def main():\n    print('ready')\n    transom.sync.receive()",
        "def main():\n    print('ready')\n    while True: pass",
        "def main():\n    print('ready')\n    time.sleep(1.5)",
        "async def main():\n    for _ in range(8): transom.spawn(hog)\n    print('ready')\n    await transom.receive()",
    ],
    ids=["receive", "sleep", "loop", "plain-receive", "plain-loop", "native-sleep", "hogs"],
)
def test_keyboard_interrupt_stops_the_node(main: str, script: Callable[..., Any]) -> None:
    """KeyboardInterrupt stops the node cleanly: run() raises it, the traceback and the exit status are Python's own, and
    what stands in the program's finally runs."""
    source = f"""
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
import transom, transom.sync

async def hog():
    while True: pass

{main}

try:
    transom.run(main)
finally:
    try:
        transom.processes()
    except transom.NotRunning:
        print("stopped")
"""
    done = script(source, interrupt_on="ready", returncode=INTERRUPTED, timeout=20)
    assert done.stdout.splitlines()[-1] == "stopped"
    assert done.stderr.rstrip().splitlines()[-1] == "KeyboardInterrupt"
    assert "Fatal" not in done.stderr and "Exception ignored" not in done.stderr


def test_a_signal_handler_may_raise_anything(script: Callable[..., Any]) -> None:
    """KeyboardInterrupt stops the node cleanly: so does what another signal handler raises."""
    done = script(
        """
        import os, signal
        import transom

        class Enough(Exception):
            pass

        def handler(number, frame):
            raise Enough

        async def main():
            os.kill(os.getpid(), signal.SIGTERM)
            await transom.receive()

        signal.signal(signal.SIGTERM, handler)
        try:
            transom.run(main)
        except Enough:
            print("raised")
        transom.run(print, "and ran again")
        """
    )
    assert done.stdout == "raised\nand ran again\n"


def test_a_signal_handler_that_returns_goes_on(script: Callable[..., Any]) -> None:
    """A signal handler runs while the node runs, and the node goes on."""
    done = script(
        """
        import os, signal, time
        import transom

        seen = []
        signal.signal(signal.SIGUSR1, lambda number, frame: seen.append(number))

        async def main():
            for n in range(5):
                os.kill(os.getpid(), signal.SIGUSR1)
                while len(seen) <= n:
                    await transom.sleep(0.001)
            return "went on"

        print(transom.run(main), len(seen))
        """
    )
    assert done.stdout == "went on 5\n"


def test_a_fork_is_refused_in_the_child(script: Callable[..., Any]) -> None:
    """fork is refused with a clear error in the child; the parent's node goes on."""
    done = script(
        """
        import os, warnings
        import transom

        warnings.simplefilter("ignore", DeprecationWarning)

        async def waits():
            await transom.receive()

        def child():
            calls = (
                lambda: transom.spawn(waits),
                lambda: transom.run(waits),
                lambda: transom.start(),
                lambda: transom.send(pid, "hello"),
                lambda: transom.processes(),
                lambda: transom.stop(1),
            )
            for call in calls:
                try:
                    call()
                except transom.ForkedError as error:
                    assert "fork" in str(error), error
                else:
                    return 1
            return 0

        transom.start()
        pid = transom.spawn(waits)
        forked = os.fork()
        if forked == 0:
            status = 2
            try:
                status = child()
            finally:
                os._exit(status)
        print("child", os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1]))
        print("alive", transom.is_alive(pid))
        transom.stop(5)
        """
    )
    assert done.stdout == "child 0\nalive True\n", done.stderr


def test_a_fork_inside_of_a_process(script: Callable[..., Any]) -> None:
    """fork is refused with a clear error in the child: also when a process forks; it can still exit or exec."""
    done = script(
        """
        import os, warnings
        import transom

        warnings.simplefilter("ignore", DeprecationWarning)

        async def main():
            forked = os.fork()
            if forked == 0:
                status = 2
                try:
                    transom.send(transom.current_pid(), "hello")
                    status = 1
                except transom.ForkedError:
                    status = 0
                finally:
                    os._exit(status)
            status = os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1])
            await transom.sleep(0.01)
            return status

        print(transom.run(main))
        """
    )
    assert done.stdout == "0\n", done.stderr


def test_a_child_forked_before_the_node_may_run_its_own(script: Callable[..., Any]) -> None:
    """fork is refused where a node runs; a program that has imported transom, or has stopped its node, may fork."""
    done = script(
        """
        import os, warnings
        import transom

        warnings.simplefilter("ignore", DeprecationWarning)

        async def main():
            return os.getpid()

        forked = os.fork()
        if forked == 0:
            os._exit(0 if transom.run(main) == os.getpid() else 1)
        print(os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1]), transom.run(main) == os.getpid())
        """
    )
    assert done.stdout == "0 True\n", done.stderr


def test_subprocesses_work_inside_of_a_process() -> None:
    """A blocking function needs nothing: running another program from a process works, and others keep going."""
    import subprocess
    import sys

    def runs() -> None:
        found = subprocess.run([sys.executable, "-c", "print(6 * 7)"], capture_output=True, text=True, check=True)
        assert found.stdout == "42\n"

    async def main() -> None:
        refs = [spawn_monitor(runs)[1] for _ in range(3)]
        assert await all_down(refs) == ["normal"] * 3

    run_node(main)


def test_the_program_may_end_with_a_node_running(script: Callable[..., Any]) -> None:
    """A program that ends without stop() ends: daemon-like, with its own exit status and no crash at finalisation."""
    for tail, status in (("", 0), ("raise SystemExit(3)", 3), ("raise ValueError('the end')", 1)):
        done = script(
            f"""
import time
import transom

async def hog():
    while True: pass

async def waits():
    await transom.receive()

def naps():
    time.sleep(1)

transom.start()
for body in (hog, hog, waits, naps):
    transom.spawn(body)
time.sleep(0.05)
print("end")
{tail}
""",
            returncode=status,
            timeout=20,
        )
        assert done.stdout == "end\n"
        assert "Fatal" not in done.stderr


def test_importing_leaves_the_gil_off(script: Callable[..., Any]) -> None:
    """Every extension declares that it does not need the GIL; importing transom leaves it off."""
    done = script(
        """
        import sys, sysconfig
        import transom
        free = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
        print("ok" if not free or not sys._is_gil_enabled() else "the GIL is on")
        """,
        env={"PYTHONWARNINGS": "error"},
    )
    assert done.stdout == "ok\n"


def test_errors_are_one_tree() -> None:
    """Every named exception is a TransomError, and what a Python user would expect besides."""
    for error, base in (
        (transom.NotInProcess, RuntimeError),
        (transom.NotRunning, RuntimeError),
        (transom.AlreadyRunning, RuntimeError),
        (transom.NoProcess, LookupError),
        (transom.NameTaken, ValueError),
        (transom.ProcessLimit, RuntimeError),
        (transom.ForkedError, RuntimeError),
        (transom.NotOwner, ValueError),
    ):
        assert issubclass(error, transom.TransomError) and issubclass(error, base)
        assert error.__module__ == "transom" and error.__doc__


@in_node()
async def test_bad_arguments() -> None:
    """a bad argument gives a named exception, and nothing happens."""
    me, ref = current_pid(), transom.make_ref()
    wrong: list[Callable[[], Any]] = [
        lambda: send(None, 1),
        lambda: send(7, 1),
        lambda: send(b"name", 1),
        lambda: send(("name",), 1),
        lambda: send(("name", 7), 1),
        lambda: send((7, "node"), 1),
        lambda: send(),
        lambda: exit("name", "reason"),
        lambda: exit(ref, "reason"),
        lambda: exit(me),
        lambda: kill("name"),
        lambda: transom.link("name"),
        lambda: transom.link(None),
        lambda: transom.unlink("name"),
        lambda: transom.monitor(7),
        lambda: transom.monitor(ref),
        lambda: transom.demonitor("ref"),
        lambda: transom.demonitor(me),
        lambda: transom.unalias("ref"),
        lambda: trap_exit("yes"),
        lambda: transom.register("name", "pid"),
        lambda: transom.unregister(7),
        lambda: transom.whereis(7),
        lambda: transom.is_alive("pid"),
        lambda: transom.process_info(7),
        lambda: transom.process_info(me, 7),
        lambda: transom.set_label(7),
        lambda: spawn(),
        lambda: spawn_opt(None, waits),
        lambda: spawn_opt(SpawnOptions()),
        lambda: SpawnOptions("link"),
        lambda: SpawnOptions(no_such_option=1),
        lambda: Pid(),
        lambda: transom.Ref(),
    ]
    for n, call in enumerate(wrong):
        with pytest.raises(TypeError):
            call()
            pytest.fail(f"number {n} was accepted")
    for n, call in enumerate(
        (
            lambda: transom.alias(mode="no such mode"),
            lambda: transom.monitor(me, alias="no such mode"),
            lambda: transom.process_info(me, "no such item"),
        )
    ):
        with pytest.raises(ValueError, match="no such"):
            call()
            pytest.fail(f"number {n} was accepted")
    assert transom.registered() == [] and len(transom.processes()) == 1
    assert len(info(me, "links")) == len(info(me, "monitors")) == 0


@in_node()
async def test_receive_wants_clauses() -> None:
    """a bad argument gives a named exception: what is neither a type, a callable nor a Ref is no clause."""
    send(current_pid(), "stays")
    for bad in (7, "text", None, (int, str), [int]):
        with pytest.raises(TypeError):
            await transom.receive(bad, timeout=0)
    assert await take() == "stays"


@in_node()
async def test_an_async_predicate_is_not_a_clause() -> None:
    """a bad argument gives a named exception: a coroutine function would accept every message unawaited."""

    async def accepts(message: Any) -> bool:
        return False

    send(current_pid(), "stays")
    with pytest.raises(TypeError):
        await transom.receive(accepts, timeout=0)
    assert await take() == "stays"


@in_node()
async def test_blocking_receive_in_a_coroutine_process() -> None:
    """transom.sync.receive is for plain functions; in a coroutine process it still does not stop the node."""
    peer, ref = spawn_monitor(waits)
    send(current_pid(), 1)
    try:
        assert transom.sync.receive(int, timeout=1) == 1
    except transom.TransomError:
        assert await take() == 1
    send(peer, "go")
    assert await reason_of(ref) == "normal"


@in_node()
async def test_foreign_awaitables_are_a_clear_error() -> None:
    """What a process cannot wait for (an asyncio future) ends it with an error that says so, not with a hang."""
    import asyncio

    async def awaits() -> None:
        await asyncio.sleep(1)

    _, ref = spawn_monitor(awaits)
    reason = await reason_of(ref)
    assert isinstance(reason, Crash) and isinstance(reason.exception, RuntimeError)

    class Yields:
        def __await__(self) -> Any:
            yield "something of another world"

    async def awaits_another() -> None:
        await Yields()

    _, ref = spawn_monitor(awaits_another)
    reason = await reason_of(ref)
    assert isinstance(reason, Crash) and isinstance(reason.exception, RuntimeError)


@in_node()
async def test_memory_error_and_recursion_error_end_only_their_process() -> None:
    """An exception in a process ends that process, never the node."""

    async def recurses() -> None:
        async def deeper() -> None:
            await deeper()

        await deeper()

    async def eats() -> None:
        _ = bytearray(1 << 60)

    _, ref = spawn_monitor(recurses)
    reason = await reason_of(ref)
    assert isinstance(reason, Crash) and isinstance(reason.exception, RecursionError)
    _, ref = spawn_monitor(eats)
    reason = await reason_of(ref)
    assert isinstance(reason, Crash) and isinstance(reason.exception, (MemoryError, OverflowError))


# -- idle -------------------------------------------------------------------------------------------------------------


def test_an_idle_node_uses_no_cpu(script: Callable[..., Any]) -> None:
    """Idle means idle: a node with nothing to do uses under 1 % of one core. (5 % is the bound here, as the machine may be
    busy with other things.)"""
    done = script(
        """
        import time
        import transom, transom.sync

        async def waits():
            await transom.receive()

        def waits_plainly():
            transom.sync.receive()

        async def main():
            for _ in range(100):
                transom.spawn(waits)
            for _ in range(5):
                transom.spawn(waits_plainly)
            transom.send_after(3600, transom.current_pid(), "late")
            await transom.sleep(0.3)
            cpu, wall = time.process_time(), time.monotonic()
            await transom.sleep(2)
            return (time.process_time() - cpu) / (time.monotonic() - wall)

        print(transom.run(main, schedulers=2))
        """
    )
    assert float(done.stdout) < 0.05


def test_threads_that_ask_while_the_node_stops() -> None:
    """process_info from other threads at the very moment of stop: an answer, None, or NotRunning; never two owners of a process."""
    rounds, askers = 25, 3
    answers = [0] * askers

    for _ in range(rounds):
        transom.start(schedulers=1)
        pids = [transom.spawn(waits) for _ in range(50)]
        over = threading.Event()

        def ask(n: int, pids: list[Pid] = pids, over: threading.Event = over) -> None:
            while not over.is_set():
                for pid in pids:
                    try:
                        found = transom.process_info(pid, "status", "links", "current_function")
                    except transom.NotRunning:
                        continue
                    assert found is None or found["links"] == []
                    answers[n] += found is not None

        threads = [threading.Thread(target=ask, args=(n,)) for n in range(askers)]
        for thread in threads:
            thread.start()
        transom.stop(timeout=5)
        over.set()
        for thread in threads:
            thread.join()
    assert sum(answers) > 0
