"""Killing works whatever the process is doing: its links and monitors fire at once, its name is free, and the OS thread it
may still occupy is accounted for and returned when the native call ends."""

from __future__ import annotations

import heapq
import itertools
import random
import re
import threading
import time
from collections.abc import Callable
from typing import Any

import hogs
import pytest
from support import (
    all_down,
    in_node,
    info,
    is_,
    nothing,
    occupied,
    reason_of,
    scaled,
    spin,
    status_is,
    take,
    until,
    waits,
)

import transom
import transom.sync
from transom import (
    Down,
    Exit,
    Pid,
    SpawnOptions,
    current_pid,
    exit,
    is_alive,
    kill,
    node_info,
    process_info,
    receive,
    register,
    send,
    sleep,
    spawn,
    spawn_monitor,
    spawn_opt,
    trap_exit,
    whereis,
)

# How long a Down may take on a busy machine, far below what any of the blocking calls here lasts.
PROMPT = 1.0
NATIVE = 1.5

# -- what the victim is doing -----------------------------------------------------------------------------------------


async def waiting(owner: Pid) -> None:
    send(owner, "ready")
    await receive()


async def waiting_selectively(owner: Pid) -> None:
    send(owner, "ready")
    for n in range(100):
        send(current_pid(), n)
    await receive(is_("never"), timeout=3600)


async def asleep(owner: Pid) -> None:
    send(owner, "ready")
    await sleep(3600)


async def deep_in_awaits(owner: Pid) -> None:
    async def deeper(level: int) -> None:
        try:
            if level:
                await deeper(level - 1)
            else:
                send(owner, "ready")
                await receive()
        finally:
            _ = level

    await deeper(50)


async def in_an_async_generator(owner: Pid) -> None:
    async def numbers() -> Any:
        while True:
            yield await receive(int)

    send(owner, "ready")
    async for _ in numbers():
        pass


async def running(owner: Pid) -> None:
    send(owner, "ready")
    while True:
        pass


def running_plainly(owner: Pid) -> None:
    send(owner, "ready")
    while True:
        pass


async def running_in_a_comprehension(owner: Pid) -> None:
    send(owner, "ready")
    _ = {n: n for n in itertools.repeat(1)}


async def running_library_code(owner: Pid) -> None:
    send(owner, "ready")
    heapq.nlargest(2, itertools.repeat(1))


async def swallowing_in_receive(owner: Pid) -> None:
    send(owner, "ready")
    while True:
        try:
            await receive()
        except BaseException:  # noqa: BLE001, S110 (the point of it)
            pass


async def swallowing_while_running(owner: Pid) -> None:
    send(owner, "ready")
    while True:
        try:
            while True:
                pass
        except BaseException:  # noqa: BLE001, S110 (the point of it)
            pass


def swallowing_plainly(owner: Pid) -> None:
    send(owner, "ready")
    while True:
        try:
            transom.sync.receive()
        except BaseException:  # noqa: BLE001, S110 (the point of it)
            pass


def waiting_plainly(owner: Pid) -> None:
    send(owner, "ready")
    transom.sync.receive()


def asleep_plainly(owner: Pid) -> None:
    send(owner, "ready")
    transom.sync.sleep(3600)


async def in_finally(owner: Pid) -> None:
    try:
        raise ValueError
    finally:
        send(owner, "ready")
        while True:
            pass


async def waiting_in_finally(owner: Pid) -> None:
    try:
        raise ValueError
    finally:
        send(owner, "ready")
        await receive()


async def in_a_clause(owner: Pid) -> None:
    def endless(message: Any) -> bool:
        send(owner, "ready")
        while True:
            pass

    send(current_pid(), "look at this")
    await receive(endless)


async def trapping(owner: Pid) -> None:
    trap_exit(True)
    send(owner, "ready")
    while True:
        await receive()


async def spawning(owner: Pid) -> None:
    send(owner, "ready")
    while True:
        transom.spawn_link(waits)


async def sending(owner: Pid) -> None:
    peer = transom.spawn_link(receives)
    send(owner, "ready")
    while True:
        send(peer, "message")


