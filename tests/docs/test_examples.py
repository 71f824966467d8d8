"""Every Python block of the documentation runs, and prints what the page says.

A block ``python`` is a program of its own; a block ``output`` right after it is
what it prints (of two programs with nothing between, each), and a block ``log`` behind that what it writes to stderr, which
else must have no traceback. Pids, files and the order of the reports may differ
in the log. A block ``python fragment`` is a piece of a program: it must
compile, and is not run.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```([^\n`]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s#]+)(?:#[^)\s]*)?\)")
SECONDS = 30


@dataclass(frozen=True)
class Example:
    page: Path
    line: int
    kind: str
    source: str
    output: str | None
    log: str | None

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def examples_of(page: Path) -> list[Example]:
    text = page.read_text()
    blocks = list(BLOCK.finditer(text))
    found = []
    for index, block in enumerate(blocks):
        kind = block[1].strip()
        if kind.split()[:1] == ["python"]:
            expected = what_follows(text, blocks[index:])
            # Keep the line numbers of the page in tracebacks.
            line = text[: block.start()].count("\n") + 2
            found.append(Example(page, line, kind, block[2], expected.get("output"), expected.get("log")))
    return found


def what_follows(text: str, blocks: list[re.Match[str]]) -> dict[str, str]:
    """The blocks ``output`` and ``log`` that belong to the first of the blocks."""
    expected: dict[str, str] = {}
    for before, block in pairwise(blocks):
        beside = block[1] == "python" and not expected and not text[before.end() : block.start()].strip()
        if block[1] in ("output", "log"):
            expected.setdefault(block[1], block[2])
        elif not beside:
            break
    return expected


EXAMPLES = [example for page in PAGES for example in examples_of(page)]


def without_places(log: str) -> list[str]:
    """Its lines, sorted: a dying process and its supervisor report side by side."""
    return sorted(re.sub(r'File ".*?"', "File", re.sub(r"<\d+\.\d+\.\d+>", "<pid>", log)).splitlines())


@pytest.mark.parametrize("example", [e for e in EXAMPLES if e.kind == "python"], ids=str)
def test_program(example: Example, tmp_path: Path) -> None:
    program = tmp_path / "example.py"
    program.write_text(example.source)
    ran = subprocess.run(
        [sys.executable, str(program)], capture_output=True, text=True, timeout=SECONDS, cwd=tmp_path, check=False
    )
    assert ran.returncode == 0, f"{example}: exit status {ran.returncode}\n{ran.stdout}{ran.stderr}"
    if example.log is None:
        assert "Traceback" not in ran.stderr, f"{example}\n{ran.stderr}"
    else:
        assert without_places(ran.stderr) == without_places(example.log), f"{example}\n{ran.stderr}"
    if example.output is not None:
        assert ran.stdout == example.output, f"{example}\n{ran.stderr}"


@pytest.mark.parametrize("example", [e for e in EXAMPLES if e.kind == "python fragment"], ids=str)
def test_fragment(example: Example) -> None:
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    compile(example.source, str(example), "exec", flags=flags)


def test_kinds() -> None:
    """A misspelt kind would silently not be run."""
    assert {example.kind for example in EXAMPLES} <= {"python", "python fragment"}
    assert len(EXAMPLES) > 20


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links(page: Path) -> None:
    """Links within the repository lead somewhere."""
    prose = BLOCK.sub("", page.read_text())
    for target in LINK.findall(prose):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}"
