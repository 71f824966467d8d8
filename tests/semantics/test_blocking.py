"""Blocking code in plain functions and handlers: others go on, threads are bounded, the rest queues."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import transom
from tests.support import DEADLINE, in_node, run_node, take, until


class Quick(transom.Agent):
    def ping(self) -> str:
        return "pong"


@in_node(schedulers=1, max_threads=3, check=False)
async def test_plain_functions_beyond_the_cap_queue() -> None:
    me = transom.current_pid()
    gate = threading.Event()
    quick = await Quick.start_link()

    def body(i: int) -> None:
        gate.wait()
        me.send(i)

    for i in range(12):
        transom.spawn(body, i)
    await until(lambda: transom.node_info()["thread_queue"] == 9)
    info = transom.node_info()
    assert info["capped"] >= 9 and info["max_threads"] == 3
    assert len(info["occupied"]) == 3
    for _ in range(20):
        assert await quick.ping.options(timeout=20)() == "pong"
    gate.set()
    assert sorted([await take(int) for _ in range(12)]) == list(range(12))
    await until(lambda: transom.node_info()["thread_queue"] == 0)


@in_node(schedulers=1, max_threads=3, check=False)
async def test_queued_functions_can_be_killed() -> None:
    gate = threading.Event()
    started = [transom.spawn_monitor(gate.wait) for _ in range(8)]
    await until(lambda: transom.node_info()["thread_queue"] == 5)
    for pid, _ in started[3:]:
        transom.kill(pid)
    gate.set()
    reasons = [(await take(ref)).reason for _, ref in started]
    assert sorted(map(str, reasons)) == ["killed"] * 5 + ["normal"] * 3


@in_node(schedulers=1, max_threads=8, check=False)
async def test_blocking_handlers_leave_the_others_alone() -> None:
    gate = threading.Event()

    class Blocking(transom.Agent):
        def work(self) -> str:
            gate.wait()
            return "done"

    quick = await Quick.start_link()
    agents = [await Blocking.start_link() for _ in range(8)]
    calls = [agent.work.options(timeout=60)().send() for agent in agents]
    for _ in range(20):
        assert await quick.ping.options(timeout=20)() == "pong"
    gate.set()
    assert [await call for call in calls] == ["done"] * 8


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the mask of a program from /proc")
def test_a_program_started_in_a_process_blocks_no_signal() -> None:
    """What subprocess starts inherits the mask of the thread: one that blocks signals would make it deaf to SIGTERM."""

    def start() -> list[str]:
        code = "print(next(line for line in open('/proc/self/status') if line.startswith('SigBlk')))"
        done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
        return done.stdout.split()

    assert run_node(start) == ["SigBlk:", "0" * 16]


@in_node(schedulers=2)
async def test_a_function_that_blocks_is_known_for_it() -> None:
    """Its next processes start off the slot, and on it again when it has been quick for a while."""
    me = transom.current_pid()

    def tool(seconds: float) -> None:
        if seconds:
            time.sleep(seconds)
        me.send("done")

    async def offslot(times: int, seconds: float) -> int:
        """How many of so many processes at once ran without a slot."""
        before = transom.node_info()["offslot_runs"]
        for _ in range(times):
            transom.spawn(tool, seconds)
        for _ in range(times):
            assert await take() == "done"
        return int(transom.node_info()["offslot_runs"] - before)

    end = time.monotonic() + DEADLINE
    while await offslot(20, 0.02) < 20:  # the first ones have their slots taken
        assert time.monotonic() < end
    assert await offslot(50, 0.005) == 50
    while await offslot(1, 0) > 0:
        assert time.monotonic() < end
    assert await offslot(20, 0) == 0
