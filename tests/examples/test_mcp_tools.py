"""An MCP session owned by an agent on the loop: used by many, its server crashed, its owner killed, and ended in order."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECONDS = 240.0  # for a machine that is busy with other things: each server takes a second or more to start

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(SECONDS + 10),
    pytest.mark.skipif(importlib.util.find_spec("mcp") is None, reason="needs mcp"),
]

PROGRAM = """
import json, os
import transom
from examples.mcp_tools.toolbox import Toolbox, ToolError, use

async def failure(name):
    try:
        await use(name)
    except transom.CallError as error:
        return transom.is_alive(old) or "gone"

async def after(pid):
    while transom.whereis("toolbox") in (None, pid):
        await transom.sleep(0.01)
    return int(await use("whoami"))

async def gone(server):
    while os.path.exists(f"/proc/{server}") and open(f"/proc/{server}/stat").read().split()[2] != "Z":
        await transom.sleep(0.01)

async def main():
    global old
    top = await transom.Supervisor.start_link(children=[Toolbox.child().options(name="toolbox")])
    assert sorted(await Toolbox.at("toolbox").tools()) == ["crash", "weather", "whoami"]
    many = [transom.Task.start(use, "weather", city=city) for city in ("Oslo", "Rome", "Lima") * 50]
    assert {await task for task in many} == {"Oslo: 12 degrees", "Rome: 12 degrees", "Lima: 12 degrees"}
    try:
        await use("weather", city="?")
    except ToolError as error:
        print("answered:", "no city" in str(error))
    servers = [int(await use("whoami"))]

    old = transom.whereis("toolbox")
    told = [await task for task in [transom.Task.start(failure, "crash") for _ in range(3)]]
    print("told of the crash:", told)
    servers.append(await after(old))

    old = transom.whereis("toolbox")
    transom.kill(old)
    servers.append(await after(old))
    await top.stop()
    for server in servers:
        await gone(server)
    for _ in range(1000):  # the last one leaves its loop a moment after its process has ended
        if transom.io_info()[0]["agents"] == 0:
            break
        await transom.sleep(0.01)
    print("servers:", len(set(servers)), "agents left:", transom.io_info()[0]["agents"])

transom.run(main)
"""


def run(*command: str) -> tuple[str, str]:
    ran = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, timeout=SECONDS, cwd=ROOT, check=False
    )
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"
    assert "cancel scope" not in ran.stderr, ran.stderr
    return ran.stdout, ran.stderr


def test_session_has_one_task_however_it_ends() -> None:
    out, _ = run("-c", PROGRAM)
    assert out.splitlines() == [
        "answered: True",
        f"told of the crash: {['gone'] * 3}",
        "servers: 3 agents left: 0",
    ]


def test_whole_example() -> None:
    out, errors = run("-m", "examples.mcp_tools", "10")
    lines = out.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "nothing happens",
        "the server crashes",
        "the toolbox is killed",
    ]
    assert [line.rpartition(", ")[2] for line in lines] == ["the same server", "another server", "another server"]
    assert all(" 10 researchers done" in line for line in lines)
    assert "Traceback" not in errors, errors
