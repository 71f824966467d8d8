"""Threads that are no workers. Before time jumps or a deadlock is stated, a deterministic run asks whether one may send.

Threads that were there before the run do not count: nobody knows what they are for. Event loops count while they
are at work or have an open port, the pool of isolated() while it is at work.
"""

from __future__ import annotations

import asyncio
import threading

from transom import _isolated_pool, _loop_thread

_OURS = ("transom-io-", "transom-isolated")  # they count by what they do
_before: set[threading.Thread] = set()


def begin() -> None:
    """A deterministic run begins; on the thread that waits for it."""
    global _before
    _before = set(threading.enumerate())


def bystanders() -> list[str]:
    """Names of the threads that were there before, without the one that asks."""
    return sorted(thread.name for thread in _before - {threading.current_thread()} if thread.is_alive())


def may_send() -> bool:
    """May a thread that is no worker still send? Called by the core in a worker, while no process can run."""
    for thread in threading.enumerate():
        if thread not in _before and not isinstance(thread, threading._DummyThread):
            if not thread.name.startswith(_OURS):
                return True
    return any(_is_busy(thread) for thread in _loop_thread.running()) or _isolated_pool.is_busy()


def _is_busy(thread: _loop_thread.LoopThread) -> bool:
    if not thread.core.idle() or thread.ports:
        return True
    at_rest = {home.task for home in list(thread.homes) if home.is_at_rest()}
    return any(task not in at_rest for task in asyncio.all_tasks(thread.loop))
