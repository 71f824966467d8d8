"""Preemption: whatever a process does, the others keep going (DESIGN.md, the three tiers)."""

from __future__ import annotations

import time
from typing import Any

import hogs
import pytest
from support import all_down, in_node, info, is_, nothing, occupied, reason_of, scaled, spin, status_is, take, until

import transom
from transom import Pid, current_pid, exit, kill, node_info, receive, send, sleep, spawn_monitor


async def echoes() -> None:
    while (message := await receive()) != "end":
        send(message, "pong")


async def round_trips(count: int) -> None:
    """So many requests to another process are answered while whatever else runs."""
    server, gone = spawn_monitor(echoes)
    for _ in range(count):
        send(server, current_pid())
        await take(is_("pong"))
    send(server, "end")
    assert await reason_of(gone) == "normal"


async def start(body: Any, *args: Any, count: int = 1) -> list[tuple[Pid, transom.Ref]]:
    """Start hogs and wait until each of them has run."""
    started = [spawn_monitor(body, current_pid(), *args) for _ in range(count)]
    for _ in started:
        await take(is_("hogging"))
    return started


async def end(started: list[tuple[Pid, transom.Ref]]) -> None:
    for pid, _ in started:
        kill(pid)
    assert await all_down([ref for _, ref in started]) == ["killed"] * len(started)


@pytest.mark.parametrize("schedulers", [1, 2])
@pytest.mark.parametrize("kind", hogs.NAMED)
def test_others_keep_going_beside_hogs(kind: str, schedulers: int) -> None:
    """`while True: pass` starves nobody: eight endless hogs of each kind on one slot and on two; all of them get their turn,
    and a request between two other processes is answered again and again."""

    @in_node(schedulers=schedulers)
    async def body() -> None:
        started = await start(hogs.NAMED[kind], count=8)
        await round_trips(20)
        first = {pid: info(pid, "reductions") for pid, _ in started}
        if kind != "library":
            # Every hog goes on, not only the first.
            for pid, reductions in first.items():
                await until(lambda pid=pid, reductions=reductions: info(pid, "reductions") > reductions)
        assert all(transom.is_alive(pid) for pid in first)
        await end(started)

    body()


@pytest.mark.parametrize("schedulers", [1, 2])
@pytest.mark.parametrize("nap", [hogs.naps, hogs.naps_plainly])
def test_others_keep_going_beside_blocking_calls(nap: Any, schedulers: int) -> None:
    """`time.sleep(60)` starves nobody: eight blocking sleeps, and requests are answered while all of them last."""

    @in_node(schedulers=schedulers)
    async def body() -> None:
        started = await start(nap, 1.5, count=8)
        await round_trips(20)
        await nothing(is_("done hogging"))
        for pid, _ in started:
            await status_is(pid, "blocked")
            assert occupied(pid) is not None
        await nothing(is_("done hogging"))
        for _ in started:
            await take(is_("done hogging"))
        assert await all_down([ref for _, ref in started]) == ["normal"] * 8
        assert node_info()["handovers"] + node_info()["offslot_runs"] >= 1  # known from an earlier test

    body()


@pytest.mark.skipif(hogs.gil, reason="the regex keeps the GIL")
@in_node(schedulers=2)
async def test_others_keep_going_beside_a_long_regex() -> None:
    """a 2 s regex starves nobody: requests are answered while two of them are at it, one a slot."""
    text = hogs.slow_input(0.7)
    started = await start(hogs.regex, text, count=2)
    await round_trips(20)
    await nothing(is_("done hogging"))
    for _ in started:
        await take(is_("done hogging"))
    assert await all_down([ref for _, ref in started]) == ["normal"] * 2


