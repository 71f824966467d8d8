"""The raw figures as JSON beside the report, so that one scenario can be run again alone."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.model import Run
from benchmarks.sides import HERE

PATH = HERE / "results.json"


@dataclass(frozen=True, kw_only=True)
class Record:
    """One scenario as it was last measured for the record."""

    scenario: str
    date: str
    command: str
    quick: bool
    load: float
    machine: dict[str, str]
    runs: list[Run]


def read(path: Path = PATH) -> dict[str, Record]:
    if not path.exists():
        return {}
    found = {}
    for raw in json.loads(path.read_text(encoding="utf-8")):
        raw["runs"] = [Run(**run) for run in raw["runs"]]
        record = Record(**raw)
        found[record.scenario] = record
    return found


def write(records: dict[str, Record], path: Path = PATH) -> None:
    rows = [asdict(record) for record in records.values()]
    path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
