"""The demo, in a short form: it ends by itself, in time, with exit status 0, and shows what it should."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHORT = ["--seconds", "1", "--sessions", "400"]


def run(*command: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    ran = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, timeout=timeout, cwd=ROOT, check=False
    )
    assert ran.returncode == 0, f"exit status {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
    assert "Traceback" not in ran.stderr, ran.stderr
    return ran


def gil_is_on() -> bool:
    return getattr(sys, "_is_gil_enabled", lambda: True)()


def table(text: str) -> dict[str, list[str]]:
    """The rows of the last table."""
    lines = [line.strip() for line in text.splitlines()]
    start = next(index for index, line in enumerate(lines) if line.startswith("messages/s "))
    rows = [[cell.strip() for cell in line.split("   ") if cell.strip()] for line in lines[start : start + 7]]
    return {row[0]: row[1:] for row in rows}


@pytest.mark.slow
@pytest.mark.timeout(90)
def test_whole_demo() -> None:
    ran = run("-m", "examples.exchange", *SHORT)
    for words in ("no hogs", "hogs", "swallows every exception", "in a blocking time.sleep", "asyncio"):
        assert words in ran.stdout
    rows = table(ran.stdout)
    rate = [float(cell.replace(",", "")) for cell in rows["messages/s"]]
    assert len(rate) == 5
    if not gil_is_on():  # native code that keeps the GIL stops everything else
        assert rate[1] > rate[0] / 2, "the hogs cost the sessions more than half of their messages"
        assert rows["over 1 s or never"][:2] == ["0", "0"]


@pytest.mark.slow
@pytest.mark.timeout(90)
def test_through_the_command() -> None:
    ran = run("-m", "transom", "run", "examples.exchange:main", *SHORT, "--no-asyncio", "--plain")
    assert "came back after" in ran.stdout


@pytest.mark.slow
@pytest.mark.timeout(90)
@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no pseudo terminals")
def test_on_a_terminal() -> None:
    """With a terminal for its output, rich draws."""
    pytest.importorskip("rich")
    ours, theirs = os.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "examples.exchange", *SHORT, "--no-asyncio"],
        stdout=theirs,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "TERM": "xterm-256color"},
    )
    os.close(theirs)
    seen = b""
    try:
        while chunk := os.read(ours, 65536):
            seen += chunk
    except OSError:
        pass  # Linux reports the end of a terminal so
    _, errors = child.communicate(timeout=60)
    assert child.returncode == 0, errors
    text = seen.decode()
    assert "last crash" in text
    assert "\x1b[" in text
