"""The command ``transom``: what it runs, what it says, and its exit status."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import transom

PROGRAM = """
import sys
import transom

async def main(*args):
    print("args", args, sys.argv[1:])
    return 42

def plain(name):
    print("plain", name, type(transom.current_pid()).__name__)

async def crash():
    raise LookupError("nothing here")

async def crash_deeper():
    transom.spawn_link(crash)
    await transom.receive()

async def leave():
    raise SystemExit(7)

async def forever():
    print("ready", flush=True)
    await transom.receive()

async def spin():
    print("ready", flush=True)
    while True:
        pass

number = 1
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "prog.py").write_text(PROGRAM)
    (tmp_path / "neighbour.py").write_text("from prog import main as main\n")
    (tmp_path / "broken.py").write_text("import no_such_module_at_all\nasync def main(): pass\n")
    return tmp_path


def command(place: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "transom", *args], capture_output=True, text=True, timeout=50, cwd=place, check=False
    )


@pytest.mark.parametrize("target", ["prog:main", "prog.py:main", "prog.py", "prog", "./prog.py:main", "neighbour:main"])
def test_runs(place: Path, target: str) -> None:
    ran = command(place, "run", target, "a", "--b", "3")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == "args ('a', '--b', '3') ['a', '--b', '3']\n"


def test_file_elsewhere_finds_its_neighbours(place: Path) -> None:
    elsewhere = place / "elsewhere"
    elsewhere.mkdir()
    ran = command(elsewhere, "run", str(place / "neighbour.py"))
    assert (ran.returncode, ran.stderr) == (0, "")


def test_plain_function_and_options(place: Path) -> None:
    ran = command(place, "run", "--schedulers", "1", "--name", "here", "prog:plain", "x")
    assert (ran.returncode, ran.stdout) == (0, "plain x Pid\n"), ran.stderr


def test_crash(place: Path) -> None:
    ran = command(place, "run", "prog:crash")
    assert ran.returncode == 1
    assert "LookupError: nothing here" in ran.stderr
    assert "prog.py" in ran.stderr, "the traceback leads to the program"
    assert "_cli.py" not in ran.stderr, "our own frames are left out"


def test_crash_of_a_linked_process(place: Path) -> None:
    ran = command(place, "run", "prog:crash_deeper")
    assert ran.returncode == 1
    assert "LookupError" in ran.stderr
    assert "in crash" in ran.stderr


def test_exit_status_of_the_program(place: Path) -> None:
    assert command(place, "run", "prog:leave").returncode == 7


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("nowhere:main", "no module named 'nowhere'"),
        ("prog:mian", "Did you mean prog:main?"),
        ("prog:number", "not a function"),
        ("missing.py:main", "there is no file"),
        (":main", "names no program"),
        ("prog:plain", "cannot be called with 0 arguments"),
    ],
)
def test_clear_errors(place: Path, target: str, words: str) -> None:
    ran = command(place, "run", target)
    assert ran.returncode == 2
    assert words in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_failing_import_of_the_program_is_its_own_crash(place: Path) -> None:
    ran = command(place, "run", "broken:main")
    assert ran.returncode == 1
    assert "no_such_module_at_all" in ran.stderr
    assert "Traceback" in ran.stderr


@pytest.mark.parametrize("function", ["forever", "spin"])
def test_ctrl_c(place: Path, function: str) -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "transom", "run", f"prog:{function}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=place,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=30)
    assert child.returncode == 130, errors
    assert "Traceback" not in errors


def test_version_and_info(place: Path) -> None:
    assert command(place, "--version").stdout == f"transom {transom.__version__}\n"
    ran = command(place, "info")
    assert ran.returncode == 0
    for words in ("python", "GIL", "cores", str(os.cpu_count())):
        assert words in ran.stdout


def test_usage(place: Path) -> None:
    ran = command(place)
    assert ran.returncode == 2
    assert "usage:" in ran.stderr
    ran = command(place, "run", "--schedulers", "none", "prog:main")
    assert ran.returncode == 2
    assert "'none' is not a whole number" in ran.stderr