async def receives() -> None:
    while True:
        await receive()


INTERRUPTIBLE: list[tuple[Callable[..., Any], tuple[str, ...]]] = [
    # what it does, the states in which to kill it
    (waiting, ("waiting",)),
    (waiting_selectively, ("waiting",)),
    (asleep, ("waiting",)),
    (deep_in_awaits, ("waiting",)),
    (in_an_async_generator, ("waiting",)),
    (running, ("running", "runnable")),
    (running_plainly, ("running", "runnable")),
    (running_in_a_comprehension, ("running", "runnable")),
    (running_library_code, ("running", "runnable", "blocked")),
    (swallowing_in_receive, ("waiting",)),
    (swallowing_while_running, ("running", "runnable")),
    (swallowing_plainly, ("waiting",)),
    (waiting_plainly, ("waiting",)),
    (asleep_plainly, ("waiting",)),
    (in_finally, ("running", "runnable")),
    (waiting_in_finally, ("waiting",)),
    (in_a_clause, ("running", "runnable")),
    (trapping, ("waiting",)),
    (spawning, ("running", "runnable", "waiting")),
    (sending, ("running", "runnable", "waiting")),
]


async def sleeping_natively(owner: Pid) -> None:
    send(owner, "ready")
    time.sleep(NATIVE)  # noqa: ASYNC251


def sleeping_natively_plainly(owner: Pid) -> None:
    send(owner, "ready")
    time.sleep(NATIVE)


async def sleeping_natively_and_swallowing(owner: Pid) -> None:
    send(owner, "ready")
    try:
        time.sleep(NATIVE)  # noqa: ASYNC251
        while True:
            pass
    except BaseException:  # noqa: BLE001
        send(owner, "undead")


async def in_a_long_regex(owner: Pid) -> None:
    send(owner, "ready")
    re.match(r"(a+)+$", hogs.slow_input(NATIVE))


async def waiting_for_a_lock(owner: Pid) -> None:
    lock = threading.Lock()
    lock.acquire()
    send(owner, "ready")
    lock.acquire(timeout=NATIVE)


NATIVES: list[Any] = [
    sleeping_natively,
    sleeping_natively_plainly,
    sleeping_natively_and_swallowing,
    pytest.param(in_a_long_regex, marks=pytest.mark.skipif(hogs.gil, reason="the regex keeps the GIL")),
    waiting_for_a_lock,
]


async def killed_at_once(victim: Pid, ref: transom.Ref, reason: Any) -> float:
    """Kill a process named "victim" that is linked and monitored; all that must be true when its Down is here."""
    before = time.monotonic()
    if reason == "killed":
        kill(victim)
    else:
        exit(victim, reason)
    assert not is_alive(victim)
    assert await take(ref) == Down(ref, victim, reason)
    assert await take(Exit) == Exit(victim, reason)
    took = time.monotonic() - before
    assert process_info(victim) is None
    assert victim not in transom.processes()
    assert whereis("victim") is None
    register("victim", current_pid())
    transom.unregister("victim")
    transom.link(current_pid())
    assert victim not in info(current_pid(), "links")
    return took


def doing(body: Callable[..., Any]) -> str:
    return body.__name__


@pytest.mark.parametrize("reason", ["killed", "stop it"])
@pytest.mark.parametrize("schedulers", [1, 2])
@pytest.mark.parametrize(("body", "states"), INTERRUPTIBLE, ids=[doing(body) for body, _ in INTERRUPTIBLE])
def test_kill_in_every_state(body: Any, states: tuple[str, ...], schedulers: int, reason: str) -> None:
    """Killing works whatever the process is doing (waiting, running Python, swallowing exceptions): its links and monitors
    fire at once, its name is free."""
    if body is trapping and reason != "killed":
        pytest.skip("a signal other than kill is a message for it")

    @in_node(schedulers=schedulers)
    async def main() -> None:
        trap_exit(True)
        for _ in range(3):
            options = SpawnOptions(link=True, monitor=True, name="victim")
            victim, ref = spawn_opt(options, body, current_pid())
            await take(is_("ready"))
            await status_is(victim, *states)
            assert await killed_at_once(victim, ref, reason) < PROMPT
        # Its thread is soon free again: nothing native keeps it.
        await until(lambda: not node_info()["occupied"])
        while info(current_pid(), "message_queue_len"):
            await take(is_("ready"))

    main()


