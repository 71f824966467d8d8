"""How soon the schedule search finds planted bugs, beside running the same tests again and again.

`python -m benchmarks.search [--quick]`: for each bug and strategy the median number of schedules and seconds over
several first seeds, with the range; how many of 300 ordinary runs on two schedulers show the bug; and schedules a second.
Takes about two minutes.
"""

from __future__ import annotations

import logging
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))  # where the planted bugs are

import planted_bugs  # noqa: E402

import transom  # noqa: E402
from transom.testing import Node, explore, run_test  # noqa: E402

LIMIT = 2000
SEED_STEP = 1_000_000


def _searched(bug: Callable[..., Any], strategy: str, rounds: int) -> str:
    found = []
    for number in range(1 if strategy == "exhaustive" else rounds):
        options: dict[str, Any] = {"max_preemptions": 1} if strategy == "exhaustive" else {}
        search = explore(bug, schedules=LIMIT, strategy=strategy, seed=number * SEED_STEP, **options)
        if search.finding is None:
            return f"none in {search.runs}" + (" (all)" if search.complete else "")
        found.append((search.finding.runs, search.finding.seconds))
    runs = sorted(count for count, _ in found)
    spread = f" ({runs[0]}-{runs[-1]})" if len(runs) > 1 else ""
    return f"{statistics.median(runs):g}{spread}, {statistics.median(s for _, s in found):.2f} s"


def _ordinary(bug: Callable[..., Any], runs: int) -> str:
    shown = done = 0
    began = time.perf_counter()
    while done < runs:
        done += 1
        try:
            run_test(bug, node=Node(schedulers=2, leak_seconds=0.05, timeout=10))
        except Exception:
            shown += 1
        if time.perf_counter() - began > 30:
            break
    return f"{shown} of {done}, {time.perf_counter() - began:.2f} s"


async def _hour() -> None:
    """A virtual hour of 1,000 agents, each at work once a minute."""

    async def agent() -> None:
        for _ in range(60):
            await transom.sleep(60)

    refs = [transom.spawn_monitor(agent)[1] for _ in range(1000)]
    for ref in refs:
        await transom.receive(ref)


def main() -> None:
    logging.getLogger("transom").addHandler(logging.NullHandler())
    logging.getLogger("transom").propagate = False
    rounds, runs = (1, 50) if "--quick" in sys.argv else (5, 300)
    print("| bug | random | PCT | exhaustive | ordinary |\n|---|---|---|---|---|")
    for bug in planted_bugs.PLANTED:
        cells = [_searched(bug, strategy, rounds) for strategy in ("random", "pct", "exhaustive")]
        print(f"| {bug.__name__} | {' | '.join(cells)} | {_ordinary(bug, runs)} |", flush=True)
    times = []
    for number in range(rounds):
        began = time.perf_counter()
        done = explore(_nothing_wrong, schedules=500, seed=number * SEED_STEP).runs
        times.append(done / (time.perf_counter() - began))
    print(f"\nschedules a second (two processes, 20 messages): {statistics.median(times):.0f}")
    began = time.perf_counter()
    transom.run(_hour, deterministic=1)
    print(f"a virtual hour of 1,000 processes that wake every minute: {time.perf_counter() - began:.2f} s")


async def _echo(count: int) -> None:
    for _ in range(count):
        pid = await transom.receive(transom.Pid)
        transom.send(pid, "echo")


async def _nothing_wrong() -> None:
    peer = transom.spawn_link(_echo, 10)
    for _ in range(10):
        transom.send(peer, transom.current_pid())
        assert await transom.receive(str) == "echo"


if __name__ == "__main__":
    main()
