"""`python -m benchmarks [scenario ...]`: run comparisons, print them, write RESULTS.md."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime

from benchmarks import chart, machine, report, runner, scenarios, store
from benchmarks.model import Scenario
from benchmarks.sides import HERE


def main() -> int:
    options = _parse()
    if options.list:
        for scenario in scenarios.ALL:
            print(f"{scenario.name:16} {scenario.title}")
        return 0
    records = store.read()
    if options.render:
        _write(records)
        return 0
    keep = options.write or not (options.scenarios or options.quick)
    described = machine.describe()
    for scenario in scenarios.chosen(options.scenarios):
        record = _measure(scenario, described, quick=options.quick)
        print(report.section(scenario, record), flush=True)
        if keep:
            # After each scenario, so that a run cut short leaves what it had.
            records[scenario.name] = record
            _write(records)
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("scenarios", nargs="*", help="names or their beginnings; none: all")
    parser.add_argument("--quick", action="store_true", help="a tenth of the work, few rounds")
    parser.add_argument("--write", action="store_true", help="record the result of chosen ones too")
    parser.add_argument("--render", action="store_true", help="only write the report again")
    parser.add_argument("--list", action="store_true", help="name the scenarios")
    return parser.parse_args()


def _measure(scenario: Scenario, described: dict[str, str], *, quick: bool) -> store.Record:
    load = machine.load()
    runs = runner.play(scenario, quick=quick)
    return store.Record(
        scenario=scenario.name,
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        command=" ".join(["python -m benchmarks", *sys.argv[1:]]),
        quick=quick,
        load=load,
        machine=described,
        runs=runs,
    )


def _write(records: dict[str, store.Record]) -> None:
    store.write(records)
    (HERE / "RESULTS.md").write_text(report.document(records), encoding="utf-8")
    (HERE / "chart.svg").write_text(chart.draw(records), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
