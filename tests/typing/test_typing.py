"""mypy --strict and pyright agree with good.py and refuse exactly the marked lines of bad.py."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def mypy(file: Path) -> dict[int, str]:
    """The errors by line."""
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--no-error-summary",
            "--config-file",
            "",
            "--cache-dir",
            str(ROOT / ".mypy_cache/typing"),
            str(file),
        ],
        capture_output=True,
        check=False,
        text=True,
        timeout=200,
        cwd=HERE,
        env={"PATH": "/usr/bin:/bin", "MYPYPATH": str(ROOT / "src")},
    )
    assert ran.stderr == ""
    found = re.findall(r"^(\S+?):(\d+): error: (.*)$", ran.stdout, re.MULTILINE)
    return {int(line): text if Path(name).name == file.name else f"{name}: {text}" for name, line, text in found}


def pyright(file: Path) -> dict[int, str]:
    """The errors by line; skips where pyright cannot run, because it needs node and may have to fetch it."""
    try:
        ran = subprocess.run(
            [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, str(file)],
            capture_output=True,
            check=False,
            text=True,
            timeout=200,
            cwd=ROOT,
        )
        problems = json.loads(ran.stdout)["generalDiagnostics"]
    except (subprocess.TimeoutExpired, ValueError) as problem:
        pytest.skip(f"pyright does not run here: {problem}")
    return {p["range"]["start"]["line"] + 1: p["message"] for p in problems if p["severity"] == "error"}


CHECKERS = [
    pytest.param(
        check,
        id=check.__name__,
        marks=pytest.mark.skipif(not importlib.util.find_spec(check.__name__), reason=f"no {check.__name__}"),
    )
    for check in (mypy, pyright)
]


@pytest.mark.slow
@pytest.mark.timeout(250)
@pytest.mark.parametrize("check", CHECKERS)
def test_good(check) -> None:  # type: ignore[no-untyped-def]
    assert check(HERE / "good.py") == {}


@pytest.mark.slow
@pytest.mark.timeout(250)
@pytest.mark.parametrize("check", CHECKERS)
def test_bad(check) -> None:  # type: ignore[no-untyped-def]
    file = HERE / "bad.py"
    marked = {number for number, line in enumerate(file.read_text().splitlines(), 1) if line.endswith("# E")}
    found = check(file)
    accepted = sorted(marked - set(found))
    surprises = {line: text for line, text in found.items() if line not in marked}
    assert not accepted, f"accepted lines of bad.py: {accepted}"
    assert not surprises, f"refused lines of bad.py: {surprises}"
