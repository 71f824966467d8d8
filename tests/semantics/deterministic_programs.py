"""Programs whose runs must be the same event for event, whatever the order of hashes and whatever ran before.

Run as a program it prints a line for each seed: `python deterministic_programs.py <first> <last>`, backwards when
last < first. Their crashes are part of them.
"""

from __future__ import annotations

import hashlib
import logging
import sys
from collections.abc import Callable
from typing import Any

import transom
from transom import _replay, _runtime


def recorded(main: Callable[..., Any], what: int | str) -> tuple[Any, _replay.Replay]:
    """The value and the record of a run."""
    replay = _replay.Replay(what)
    value = _runtime._run_deterministic(main, (), replay, {})
    return value, replay


# -- a supervisor's children crash while others call them; then a hub with many links and monitors dies ----------------


class Cell(transom.Agent):
    def init(self, value: int = 0) -> None:
        self.value = value

    def get(self) -> int:
        return self.value

    def put(self, value: int) -> None:
        self.value = value

    def boom(self) -> None:
        raise ValueError("boom")


class Desk(transom.Supervisor):
    max_restarts = 100

    def children(self) -> list[Any]:
        return [Cell.child(1).options(id=f"c{i}", name=f"c{i}") for i in range(5)]


async def _careless(parent: transom.Pid, n: int) -> None:
    cell = Cell.at("c0")
    await cell.put(await cell.get() + 1)
    Cell.at(f"c{n}").boom.cast()
    transom.send(parent, ("done", n))


async def _idle(hub: transom.Pid | None = None) -> None:
    if hub is not None:
        transom.link(hub)
    await transom.receive(float)


async def supervised() -> Any:
    await Desk.start_link()
    workers = [transom.spawn_monitor(_careless, transom.current_pid(), n) for n in range(1, 4)]
    for _, ref in workers:
        await transom.receive(ref)
    hub = transom.spawn(_idle)
    kids = [transom.spawn(_idle, hub) for _ in range(20)]
    await transom.sleep(1.0)
    for kid in kids:
        transom.monitor(kid)
    transom.kill(hub)
    order = [kids.index((await transom.receive(transom.Down)).pid) for _ in kids]
    return order, await Cell.at("c0").get()


# -- plain functions that compute and wait, and look at each other -----------------------------------------------------


def _counts(parent: transom.Pid, n: int) -> None:
    total = 0
    for i in range(30):
        for k in range(i * n):
            total += k
        transom.send(parent, (n, i, total))
        if i % 10 == 9:
            transom.sync.sleep(0.001 * n)


async def _looks(at: list[transom.Pid], parent: transom.Pid) -> None:
    for _ in range(5):
        for pid in at:
            info = transom.process_info(pid, "message_queue_len", "status", "reductions")
            transom.send(parent, ("saw", info and tuple(info.values())))
        await transom.sleep(0)


async def computing() -> Any:
    me = transom.current_pid()
    pids = [transom.spawn_link(_counts, me, n) for n in range(1, 4)]
    transom.spawn_link(_looks, pids, me)
    transom.spawn_link(_looks, [*pids, me], me)
    return [await transom.receive(tuple) for _ in range(90 + 15 + 20)]


# -- timers, names, groups, topics, tables, and a mailbox that is full -------------------------------------------------


async def _member(n: int, parent: transom.Pid) -> None:
    transom.register(f"member {n}", transom.current_pid())
    ROOMS.join(f"room {n % 7}")
    TOPICS.subscribe("news")
    transom.send(parent, "ready")
    _, text = await transom.receive(tuple)
    await transom.sleep(0.01 * (n % 3))
    transom.send(parent, (n, text))


ROOMS = transom.Groups("deterministic")
TOPICS = transom.PubSub("deterministic")


async def _slow(parent: transom.Pid) -> None:
    for _ in range(30):
        transom.send(parent, ("eaten", await transom.receive(int, timeout=5.0)))
        await transom.sleep(0.002)


async def _feeds(pid: transom.Pid, n: int) -> None:
    for i in range(10):
        transom.send(pid, n * 100 + i)


async def addressed() -> Any:
    me = transom.current_pid()
    for n in range(15):
        transom.spawn_link(_member, n, me)
    for _ in range(15):
        assert await transom.receive(str) == "ready"
    names = transom.registered()
    rooms = ROOMS.which()
    TOPICS.broadcast("news", ("news", "hello"))
    answers = [await transom.receive(tuple) for _ in range(15)]
    table = transom.Table()
    for n in range(20):
        table.insert((f"key {n}", n))
    eater = transom.spawn_opt(transom.SpawnOptions(link=True, max_queue=2, on_full="wait"), _slow, me)
    for n in range(3):
        transom.spawn_link(_feeds, eater, n)
    eaten = [await transom.receive(tuple) for _ in range(30)]
    transom.send_after(3600.0, me, "late")
    return names, rooms, answers, [row[0] for row in table], eaten, await transom.receive(str)


PROGRAMS = (supervised, computing, addressed)


def main(first: int, last: int) -> None:
    logging.disable(logging.CRITICAL)
    for seed in range(first, last) if first < last else range(first - 1, last - 1, -1):
        for program in PROGRAMS:
            value, replay = recorded(program, seed)
            text = "\n".join([repr(value), replay.spoiled, *replay.trace()])
            print(seed, program.__name__, replay.picks, len(replay.trace()), hashlib.md5(text.encode()).hexdigest())


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
