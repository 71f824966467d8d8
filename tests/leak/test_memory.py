"""Leaks in bulk: resident memory is flat however often something is done. Each in an interpreter of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

PRELUDE = """
import gc, logging, os
import transom, transom.sync
from support import all_down, is_, take, until
from transom import *
from transom import exit

logging.getLogger("transom").setLevel(logging.CRITICAL)

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

async def quiet():
    await until(lambda: len(transom.processes()) == 1 and not node_info()["occupied"])
    # What other threads own is given back at their next safe point.
    await transom.sleep(0.05)

async def returns():
    pass

async def waits():
    await transom.receive(is_("go"))

async def measure(rounds, allowed, per_round):
    '''Growth per round of per_round(), in bytes, after a warm-up as long as a measurement: the least of up to four
    stretches, because a leak grows in every one of them and an allocator takes its big steps (segments) in some.'''
    for _ in range(rounds):
        await per_round()
    growth = []
    while len(growth) < 4 and min(growth, default=allowed) >= allowed:
        await quiet()
        before = resident()
        for _ in range(rounds):
            await per_round()
        await quiet()
        growth.append((resident() - before) / rounds)
    return min(growth)
"""

CASES = {
    # What a round does, how many rounds, how many things a round makes.
    "spawn and exit": (
        """
        async def once():
            await all_down([spawn_monitor(returns)[1] for _ in range(1000)])
        """,
        20,
        1000,
    ),
    "memory limits": (
        """
        limited = SpawnOptions(max_heap=200_000, monitor=True)
        async def hog():
            rows = []
            while True:
                rows.append(bytearray(1000))
        async def once():
            refs = [spawn_opt(limited, returns)[1] for _ in range(300)]
            refs += [spawn_opt(limited, hog)[1] for _ in range(20)]
            await all_down(refs)
        """,
        20,
        320,
    ),
    "bounded queues": (
        """
        async def once():
            for mode in ("drop", "reject", "kill", "wait"):
                options = SpawnOptions(max_queue=2, on_full=mode, monitor=True)
                started = [spawn_opt(options, waits) for _ in range(50)]
                for pid, _ in started:
                    send(pid, ["first"])
                    send(pid, ["second"])
                    if mode in ("drop", "kill"):
                        send(pid, ["third"])
                    elif mode == "reject":
                        try:
                            send(pid, ["third"])
                        except QueueFull:
                            pass
                    kill(pid)
                await all_down([ref for _, ref in started])
        """,
        20,
        200,
    ),
    "plain functions": (
        """
        def plain():
            pass
        async def once():
            await all_down([spawn_monitor(plain)[1] for _ in range(200)])
        """,
        10,
        200,
    ),
    "kill": (
        """
        async def once():
            started = [spawn_monitor(waits) for _ in range(1000)]
            for pid, _ in started:
                kill(pid)
            await all_down([ref for _, ref in started])
        """,
        20,
        1000,
    ),
    "kill with a full mailbox": (
        """
        async def once():
            started = [spawn_monitor(waits) for _ in range(200)]
            for pid, _ in started:
                for n in range(20):
                    send(pid, ["a", {"message": n}])
                kill(pid)
            await all_down([ref for _, ref in started])
        """,
        20,
        4000,
    ),
    "crash": (
        """
        class Big:
            def __init__(self):
                self.data = bytearray(10_000)
        async def crashes():
            big = Big()
            raise ValueError("on purpose", 1)
        async def once():
            await all_down([spawn_monitor(crashes)[1] for _ in range(200)])
        """,
        15,
        200,
    ),
    "kill of hogs": (
        """
        async def hog():
            big = bytearray(10_000)
            while True: pass
        async def once():
            started = [spawn_monitor(hog) for _ in range(8)]
            for pid, _ in started:
                kill(pid)
            await all_down([ref for _, ref in started])
        """,
        30,
        8,
    ),
    "links": (
        """
        async def once():
            started = [spawn_monitor(waits) for _ in range(500)]
            for pid, _ in started:
                link(pid)
                unlink(pid)
                link(pid)
                send(pid, "go")
            await all_down([ref for _, ref in started])
        """,
        20,
        1500,
    ),
    "monitors": (
        """
        async def once():
            pid, ref = spawn_monitor(waits)
            for n in range(1000):
                demonitor(monitor(pid), flush=n % 2 == 0)
            refs = [monitor(pid, tag=("tag", n)) for n in range(1000)]
            send(pid, "go")
            await all_down(refs + [ref])
        """,
        20,
        2000,
    ),
    "aliases": (
        """
        async def once():
            for n in range(1000):
                ref = alias(mode="reply" if n % 2 else "explicit_unalias", priority=n % 3 == 0)
                send(ref, ["reply", n])
                send(ref, ["late", n])
                await take()
                if not n % 2:
                    await take()
                    unalias(ref)
        """,
        15,
        2000,
    ),
    "names": (
        """
        async def once():
            for n in range(500):
                register(f"name {n}", current_pid())
                unregister(f"name {n}")
                spawn_opt(SpawnOptions(name=f"child {n}"), returns)
            await until(lambda: len(transom.processes()) == 1)
        """,
        15,
        1000,
    ),
    "timers": (
        """
        async def once():
            timers = [send_after(100, current_pid(), ["tick", n]) for n in range(1000)]
            for timer in timers:
                cancel_timer(timer)
            pid, ref = spawn_monitor(waits)
            for n in range(500):
                send_after(3600, pid, ["tick", n])  # go with it
                send_after(0, current_pid(), ["tick", n])
            for n in range(500):
                await take()
            send(pid, "go")
            await all_down([ref])
        """,
        15,
        2000,
    ),
    "timeouts": (
        """
        async def once():
            for n in range(500):
                try:
                    await transom.receive(timeout=0)
                except TimeoutError:
                    pass
                send(current_pid(), n)
                await transom.receive(int, timeout=5)
            try:
                await transom.receive(timeout=0.001)
            except TimeoutError:
                pass
        """,
        20,
        1000,
    ),
    "messages": (
        """
        async def once():
            me = current_pid()
            for n in range(1000):
                send(me, {"a": [n, "text" * 20], "b": (n, {n})})
            for n in range(1000):
                await take(dict)
            def uncopyable():
                yield
            for n in range(100):
                try:
                    send(me, [bytearray(1000), uncopyable()])
                except TypeError:
                    pass
        """,
        20,
        1000,
    ),
    "messages across slots": (
        """
        async def echo(owner):
            while (message := await transom.receive()) != "go":
                send(owner, message)
        async def once():
            started = [spawn_monitor(echo, current_pid()) for _ in range(4)]
            for n in range(500):
                for pid, _ in started:
                    send(pid, {"a": [n, "text" * 20]})
            for n in range(2000):
                await take(dict)
            for pid, _ in started:
                send(pid, "go")
            await all_down([ref for _, ref in started])
        """,
        15,
        2000,
    ),
    "process info": (
        """
        async def once():
            pid, ref = spawn_monitor(waits)
            for n in range(50):
                send(pid, ["n", n])
            for n in range(500):
                transom.process_info(pid, "links", "messages", "monitored_by", "current_function", "initial_call", "label")
                transom.processes()
                node_info()
                transom.registered()
            send(pid, "go")
            await all_down([ref])
        """,
        15,
        500,
    ),
    "errors": (
        """
        async def once():
            for n in range(1000):
                for call in (lambda: send("nobody", [n]), lambda: register(7, n), lambda: spawn(7), lambda: transom.link(7),
                             lambda: send_after(-1, current_pid(), [n]), lambda: unregister("nobody")):
                    try:
                        call()
                    except (TransomError, TypeError, ValueError):
                        pass
        """,
        10,
        6000,
    ),
    "cyclic state, and nobody collects": (
        """
        gc.disable()  # before the node starts: it does not collect, either
        class State:
            pass
        async def keeps(crash):
            first, second = State(), State()
            first.other, second.other = second, [first, {"back": second}]
            first.text = "text" * 500
            try:
                raise ValueError("on purpose")
            except ValueError as error:
                second.error = error
                if crash:
                    raise
        async def once():
            await all_down([spawn_monitor(keeps, n % 2)[1] for n in range(500)])
        """,
        20,
        500,
    ),
    "preemption": (
        """
        async def works():
            n = 0
            for _ in range(30_000):
                n += 1
        async def once():
            await all_down([spawn_monitor(works)[1] for _ in range(20)])
        """,
        20,
        20,
    ),
    "native calls": (
        """
        import time
        def naps():
            time.sleep(0.012)
        async def once():
            await all_down([spawn_monitor(naps)[1] for _ in range(10)])
        """,
        15,
        10,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_resident_memory_is_flat(name: str, script: Callable[..., Any]) -> None:
    """A leak of a few bytes a thing shows as growth per round; allocators may keep a little more or less."""
    source, rounds, things = CASES[name]
    import textwrap

    # 8 bytes a thing, beside some pages which an allocator may take or give at any time.
    allowed = 8 * things + 2e6 / rounds
    body = (
        PRELUDE
        + textwrap.dedent(source)
        + f"\nprint(transom.run(lambda: None) or transom.run(measure, {rounds}, {allowed}, once))"
    )
    done = script(body)
    growth = float(done.stdout)
    assert growth < allowed, f"{growth:.0f} bytes a round, {growth / things:.1f} a thing"


def test_nodes_leave_nothing(script: Callable[..., Any]) -> None:
    """A node started and stopped again and again, with processes, timers and names left in it: memory and threads are flat."""
    done = script(
        PRELUDE
        + """
import time

async def busy():
    for n in range(100):
        spawn(waits)
        send_after(1000, current_pid(), ["late", n])
        send(current_pid(), ["message", n])
    register("busy", current_pid())
    spawn(loops)
    spawn(plain)
    await transom.sleep(0.001)

async def loops():
    while True: pass

def plain():
    transom.sync.receive()

def threads():
    with open("/proc/self/status") as file:
        return int(next(line.split()[1] for line in file if line.startswith("Threads:")))

def rounds(count):
    for _ in range(count):
        transom.run(busy)
    gc.collect()
    return resident()

before = rounds(40)
after = rounds(40)
end = time.monotonic() + 10
while threads() > 3 and time.monotonic() < end:
    time.sleep(0.01)
print((after - before) / 40, threads())
"""
    )
    growth, threads = done.stdout.split()
    assert float(growth) < 60_000
    assert int(threads) <= 3
