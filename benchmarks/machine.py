"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version

from benchmarks import sides

_ERLANG = (
    "S = fun erlang:system_info/1,"
    ' io:format("OTP ~s, erts ~s, ~p", [S(otp_release), S(version), S(emu_flavor)]), halt().'
)
_PYTHON = "import platform; print(platform.python_version())"


def describe() -> dict[str, str]:
    return {
        "processor": f"{_processor()}, {len(os.sched_getaffinity(0))} cores",
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB",
        "system": f"{_distribution()}, {platform.system()} {platform.release()}",
        "python": f"CPython {sys.version.split(' (')[0]}",
        "transom": _package("transom"),
        "erlang": _output(["erl", "-noshell", "-noinput", "-eval", _ERLANG]),
        "node": _output(["node", "--version"]),
        "uvloop": _package("uvloop"),
        "pykka": _package("pykka"),
        "asyncio on a GIL build": _gil(),
    }


def load() -> float:
    """Runnable tasks over the last minute: near 0 on a quiet machine."""
    return os.getloadavg()[0]


def _processor() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        names = [line.split(":", 1)[1].strip() for line in info if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        return platform.platform()


def _package(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def _output(command: list[str]) -> str:
    if not shutil.which(command[0]):
        return "absent"
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return done.stdout.strip() or "absent"


def _gil() -> str:
    try:
        return "CPython " + _output([sides.gil_python(), "-c", _PYTHON])
    except sides.Absent:
        return "absent"
