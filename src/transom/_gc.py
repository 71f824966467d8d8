"""The runtime owns cyclic garbage collection while a node runs.

Collecting stops the world, and stopping the world waits for every thread that sits in native code. So automatic
collection is off, and the monitor thread collects when enough has been allocated and nothing native is in the
way. A program that calls gc.collect() itself gets what it asks for.
"""

from __future__ import annotations

import gc
import time

DUE_ALLOCATIONS = 100_000  # net allocations of container objects since the last collection
IDLE_ALLOCATIONS = 10_000  # after so many at least every IDLE_SECONDS
IDLE_SECONDS = 10.0

_was_enabled = False
_last = 0.0


def take_over() -> None:
    """Called by start."""
    global _was_enabled, _last
    _was_enabled = gc.isenabled()
    _last = time.monotonic()
    gc.disable()


def give_back() -> None:
    """Called by stop: as it was before start."""
    if _was_enabled:
        gc.enable()


def collect_when_due() -> None:
    """Collect if the program left it to us and it is time. Runs in the monitor thread."""
    global _last
    if not _was_enabled:
        return
    allocated = gc.get_count()[0]
    idle = time.monotonic() - _last > IDLE_SECONDS
    if allocated > DUE_ALLOCATIONS or (idle and allocated > IDLE_ALLOCATIONS):
        gc.collect()
        _last = time.monotonic()
