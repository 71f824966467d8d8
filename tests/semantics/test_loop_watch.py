"""Event loops that are blocked: reported, counted, and interrupted for the dead."""

from __future__ import annotations

import asyncio
import logging
import threading
import time

import pytest

import transom
from tests.support import in_node, take, until
from transom import _loop_thread, aio


class Hog(transom.Agent, loop=True):
    def block(self, gate: threading.Event) -> str:
        gate.wait(30)
        return "awake"

    def compute(self, parent: transom.Pid) -> None:
        parent.send("computing")
        while True:
            pass

    def ping(self) -> str:
        return "pong"


async def block(gate: threading.Event) -> None:
    gate.wait(30)


def reports(caplog: pytest.LogCaptureFixture) -> list[str]:
    texts = [record.getMessage() for record in caplog.records]
    return [text for text in texts if "has been blocked" in text]


@in_node(check=False)
async def test_a_blocking_call_is_reported_with_its_stack(caplog: pytest.LogCaptureFixture) -> None:
    hog = await Hog.start_link()
    with caplog.at_level(logging.WARNING, "transom"):
        gate = threading.Event()
        call = hog.block.options(timeout=60)(transom.share(gate)).send()
        await until(lambda: reports(caplog))
        gate.set()
        assert await call == "awake"
        await until(lambda: transom.io_info()[0]["longest_block"] > 0.05)
        assert await hog.ping() == "pong"  # it lives again
        await until(lambda: _loop_thread.loop_thread(0).sign.asked is None)
        gate = threading.Event()

        async def blocked() -> None:
            await aio(block(gate))

        _, ref = transom.spawn_monitor(blocked)
        await until(lambda: len(reports(caplog)) == 2)
        gate.set()
        assert (await take(ref)).reason == "normal"
    first, second = reports(caplog)
    assert "in block" in first and "gate.wait(30)" in first and "Hog <" in first
    assert "in block" in second and "transom.offload" in second
    info = transom.io_info()[0]
    assert info["blocked"] == 2 and info["agents"] == 1


@in_node(check=False)
async def test_a_dead_agent_that_computes_is_interrupted(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        hog, other = await Hog.start(), await Hog.start_link()
        ref = transom.monitor(transom.pid_of(hog))
        hog.compute.cast(transom.current_pid())
        await take("computing".__eq__)
        transom.kill(transom.pid_of(hog))
        assert (await take(ref)).reason == "killed"
        assert await other.ping.options(timeout=20)() == "pong"  # the loop is free again


@in_node(check=False)
async def test_offload_keeps_the_loop_going(caplog: pytest.LogCaptureFixture) -> None:
    class Polite(transom.Agent, loop=True):
        async def sleep(self) -> str:
            await transom.offload(time.sleep, 0.3)
            return "awake"

    polite = await Polite.start_link()
    with caplog.at_level(logging.WARNING, "transom"):
        assert await polite.sleep() == "awake"
    assert reports(caplog) == []


@in_node()
async def test_what_only_waits_is_not_reported(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "transom"):
        for _ in range(20):
            await aio(asyncio.sleep(0.01))
        await until(lambda: transom.io_info()[0]["tasks"] == 0)
    assert reports(caplog) == []