@in_node(schedulers=1)
async def test_a_slice_is_four_thousand_reductions() -> None:
    """Budget 4,000 a slice: when others wait, a process that used it up gives way; the switches are counted."""
    before = node_info()["preemptions"]
    first, second = await start(hogs.loops, count=2)
    await until(lambda: node_info()["preemptions"] > before + 20)
    # On one slot they take turns of 4,000: neither is ever far ahead in turns.
    for _ in range(20):
        a, b = info(first[0], "reductions"), info(second[0], "reductions")
        assert abs(a - b) < 0.5 * (a + b) + 100_000, (a, b)
        await sleep(0.005)
    await end([first, second])


@in_node(schedulers=1)
async def test_a_lone_hog_is_not_parked() -> None:
    """When agent code uses up its budget and others wait it parks; when nobody waits it just goes on."""

    def alone() -> int:
        before = node_info()["preemptions"]
        spin(2_000_000)
        return int(node_info()["preemptions"] - before)

    await sleep(0.05)
    # The monitor may have something to do now and then, but not each of 500 slices.
    assert alone() < 100


@in_node(schedulers=2)
async def test_a_hog_goes_on_where_it_was() -> None:
    """The parked process gets a slot again in its turn: its computation is unharmed, locals, loops, exceptions and all."""
    me = current_pid()

    async def computes(n: int) -> None:
        total = 0
        for k in range(60_000):
            try:
                total += k
                if k % 7 == 0:
                    raise ValueError(k)
            except ValueError as error:
                total -= error.args[0]
        squares = sum([k * k for k in range(20_000)])
        send(me, (n, total, squares))

    count = 24
    refs = [spawn_monitor(computes, n)[1] for n in range(count)]
    expected = (sum(k for k in range(60_000) if k % 7), sum(k * k for k in range(20_000)))
    answers = [await take(tuple) for _ in range(count)]
    assert sorted(answer[0] for answer in answers) == list(range(count))
    assert {answer[1:] for answer in answers} == {expected}
    assert await all_down(refs) == ["normal"] * count


@in_node(schedulers=2)
async def test_locks_keep_their_owner_over_preemption() -> None:
    """It keeps its own thread until its handler unwinds, so locks, RLocks and thread-locals keep their meaning."""
    import threading

    lock, local, box = threading.RLock(), threading.local(), {"n": 0}

    async def body(n: int) -> None:
        for _ in range(20):
            with lock, lock:
                value = box["n"]
                local.owner = n
                spin(6_000)
                assert local.owner == n
                box["n"] = value + 1
            await sleep(0)

    refs = [spawn_monitor(body, n)[1] for n in range(6)]
    assert await all_down(refs) == ["normal"] * 6
    assert box["n"] == 120


@in_node(schedulers=2, max_threads=4)
async def test_at_the_cap_of_threads_all_still_end() -> None:
    """Threads are capped and pooled: with more blocking calls than threads all of them end, one after another."""
    started = [spawn_monitor(hogs.naps, current_pid(), 0.1) for _ in range(16)]
    assert await all_down([ref for _, ref in started]) == ["normal"] * 16
    for _ in started:
        await take(is_("hogging"))
        await take(is_("done hogging"))
    await round_trips(20)


@in_node(schedulers=1, max_threads=2)
async def test_at_the_cap_of_threads_hogs_can_still_be_killed() -> None:
    """Threads are capped: at the cap a hog may keep its slot longer, but a kill still ends it."""
    started = [spawn_monitor(hogs.loops, current_pid()) for _ in range(6)]
    ended = 0
    for pid, ref in started:
        kill(pid)
        assert await reason_of(ref) == "killed"
        ended += 1
    assert ended == 6
    while info(current_pid(), "message_queue_len"):
        await take(is_("hogging"))


@in_node(schedulers=2)
async def test_threads_are_pooled() -> None:
    """Threads are capped and pooled: a thousand blocking calls one after another do not make a thousand threads."""
    for _ in range(10):
        started = [spawn_monitor(hogs.naps, current_pid(), 0.02) for _ in range(10)]
        assert await all_down([ref for _, ref in started]) == ["normal"] * 10
        for _ in started:
            await take(is_("hogging"))
            await take(is_("done hogging"))
    assert node_info()["threads"] <= 32


