"""What every Python side shares: `side <scenario> key=value ...` in, one JSON line out.

All sides, in whatever language, speak this: the last line of standard output that starts with a
brace is the result, a flat object of numbers, plus lists of nanoseconds under `samples` and `due`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping

Result = dict[str, object]


class Params:
    """The key=value arguments of a side."""

    def __init__(self, arguments: list[str]) -> None:
        self._values = dict(argument.split("=", 1) for argument in arguments)

    def int(self, key: str) -> int:
        return int(self._values[key])

    def text(self, key: str) -> str:
        return self._values[key]


def main(scenarios: Mapping[str, Callable[[Params], Result]]) -> None:
    """Run the scenario named on the command line and print what it measured."""
    result = scenarios[sys.argv[1]](Params(sys.argv[2:]))
    print(json.dumps(result), flush=True)


def emit_and_leave(result: Result) -> None:
    """Print and leave at once, although hogs that nobody can stop still run in this process."""
    print(json.dumps(result), flush=True)
    os._exit(0)


def rss_bytes() -> int:
    """Resident memory of this process now (Linux; elsewhere the figure is not taken)."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
