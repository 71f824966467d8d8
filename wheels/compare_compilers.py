"""Which compiler makes the faster wheel? Compare installed wheels by running the same small loads in turn.

    python wheels/compare_compilers.py gcc=/tmp/gcc/bin/python zig=/tmp/zig/bin/python

Each argument is a name and the interpreter of an environment with one wheel in it. The rounds alternate between
them, so that a busy machine disturbs both alike; the quiet end (the lower quartile) of the rounds is compared.
wheels/README.md says how the environments are made and what came out.
"""

import json
import statistics
import subprocess
import sys
import time

ROUNDS = 40
HOPS = 200_000
SPAWNS = 100_000


def measure() -> dict[str, float]:
    """Nanoseconds a step of each load, in this interpreter."""
    import transom

    async def pong(count: int) -> None:
        for _ in range(count):
            sender = await transom.receive(transom.Pid)
            transom.send(sender, 1)

    async def hop() -> float:
        pid, me = transom.spawn(pong, HOPS), transom.current_pid()
        start = time.perf_counter_ns()
        for _ in range(HOPS):
            transom.send(pid, me)
            await transom.receive(int)
        return (time.perf_counter_ns() - start) / (2 * HOPS)

    async def nothing() -> None:
        pass

    async def spawn() -> float:
        start = time.perf_counter_ns()
        for _ in range(SPAWNS):
            _, ref = transom.spawn_monitor(nothing)
            await transom.receive(ref)
        return (time.perf_counter_ns() - start) / SPAWNS

    async def timer() -> float:
        me = transom.current_pid()
        start = time.perf_counter_ns()
        for _ in range(SPAWNS):
            transom.cancel_timer(transom.send_after(60.0, me, 1))
        return (time.perf_counter_ns() - start) / SPAWNS

    loads = {"message hop": hop, "spawn_monitor + Down": spawn, "send_after + cancel": timer}
    return {name: transom.run(load, schedulers=1) for name, load in loads.items()}


def compare(candidates: dict[str, str]) -> None:
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in candidates}
    for number in range(ROUNDS):
        for name, python in candidates.items():
            done = subprocess.run([python, __file__], capture_output=True, text=True, check=True)
            if number > 0:  # the first warms the disk cache
                rounds[name].append(json.loads(done.stdout))
    base = next(iter(candidates))
    for load in rounds[base][0]:
        quiet = {name: statistics.quantiles([one[load] for one in rounds[name]], n=4)[0] for name in candidates}
        figures = ", ".join(f"{name} {ns:.1f} ns ({ns / quiet[base]:.3f} x)" for name, ns in quiet.items())
        print(f"{load:22} {figures}")


if __name__ == "__main__":
    if len(sys.argv) == 1:
        print(json.dumps(measure()))
    else:
        compare(dict(argument.split("=", 1) for argument in sys.argv[1:]))
