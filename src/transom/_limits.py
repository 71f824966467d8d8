"""What is logged when a process ends because it went over a limit of its ``SpawnOptions``."""

from __future__ import annotations

import logging

from transom._core import Pid

_log = logging.getLogger("transom")

Holders = list[tuple[str, int, int]]  # what, bytes, objects; biggest first


def report_heap(
    pid: Pid,
    label: str | None,
    limit: int,
    account: int,
    measured: int,
    whole: bool,
    roots: Holders,
    types: Holders,
    denied: int,
) -> None:
    """Log that a process holds more than its max_heap, and what holds it. Called by the core in no process."""
    more = "" if whole else " at least"
    lines = [
        f"process {_who(pid, label)} is killed: over its max_heap of {limit:,} bytes",
        f"  it reaches{more} {measured:,} bytes; charged to it are {account:,}",
    ]
    if account > measured + limit // 4:
        lines.append("  the rest is held by native code at work (list(), sorted(), a decoder), or is garbage in cycles")
    if denied:
        lines.append(f"  {denied:,} of its allocations were refused")
    lines += ["  biggest holders:", *_listed(roots)] if roots else []
    lines += ["  by type:", *_listed(types)] if types else []
    _log.error("\n".join(lines))


def report_queue(pid: Pid, label: str | None) -> None:
    """Log that a process had more messages waiting than its max_queue. Called by the core in no process."""
    _log.error("process %s was killed: its queue was full (max_queue, on_full='kill')", _who(pid, label))


def _who(pid: Pid, label: str | None) -> str:
    return f"{pid} ({label})" if label else str(pid)


def _listed(holders: Holders) -> list[str]:
    return [f"    {size:>14,} bytes in {count:,} objects: {what}" for what, size, count in holders]
