"""Run the exchange on asyncio in an interpreter of its own and fetch its figures."""

import json
import subprocess
import sys
from dataclasses import asdict, replace

from .figures import Figures
from .report import Column
from .settings import Settings

REMARK = """
  On asyncio a hog holds the loop and never gives it back. Moved to threads by
  hand, the hogs compete with the loop, and nothing can stop them any more: the
  program had to be ended from outside. One run on this machine, nothing tuned."""


def beside_asyncio(settings: Settings) -> list[Column]:
    """Three columns: asyncio alone, with the hogs, and with the hogs in threads.

    This blocks for many seconds. A process of transom may do that: its
    scheduler moves to another thread meanwhile.
    """
    shorter = replace(settings, seconds=settings.seconds / 2)
    written = run_apart(shorter, "loop")
    by_hand = run_apart(shorter, "threads")
    return [
        ("asyncio", written[0]),
        ("with hogs", written[1]),
        ("hogs in threads", by_hand[1]),
    ]


def run_apart(settings: Settings, where: str) -> list[Figures | None]:
    """The figures without and with hogs; None where the program did not answer in time."""
    command = [sys.executable, "-m", "examples.exchange.beside_asyncio", json.dumps(asdict(settings)), where]
    try:
        out = subprocess.run(command, capture_output=True, text=True, timeout=2 * settings.seconds + 10, check=True)
        return [Figures(**part) for part in json.loads(out.stdout)]
    except (subprocess.SubprocessError, ValueError) as problem:
        print(f"  asyncio with the hogs in the {where}: {problem}", file=sys.stderr)
        return [None, None]
