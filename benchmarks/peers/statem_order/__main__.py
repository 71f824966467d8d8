"""Order of events in transom's state machines beside gen_statem's, for random machines.

python -m benchmarks.peers.statem_order [MACHINES] [SEED]     compare; exit status 1 at a difference
python -m benchmarks.peers.statem_order --record FILE [...]   also write what gen_statem did, for the tests

Needs erl and erlc. A machine is a script: what its n-th callback answers. Timers are 0 or an hour, so nothing depends on
speed.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[2] / "tests"))
HOUR = 3600


def random_machine(rng: random.Random) -> dict[str, Any]:
    counter = iter(range(1, 10_000))

    def timer() -> list[Any]:
        kind = rng.choice(["state_timeout", "event_timeout", "timeout a", "timeout b"])
        return ["timer", kind, rng.choice([0, 0, HOUR, HOUR, "update", "cancel"]), next(counter)]

    def actions(event: bool) -> list[Any]:
        made = []
        for _ in range(rng.choice([0, 0, 1, 1, 2, 3, 4])):
            kind = rng.choice(["postpone", "next_event", "timer", "timer"]) if event else "timer"
            if kind == "timer":
                made.append(timer())
            elif kind == "postpone":
                made.append(["postpone", rng.random() < 0.9])
            else:
                made.append(["next_event", rng.choice(["internal", "cast", "info"]), next(counter)])
        return made

    def answer(event: bool) -> list[Any]:
        kind = rng.choices(["keep", "next", "repeat"], [4, 5 if event else 0, 1.5])[0]
        return [kind, f"s{rng.randrange(3)}", actions(event)]

    return {
        "enter": rng.random() < 0.5,
        "init": [a for a in actions(True) if a[0] != "postpone"],
        "script": [[answer(True), answer(False)] for _ in range(rng.randrange(4, 16))],
        "externals": [[rng.choice(["cast", "info"]), next(counter)] for _ in range(rng.randrange(1, 7))],
    }


def erlang(number: int, machine: dict[str, Any]) -> str:
    """The machine as a term of order.erl."""

    def action(a: list[Any]) -> str:
        if a[0] == "postpone":
            return f"{{postpone, {str(a[1]).lower()}}}"
        if a[0] == "next_event":
            return f"{{next_event, {a[1]}, {a[2]}}}"
        kind = {"event_timeout": "timeout", "timeout a": "{timeout, a}", "timeout b": "{timeout, b}"}.get(a[1], a[1])
        if a[2] == "cancel":
            return f"{{{kind}, cancel}}" if kind != "timeout" else f"{{timeout, infinity, {a[3]}}}"
        return f"{{{kind}, {a[2] if a[2] == 'update' else a[2] * 1000}, {a[3]}}}"

    def response(r: list[Any]) -> str:
        state = f"{r[1]}, " if r[0] == "next" else ""
        return f"{{{r[0]}, {state}[{', '.join(map(action, r[2]))}]}}"

    script = ", ".join(f"{{{response(event)}, {response(enter)}}}" for event, enter in machine["script"])
    externals = ", ".join(f"{{{kind}, {x}}}" for kind, x in machine["externals"])
    init = ", ".join(map(action, machine["init"]))
    return f"{{{number}, {str(machine['enter']).lower()}, [{init}], [{script}], [{externals}]}}.\n"


def by_gen_statem(machines: list[dict[str, Any]]) -> list[list[Any]]:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["erlc", "-o", folder, HERE / "order.erl"], check=True)
        terms = Path(folder) / "machines.terms"
        terms.write_text("".join(erlang(n, machine) for n, machine in enumerate(machines)))
        ran = subprocess.run(
            ["erl", "-noshell", "-pa", folder, "-s", "order", "main", terms],
            check=True,
            capture_output=True,
            text=True,
            timeout=600,
        )
    return [json.loads(line)[1:] for line in ran.stdout.splitlines()]


def main() -> int:
    from statem_scripts import run_all

    args = sys.argv[1:]
    record = Path(args[1]) if args[:1] == ["--record"] else None
    args = args[2:] if record else args
    count = int(args[0]) if args else 2000
    seed = int(args[1]) if len(args) > 1 else random.randrange(2**32)
    rng = random.Random(seed)
    machines = [random_machine(rng) for _ in range(count)]
    theirs = by_gen_statem(machines)
    ours = run_all(machines)
    wrong = [n for n in range(count) if ours[n] != theirs[n]]
    callbacks = sum(len(outcome[0]) for outcome in theirs)
    print(f"seed {seed}: {count} machines, {callbacks} callbacks, {len(wrong)} machines differ from gen_statem")
    for n in wrong[:3]:
        print(json.dumps(machines[n]), f"gen_statem: {theirs[n]}", f"transom:    {ours[n]}", sep="\n")
    if record is not None:
        lines = [
            json.dumps([machine, outcome], separators=(",", ":"))
            for machine, outcome in zip(machines, theirs, strict=True)
        ]
        record.write_text("[\n" + ",\n".join(lines) + "\n]\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
