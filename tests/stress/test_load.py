"""Shapes of load that have broken runtimes before: rings, fan-in, trees, shutdown in the middle of everything."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import pytest
from support import all_down, in_node, info, is_, reason_of, run_node, scaled, take, until, waits

import transom
import transom.sync
from transom import Pid, current_pid, exit, kill, link, receive, send, spawn, spawn_link, spawn_monitor, trap_exit

pytestmark = pytest.mark.stress


@pytest.mark.race
@in_node(schedulers=2)
async def test_ring() -> None:
    """A token goes round 1,000 processes, several at once; each hop is a wake-up of a sleeping process."""
    size, laps, tokens = 1_000, scaled(20), 4
    me = current_pid()

    async def member() -> None:
        following = await take(Pid)
        while (token := await receive()) != "end":
            send(following, token)
        send(following, "end")

    pids = [spawn(member) for _ in range(size)]
    for pid, following in zip(pids, [*pids[1:], me], strict=True):
        send(pid, following)
    for token in range(tokens):
        send(pids[0], token)
    for _ in range(laps * tokens):
        send(pids[0], await take(int))
    last = sorted([await take(int) for _ in range(tokens)])
    assert last == list(range(tokens))
    send(pids[0], "end")
    assert await take() == "end"


@pytest.mark.race
@in_node(schedulers=2)
async def test_fan_in_and_out() -> None:
    """200 senders to one receiver, which answers each: every request is answered once, in the sender's order."""
    rounds = scaled(200)

    async def server() -> None:
        while (message := await receive()) != "go":
            sender, n = message
            send(sender, n)

    async def client(dest: Pid) -> None:
        for n in range(0, rounds, 4):
            for k in range(n, n + 4):
                send(dest, (current_pid(), k))
            for k in range(n, n + 4):
                assert await take() == k

    dest, gone = spawn_monitor(server)
    refs = [spawn_monitor(client, dest)[1] for _ in range(200)]
    assert await all_down(refs) == ["normal"] * 200
    send(dest, "go")
    assert await reason_of(gone) == "normal"


@in_node(schedulers=2)
async def test_tree_of_spawns() -> None:
    """A tree of 2^13 processes, each waits for its two children."""

    async def node(depth: int) -> None:
        if depth:
            refs = [spawn_monitor(node, depth - 1)[1] for _ in range(2)]
            assert await all_down(refs) == ["normal", "normal"]

    _, ref = spawn_monitor(node, 12)
    assert await reason_of(ref) == "normal"


@in_node(schedulers=2)
async def test_a_linked_tree_falls_as_one() -> None:
    """Kill the root of a linked tree of thousands: all of it goes, and nothing else."""
    me = current_pid()

    async def node(depth: int) -> None:
        if depth:
            for _ in range(3):
                spawn_link(node, depth - 1)
        else:
            send(me, "leaf")
        await receive()

    for reason in ("kill", "boom", "shutdown"):
        root, ref = spawn_monitor(node, 7)
        for _ in range(3**7):
            await take(is_("leaf"))
        assert len(transom.processes()) == 1 + (3**8 - 1) // 2
        exit(root, reason)
        assert await reason_of(ref) == ("killed" if reason == "kill" else reason)
        await until(lambda: transom.processes() == [me])


@in_node(schedulers=2)
async def test_everybody_linked_to_everybody() -> None:
    """A clique of 100 processes, 4,950 links: one dies, each of the others hears of it once or dies once."""
    me = current_pid()

    async def member(traps: bool) -> None:
        trap_exit(traps)
        send(me, "ready")
        for pid in await take(list):
            link(pid)
        send(me, "linked")
        first = await receive()
        send(me, ("heard", first.sender, first.reason))

    for _ in range(3):
        started = [spawn_monitor(member, n % 2 == 0) for n in range(100)]
        for _ in started:
            await take(is_("ready"))
        pids = [pid for pid, _ in started]
        for pid in pids:
            send(pid, pids)
        for _ in started:
            await take(is_("linked"))
        assert all(len(info(pid, "links")) == 99 for pid in pids)
        exit(pids[1], "boom")
        reasons = await all_down([ref for _, ref in started])
        assert reasons[1::2] == ["boom"] * 50
        assert reasons[0::2] == ["normal"] * 50
        heard = [await take(tuple) for _ in range(50)]
        assert {reason for _, _, reason in heard} <= {"boom", "normal"}