@pytest.mark.parametrize("reason", ["killed", "stop it"])
@pytest.mark.parametrize("body", NATIVES, ids=doing)
@in_node(schedulers=2)
async def test_kill_in_a_native_call(body: Any, reason: str) -> None:
    """Killing works in a blocking call: DOWN arrives promptly although the thread is still occupied; node_info() names it,
    and it is returned when the native call ends."""
    hogs.slow_input(NATIVE)
    trap_exit(True)
    options = SpawnOptions(link=True, monitor=True, name="victim")
    victim, ref = spawn_opt(options, body, current_pid())
    await take(is_("ready"))
    began = time.monotonic()
    await status_is(victim, "blocked", "running")
    assert await killed_at_once(victim, ref, reason) < PROMPT
    entry = occupied(victim)
    assert entry is not None, "the call cannot be over yet"
    assert entry["alive"] is False
    assert entry["kind"] == "abandoned"
    assert entry["seconds"] >= 0
    assert isinstance(entry["thread_id"], int) and entry["thread_id"] > 0
    assert time.monotonic() - began < NATIVE, "the machine is too slow for this test"
    # Its thread may be parked once more while it unwinds: others want the slot, too.
    await until(lambda: not node_info()["occupied"])
    await nothing()


@in_node(schedulers=2)
async def test_natively_blocked_processes_are_named_while_alive() -> None:
    """The OS thread a process occupies is named in process_info of the node: also while it is alive."""
    started = [spawn_monitor(hogs.naps, current_pid(), 0.5) for _ in range(3)]
    for _ in started:
        await take(is_("hogging"))
    for pid, _ in started:
        await status_is(pid, "blocked")
        entry = occupied(pid)
        assert entry is not None
        assert entry["alive"] is True and entry["kind"] == "blocked"
        assert info(pid, "thread") == entry["thread_id"]
    for _ in started:
        await take(is_("done hogging"))
    assert await all_down([ref for _, ref in started]) == ["normal"] * 3
    await until(lambda: not node_info()["occupied"])


@in_node(schedulers=2)
async def test_waiting_plain_functions_and_parked_hogs_are_named() -> None:
    """node_info()['occupied']: a plain def that waits is "waiting", a preempted process "parked"."""
    pid, ref = spawn_monitor(waiting_plainly, current_pid())
    await take(is_("ready"))
    await status_is(pid, "waiting")
    entry = await until(lambda: occupied(pid))
    assert entry["kind"] == "waiting" and entry["alive"] is True
    hogs_ = [spawn_monitor(running, current_pid()) for _ in range(5)]
    for _ in hogs_:
        await take(is_("ready"))
    kinds = await until(lambda: [entry["kind"] for hog, _ in hogs_ if (entry := occupied(hog))])
    assert set(kinds) <= {"parked", "running"}
    await until(lambda: "parked" in [entry["kind"] for hog, _ in hogs_ if (entry := occupied(hog))])
    for victim in [pid, *(hog for hog, _ in hogs_)]:
        kill(victim)
    assert await all_down([ref, *(ref for _, ref in hogs_)]) == ["killed"] * 6
    await until(lambda: not node_info()["occupied"])


@pytest.mark.parametrize("schedulers", [1, 2])
def test_kill_of_parked_processes(schedulers: int) -> None:
    """A process parked with its OS thread is killed as it stands in the queue, whatever runs before it."""

    @in_node(schedulers=schedulers)
    async def main() -> None:
        for _ in range(5):
            started = [spawn_monitor(running, current_pid()) for _ in range(8)]
            for _ in started:
                await take(is_("ready"))
            for pid, ref in started:
                await status_is(pid, "runnable", "running")
                kill(pid)
                assert not is_alive(pid)
                before = time.monotonic()
                assert await reason_of(ref) == "killed"
                assert time.monotonic() - before < PROMPT

    main()


