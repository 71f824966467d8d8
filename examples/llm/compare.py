"""Run the same load on asyncio, in interpreters of its own, and fetch the figures."""

import json
import subprocess
import sys
from dataclasses import asdict

from .meter import Figures
from .report import Column
from .settings import Provider, Settings

REMARK = """
  A delay is from the server's write of a token to the session. On asyncio a hog
  holds the loop and never gives it back. Moved to threads by hand, the hogs
  compete with the loop, and nothing can stop them: the program had to be ended
  from outside. One run on this machine, nothing tuned."""


def beside_asyncio(where: Provider, settings: Settings) -> list[Column]:
    """Three columns: asyncio alone, with the hogs, and with the hogs in threads.

    This blocks for many seconds. A process of transom may do that: its scheduler moves to another thread meanwhile.
    """
    programs = [start(where, settings, place) for place in ("loop", "threads")]  # both, as their imports take seconds
    for program in programs:
        assert program.stdout is not None
        program.stdout.readline()  # "ready"
    (alone, with_hogs), (by_hand,) = figures_of(programs[0], 2, settings), figures_of(programs[1], 1, settings)
    return [("asyncio", alone), ("with hogs", with_hogs), ("hogs in threads", by_hand)]


def start(where: Provider, settings: Settings, place: str) -> subprocess.Popen[str]:
    """The program; it says when it is ready, and then waits for a line."""
    arguments = [json.dumps(asdict(where)), json.dumps(asdict(settings)), place]
    command = [sys.executable, "-m", "examples.llm.beside_asyncio", *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def figures_of(program: subprocess.Popen[str], parts: int, settings: Settings) -> list[Figures | None]:
    """The figures of so many parts; None where the program did not answer in time."""
    with program:
        try:
            out, _ = program.communicate("go\n", timeout=2 * settings.part + 45)
            return [Figures(**part) for part in json.loads(out)]
        except (subprocess.SubprocessError, ValueError) as problem:
            print(f"  asyncio: {problem}", file=sys.stderr)
            program.kill()
            return [None] * parts
