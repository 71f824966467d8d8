"""Files and functions stay small enough to be read at one sitting."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from sources import ROOT, c_files, code_only, functions

SOURCE_LINES = 700
HEADER_LINES = 250
FUNCTION_LINES = 80
PYTHON_FUNCTION_LINES = 60

# What may be larger: "file" or "file:function" -> (limit, why it reads better in one piece).
ALLOWED: dict[str, tuple[int, str]] = {
    "ext/proc/tsm_proc.h": (420, "all structs of a process and who may touch which field, on one page"),
    "ext/bind/tsm_compat.h": (460, "every trick that depends on the version of CPython, in one place by its nature"),
    "ext/bind/tsm_table.h": (300, "all structs of a table and who may touch which field, on one page"),
    "ext/sched/tsm_sched.h": (300, "all structs of the scheduler and who may touch which field, on one page"),
}


def over(name: str, lines: int, limit: int) -> Iterator[str]:
    limit, _ = ALLOWED.get(name, (limit, ""))
    if lines > limit:
        yield f"{name}: {lines} lines, at most {limit}"


def c_violations(root: Path) -> list[str]:
    found: list[str] = []
    for path in c_files(root):
        name, text = path.relative_to(root).as_posix(), path.read_text()
        found += over(name, text.count("\n"), HEADER_LINES if path.suffix == ".h" else SOURCE_LINES)
        for function in functions(text):
            found += over(f"{name}:{function.name}", function.lines, FUNCTION_LINES)
    return found


def docstring_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first = node.body[0]
    if ast.get_docstring(node) is None:
        return 0
    return (first.end_lineno or first.lineno) - first.lineno + 1


def python_violations(root: Path) -> list[str]:
    found: list[str] = []
    for path in sorted((root / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1 - docstring_lines(node)
                found += over(f"{path.relative_to(root).as_posix()}:{node.name}", lines, PYTHON_FUNCTION_LINES)
    return found


def test_c_files_and_functions() -> None:
    found = c_violations(ROOT)
    assert not found, "\n".join(found)


def test_python_functions() -> None:
    found = python_violations(ROOT)
    assert not found, "\n".join(found)


def test_the_allow_list_names_what_exists() -> None:
    names = {path.relative_to(ROOT).as_posix(): path for path in [*c_files(ROOT), *(ROOT / "src").rglob("*.py")]}
    for entry, (_, reason) in ALLOWED.items():
        file, _, function = entry.partition(":")
        assert file in names, f"{entry} is allowed and does not exist"
        assert function in names[file].read_text(), f"{entry} is allowed and does not exist"
        assert len(reason) > 20, f"{entry}: say why"


def test_style_is_readable() -> None:
    """Every function body that a brace in column 0 opens has been seen by the reader of sources.py."""
    for path in c_files(ROOT):
        text = path.read_text()
        opened = sum(line.startswith("{") for line in code_only(text).split("\n"))
        assert len(list(functions(text))) >= opened, f"{path}: the size check does not see all of its functions"


def test_violations_are_found(tmp_path: Path) -> None:
    (tmp_path / "ext/base").mkdir(parents=True)
    (tmp_path / "src").mkdir()
    body = "    x++;\n"
    (tmp_path / "ext/base/long.c").write_text("static int\nlong_one(int x,\n         int y)\n{\n" + body * 78 + "}\n")
    (tmp_path / "ext/base/fits.c").write_text("static int\nfits(int x)\n{\n" + body * 77 + "}\n")
    (tmp_path / "ext/base/big.c").write_text("\n" * 701)
    (tmp_path / "ext/base/big.h").write_text("\n" * 251)
    assert [line.split(":")[:-1] for line in c_violations(tmp_path)] == [
        ["ext/base/big.c"],
        ["ext/base/big.h"],
        ["ext/base/long.c", "long_one"],
    ]
    (tmp_path / "src/a.py").write_text('def f():\n    """Doc."""\n' + "    x = 1\n" * 60)
    assert [line.split(":")[1] for line in python_violations(tmp_path)] == ["f"]
