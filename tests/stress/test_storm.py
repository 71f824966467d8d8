"""Random load for a bounded time, each run in an interpreter of its own (storm.py says what is asserted).

TRANSOM_STRESS_SECONDS is the time of all storms together; TRANSOM_TEST_SEED repeats a run.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from support import run_script

SECONDS = float(os.environ.get("TRANSOM_STRESS_SECONDS", "15"))
STORM = Path(__file__).with_name("storm.py")
GRAPHS = Path(__file__).with_name("graphs.py")


@pytest.mark.stress
@pytest.mark.timeout(60 + 2 * SECONDS)
@pytest.mark.parametrize(("schedulers", "share"), [(2, 0.6), (1, 0.2), (5, 0.2)])
def test_storm(schedulers: int, share: float, rng: random.Random) -> None:
    """Nothing lost, nothing doubled, no process leaked, memory back to the start."""
    seconds = SECONDS * share
    done = run_script(STORM, rng.getrandbits(32), seconds, schedulers, timeout=50 + seconds * 1.5)
    print(done.stdout)
    assert done.stdout.endswith("storm is over\n")
    assert "Exception ignored" not in done.stderr, done.stderr[:2_000]


@pytest.mark.stress
@pytest.mark.timeout(60 + 2 * SECONDS)
@pytest.mark.parametrize("schedulers", [1, 2])
def test_graphs(schedulers: int, rng: random.Random) -> None:
    """What processes held goes with them, whatever it is, and nobody else loses anything."""
    seconds = SECONDS * 0.2
    done = run_script(GRAPHS, rng.getrandbits(32), seconds, schedulers, timeout=50 + seconds * 1.5)
    print(done.stdout)
    assert done.stdout.endswith("graphs are over\n")
