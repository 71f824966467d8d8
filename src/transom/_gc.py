"""The runtime owns cyclic garbage collection while a node runs.

Collecting stops the world, for as long as it takes to walk all objects of all processes. So a node collects as
rarely as it can: what a process held goes when it ends, cycles included (ext/bind/tsm_reclaim.c), and the monitor
thread collects only what is left, when it has grown so much that it is worth a pause, or when nothing else is to do.

The program keeps the last word. gc.collect() is done when it is called. After gc.enable() the interpreter collects
by its own rules and the node keeps out of it. gc.disable() before start, or a first threshold of 0, means never.
"""

from __future__ import annotations

import contextlib
import gc
import os
import time
from collections import deque
from collections.abc import Iterator
from typing import Any, Literal

from transom import _core

DUE = 100_000  # net new containers that no new process explains: never collect for less while busy
IDLE_DUE = 20_000  # the same while nothing runs
IDLE_SHARE = 0.25  # and at least this share of what lives
EACH = 32  # containers that a new process may have brought
HARD_DUE = 4_000_000  # all net new containers, explained or not
HARD_SHARE = 2  # and how many times as many as live
IDLE_SWITCHES = 100  # turns of processes between two looks that still count as idle
PRESSURE = 0.85  # of the machine's memory in use by this program
LOOKS = 4  # looks in a row that must find the node idle, or grown: what a parser makes is gone soon
RECENT = 1000  # pauses remembered

_taken = False  # between take_over and give_back
_was_enabled = False
_froze = False
_held = False  # between nodes, too: what is frozen stays so
_live = 0  # containers alive after the last collection, about
_explained = 0  # came with new processes since
_processes = 0  # at the last look, like the next two
_grown = 0
_switches = 0
_quiet = 0  # looks in a row that found the node idle
_growing = 0  # and grown too much
_began = 0.0
_by: Literal["program", "growth", "idle", "pressure"] = "program"
_due: Literal["growth", "idle", "pressure"] | None = None  # monitor thread only
_count: dict[str, int] = {}
_total = 0.0
_longest = 0.0
_recent: deque[float] = deque(maxlen=RECENT)


def take_over() -> None:
    """Called by start: no automatic collections; what exists already is not looked at again until stop."""
    global _live, _explained, _processes, _grown, _switches, _quiet, _growing, _total, _longest
    _live = _explained = _processes = _grown = _switches = _quiet = _growing = 0
    _total = _longest = 0.0
    _count.clear()
    _recent.clear()
    if not _taken:  # else the last node left a thread behind, and has not given it back yet
        _take()


def _take() -> None:
    global _taken, _was_enabled, _froze
    _taken = True
    _was_enabled = gc.isenabled()
    gc.disable()
    _froze = not _held and gc.get_freeze_count() == 0
    if _froze:
        gc.freeze()
    gc.callbacks.append(_note)