@pytest.mark.race
@in_node(schedulers=2)
async def test_kill_before_the_first_step(rng: random.Random) -> None:
    """Killing works whatever the process is doing: also when it has not begun."""
    ran = []

    async def body() -> None:
        ran.append(1)
        await receive()

    def plain_body() -> None:
        ran.append(1)
        transom.sync.receive()

    for n in range(scaled(5_000)):
        pid, ref = spawn_monitor(body if n % 4 else plain_body)
        spin(rng.randrange(40))
        kill(pid)
        assert await reason_of(ref) == "killed"
    assert len(ran) <= scaled(5_000)


@pytest.mark.race
@in_node(schedulers=2)
async def test_kill_racing_with_everything(rng: random.Random) -> None:
    """Killing works whatever the process is doing: at a random moment of a process that does a bit of everything; one DOWN,
    its reason killed or normal."""
    me = current_pid()

    async def busy(seed: int) -> None:
        mine = random.Random(seed)
        for _ in range(mine.randrange(12)):
            choice = mine.randrange(9)
            if choice == 0:
                spin(mine.randrange(6_000))
            elif choice == 1:
                await sleep(0)
            elif choice == 2:
                send(me, "noise")
            elif choice == 3:
                transom.spawn_link(waits)
            elif choice == 4:
                transom.demonitor(transom.monitor(me))
            elif choice == 5:
                transom.send_after(0.001, me, "noise")
            elif choice == 6:
                send(current_pid(), 1)
                await receive(int)
            elif choice == 7:
                trap_exit(mine.random() < 0.5)
            else:
                await sleep(mine.random() * 0.001)

    reasons: dict[str, int] = {}
    for _ in range(scaled(1_500)):
        pid, ref = spawn_monitor(busy, rng.getrandbits(32))
        spin(rng.randrange(8_000))
        kill(pid)
        reason = await reason_of(ref)
        assert reason in ("killed", "normal")
        reasons[reason] = reasons.get(reason, 0) + 1
    print(reasons)
    # Children linked to a process that ended normally live on.
    for pid in transom.processes():
        if pid != me:
            kill(pid)
    await sleep(0.01)
    while info(me, "message_queue_len"):
        await take(is_("noise"))


@pytest.mark.race
@in_node(schedulers=2)
async def test_what_a_killed_process_sends_goes_nowhere() -> None:
    """A dead process is dead to the world at once: its sends go nowhere, whatever its `except BaseException` does."""
    me = current_pid()

    async def undead() -> None:
        while True:
            try:
                send(me, "ready")
                await receive()
            except BaseException:  # noqa: BLE001
                for _ in range(100):
                    send(me, "undead")

    for _ in range(scaled(200)):
        pid, ref = spawn_monitor(undead)
        await take(is_("ready"))
        kill(pid)
        assert await reason_of(ref) == "killed"
        await nothing()


@pytest.mark.parametrize("how", ["waiting", "asleep", "running", "plain"])
@in_node(schedulers=2)
async def test_finally_and_with_blocks_run(how: str) -> None:
    """`finally` blocks get a grace budget: a lock that the process held is released."""
    lock = threading.Lock()
    ran: list[str] = []

    async def holds() -> None:
        try:
            with lock:
                send(me, "ready")
                if how == "waiting":
                    await receive()
                elif how == "asleep":
                    await sleep(3600)
                else:
                    while True:
                        pass
        finally:
            ran.append("finally")

    def holds_plainly() -> None:
        try:
            with lock:
                send(me, "ready")
                transom.sync.receive()
        finally:
            ran.append("finally")

    me = current_pid()
    for n in range(1, 11):
        pid, ref = spawn_monitor(holds_plainly if how == "plain" else holds)
        await take(is_("ready"))
        kill(pid)
        assert await reason_of(ref) == "killed"
        await until(lambda n=n: ran == ["finally"] * n and not lock.locked())


