"""Threads that a node leaves behind in native code hold nobody up: neither stop, nor the next node."""

from __future__ import annotations

import subprocess
import sys

import pytest

# With a GIL the native code would hold that, and nothing else runs at all.
pytestmark = pytest.mark.skipif(getattr(sys, "_is_gil_enabled", lambda: True)(), reason="native code keeps the GIL")

FOREVER = """
import gc, os, re, sys, time
import transom

def hog(n):
    re.search("^(a+)+$", "a" * n + "!")  # 2 to the power of n steps, attached to the interpreter

def in_native(pid):
    while transom.process_info(pid, "status")["status"] != "blocked":
        time.sleep(0.001)

async def ask():
    me = transom.current_pid()
    async def answer():
        transom.send(me, 42)
    transom.spawn(answer)
    return await transom.receive()
"""

NEXT_NODES = """
for _ in range(2):
    transom.start()
    in_native(transom.spawn(hog, 50))
    transom.stop(timeout=0.2)
    assert transom._core._left_behind() and not gc.isenabled()
    print(transom.run(ask))
print("ended", flush=True)
os._exit(0)
"""

COMES_HOME = """
collects = gc.isenabled()
transom.start()
transom.spawn(hog, 23)
transom.stop(timeout=0)
while transom._core._left_behind() or gc.isenabled() != collects or sys.monitoring.get_events(4):
    time.sleep(0.01)
print(transom.run(ask), gc.isenabled() == collects, sys.monitoring.get_events(4), "ended")
"""


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_stop_and_the_nodes_after_it_do_not_wait() -> None:
    assert run(FOREVER + NEXT_NODES).split() == ["42", "42", "ended"]


def test_what_was_put_off_is_done_when_they_are_home() -> None:
    assert run(FOREVER + COMES_HOME).split() == ["42", "True", "0", "ended"]
