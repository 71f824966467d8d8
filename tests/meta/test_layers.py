"""ext/ is layered one way, and only ext/bind knows Python."""

from __future__ import annotations

import re
from pathlib import Path

from sources import LAYERS, ROOT, c_files, code_only

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)
PYTHON_HEADER = re.compile(
    r"Python\.h|pyconfig\.h|cpython/|internal/pycore_|structmember\.h|frameobject\.h|datetime\.h"
)

# A header outside ext/ that one file may include, with the reason.
OUTSIDE = {
    ("ext/base/tsm_atomic.h", "tsm_model_atomic.h"): "the schedule explorer's atomics, under TSM_MODEL only",
}


def layer_violations(root: Path) -> list[str]:
    found = []
    for path in c_files(root):
        name = path.relative_to(root).as_posix()
        folder = path.relative_to(root / "ext").parts[0]
        if folder not in LAYERS:
            found.append(f"{name}: ext/{folder} is no layer; they are {', '.join(LAYERS)}")
            continue
        for mark, header in INCLUDE.findall(path.read_text()):
            if PYTHON_HEADER.search(header):
                if folder != "bind":
                    found.append(f"{name}: includes {header}; only ext/bind may know Python")
            elif mark == '"' and (name, header) not in OUTSIDE:
                layer = header.split("/")[0]
                if layer not in LAYERS or not (root / "ext" / header).exists():
                    found.append(f"{name}: includes {header}, which is no header of ext/ (write folder/name.h)")
                elif LAYERS.index(layer) > LAYERS.index(folder):
                    found.append(f"{name}: ext/{folder} includes {header} of a higher layer")
        if folder != "bind" and (use := re.search(r"\bPy[A-Z_]\w*", code_only(path.read_text()))):
            found.append(f"{name}: {use[0]}: only ext/bind may know Python")
    return found


def test_no_lower_folder_includes_a_higher_one() -> None:
    found = layer_violations(ROOT)
    assert not found, "\n".join(found)


def test_there_are_sources_in_every_layer() -> None:
    assert {path.relative_to(ROOT / "ext").parts[0] for path in c_files(ROOT)} == set(LAYERS)


def test_violations_are_found(tmp_path: Path) -> None:
    for name, text in {
        "base/a.h": "",
        "sched/b.h": '#include "base/a.h"\n',
        "base/up.c": '#include "sched/b.h"\n',
        "mem/snake.c": "#  include <Python.h>\n",
        "mem/sneak.c": "extern void* PyList_New(long);\n",
        "queue/plain.c": '#include "a.h"\n',
        "other/x.c": "",
        "bind/fine.c": '#include <Python.h>\n#include "sched/b.h"\n/* PyList_New */\n',
    }.items():
        path = tmp_path / "ext" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = layer_violations(tmp_path)
    assert [line.split(":")[0].removeprefix("ext/") for line in found] == [
        "base/up.c",
        "mem/snake.c",
        "mem/sneak.c",
        "other/x.c",
        "queue/plain.c",
    ], found
