"""Fixtures of the Python tests; what test files import by name is in support.py beside this file."""

from __future__ import annotations

import logging
import os
import random
import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
pytest.register_assert_rewrite("support")

DEFAULT_TIMEOUT = 60


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test has a time limit, also when the runner sets none."""
    for item in items:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(DEFAULT_TIMEOUT))


@pytest.fixture(autouse=True)
def quiet_reports(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Races end thousands of processes abnormally. Each is reported, but pytest need not keep them all, unless the test
    asks for them."""
    if "caplog" not in request.fixturenames:
        # A filter, as pytest adds its handlers to loggers that do not propagate, too.
        monkeypatch.setattr(logging.getLogger("transom"), "filters", [lambda record: False])


@pytest.fixture
def rng() -> random.Random:
    """A generator whose seed is printed; set TRANSOM_TEST_SEED to repeat a run."""
    seed = int(os.environ.get("TRANSOM_TEST_SEED") or secrets.randbits(32))
    print(f"TRANSOM_TEST_SEED={seed}")
    return random.Random(seed)


@pytest.fixture
def node() -> Callable[..., Any]:
    """`node(main, *args, **options)` runs main in a fresh node and checks that it leaves nothing behind."""
    from support import run_node

    return run_node


@pytest.fixture
def script(tmp_path: Path) -> Callable[..., Any]:
    """`script(source, *args, **options)` runs source text in an interpreter of its own (see support.run_script)."""
    from textwrap import dedent

    from support import run_script

    def run(source: str, *args: Any, **options: Any) -> Any:
        file = tmp_path / "child.py"
        file.write_text(dedent(source))
        return run_script(file, *args, **options)

    return run
