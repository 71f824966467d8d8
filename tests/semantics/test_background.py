"""Native code that computes off its slot gives way to other threads, and comes back with the slot."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter

import pytest

import transom
import transom.sync
from tests.support import in_node, status_is, take, until, until_sync, waits

IDLE = getattr(os, "SCHED_IDLE", None)


def _may_come_back() -> bool:
    """Found out on a thread of its own, as the runtime does."""
    if IDLE is None or os.sched_getscheduler(0) != os.SCHED_OTHER:
        return False
    found: list[bool] = []

    def try_it() -> None:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        try:
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        except PermissionError:
            return
        found.append(True)

    thread = threading.Thread(target=try_it)
    thread.start()
    thread.join()
    return bool(found)


needs_it = pytest.mark.skipif(not _may_come_back(), reason="needs Linux and CAP_SYS_NICE")


def burn(rounds: int) -> None:
    """Native code without an event: some 20 ms a round."""
    sum(range(rounds * 1_000_000))


def burner(owner: transom.Pid, rounds: int) -> None:
    """Computes; between its turns it says under which policy it holds a slot."""
    owner.send(threading.get_native_id())
    while True:
        burn(rounds)
        transom.sync.sleep(0.001)
        owner.send(("policy", os.sched_getscheduler(0)))


async def other(owner: transom.Pid) -> None:
    """Wants the slot now and then."""
    while True:
        await transom.sleep(0.001)


def _samples(tid: int, seconds: float) -> Counter[int]:
    """What policies a thread is seen under; by a thread that needs no slot."""
    seen: Counter[int] = Counter()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        seen[os.sched_getscheduler(tid)] += 1
        time.sleep(0.001)
    return seen


@needs_it
@in_node(schedulers=1, check=False)
async def test_a_computing_process_is_in_the_background_off_its_slot() -> None:
    me = transom.current_pid()
    transom.spawn_link(other, me)
    pid = transom.spawn(burner, me, 10)
    tid = await take(int)
    seen: Counter[int] = Counter()

    async def often() -> bool:
        seen.update(await transom.aio(_sampled(tid)))
        return seen[os.SCHED_IDLE] > 100

    while not await often():
        pass
    transom.kill(pid)
    transom.unlink(me)


async def _sampled(tid: int) -> Counter[int]:
    import asyncio

    return await asyncio.to_thread(_samples, tid, 0.2)


@needs_it
@in_node(schedulers=1, check=False)
async def test_a_slot_is_never_held_in_the_background() -> None:
    """Each round it computes, waits, and computes a moment in Python: with a slot as soon as it is quick again."""
    me = transom.current_pid()

    def changing(rounds: int) -> None:
        for _ in range(rounds):
            burn(5)
        for _ in range(30):
            transom.sync.sleep(0.001)
        me.send(("quick", os.sched_getscheduler(0)))

    for _ in range(5):
        transom.spawn(changing, 3)
    for _ in range(5):
        assert (await take(tuple))[1] == os.SCHED_OTHER


@needs_it
@in_node(schedulers=1, check=False)
async def test_a_pooled_thread_is_not_left_in_the_background() -> None:
    """Agents and tasks leave their thread when they are done; who runs there next is not to suffer."""

    class Parser(transom.Agent):
        def parse(self) -> int:
            burn(10)
            return threading.get_native_id()

    me = transom.current_pid()
    transom.spawn(other, me)
    parser = await Parser.start_link()
    used = {await parser.parse.options(timeout=60)() for _ in range(8)}
    await until(lambda: {os.sched_getscheduler(tid) for tid in used if _lives(tid)} <= {os.SCHED_OTHER})


def _lives(tid: int) -> bool:
    return os.path.exists(f"/proc/self/task/{tid}")


@needs_it
@in_node(schedulers=2, check=False)
async def test_one_that_gets_next_to_nothing_comes_back() -> None:
    """Every core is taken by Python code that never ends: the background alone would be three parts in a thousand."""
    me = transom.current_pid()
    stop = threading.Event()

    def spin() -> None:
        while not stop.is_set():
            pass

    crowd = [threading.Thread(target=spin) for _ in range(2 * (os.cpu_count() or 1))]
    transom.spawn(other, me)
    pid = transom.spawn(burner, me, 3)
    await take(int)
    for _ in range(3):
        await take(tuple)  # it is known by now
    for thread in crowd:
        thread.start()
    began = time.monotonic()
    await take(tuple)
    await take(tuple)
    took = time.monotonic() - began
    stop.set()
    for thread in crowd:
        thread.join()
    transom.kill(pid)
    await until(lambda: not transom.is_alive(pid))
    assert took < 10, f"two rounds of some 60 ms took {took:.1f} s"


@needs_it
@in_node(schedulers=1, check=False)
async def test_what_python_starts_in_the_background_is_not_born_there() -> None:
    """Nobody would bring it back."""
    me = transom.current_pid()

    def thread() -> int:
        found: list[int] = []
        born = threading.Thread(target=lambda: found.append(os.sched_getscheduler(0)))
        born.start()
        born.join()
        return found[0]

    def program() -> int:
        text = "import os; print(os.sched_getscheduler(0))"
        return int(subprocess.run([sys.executable, "-c", text], capture_output=True, check=True).stdout)

    def starter() -> None:
        for how in (thread, program, thread, program):
            burn(20)  # from the second time on it has no slot from its first moment on
            transom.sync.sleep(0.001)
            me.send((how.__name__, how()))

    transom.spawn(other, me)
    transom.spawn_link(starter)
    born = [await take(tuple) for _ in range(4)]
    assert born == [("thread", os.SCHED_OTHER), ("program", os.SCHED_OTHER)] * 2


@needs_it
@in_node(schedulers=1, check=False)
async def test_who_does_not_compute_any_more_waits_in_the_foreground() -> None:
    """Its thread may be given a slot, and those behind that slot would wait until it wakes."""
    me = transom.current_pid()
    last: list[int] = []

    def changing() -> None:
        for _ in range(4):
            burn(5)
            transom.sync.sleep(0.001)
        time.sleep(0.02)
        last.append(threading.get_native_id())
        transom.sync.receive(str)

    transom.spawn(other, me)
    for turn in range(3):
        pid = transom.spawn_link(changing)
        await until(lambda turn=turn: len(last) > turn)
        await status_is(pid, "waiting")
        assert os.sched_getscheduler(last[turn]) == os.SCHED_OTHER
        pid.send("end")


@needs_it
def test_a_node_that_stops_leaves_nobody_in_the_background() -> None:
    """Its monitor has ended, so nobody would see that one of them gets next to nothing."""
    tids: list[int] = []

    def burner() -> None:
        tids.append(threading.get_native_id())
        burn(200)

    transom.start(schedulers=1)
    transom.spawn(other, transom.spawn(waits))
    transom.spawn(burner)
    until_sync(lambda: bool(tids) and os.sched_getscheduler(tids[0]) == os.SCHED_IDLE)
    transom.stop(timeout=0.2)  # it is left to itself
    assert _lives(tids[0])
    assert os.sched_getscheduler(tids[0]) == os.SCHED_OTHER
    until_sync(lambda: not _lives(tids[0]))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="gives up the rights of root")
@needs_it
def test_after_one_could_not_come_back_nobody_goes() -> None:
    program = textwrap.dedent(
        """
        import os, resource, threading, transom, transom.sync
        idle = set()

        def burner():
            for _ in range(3):
                sum(range(10_000_000))
                transom.sync.sleep(0.001)

        async def look():
            while True:
                await transom.sleep(0.001)
                for name in os.listdir("/proc/self/task"):
                    try:
                        if os.sched_getscheduler(int(name)) == os.SCHED_IDLE:
                            idle.add(name)
                    except ProcessLookupError:
                        pass

        async def main():
            resource.setrlimit(resource.RLIMIT_NICE, (0, 0))
            os.setuid(65534)  # in all threads; CAP_SYS_NICE goes with it
            transom.spawn_link(look)
            for _ in range(4):
                burning = [transom.spawn(burner) for _ in range(2)]
                while any(map(transom.is_alive, burning)):
                    await transom.sleep(0.001)

        transom.run(main, schedulers=1)
        assert len(idle) <= 2, idle
        print("few went")
        """
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "few went\n"


@pytest.mark.skipif(sys.platform != "linux", reason="capabilities of Linux")
def test_without_the_right_to_come_back_nobody_goes() -> None:
    program = textwrap.dedent(
        """
        import ctypes, os, struct, threading, time
        libc = ctypes.CDLL(None, use_errno=True)
        header, sets = struct.pack("Ii", 0x20080522, 0), ctypes.create_string_buffer(24)
        buffer = ctypes.create_string_buffer(header)
        assert libc.capget(buffer, sets) == 0
        words = list(struct.unpack("6I", sets.raw))
        for i in (0, 1, 2):
            words[i] &= ~(1 << 23)  # CAP_SYS_NICE
        assert libc.capset(buffer, struct.pack("6I", *words)) == 0
        import resource, transom, transom.sync
        resource.setrlimit(resource.RLIMIT_NICE, (0, resource.getrlimit(resource.RLIMIT_NICE)[1]))
        seen = set()

        def burner():
            for _ in range(6):
                sum(range(10_000_000))
                seen.add(os.sched_getscheduler(0))
                transom.sync.sleep(0.001)

        async def main():
            burning = transom.spawn(burner)
            while transom.is_alive(burning):
                await transom.sleep(0.001)
                for name in os.listdir("/proc/self/task"):
                    try:
                        seen.add(os.sched_getscheduler(int(name)))
                    except ProcessLookupError:
                        pass

        transom.run(main, schedulers=1)
        assert seen == {os.SCHED_OTHER}, seen
        print("nobody went")
        """
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "nobody went\n"


# -- event loops -------------------------------------------------------------------------------------------------------


def _nice(thread: int = 0) -> int:
    return os.getpriority(os.PRIO_PROCESS, thread)


async def _three() -> list[int]:
    """The loop's own, that of a thread it starts, and that of a program."""
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "import os; print(os.getpriority(os.PRIO_PROCESS, 0))", stdout=subprocess.PIPE
    )
    out, _ = await program.communicate()
    return [_nice(threading.get_native_id()), await asyncio.to_thread(lambda: _nice(threading.get_native_id())), int(out)]


async def _main() -> None:
    print([*await transom.aio(_three()), _nice(threading.get_native_id())])


@needs_it
@pytest.mark.parametrize(("given", "expected"), [(0, [-5, 0, 0, 0]), (3, [3, 3, 3, 3])])
def test_a_loop_comes_first_and_what_it_starts_does_not(given: int, expected: list[int]) -> None:
    """Unless somebody has chosen another place for the program."""
    code = f"import os; os.nice({given}); import transom; from tests.semantics.test_background import _main; transom.run(_main)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.split("\n")[0] == str(expected)
