"""Random crashes in a tree of three levels for a bounded time: nothing is lost, nothing doubled.

Every worker tells the test when it starts, and the test monitors it. So it knows of each place in the tree how often it
was started and how often it ended. TRANSOM_STRESS_SECONDS makes it longer, TRANSOM_TEST_SEED repeats a run.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from typing import Any

import pytest
from support import DEADLINE, books_balance, run_node, until

import transom
from transom import Backoff, ChildSpec, Down, DynamicSupervisor, Exit, Pid, Recovery, Supervisor, proc_lib

SECONDS = float(os.environ.get("TRANSOM_STRESS_SECONDS", "15")) * 0.15
STRATEGIES = ("one_for_one", "one_for_all", "rest_for_one")
PLENTY = 10**9  # nobody gives up


async def worker(owner: Pid, place: str) -> None:
    transom.send(owner, ("up", place, transom.current_pid()))
    proc_lib.init_ack()
    reason = await transom.receive()
    raise transom.Stop(reason)


class Start:
    """Starts a worker at its place."""

    def __init__(self, owner: Pid, place: str) -> None:
        self.owner = owner
        self.place = place

    def __call__(self) -> Any:
        return proc_lib.start_link(worker, (self.owner, self.place))


class Branch(Supervisor):
    """A supervisor whose children are workers or further branches."""

    max_restarts = PLENTY

    def init(self, owner: Pid, place: str, depth: int, number: int) -> None:
        self.owner = owner
        self.place = place
        self.depth = depth
        self.strategy = STRATEGIES[number % 3]

    def children(self) -> list[ChildSpec]:
        places = [f"{self.place}.{n}" for n in range(3)]
        if self.depth:
            return [Branch.child(self.owner, p, self.depth - 1, n).options(id=p) for n, p in enumerate(places)]
        recovery = Recovery(backoff=Backoff(initial=0.0005, maximum=0.002), reset_after=1000)
        return [
            ChildSpec(id=p, start=Start(self.owner, p), recovery=recovery if n == 2 else None)
            for n, p in enumerate(places)
        ]


class Books:
    """Who runs where, by what the workers and their monitors tell."""

    def __init__(self) -> None:
        self.live: dict[str, set[Pid]] = {}
        self.place_of: dict[Pid, str] = {}
        self.starts: Counter[str] = Counter()
        self.ends: Counter[str] = Counter()

    def note(self, message: Any) -> None:
        match message:
            case ("up", place, pid):
                transom.monitor(pid)
                self.place_of[pid] = place
                self.starts[place] += 1
                self.live.setdefault(place, set()).add(pid)
            case Down(_, pid, _):
                place = self.place_of.pop(pid)
                self.ends[place] += 1
                self.live[place].remove(pid)
            case _:
                raise AssertionError(message)

    async def catch_up(self) -> None:
        while True:
            try:
                self.note(await transom.receive(tuple, Down, timeout=0))
            except TimeoutError:
                return

    async def settle(self, places: int) -> None:
        """Until one worker lives at each place, and no news come while every supervisor answers."""
        end = time.monotonic() + DEADLINE
        while True:
            await self.catch_up()
            if len(self.live) == places and all(len(pids) == 1 for pids in self.live.values()):
                if all(transom.is_alive(pid) for pids in self.live.values() for pid in pids):
                    return
            assert time.monotonic() < end, {place: pids for place, pids in self.live.items() if len(pids) != 1}
            await transom.sleep(0.001)


async def harm(rng: random.Random, tree: Any, books: Books) -> None:
    """End somebody, in some way."""
    workers = [pid for pids in books.live.values() for pid in pids]
    kind = rng.random()
    if kind < 0.5 and workers:
        transom.send(rng.choice(workers), rng.choice(["normal", "shutdown", "odd"]))
    elif kind < 0.9 and workers:
        transom.kill(rng.choice(workers))
    else:
        branches = [pid for _, pid, _ in await tree.which_children() if isinstance(pid, Pid)]
        if branches:
            transom.exit(rng.choice(branches), "kill")


async def soak(rng: random.Random, seconds: float) -> None:
    transom.trap_exit(True)
    me, books = transom.current_pid(), Books()
    tree = await Branch.start_link(me, "0", 2, 0)
    await books.settle(27)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for _ in range(rng.randrange(1, 8)):
            await harm(rng, tree, books)
        if rng.random() < 0.2:
            await books.settle(27)
        await books.catch_up()
    await books.settle(27)
    # Each place was started once more than it ended: no restart was lost, and none was doubled.
    assert {place: n - 1 for place, n in books.starts.items()} == {place: books.ends[place] for place in books.starts}
    assert sum(books.ends.values()) > 100
    print(f"{sum(books.ends.values())} ends, {sum(books.starts.values())} starts")
    await tree.stop("normal", DEADLINE)
    await transom.receive(Exit, timeout=DEADLINE)
    while books.place_of:
        books.note(await transom.receive(tuple, Down, timeout=DEADLINE))


@pytest.mark.stress
@pytest.mark.timeout(120 + 4 * SECONDS)
@pytest.mark.parametrize("schedulers", [1, 2])
def test_a_tree_heals(schedulers: int, rng: random.Random) -> None:
    run_node(soak, rng, SECONDS / 2, schedulers=schedulers)


@pytest.mark.stress
def test_churn_in_a_dynamic_supervisor(rng: random.Random) -> None:
    """Many callers start and stop children at once while others crash; in the end nobody is left."""

    async def caller(ref: Any, owner: Pid, seed: int, end: float) -> None:
        chance = random.Random(seed)
        mine: list[Pid] = []
        while time.monotonic() < end:
            if len(mine) < 20 and chance.random() < 0.6:
                start = proc_start(chance)
                mine.append(await ref.start_child(ChildSpec(id=0, start=start, restart="temporary")))
            elif mine:
                pid = mine.pop(chance.randrange(len(mine)))
                try:
                    await ref.terminate_child(pid)
                except transom.NoChild:
                    pass
                assert not transom.is_alive(pid)
            if mine and chance.random() < 0.2:
                transom.kill(chance.choice(mine))
        for pid in mine:
            try:
                await ref.terminate_child(pid)
            except transom.NoChild:
                pass

    async def main() -> None:
        transom.trap_exit(True)
        before = set(transom.processes())
        ref = await DynamicSupervisor.start_link()
        end = time.monotonic() + SECONDS / 4
        downs = [
            transom.spawn_monitor(caller, ref, transom.current_pid(), rng.getrandbits(32), end)[1] for _ in range(10)
        ]
        assert [(await transom.receive(ref, timeout=60)).reason for ref in downs] == ["normal"] * 10
        assert await ref.count_children() == {"specs": 0, "active": 0, "supervisors": 0, "workers": 0}
        await ref.stop()
        await transom.receive(Exit, timeout=DEADLINE)
        await until(lambda: books_balance(before))

    run_node(main)


def proc_start(chance: random.Random) -> Any:
    async def body(wait: float) -> None:
        if wait:
            await transom.sleep(wait)
        else:
            await transom.receive()

    async def acked(wait: float) -> None:
        proc_lib.init_ack()
        await body(wait)

    wait = chance.choice([0.0, 0.0001, 0.001])
    if chance.random() < 0.5:
        return lambda: transom.spawn_link(body, wait)
    return lambda: proc_lib.start_link(acked, (wait,))
