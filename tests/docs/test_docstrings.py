"""The examples in the docstrings of the public API run as they are printed."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import pytest

import transom

MODULES = ["transom", *(f"transom.{name}" for name, value in vars(transom).items() if isinstance(value, ModuleType))]
MODULES = [module for module in MODULES if "._" not in module and "@" not in module]  # @: of pytest's rewriting

# In an interpreter of its own: the examples start nodes and set up logging.
RUNNER = """
import doctest, importlib, inspect, sys
module = importlib.import_module(sys.argv[1])
finder, runner = doctest.DocTestFinder(), doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
for name, value in {"": module, **vars(module)}.items():
    if not name.startswith("_") and (inspect.isroutine(value) or inspect.isclass(value) or value is module):
        examples = doctest.DocTestFinder(recurse=False) if value is module else finder  # methods, too
        for test in examples.find(value, name or module.__name__, module=False, globs={}):
            runner.run(test)
print(runner.summarize(verbose=False))
sys.exit(1 if runner.failures else 0)
"""


@pytest.mark.slow
@pytest.mark.parametrize("module", MODULES)
def test_examples(module: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", RUNNER, module], capture_output=True, text=True, timeout=50, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "attempted=0" not in ran.stdout