@in_node(schedulers=2)
async def test_a_finally_block_without_end_is_cut_off() -> None:
    """`finally` blocks get a grace budget: one that never ends does not keep its thread for ever."""

    async def stubborn(owner: Pid) -> None:
        try:
            send(owner, current_pid())
            await receive()
        finally:
            while True:
                pass

    started = [spawn_monitor(stubborn, current_pid()) for _ in range(4)]
    for pid, ref in started:
        await take(is_(pid))  # begun: one that is killed before has no finally block
        kill(pid)
        assert await reason_of(ref) == "killed"
    await until(lambda: not node_info()["occupied"])
    await until(lambda: node_info()["exited"] >= 4)


@in_node(schedulers=2)
async def test_awaiting_in_finally_of_a_killed_process_ends_it() -> None:
    """finally blocks get a grace budget, and the dead wait for nothing: an await there does not hold it."""

    async def stubborn(owner: Pid) -> None:
        while True:
            try:
                send(owner, "ready")
                await receive()
            finally:
                await sleep(3600)

    pid, ref = spawn_monitor(stubborn, current_pid())
    await take(is_("ready"))
    kill(pid)
    assert await reason_of(ref) == "killed"
    await until(lambda: not node_info()["occupied"])


@in_node(schedulers=2)
async def test_killed_is_raised_inside() -> None:
    """Killed (a BaseException) is raised inside a process that has been ended by an exit signal: `except Exception` does not
    see it."""
    seen: list[str] = []

    async def body(owner: Pid) -> None:
        try:
            send(owner, "ready")
            await receive()
        except Exception:  # noqa: BLE001
            seen.append("Exception")
        except BaseException as error:
            seen.append(type(error).__name__)
            raise

    pid, ref = spawn_monitor(body, current_pid())
    await take(is_("ready"))
    exit(pid, "reason")
    assert await reason_of(ref) == "reason"
    await until(lambda: seen)
    assert seen == ["Killed"]
    assert issubclass(transom.Killed, BaseException) and not issubclass(transom.Killed, Exception)


@pytest.mark.race
@in_node(schedulers=2)
async def test_kill_storm(rng: random.Random) -> None:
    """Killing thousands of waiting processes at once, each linked to its neighbour: one DOWN each."""
    me = current_pid()

    async def linked(peer: Pid | None) -> None:
        if peer is not None:
            transom.link(peer)
        send(me, "ready")
        await receive()

    for _ in range(3):
        started: list[tuple[Pid, transom.Ref]] = []
        for _ in range(scaled(2_000)):
            started.append(spawn_monitor(linked, started[-1][0] if started else None))
            await take(is_("ready"))
        for pid, _ in rng.sample(started, 10):
            kill(pid)
        assert await all_down([ref for _, ref in started]) == ["killed"] * len(started)


@in_node(schedulers=2)
async def test_kill_of_main_by_a_child_is_survived_by_the_node() -> None:
    """A process may kill its parent: the children go on or end by their links."""
    me = current_pid()

    async def parent() -> None:
        spawn(child, current_pid())
        await receive()

    async def child(victim: Pid) -> None:
        kill(victim)
        send(me, ("alive", is_alive(victim)))

    _, ref = spawn_monitor(parent)
    assert await reason_of(ref) == "killed"
    assert await take(tuple) == ("alive", False)


@in_node(schedulers=2)
async def test_cleaning_up_has_its_grace_beside_hogs() -> None:
    """The monitor pokes whoever runs long while others wait; that does not end what a dead process cleans up."""
    cleaned: list[int] = []

    class Slow:
        def __del__(self) -> None:
            for _ in range(15):
                time.sleep(0.002)
            cleaned.append(1)

    async def body() -> None:
        held = Slow()
        await transom.receive()
        del held

    async def hog() -> None:
        while True:
            pass

    hogs = [transom.spawn_monitor(hog) for _ in range(4)]
    for _ in range(20):
        pid, ref = transom.spawn_monitor(body)
        while info(pid, "status") != "waiting":
            await transom.sleep(0)
        transom.kill(pid)
        await take(ref)
    await until(lambda: len(cleaned) == 20)
    for pid, _ in hogs:
        transom.kill(pid)
    assert await all_down([ref for _, ref in hogs]) == ["killed"] * 4
