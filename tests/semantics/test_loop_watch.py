"""Event loops that are blocked: reported, counted, and interrupted for the dead."""

from __future__ import annotations

import logging
import time
from typing import Any

import pytest

import transom
from tests.support import in_node, take, until
from transom import aio


class Hog(transom.Agent, loop=True):
    def sleep_badly(self, seconds: float) -> str:
        time.sleep(seconds)
        return "awake"

    def compute(self, parent: transom.Pid) -> None:
        parent.send("computing")
        while True:
            pass

    def ping(self) -> str:
        return "pong"


async def block() -> None:
    time.sleep(0.5)


@in_node(check=False)
async def test_a_blocking_call_is_reported_with_its_stack(caplog: pytest.LogCaptureFixture) -> None:
    hog = await Hog.start_link()
    with caplog.at_level(logging.WARNING, "transom"):
        assert await hog.sleep_badly(0.5) == "awake"
        await until(lambda: transom.io_info()[0]["longest_block"] > 0.4)  # it lives again
        await aio(block())
    texts = [record.getMessage() for record in caplog.records if "has been blocked" in record.getMessage()]
    assert len(texts) == 2
    assert "sleep_badly" in texts[0] and "time.sleep(seconds)" in texts[0] and "Hog <" in texts[0]
    assert "in block" in texts[1] and "transom.offload" in texts[1]
    info = transom.io_info()[0]
    assert info["blocked"] == 2 and info["longest_block"] >= 0.05 and info["agents"] == 1


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
    assert transom.io_info()[0]["blocked"] == 0


@in_node()
async def test_what_only_waits_is_not_reported(caplog: pytest.LogCaptureFixture) -> None:
    import asyncio

    with caplog.at_level(logging.WARNING, "transom"):
        await asyncio_rounds(asyncio)
    assert not [record for record in caplog.records if "blocked" in record.getMessage()]


async def asyncio_rounds(asyncio: Any) -> None:
    for _ in range(20):
        await aio(asyncio.sleep(0.01))
    await until(lambda: transom.io_info()[0]["tasks"] == 0)
