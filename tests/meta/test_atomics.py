"""Every atomic operation of ext/ says why its order is enough, and goes through base/tsm_atomic.h."""

from __future__ import annotations

import re
from pathlib import Path

from sources import ROOT, c_files, code_only, comments_only

SHIM = ("ext/base/tsm_atomic.h", "ext/base/tsm_atomic.c")  # define the operations and argue for each

CALL = re.compile(r"\btsm_(?:load|store|swap|cas|add|sub|or|and|xor)_(?:relaxed|acquire|release|acq_rel|sc)\s*\(")
FENCE = re.compile(r"\btsm_(?:fence_light|fence_heavy|barrier_sc)\s*\(\)\s*;")
# What goes around the shim, and so around the schedule explorer and the rule above.
RAW = re.compile(r"\b__atomic_\w+\s*\(|\b__sync_\w+\s*\(|\batomic_\w+\s*\(|stdatomic\.h|\b_Atomic\b|\bvolatile\b")

# A reason speaks of the order: which one, what it pairs with, or why none is needed.
REASON = re.compile(r"relaxed|acquire|release|acq_rel|\bsc\b|seq_cst|pairs? with|barrier|fence", re.IGNORECASE)
ABOVE = 3  # how many lines above the call the comment may end

# Files outside the shim that need the compiler's own words, with the reason.
ALLOWED_RAW = {
    "ext/bind/tsm_compat.h": "reads words that belong to the interpreter, which no model of ours explores",
}


def uncommented(root: Path) -> list[str]:
    found = []
    for path in c_files(root):
        name, text = path.relative_to(root).as_posix(), path.read_text()
        if name in SHIM:
            continue
        code, comments = code_only(text).split("\n"), comments_only(text)
        for number, line in enumerate(code):
            if not is_atomic(line):
                continue
            top = number  # calls on lines that follow each other share the comment above the first
            while top > 0 and is_atomic(code[top - 1]):
                top -= 1
            if not REASON.search("\n".join(near(comments, top) + comments[top : number + 1])):
                found.append(f"{name}:{number + 1}: {text.split(chr(10))[number].strip()}")
    return found


def is_atomic(line: str) -> bool:
    return bool(CALL.search(line) or FENCE.search(line))


def near(comments: list[str], number: int) -> list[str]:
    """The comment on line `number` and any that ends within ABOVE lines above it, the latter as a whole."""
    first = max(0, number - ABOVE)
    while first > 0 and comments[first].strip() and comments[first - 1].strip():
        first -= 1
    return comments[first : number + 1]


def raw_atomics(root: Path) -> list[str]:
    found = []
    for path in c_files(root):
        name = path.relative_to(root).as_posix()
        if name in SHIM or name in ALLOWED_RAW:
            continue
        for number, line in enumerate(code_only(path.read_text()).split("\n"), 1):
            for word in RAW.findall(line):
                found.append(f"{name}:{number}: {word.rstrip('( ')} beside the shim")
    return found


def test_every_atomic_operation_has_its_reason() -> None:
    found = uncommented(ROOT)
    assert not found, "\n".join(found)


def test_all_atomics_go_through_the_shim() -> None:
    found = raw_atomics(ROOT)
    assert not found, "\n".join(found)


def test_violations_are_found(tmp_path: Path) -> None:
    (tmp_path / "ext/base").mkdir(parents=True)
    (tmp_path / "ext/base/a.c").write_text(
        "/* relaxed: too far away. */\n\n\n\n"
        "x = tsm_load_relaxed(&a);\n"  # line 5: uncommented
        "/* pairs with b: its\n * three lines\n * of text\n * count as one. */\n"
        "x = tsm_load_acquire(&a);\n"
        "\n\n\n"
        "tsm_store_release(&a, 1); /* release: pairs with a. */\n"
        "\n\n\n"
        "/* Counts the users. */\n"
        "tsm_add_acq_rel(&a, 1);\n"  # line 19: a comment, but no reason
        '\n\n\n"tsm_add_acq_rel(" /* tsm_add_acq_rel() */\n'
    )
    assert [line.split(":")[1] for line in uncommented(tmp_path)] == ["5", "19"]
    run = "/* relaxed: nobody runs yet. */\n" + "tsm_store_relaxed(&a, 1);\n" * 9
    (tmp_path / "ext/base/a.c").write_text(run + "\ntsm_store_relaxed(&a, 1);\n")
    assert [line.split(":")[1] for line in uncommented(tmp_path)] == ["12"]
    (tmp_path / "ext/base/b.c").write_text("__atomic_load_n(&a, 0);\nvolatile int b;\n/* volatile */\n")
    assert [line.split(":")[1] for line in raw_atomics(tmp_path)] == ["1", "2"]
