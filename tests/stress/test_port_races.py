"""Ports under load: owners killed at any moment, ports given on and on, many connections; nothing is left."""

from __future__ import annotations

import gc
import os
import random
from typing import Any

import pytest

import transom
from tests.support import DEADLINE, in_node, reason_of, scaled, take, until
from transom import _loop_thread, ports
from transom.ports import Closed, Data, PortClosed


def open_ports() -> int:
    return sum(len(thread.ports) for thread in _loop_thread.running())


async def serve(listener: ports.Listener) -> None:
    """An acceptor of a pool: echo frames, one connection after another."""
    try:
        while True:
            conn = await listener.accept()
            try:
                while True:
                    await conn.send(await conn.recv())
            except PortClosed:
                await conn.close()
    except PortClosed:
        return


async def talk(address: Any, rounds: int) -> int:
    conn = await ports.connect(*address, packet=2)
    for i in range(rounds):
        word = i.to_bytes(4, "big") * (1 + i % 50)
        await conn.send(word)
        assert await conn.recv() == word
    await conn.close()
    return rounds


@pytest.mark.race
@in_node()
async def test_owners_killed_at_any_moment() -> None:
    rng = random.Random(7)
    async with await ports.listen(packet=2) as listener:
        servers = [transom.spawn_monitor(serve, listener) for _ in range(8)]
        for _ in range(scaled(10)):
            clients = [transom.spawn_monitor(talk, listener.address, 30) for _ in range(20)]
            for pid, _ in rng.sample(clients, 12):
                await transom.sleep(rng.choice((0, 0, 0.001)))
                transom.kill(pid)
            assert {await reason_of(ref) for _, ref in clients} <= {"normal", "killed"}
        await listener.close()
        for _, ref in servers:
            assert await reason_of(ref) == "normal"
    await until(lambda: open_ports() == 0)


@pytest.mark.race
@in_node()
async def test_a_port_given_on_and_on_loses_nothing_and_keeps_the_order() -> None:
    count = 2000

    async def holder(parent: transom.Pid, expected: int, ring: list[transom.Pid]) -> None:
        """Take some frames, give the port on; say what was seen."""
        mine: list[transom.Pid] = await take(list)
        rng = random.Random(expected)
        while True:
            message = await transom.receive(Data, Closed, tuple)
            if isinstance(message, tuple):
                return
            if isinstance(message, Closed):
                transom.send(parent, "closed")
                continue
            transom.send(parent, int.from_bytes(message.data, "big"))
            if rng.random() < 0.3 and not message.port.is_closed and message.port.owner == transom.current_pid():
                try:
                    await message.port.controlling_process(rng.choice(mine))
                except PortClosed:
                    pass  # its last frame is here and the end has come: nobody needs to own it any more

    async with await ports.listen(packet=2) as listener:
        me = transom.current_pid()
        ring = [transom.spawn_monitor(holder, me, i, []) for i in range(4)]
        pids = [pid for pid, _ in ring]
        for pid in pids:
            transom.send(pid, pids)
        client = await ports.connect(*listener.address, packet=2)
        conn = await listener.accept(timeout=DEADLINE)
        await conn.set_active(True)
        await conn.controlling_process(pids[0])
        for i in range(count):
            await client.send(i.to_bytes(2, "big"))
            if i % 50 == 0:
                await transom.sleep(0)
        await client.close()
        seen = [await take(int) for _ in range(count)]
        assert await take(str) == "closed"
        assert sorted(seen) == list(range(count))
        for pid, ref in ring:
            transom.send(pid, ())
            assert await reason_of(ref) == "normal"


@in_node()
async def test_memory_and_descriptors_come_back() -> None:
    counts = []
    async with await ports.listen(packet=2) as listener:
        servers = [transom.spawn_monitor(serve, listener) for _ in range(4)]
        for _ in range(6):
            refs = [transom.spawn_monitor(talk, listener.address, 5)[1] for _ in range(scaled(40))]
            assert {await reason_of(ref) for ref in refs} == {"normal"}
            await until(lambda: open_ports() == 1)
            gc.collect()
            counts.append((len(os.listdir("/proc/self/fd")), len(gc.get_objects())))
        await listener.close()
        for _, ref in servers:
            await reason_of(ref)
    assert counts[-1][0] <= counts[1][0] + 1, counts
    assert counts[-1][1] - counts[1][1] < 500, counts
