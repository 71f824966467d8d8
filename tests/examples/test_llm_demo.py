"""The demo, in a short form: it ends by itself, with exit status 0, and shows what it should. Nothing here is about speed."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHORT = ["--part", "1", "--sessions", "20"]
SECONDS = 240.0  # for a machine that is busy with other things

needs_openai = pytest.mark.skipif(importlib.util.find_spec("openai") is None, reason="needs openai")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(SECONDS + 10)]

WITHOUT_OPENAI = """
import importlib.util, sys
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "openai" else find_spec(name, *rest)
from examples.llm import demo
demo.main()
assert "openai" not in sys.modules
"""


def run(*command: str, **environment: str) -> str:
    ran = subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        cwd=ROOT,
        check=False,
        env={**os.environ, **environment},
    )
    assert ran.returncode == 0, f"exit status {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
    assert "Traceback" not in ran.stderr, ran.stderr
    return ran.stdout


def cells(text: str, row: str) -> list[str]:
    """Of a row of the last table."""
    (line,) = [line for line in text.splitlines() if line.startswith(f"  {row} ")]
    return re.split(r" {2,}", line.removeprefix(f"  {row} ").strip())


@needs_openai
def test_whole_demo() -> None:
    text = run("-m", "examples.llm.demo", *SHORT, "--plain")
    names = ("tokens/s", "messages/s", "token delay p50", "token delay p99", "restarts, retries")
    for name in names:
        assert len(cells(text, name)) == 5, "two parts on transom, three on asyncio"
    told = re.findall(r"^  (.*?)  +told: monitor .*?, link .*?, waiting caller .*?; ", text, re.MULTILINE)
    assert told == [
        "hears a silent model",
        "swallows every exception",
        "in a blocking time.sleep",
        "in a long native regex",
    ]
    lines = re.findall(
        r"^ *\d+ s  (no hogs|with hogs|the kills) .* restarts \d+ .* preemptions [\d,]+ ", text, re.MULTILINE
    )
    assert {"no hogs", "with hogs", "the kills"} == set(lines)
    assert "no-secret" not in text and "factorial of six" not in text


@needs_openai
def test_tokens_come_home_and_their_delays_are_counted() -> None:
    """The server has a plan of a second at least, so that a busy machine keeps up."""
    text = run("-m", "examples.llm.demo", "--part=6", "--sessions=4", "--no-faults", "--no-asyncio", "--plain")
    calm = re.findall(r"  no hogs .* tokens/s ([\d,]+) .* token delay p99 (\S+)", text)
    assert any(int(tokens.replace(",", "")) > 0 and delay != "-" for tokens, delay in calm), text


def test_without_the_client_the_exchange_is_shown() -> None:
    text = run("-c", WITHOUT_OPENAI, "--part=1", "--no-asyncio", "--plain")
    assert "openai is not installed" in text
    assert "agent sessions on" in text and "reply p99" in text


@needs_openai
def test_a_provider_of_ones_own_gets_no_load() -> None:
    """Nothing listens there: the sessions are given up, and nothing but them was started."""
    options = ["--sessions=2", "--attempts=1", "--first-delay=0.01", "--plain"]
    text = run("-m", "examples.llm.demo", *options, OPENAI_BASE_URL="http://127.0.0.1:9/v1", OPENAI_API_KEY="k-secret")
    assert "no load on it" in text and "answered 0, given up 2" in text
    assert "k-secret" not in text and "own count" not in text


@needs_openai
@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no pseudo terminals")
def test_on_a_terminal() -> None:
    """With a terminal for its output, rich draws."""
    pytest.importorskip("rich")
    ours, theirs = os.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "examples.llm.demo", *SHORT, "--no-asyncio"],
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