@pytest.mark.race
@in_node(schedulers=2)
async def test_timers_under_load() -> None:
    """Thousands of sleeps and timeouts beside work on every slot: all of them end."""

    async def sleeper(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(20):
            await transom.sleep(rng.random() * 0.01)
            with pytest.raises(TimeoutError):
                await receive(timeout=rng.random() * 0.01)

    async def hog() -> None:
        while True:
            pass

    hogs = [spawn_monitor(hog) for _ in range(4)]
    refs = [spawn_monitor(sleeper, n)[1] for n in range(scaled(1_000))]
    assert await all_down(refs) == ["normal"] * len(refs)
    for pid, _ in hogs:
        kill(pid)
    assert await all_down([ref for _, ref in hogs]) == ["killed"] * 4


def test_shutdown_under_load(rng: random.Random) -> None:
    """A node stopped in the middle of everything, at a random moment, many times; the next one starts clean."""

    async def churns(seed: int) -> None:
        mine = random.Random(seed)
        trap_exit(mine.random() < 0.3)
        while True:
            choice = mine.randrange(6)
            if choice == 0:
                spawn_link(churns, mine.getrandbits(32))
            elif choice == 1:
                for pid in transom.processes()[:5]:
                    send(pid, "noise")
            elif choice == 2:
                transom.send_after(0.001, current_pid(), "tick")
            elif choice == 3:
                for _ in range(mine.randrange(10_000)):
                    pass
            elif choice == 4:
                return
            try:
                await receive(timeout=mine.random() * 0.001)
            except TimeoutError:
                pass

    def plain() -> None:
        while True:
            try:
                transom.sync.receive(timeout=0.001)
            except TimeoutError:
                pass

    async def main(seconds: float, seed: int) -> None:
        mine = random.Random(seed)
        trap_exit(True)
        for _ in range(10):
            spawn(churns, mine.getrandbits(32))
            spawn(plain)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if len(transom.processes()) < 200:
                spawn(churns, mine.getrandbits(32))
            await transom.sleep(0.001)

    threads = thread_count()
    for n in range(scaled(40)):
        run_node(main, rng.random() * 0.05, rng.getrandbits(32), check=False, schedulers=1 + n % 3)
    until_threads_at_most(threads + 2)


def thread_count() -> int:
    with open("/proc/self/status") as file:
        return int(next(line.split()[1] for line in file if line.startswith("Threads:")))


def until_threads_at_most(count: int) -> None:
    end = time.monotonic() + 10
    while thread_count() > count:
        assert time.monotonic() < end, f"{thread_count()} threads, {count} allowed"
        time.sleep(0.01)


def test_garbage_collection_under_load(script: Callable[..., Any]) -> None:
    """gc.collect() (a stop of the world) again and again beside messages, spawns and hogs on every slot: nothing breaks."""
    done = script(
        """
        import gc, threading, time
        import transom
        from support import take

        async def hog():
            while True: pass

        async def child(owner, n):
            transom.send(owner, {"n": n, "cycle": (cycle := [])})
            cycle.append(cycle)

        def collects(seconds):
            end = time.monotonic() + seconds
            rounds = 0
            while time.monotonic() < end:
                gc.collect()
                rounds += 1
            return rounds

        async def main():
            for _ in range(3):
                transom.spawn(hog)
            me, end, n = transom.current_pid(), time.monotonic() + 2, 0
            def collector():
                transom.send(me, ("rounds", collects(1.5)))
            transom.spawn(collector)
            rounds = None
            while rounds is None:
                for k in range(50):
                    transom.spawn(child, me, n + k)
                seen = set()
                while len(seen) < 50:
                    message = await take()
                    if isinstance(message, tuple):
                        rounds = message[1]
                    else:
                        seen.add(message["n"])
                assert seen == set(range(n, n + 50))
                n += 50
            print(n > 0 and rounds > 0)

        transom.run(main, schedulers=2)
        """
    )
    assert done.stdout == "True\n"


def test_new_code_under_load(script: Callable[..., Any]) -> None:
    """Code that is met for the first time (classes, closures, modules made while the node runs) beside hogs on every slot:
    it is counted like any other, nothing breaks."""
    done = script(
        """
        import inspect, textwrap
        import transom
        from support import take, all_down

        async def hog():
            while True: pass

        def source():
            async def body(owner, n):
                class Local:
                    def method(self, k):
                        return [x for x in range(k)]
                for _ in range(300):
                    Local().method(10)
                transom.send(owner, n)
                await transom.sleep(0)

        SOURCE = textwrap.dedent(inspect.getsource(source).partition("\\n")[2])

        async def main():
            hogs = [transom.spawn(hog) for _ in range(3)]
            me = transom.current_pid()
            for n in range(100):
                names = {"transom": transom}
                exec(compile(SOURCE, f"/nowhere/made_{n}.py", "exec"), names)
                refs = [transom.spawn_monitor(names["body"], me, (n, k))[1] for k in range(4)]
                assert sorted([await take(tuple) for _ in range(4)]) == [(n, k) for k in range(4)]
                assert await all_down(refs) == ["normal"] * 4
            for pid in hogs:
                transom.kill(pid)
            print("done")

        transom.run(main, schedulers=2)
        """
    )
    assert done.stdout == "done\n"


@pytest.mark.race
@in_node(schedulers=2)
async def test_names_under_contention(rng: random.Random) -> None:
    """Names registered, sent to, monitored and dropped by many at once: a message by name reaches one that had the name."""
    me = current_pid()
    names = [f"name-{n}" for n in range(5)]

    async def holder(seed: int) -> None:
        mine = random.Random(seed)
        for _ in range(200):
            name = mine.choice(names)
            try:
                transom.register(name, current_pid())
            except transom.NameTaken:
                pass
            else:
                if mine.random() < 0.5:
                    transom.unregister(name)
                else:
                    return
            try:
                send(mine.choice(names), "hello")
            except transom.NoProcess:
                pass
            if transom.whereis(name) is not None:
                transom.demonitor(transom.monitor(name), flush=True)

    for _ in range(scaled(30)):
        refs = [spawn_monitor(holder, rng.getrandbits(32))[1] for _ in range(16)]
        assert await all_down(refs) == ["normal"] * 16
        assert transom.registered() == []
    assert transom.processes() == [me]


@pytest.mark.race
@in_node(schedulers=2)
async def test_a_process_with_a_hundred_thousand_monitors() -> None:
    """One process watched a hundred thousand times ends: every Down comes, others keep going meanwhile."""
    pid = spawn(waits)
    count = scaled(100_000)
    refs = {transom.monitor(pid) for _ in range(count)}
    send(pid, "go")
    for _ in range(count):
        refs.remove((await take()).ref)
    assert not refs
