"""Reading the C sources for the checks of this folder: files, comments, functions.

Not a C parser: it leans on the house style (a function's name and its braces stand in column 0), which is what
lets it stay short. A file that breaks the style in a way that would blind a check fails `test_style_is_readable`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# The folders of ext/ from the bottom up: a file may include from its own folder and from those before it.
LAYERS = ["base", "mem", "queue", "timer", "proc", "sched", "bind"]


def c_files(root: Path) -> list[Path]:
    """All C sources and headers of ext/ below `root`."""
    return sorted(path for path in (root / "ext").rglob("*") if path.suffix in (".c", ".h"))


_TOKEN = re.compile(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.DOTALL)


def code_only(text: str) -> str:
    """`text` with comments and literals blanked out, line for line."""
    return _TOKEN.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)


def comments_only(text: str) -> list[str]:
    """For each line of `text`, what of it is comment."""
    kept = [" "] * len(text)
    for match in _TOKEN.finditer(text):
        if match[0].startswith("/"):
            kept[match.start() : match.end()] = match[0]
    for position, char in enumerate(text):
        if char == "\n":
            kept[position] = "\n"
    return "".join(kept).split("\n")


@dataclass(frozen=True)
class Function:
    name: str
    first: int  # number of the line that names it
    lines: int  # from there to its closing brace, both counted


def functions(text: str) -> Iterator[Function]:
    """The function definitions of a C file."""
    lines = code_only(text).split("\n")
    start: int | None = None
    for number, line in enumerate(lines, 1):
        if re.match(r"\w[\w\s*]*\(", line) and not line.rstrip().endswith(";"):
            start = number
        elif line.startswith("}") and start is not None:
            name = re.match(r"[\w\s*]*?(\w+)\s*\(", lines[start - 1])
            yield Function(name[1] if name else "?", start, number - start + 1)
            start = None
        elif line.rstrip().endswith(";") and line[:1] not in ("", " ", "\t", "}") and start is not None:
            start = None  # a declaration over several lines
