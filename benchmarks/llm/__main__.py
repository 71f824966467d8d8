"""``python -m benchmarks.llm``: conversations that stream tokens, with and without faults and hogs.

The server (examples/llm, over a bare protocol) and each side are OS processes of their own on the same machine. Each token
carries the time at which it was sent, so its delay is what lies between the server's write and the session: the kernel, the
client's parsing, and the runtime. "server late" is by how much the server itself was behind its plan: when that is large the
machine has too little for the load, and the delays say nothing about a runtime. "open" are sessions that were under way when
the time was up (--limit); the run is bounded, whatever the load does to a side. CPU per token holds on a busy machine, too: two
cores give 2,000,000 us a second to the server, the side and the kernel's part of both. With hogs it includes theirs.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.llm.plan import Plan, as_text

ROOT = Path(__file__).parents[2]
FAULTS = ("rate_limit=0.0025", "error=0.0025", "malformed=0.0025", "hang_up=0.0025")  # 1 % of the replies
CASES = {"calm": ((), "none"), "faults": (FAULTS, "none"), "hogs": ((), "hogs"), "both": (FAULTS, "hogs")}
SIDES: dict[str, tuple[list[str], str]] = {
    "transom": ([sys.executable, "-m", "benchmarks.llm.side_transom"], "inline"),
    "asyncio": ([sys.executable, "-m", "benchmarks.llm.side_asyncio"], "inline"),
    "asyncio-threads": ([sys.executable, "-m", "benchmarks.llm.side_asyncio"], "threads"),
    "node": (["node", str(ROOT / "benchmarks/llm/side_node.mjs")], "inline"),
    "node-workers": (["node", str(ROOT / "benchmarks/llm/side_node.mjs")], "threads"),
}
THREADS = ("asyncio-threads", "node-workers")
INLINE = ("node",)  # as asyncio with hogs on the loop
BOUND_MS = 100.0  # --find: the p99 of a token's delay that is still good
STEPS = (500, 1000, 2000, 3000, 4500, 6500, 10_000)
COLUMNS = ("completed", "given_up", "open", "p50", "p99", "p999", "max", "kib", "hog_turns", "cpu")
HEAD = (
    "side",
    "done",
    "given up",
    "open",
    "p50 ms",
    "p99 ms",
    "p99.9 ms",
    "max ms",
    "KiB/session",
    "hog turns",
    "CPU us/token",
)


def main() -> int:
    options = parse()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    sessions = min(options.sessions, hard - 500)
    print(f"load {os.getloadavg()[0]:.1f} at the start, {time.strftime('%Y-%m-%d %H:%M')}, {machine()}")
    if options.find:
        return find(options)
    print(
        f"{sessions} sessions, each {options.tokens} tokens in {options.seconds:g} s in three replies with two tool "
        f"calls between, {options.burst} tokens a write: {sessions * options.tokens / options.seconds:,.0f} tokens/s; "
        f"{os.cpu_count()} cores",
        flush=True,
    )
    alone: dict[str, float] = {}
    for case in options.cases:
        faults, hogs = CASES[case]
        print(f"\n{case}: {', '.join(faults) or 'no faults'}; {'hogs' if hogs != 'none' else 'no hogs'}")
        print(line(HEAD), " server: late p99 ms, CPU us/token", flush=True)
        for side in options.sides:
            if side in (THREADS if hogs == "none" else INLINE):
                continue  # the same as without; its end is known
            if SIDES[side][0][0] == "node" and shutil.which("node") is None:
                print(f"{side:<16} there is no node on this machine")
                continue
            result = measure(side, faults, hogs, sessions, options)
            if case == "calm":
                alone[side.split("-")[0]] = result["p99"]
            ratio = result["p99"] / alone.get(side.split("-")[0], math.nan)
            again = f"  p99 is {ratio:.1f} times that of calm" if hogs != "none" and not math.isnan(ratio) else ""
            cells = (
                f"{result[name]:.1f}" if isinstance(result[name], float) else str(result[name]) for name in COLUMNS
            )
            print(line((side, *cells)), f" {result['late_p99']:.0f}, {result['server_cpu']:.1f}{again}", flush=True)
    return 0


def find(options: argparse.Namespace) -> int:
    """More and more sessions, each at the same pace, until a side's delays are no longer bounded."""
    pace = options.tokens / options.seconds
    print(
        f"sessions of {pace:.1f} tokens/s, {options.burst} tokens a write; good: p99 of the delay below {BOUND_MS:.0f} ms"
    )
    options.seconds, options.tokens = 6.0, round(6.0 * pace)
    for side in [side for side in options.sides if side not in THREADS]:
        if SIDES[side][0][0] == "node" and shutil.which("node") is None:
            continue
        good = 0
        for sessions in STEPS:
            result = measure(side, (), "none", sessions, options)
            print(
                f"  {side:<10}{sessions:>7} sessions: p50 {result['p50']:.1f} ms, p99 {result['p99']:.1f} ms, "
                f"server late {result['late_p99']:.0f} ms, CPU {result['cpu']:.1f} us/token",
                flush=True,
            )
            if not result["p99"] < BOUND_MS:
                break
            good = sessions
        print(f"{side:<12}{good:>7} sessions, {good * pace:,.0f} tokens/s", flush=True)
    return 0


