"""The demo, in a short form: it ends by itself, in time, with exit status 0, and shows what it should."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHORT = ["--seconds", "1", "--sessions", "400"]
# For a machine that is busy with other things: nothing here is about speed.
SECONDS = 240.0


def run(*command: str) -> subprocess.CompletedProcess[str]:
    ran = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, timeout=SECONDS, cwd=ROOT, check=False
    )
    assert ran.returncode == 0, f"exit status {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
    assert "Traceback" not in ran.stderr, ran.stderr
    return ran


def table(text: str) -> dict[str, list[str]]:
    """The rows of the last table."""
    lines = [line.strip() for line in text.splitlines()]
    start = next(index for index, line in enumerate(lines) if line.startswith("messages/s "))
    rows = [[cell.strip() for cell in line.split("   ") if cell.strip()] for line in lines[start : start + 7]]
    return {row[0]: row[1:] for row in rows}


def counts(cells: list[str]) -> list[int]:
    return [int(cell.replace(",", "")) for cell in cells]


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 10)
def test_whole_demo() -> None:
    ran = run("-m", "examples.exchange", *SHORT)
    rows = table(ran.stdout)
    assert {len(cells) for cells in rows.values()} == {5}, "two parts on transom, three on asyncio"
    talked, restarted = counts(rows["messages/s"][:2]), counts(rows["restarts"][:2])
    assert min(talked) > 0, "hogs or not, the sessions talk"
    assert min(restarted) >= 100, "the hundred that were killed in each part are back"
    assert "-" not in rows["reply p99"][:2]
    # Preempted are the loops, left alone the blocking calls; the last line of the part with hogs counts both.
    line = [line for line in ran.stdout.splitlines() if re.match(r" *\d+ s  with \d hogs", line)][-1]
    assert min(counts(re.findall(r"(?:preemptions|hand-overs) ([\d,]+)", line))) > 0, line
    told = re.findall(r"^  (.*?)  +told: monitor .*?, link .*?, waiting caller .*?; ", ran.stdout, re.MULTILINE)
    assert told == ["swallows every exception", "in a blocking time.sleep", "in a long native regex"]


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 10)
def test_through_the_command() -> None:
    ran = run("-m", "transom", "run", "examples.exchange:main", *SHORT, "--no-asyncio", "--plain")
    assert {len(cells) for cells in table(ran.stdout).values()} == {2}
    assert "waiting caller" in ran.stdout


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 10)
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
    _, errors = child.communicate(timeout=SECONDS)
    assert child.returncode == 0, errors
    text = seen.decode()
    assert "last crash" in text
    assert "\x1b[" in text
