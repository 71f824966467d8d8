"""The examples in the docstrings of the public API run as they are printed."""

from __future__ import annotations

import subprocess
import sys

import pytest

# In an interpreter of its own: the examples start nodes and set up logging.
RUNNER = """
import doctest, importlib, inspect, sys
module = importlib.import_module(sys.argv[1])
finder, runner = doctest.DocTestFinder(recurse=False), doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
for name, value in vars(module).items():
    if not name.startswith("_") and (inspect.isroutine(value) or inspect.isclass(value)):
        for test in finder.find(value, name, globs={}):
            runner.run(test)
print(runner.summarize(verbose=False))
sys.exit(1 if runner.failures else 0)
"""


@pytest.mark.slow
@pytest.mark.parametrize("module", ["transom", "transom.sync", "transom.instrument"])
def test_examples(module: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", RUNNER, module], capture_output=True, text=True, timeout=50, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "attempted=0" not in ran.stdout
