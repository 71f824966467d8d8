"""Runs the entries of a scenario in turn: A B A B, each time in a fresh operating-system process."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from threading import Timer

from benchmarks import hogs, sides
from benchmarks.model import Entry, Run, Scenario, Values
from benchmarks.stats import percentile


def play(scenario: Scenario, *, quick: bool) -> list[Run]:
    """All rounds; within one the entries follow each other, so drift of the machine cancels."""
    rounds = min(scenario.rounds, 3) if quick else scenario.rounds
    size = hogs.calibrate() if scenario.name.startswith("latency") else 0
    runs: list[Run] = []
    absent: set[str] = set()
    for number in range(rounds):
        for entry in scenario.entries:
            limit = min(entry.rounds or rounds, 1 if quick and entry.rounds else rounds)
            if number >= limit or entry.label in absent:
                continue
            run = _one(scenario, entry, number, _params(entry, size, quick=quick))
            if run.error is not None and (run.seconds == 0 or run.seconds > scenario.timeout):
                absent.add(entry.label)  # not here, or hung: once is enough
            runs.append(run)
            _say(scenario, run)
    return runs


def _params(entry: Entry, size: int, *, quick: bool) -> dict[str, int | str]:
    params = dict(entry.params)
    if quick and "n" in params:
        params["n"] = int(params["n"]) // 10
    if quick and "budget" in params:
        params["budget"] = int(params["budget"]) // 3
    if "size" in params:
        params["size"] = size
    if entry.side == "transom":
        params["slots"] = entry.slots
    return params


def _one(scenario: Scenario, entry: Entry, number: int, params: dict[str, int | str]) -> Run:
    try:
        command = sides.command(entry, scenario.name, params)
    except sides.Absent as absent:
        return Run(label=entry.label, round=number, values={}, error=f"absent: {absent}")
    start = time.perf_counter()
    output, error, usage = _spawn(command, scenario.timeout)
    seconds = time.perf_counter() - start
    lines = [line for line in output.splitlines() if line.startswith("{")]
    if error is not None or not lines:
        reason = error or "no result"
        return Run(label=entry.label, round=number, values={}, error=reason, seconds=seconds)
    values = _flatten(json.loads(lines[-1]))
    values["peak_mb"] = usage.ru_maxrss / 1024
    if "live" in values:
        values["live_share"] = values["live"] / int(params["n"])
    if values.get("crossed", 1.0) < 0.95:
        # A run that is not the scenario is no figure: messages within a scheduler are cheaper.
        reason = f"only {values['crossed']:.0%} of the pairs were apart ({values['ns']:.0f} ns)"
        return Run(label=entry.label, round=number, values={}, error=reason, seconds=seconds)
    return Run(label=entry.label, round=number, values=values, seconds=seconds)


def _spawn(command: list[str], timeout: int) -> tuple[str, str | None, resource.struct_rusage]:
    """Output, what went wrong, and the process's own use of memory and time (wait4)."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        child = subprocess.Popen(
            command, stdout=out, stderr=err, stdin=subprocess.DEVNULL, cwd=sides.ROOT,
            start_new_session=True,
        )  # fmt: skip
        late: list[bool] = []
        timer = Timer(timeout, _end, (child.pid, late))
        timer.start()
        try:
            _, status, usage = os.wait4(child.pid, 0)
        except KeyboardInterrupt:
            _end(child.pid, late)
            raise
        finally:
            timer.cancel()
        child.returncode = code = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if late:
            return out.read(), f"no end within {timeout} s", usage
        if code != 0:
            tail = err.read().strip().splitlines()[-1:] or ["no message"]
            return out.read(), f"exit code {code}: {tail[0][:200]}", usage
        return out.read(), None, usage


def _end(pid: int, late: list[bool]) -> None:
    late.append(True)
    os.killpg(pid, signal.SIGKILL)


def _flatten(result: dict[str, object]) -> Values:
    """Numbers as they are; lists of nanoseconds become percentiles in microseconds."""
    values: Values = {}
    for key, value in result.items():
        if isinstance(value, list):
            prefix = "" if key == "samples" else f"{key}_"
            for name, share in (("p50", 0.5), ("p99", 0.99), ("p999", 0.999), ("max", 1.0)):
                values[f"{prefix}{name}_us"] = percentile(value, share) / 1000
        elif isinstance(value, int | float):
            values[key] = float(value)
    return values


def _say(scenario: Scenario, run: Run) -> None:
    metric = next((m for m in scenario.metrics if m.key in run.values), scenario.metrics[0])
    value = run.values.get(metric.key)
    shown = run.error if value is None else f"{value:.{metric.digits}f} {metric.label}"
    print(f"  {scenario.name} {run.round + 1}: {run.label}: {shown}", file=sys.stderr, flush=True)
