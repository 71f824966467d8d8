"""The line server: its demo, and clients that misbehave."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import transom
from examples.lineserver import server
from tests.support import DEADLINE, take, until
from transom import ports

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_demo() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "examples.lineserver", "--demo"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        check=True,
    )
    lines = ran.stdout.splitlines()
    assert lines[0].startswith("listening at 127.0.0.1:")
    assert lines[2] == "{'id': 2, 'result': 5}"
    assert "no method 'drop'" in lines[3] and "failed" in lines[4]
    assert lines[5] == "[{'id': 5, 'result': 0}]"


def test_clients_that_are_gone_at_once_end_nothing_and_leave_nothing() -> None:
    async def main() -> None:
        await server.Desk.start_link()
        address = await server.Door.at("door").address()
        door = transom.pid_of(server.Door.at("door"))
        for _ in range(300):
            with socket.create_connection(address) as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset
            await transom.sleep(0)
        async with await ports.connect(*address, packet="line") as good:
            await good.send(b'{"id": 1, "method": "total", "params": ["x"]}\n')
            assert json.loads(await good.recv(timeout=DEADLINE)) == {"id": 1, "result": 0}
        assert transom.pid_of(server.Door.at("door")) == door
        deadline = time.monotonic() + DEADLINE
        while (await server.Connections.at("connections").count_children())["active"]:
            assert time.monotonic() < deadline
            await transom.sleep(0.001)

    transom.run(main)


def test_clients_come_and_go_and_misbehave() -> None:
    async def main() -> None:
        desk = await server.Desk.start_link()
        address = await server.Door.at("door").address()
        good = await ports.connect(*address, packet="line")
        for nonsense in (b"\n", b"[]\n", b'{"method": 1}\n', b"\xff\n", b"null\n"):
            await good.send(nonsense)
            assert "bad request" in json.loads(await good.recv(timeout=DEADLINE))["error"]
        flood = await ports.connect(*address)
        with pytest.raises(ports.PortClosed):
            while True:
                await flood.send(bytes(10_000), timeout=DEADLINE)
        await good.send(b'{"id": 1, "method": "add", "params": ["x"]}\n')
        assert json.loads(await good.recv(timeout=DEADLINE)) == {"id": 1, "result": 1}
        connections = server.Connections.at("connections")
        deadline = time.monotonic() + DEADLINE
        while (await connections.count_children())["active"] > 1:  # the flood's agent is about to end
            assert time.monotonic() < deadline
            await transom.sleep(0.001)
        await good.shutdown()
        with pytest.raises(ports.PortClosed):
            await good.recv(timeout=DEADLINE)
        old = transom.pid_of(server.Door.at("door"))
        transom.kill(old)
        await until(lambda: transom.whereis("door") not in (None, old))
        again = await server.Door.at("door").address()
        async with await ports.connect(*again, packet="line") as late:
            await late.send(b'{"id": 2, "method": "total", "params": ["x"]}\n')
            assert json.loads(await late.recv(timeout=DEADLINE)) == {"id": 2, "result": 1}
        transom.unlink(desk)
        ref = transom.monitor(desk)
        transom.exit(desk, "shutdown")
        await take(ref)

    transom.run(main)
