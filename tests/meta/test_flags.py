"""No two flags of one set are the same bit."""

from __future__ import annotations

import re
from collections import defaultdict

from sources import ROOT, c_files

from transom import _loop_agent, _serve

FLAG = re.compile(r"\b(TSM_[A-Z]*F|S)_([A-Z_]+) = (1 << \d+|\d+)")


def flags() -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for path in c_files(ROOT):
        for family, name, value in FLAG.findall(path.read_text()):
            base, _, shift = value.partition(" << ")
            found[family][name] = int(base) << int(shift or 0)
    return found


def test_each_flag_has_a_bit_of_its_own() -> None:
    found = flags()
    assert len(found["TSM_PF"]) > 10 and len(found["TSM_SIGF"]) > 3 and len(found["S"]) > 5
    for family, values in found.items():
        assert len(set(values.values())) == len(values), f"{family}: {values}"


def test_the_flags_of_servers_are_the_same_in_both_languages() -> None:
    python = {name: getattr(_serve, name) for name in ("AFTER", "DEBUG", "DEFERRED", "ENDING", "LINKED", "MACHINE", "UNBORN", "BOOT")}
    assert flags()["S"] == {**python, "LOOP": _loop_agent.LOOP}
