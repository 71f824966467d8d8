"""Bounded queues under load: nothing is lost, nothing counted twice, nobody forgotten asleep."""

from __future__ import annotations

import random
import threading
from typing import Any

import pytest
from support import all_down, in_node, info, is_, scaled, take

import transom
from transom import QueueFull, SpawnOptions, current_pid, kill, receive, send, send_after, spawn_monitor, spawn_opt

pytestmark = pytest.mark.stress


async def counts(owner: transom.Pid) -> None:
    """Receives until "end"; says how many there were."""
    seen = 0
    while await receive() != "end":
        seen += 1
    send(owner, ("seen", seen))
    await receive(is_("go"))


async def pours(to: transom.Pid, owner: transom.Pid, rounds: int, seed: int) -> None:
    rng, refused = random.Random(seed), 0
    for n in range(rounds):
        try:
            send(to, n)
        except QueueFull:
            refused += 1
        if rng.random() < 0.05:
            await transom.sleep(0)
    send(owner, ("poured", rounds - refused))


@pytest.mark.race
@pytest.mark.parametrize("on_full", ["drop", "reject", "wait"])
@pytest.mark.parametrize("max_queue", [1, 7])
def test_in_is_out_and_dropped(on_full: Any, max_queue: int, rng: random.Random, node: Any) -> None:
    """sent == received + dropped, whoever sends, however they interleave."""

    async def main() -> None:
        for _ in range(scaled(3)):
            options = SpawnOptions(max_queue=max_queue, on_full=on_full, monitor=True)
            pid, ref = spawn_opt(options, counts, current_pid())
            senders = [
                spawn_monitor(pours, pid, current_pid(), scaled(500), rng.randrange(1 << 30))[1] for _ in range(8)
            ]
            poured = sum([(await take(tuple))[1] for _ in senders])
            await all_down(senders)
            dropped = info(pid, "dropped")
            assert info(pid, "message_queue_len") <= max_queue
            # The word itself must get in: as a sender that is told, or tried again.
            while True:
                before = info(pid, "dropped")
                try:
                    send(pid, "end")
                except QueueFull:
                    await transom.sleep(0)
                    continue
                if info(pid, "dropped") == before:
                    break
            assert (await take(tuple))[1] + dropped == poured
            if on_full != "drop":
                assert dropped == 0
            send(pid, "go")
            await all_down([ref])

    node(main, schedulers=2)


@pytest.mark.race
@in_node(schedulers=2)
async def test_kill_storm_among_waiting_senders() -> None:
    """Senders die while they wait, receivers die while they are waited for: everybody comes to an end."""
    rng = random.Random(7)

    async def endless(to: transom.Pid) -> None:
        while transom.is_alive(to):
            send(to, "x")

    async def drinks() -> None:
        while True:
            await receive()
            await transom.sleep(0)

    for _ in range(scaled(20)):
        pid, ref = spawn_opt(SpawnOptions(max_queue=2, on_full="wait", monitor=True), drinks)
        senders = [spawn_monitor(endless, pid) for _ in range(10)]
        for sender, _ in rng.sample(senders, 5):
            kill(sender)
            await transom.sleep(0)
        kill(pid)
        reasons = await all_down([ref for _, ref in senders])
        assert set(reasons) <= {"normal", "killed"} and reasons.count("killed") == 5
        assert await all_down([ref]) == ["killed"]


@pytest.mark.race
@in_node(schedulers=2)
async def test_threads_and_processes_share_one_bounded_queue() -> None:
    rounds = scaled(200)
    pid, ref = spawn_opt(SpawnOptions(max_queue=3, on_full="wait", monitor=True), counts, current_pid())

    def feed() -> None:
        for n in range(rounds):
            send(pid, n)

    threads = [threading.Thread(target=feed) for _ in range(3)]
    for thread in threads:
        thread.start()
    senders = [spawn_monitor(pours, pid, current_pid(), rounds, n)[1] for n in range(3)]
    poured = sum([(await take(tuple))[1] for _ in senders])
    await all_down(senders)
    for thread in threads:
        while thread.is_alive():
            await transom.sleep(0.001)
    send(pid, "end")
    assert (await take(tuple))[1] == poured + 3 * rounds
    send_after(0.0, pid, "go")
    await all_down([ref])