def machine() -> str:
    """What it was measured on."""
    return (
        f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}"
    )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.llm", description=__doc__)
    parser.add_argument("--sessions", type=int, default=10_000, help="default %(default)s")
    parser.add_argument("--tokens", type=int, default=200, help="of a session (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=15.0, help="that they take (default %(default)s)")
    parser.add_argument("--burst", type=int, default=8, help="tokens of one write of the server (default %(default)s)")
    parser.add_argument("--limit", type=float, default=45.0, help="seconds after the ramp, then a side is stopped")
    parser.add_argument("--find", action="store_true", help="how many sessions each side sustains")
    parser.add_argument("--quick", action="store_true", help="300 sessions, 60 tokens in 4 s")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=["calm", "faults", "hogs"])
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    options = parser.parse_args()
    if options.quick:
        options.sessions, options.tokens, options.seconds = 300, 60, 4.0
    return options


def measure(
    side: str, faults: tuple[str, ...], hogs: str, sessions: int, options: argparse.Namespace
) -> dict[str, Any]:
    """Start a server and a side, and wait for both."""
    command, effort = SIDES[side]
    before = processor_seconds()
    serving = [sys.executable, "-m", "examples.llm.server", "--raw", *(f"--fault={fault}" for fault in faults)]
    server = subprocess.Popen(serving, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert server.stdin is not None and server.stdout is not None
    with server:
        try:
            ramp = max(1.0, sessions / 2000)
            plan = Plan(
                port=json.loads(server.stdout.readline())["port"],
                sessions=sessions,
                tokens=options.tokens,
                seconds=options.seconds,
                ramp=ramp,
                limit=ramp + options.limit,
                burst=options.burst,
                hogs="none" if hogs == "none" else effort,
            )
            spent = processor_seconds()
            ran = subprocess.run(
                [*command, as_text(plan)],
                stdout=subprocess.PIPE,
                text=True,
                cwd=ROOT,
                timeout=plan.limit + 120,
                check=True,
            )
            spent = processor_seconds() - spent
        finally:
            server.stdin.close()
        counts = json.loads(server.stdout.readline())
    time.sleep(1)  # thousands of sockets go
    result = json.loads(ran.stdout.splitlines()[-1])
    # JSON of a side that has heard no token has null for the delays.
    numbers = {name: math.nan if value is None else value for name, value in result.items()}
    tokens = max(1, result["tokens"])
    return {
        **numbers,
        "late_p99": counts["late_p99_ms"],
        "cpu": spent * 1e6 / tokens,
        "server_cpu": (processor_seconds() - before - spent) * 1e6 / tokens,
    }


def processor_seconds() -> float:
    """Of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def line(cells: tuple[str, ...]) -> str:
    first, *rest = cells
    return f"{first:<16}" + "".join(f"{cell:>12}" for cell in rest)


if __name__ == "__main__":
    sys.exit(main())