def give_back() -> None:
    """Called by stop: as it was before start, unless the program changed it meanwhile."""
    global _taken
    _taken = False
    if _note in gc.callbacks:
        gc.callbacks.remove(_note)
    if _froze:
        gc.unfreeze()
    if _was_enabled:
        gc.enable()


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Around many short nodes: what exists now is frozen once, for that walks all of it. No node may be running."""
    global _held
    freeze = not _held and gc.get_freeze_count() == 0
    if freeze:
        gc.freeze()
    before, _held = _held, True
    try:
        yield
    finally:
        _held = before
        if freeze:
            gc.unfreeze()


def _note(phase: str, info: dict[str, int]) -> None:
    """Called by the interpreter around each collection, whoever asked for it.

    In a process that is killed while it collects, Killed may be raised here, which the interpreter drops: then it is
    as if this had not been called.
    """
    global _began, _live, _explained, _grown, _growing, _total, _longest
    if phase == "start":
        _began = time.perf_counter()
        _live += gc.get_count()[0]  # it still counts what came since the last one
        return
    seconds = time.perf_counter() - _began if _began else None
    _began = 0.0
    _live = max(0, _live - info["collected"])
    _explained = _grown = _growing = 0
    _count[_by] = _count.get(_by, 0) + 1
    if seconds is not None:
        _total += seconds
        _longest = max(_longest, seconds)
        _recent.append(seconds)


def _ours() -> bool:
    """The program left collecting to the node."""
    return _was_enabled and not gc.isenabled() and gc.get_threshold()[0] != 0


def due() -> bool:
    """Is it time to collect? Asked by the monitor thread, a few times a second."""
    global _due
    _due = _why() if _ours() else None
    return _due is not None


def collect() -> None:
    """Do it. Called by the monitor thread after due(), at a moment when the world can be stopped quickly."""
    global _by, _due
    if _due is None or not _ours():
        return
    _due = _why()  # what was there while native code worked (a parser, say) may have gone with it
    if _due is None:
        return
    _by = _due
    if _due == "pressure":
        gc.unfreeze()
    try:
        gc.collect()
    finally:
        _by = "program"


def _why() -> Literal["growth", "idle", "pressure"] | None:
    global _growing
    switches, processes = _core._activity()
    unexplained, grown = _look(gc.get_count()[0], switches, processes)
    due = max(DUE, gc.get_threshold()[0])
    _growing = _growing + 1 if unexplained > max(due, _live + _explained) else 0
    if _growing >= LOOKS or grown > max(HARD_DUE, HARD_SHARE * _live):
        return "growth"
    if _quiet >= LOOKS and unexplained > max(IDLE_DUE, _live * IDLE_SHARE):
        return "idle"
    if unexplained > due and _under_pressure():
        return "pressure"
    return None


def _look(grown: int, switches: int, processes: int) -> tuple[int, int]:
    """Net new containers since the last collection: those that new processes do not explain, and all."""
    global _switches, _quiet, _processes, _grown, _explained
    _quiet = _quiet + 1 if switches - _switches <= IDLE_SWITCHES else 0
    came, born = grown - _grown, processes - _processes
    if born > 0:
        _explained += min(max(0, came), EACH * born)
    elif born < 0:
        _explained = max(0, _explained + min(0, came))
    _switches, _processes, _grown = switches, processes, grown
    return grown - _explained, grown


def _memory_limit() -> int:
    """Bytes this program may use: of the machine, or of its container."""
    limit = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        with open("/sys/fs/cgroup/memory.max", encoding="ascii") as file:
            text = file.read().strip()
    except OSError:
        return limit
    return min(limit, int(text)) if text.isdigit() else limit


def _under_pressure() -> bool:
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            resident = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        return resident > PRESSURE * _memory_limit()
    except (OSError, ValueError):  # not Linux: growth decides alone
        return False


def _quantile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def gc_info() -> dict[str, Any]:
    """Figures on garbage collection since the node started.

    Callable from any thread and process; takes microseconds and blocks nobody.

    Returns:
        A dict: ``collections``, and how many of them for which reason (``program``: the program's own
        ``gc.collect()`` or, after ``gc.enable()``, the interpreter; ``growth``, ``idle``, ``pressure``: the
        node); ``total_seconds``, ``max_seconds``, ``p50_seconds``, ``p99_seconds``, ``p999_seconds`` and
        ``recent`` (the last 1,000, oldest first): how long they took, which is at least as long as they stopped
        the world; ``automatic``: whether the node collects by itself; ``reclaimed``: objects in cycles freed
        when their process ended, without a collection, by ``searches``; ``left``: searches that gave up and left
        something to the collector.

    Example:
        >>> import gc, transom
        >>> async def main():
        ...     gc.collect()
        ...     return transom.gc_info()["program"]
        >>> transom.run(main)
        1

    Source: erlang:statistics(garbage_collection), with pauses.
    """
    recent = list(_recent)
    ordered = sorted(recent)
    reclaim = _core._reclaim_info()
    return {
        "collections": sum(_count.values()),
        **{reason: _count.get(reason, 0) for reason in ("program", "growth", "idle", "pressure")},
        "total_seconds": _total,
        "max_seconds": _longest,
        "p50_seconds": _quantile(ordered, 0.5),
        "p99_seconds": _quantile(ordered, 0.99),
        "p999_seconds": _quantile(ordered, 0.999),
        "recent": recent,
        "automatic": _ours(),
        "reclaimed": reclaim["objects"],
        "searches": reclaim["searches"],
        "left": reclaim["left"],
    }
