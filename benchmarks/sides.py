"""How each side is started, and whether it is here at all."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from benchmarks.model import Entry

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent

_GIL_CHECK = "import sys; sys.exit(sys.version_info[:2] != (3, 13) or not sys._is_gil_enabled())"


class Absent(Exception):
    """The peer is not on this machine; the text says what to install."""


def command(entry: Entry, scenario: str, params: dict[str, int | str]) -> list[str]:
    """The command line of one run."""
    name = str(params.pop("scenario", scenario))
    arguments = [name, *(f"{key}={value}" for key, value in params.items())]
    if entry.side == "erlang":
        return [*_erlang(entry.slots), *arguments]
    if entry.side == "node":
        return [*_node(), *arguments]
    return [*_python(entry), *arguments]


def _python(entry: Entry) -> list[str]:
    if entry.side == "transom":
        _require("transom", "run `make setup`")
        return [sys.executable, "-m", "benchmarks.transom_side"]
    if entry.side == "pykka":
        _require("pykka", "pip install -r benchmarks/requirements.txt")
        return [sys.executable, "-m", "benchmarks.peers.pykka_peer"]
    if entry.side in ("deepcopy", "pickle", "orjson", "msgspec"):
        if entry.side in ("orjson", "msgspec"):
            _require(entry.side, "pip install -r benchmarks/requirements.txt")
        return [sys.executable, "-m", "benchmarks.peers.copy_peer"]
    if entry.side == "uvloop":
        _require("uvloop", "pip install -r benchmarks/requirements.txt")
    python = gil_python() if entry.side == "asyncio-gil" else sys.executable
    return [python, "-m", "benchmarks.peers.asyncio_peer"]


def _require(module: str, remedy: str) -> None:
    if find_spec(module) is None:
        raise Absent(f"{module} is not installed here: {remedy}")


@cache
def gil_python() -> str:
    """A CPython 3.13 with the GIL, for the peers that are at their best there."""
    for name in (os.environ.get("BENCH_GIL_PYTHON"), "python3.13", "python3"):
        path = shutil.which(name) if name else None
        if path is None:
            continue
        check = subprocess.run([path, "-c", _GIL_CHECK], capture_output=True, check=False)
        if check.returncode == 0:
            return path
    raise Absent("no CPython 3.13 with the GIL on PATH: name one in BENCH_GIL_PYTHON")


def _erlang(slots: int) -> list[str]:
    flags = ["+S", f"{slots}:{slots}", "+P", "2000000", "-noshell", "-noinput"]
    return ["erl", *flags, "-pa", _compiled(), "-run", "bench", "main", "-extra"]


@cache
def _compiled() -> str:
    """The Erlang modules compiled, once for all runs, into a folder that ends with this process."""
    if not (shutil.which("erl") and shutil.which("erlc")):
        raise Absent("erl is not on PATH: install Debian's erlang-base")
    folder = tempfile.TemporaryDirectory(prefix="bench-erlang-")
    _KEPT.append(folder)
    sources = [str(path) for path in sorted((HERE / "peers" / "erlang").glob("*.erl"))]
    subprocess.run(["erlc", "-o", folder.name, *sources], check=True)
    return folder.name


_KEPT: list[tempfile.TemporaryDirectory[str]] = []


def _node() -> list[str]:
    if not shutil.which("node"):
        raise Absent("node is not on PATH: install Debian's nodejs")
    script = str(HERE / "peers" / "node" / "bench.mjs")
    return ["node", "--expose-gc", "--max-old-space-size=8192", script]
