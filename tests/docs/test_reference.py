"""The reference page is what the docstrings say, and leaves nothing out."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import transom

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(sys.version_info[:2] != (3, 13), reason="signatures are printed differently")
def test_page_is_up_to_date() -> None:
    ran = subprocess.run(
        [sys.executable, "docs/build_reference.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr


def test_every_public_name_has_a_docstring_and_an_entry() -> None:
    index = (ROOT / "docs/reference/api.md").read_text()
    entries = dict(re.findall(r"\[`(\w+)`\]\((\w+\.md)#", index))
    for name, value in vars(transom).items():
        if not name.startswith("_") and not isinstance(value, ModuleType):
            assert value.__doc__, f"{name} has no docstring"
            assert name in entries, f"{name} is missing in the index"
            page = (ROOT / "docs/reference" / entries[name]).read_text()
            assert f"\n## {name}\n" in page, f"{name} is missing in {entries[name]}"