@in_node(schedulers=2)
async def test_excluded_and_included_modules() -> None:
    """Agent code is what is not stdlib or site-packages, plus an explicit way to add or exclude a module."""
    import sys
    import types

    source = "def spin(n):\n    for _ in range(n):\n        pass\n"
    modules = {}
    for name, path in (("counted_one", "/nowhere/counted_one.py"), ("left_out", "/nowhere/left_out.py")):
        module = types.ModuleType(name)
        module.__file__ = path
        exec(compile(source, path, "exec"), module.__dict__)  # noqa: S102
        sys.modules[name] = modules[name] = module
    transom.instrument.exclude("left_out")
    transom.instrument.include("counted_one")

    async def works(name: str) -> None:
        before = transom.reductions()
        modules[name].spin(50_000)
        send(parent, (name, transom.reductions() - before))

    parent = current_pid()
    refs = [spawn_monitor(works, name)[1] for name in modules]
    spent = dict([await take(tuple) for _ in modules])
    assert await all_down(refs) == ["normal"] * 2
    assert spent["counted_one"] >= 50_000
    assert spent["left_out"] < 1_000


@in_node(schedulers=2)
async def test_an_excluded_loop_starves_nobody() -> None:
    """A monitor thread switches monitoring on globally, on demand, for a hog in library code: also in an excluded module, and
    the hog there can be killed."""
    import sys
    import types

    module = types.ModuleType("left_out_loop")
    module.__file__ = "/nowhere/left_out_loop.py"
    exec(compile("def loop():\n    while True:\n        pass\n", module.__file__, "exec"), module.__dict__)  # noqa: S102
    sys.modules["left_out_loop"] = module
    transom.instrument.exclude("left_out_loop")

    async def hog(owner: Pid) -> None:
        send(owner, "hogging")
        module.loop()

    started = await start(hog, count=4)
    await round_trips(20)
    await end(started)
    await until(lambda: not node_info()["occupied"])


@in_node(schedulers=1)
async def test_a_timer_fires_beside_a_hog() -> None:
    """`while True: pass` starves nobody: sleeps and timeouts of others end, too."""
    started = await start(hogs.loops, count=2)
    started += await start(hogs.library)
    for _ in range(10):
        before = time.monotonic()
        await sleep(0.01)
        with pytest.raises(TimeoutError):
            await receive(is_("never"), timeout=0.01)
        assert time.monotonic() - before < 5
    await end(started)


@in_node(schedulers=2)
async def test_reductions_are_charged_for_runtime_operations() -> None:
    """Runtime operations charge their own work: a process that only sends uses up its budget, too."""
    before = transom.reductions()
    for n in range(1_000):
        send(current_pid(), n)
    # One of the loop and at least one of each send.
    assert transom.reductions() - before >= 2_000
    for n in range(1_000):
        assert await take() == n


@pytest.mark.race
@in_node(schedulers=1)
async def test_a_process_that_always_has_mail_gives_way() -> None:
    """Every runtime operation is a yield point: two processes that keep each other busy do not starve a third."""

    async def ping_pong(peer: Pid | None) -> None:
        if peer is not None:
            send(peer, current_pid())
        while True:
            send(await receive(), current_pid())

    async def to_itself() -> None:
        send(current_pid(), 1)
        while True:
            send(current_pid(), await receive())

    one, one_ref = spawn_monitor(ping_pong, None)
    started = [(one, one_ref), spawn_monitor(ping_pong, one), spawn_monitor(to_itself), spawn_monitor(to_itself)]
    await round_trips(scaled(200))
    await end(started)


@in_node(schedulers=2)
async def test_exit_reason_of_a_hog_is_the_signal() -> None:
    """A running process is ended at its next safe point with the reason of the signal."""
    for body in hogs.NAMED.values():
        ((pid, ref),) = await start(body)
        exit(pid, ("enough", "of it"))
        assert await reason_of(ref) == ("enough", "of it")
