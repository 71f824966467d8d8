"""Watching event loops: one that is blocked is reported, with the stack of what blocks it.

One thread asks each loop that has something to do for a sign of life. A loop that gives none for BLOCKED_SECONDS is
blocked: its stack goes to the logger `transom`, once for each time. What blocks it on behalf of a process that is dead
already is interrupted: an exception is raised in the loop's thread. It hits whatever runs there when the thread next looks, so
that is done only when one and the same task has kept the loop for HUNG_SECONDS. A loop that is slow, because many tasks are
ready or the machine is busy, changes its task meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import selectors
import threading
import time
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from transom import _errors

if TYPE_CHECKING:
    from transom._loop_thread import LoopThread

_log = logging.getLogger("transom")

BLOCKED_SECONDS = 0.05
PERIOD_SECONDS = 0.02
HUNG_SECONDS = 0.5
LOOK_SECONDS = 0.005  # between two tries to see the stack


class Sign:
    """What is known of one loop."""

    def __init__(self, thread: LoopThread) -> None:
        self.thread = thread
        self.asked: float | None = None  # when; None: it has answered
        self.reported = False
        self.interrupted = False
        self.task: asyncio.Task[Any] | None = None  # which was seen to run at each look since the time `since`
        self.since = 0.0
        self.blocked = 0  # how often
        self.longest = 0.0  # seconds

    def ask(self) -> None:
        self.asked = time.monotonic()
        self.reported = False
        self.task = None
        if not self.thread.call(self._answer):
            self.asked = None

    def _answer(self) -> None:
        """On the loop."""
        if self.interrupted:
            self.interrupted = False
            self.thread.core.interrupt(None)
        asked = self.asked
        if asked is not None and self.reported:
            self.longest = max(self.longest, time.monotonic() - asked)
        self.asked = None

    def look(self) -> None:
        """It has not answered: report it, when that can be done."""
        asked = self.asked
        if asked is None or (late := time.monotonic() - asked) < BLOCKED_SECONDS:
            return
        if not self.reported:
            frames = self.thread.core.stack()
            if frames is None and late < 1.0:
                return  # look again soon
            self._report(late, frames)
        if not self.interrupted and self._hangs() and self._is_dead():
            self.interrupted = True
            self.thread.core.interrupt(_errors.Killed)

    def _report(self, late: float, frames: list[tuple[Any, int]] | None) -> None:
        stack = "(in native code: its stack cannot be seen)\n" if frames is None else _shown(frames)
        if not stack or self.asked is None:
            return  # it is only waiting for a processor, or has answered
        self.reported = True
        self.blocked += 1
        self.longest = max(self.longest, late)
        _log.warning(
            "event loop %d has been blocked for %.0f ms by %s; all that runs on it waits. Blocking calls and "
            "computations belong in processes: await transom.offload(fn, ...)\n%s",
            self.thread.index,
            late * 1000,
            self._who(),
            stack.rstrip(),
        )

    def _who(self) -> str:
        task = asyncio.current_task(self.thread.loop)
        op = self.thread.tasks.get(task) if task is not None else None
        home = _home_of(self.thread, task)
        if home is not None:
            return f"{type(home.agent).__qualname__} {home.pid}"
        return "an operation that begins, or a callback" if op is None else f"an operation of {op.owner}"

    def _hangs(self) -> bool:
        """Has one task kept the loop all the time?"""
        task, now = asyncio.current_task(self.thread.loop), time.monotonic()
        if task is not self.task:
            self.task, self.since = task, now
        return task is not None and now - self.since >= HUNG_SECONDS

    def _is_dead(self) -> bool:
        task = asyncio.current_task(self.thread.loop)
        home = _home_of(self.thread, task)
        ops = (
            [self.thread.tasks.get(task) if task is not None else None]
            if home is None
            else [self.thread.tasks.get(home.task), home.op]
        )
        return any(op is not None and op.dropped for op in ops)


def _home_of(thread: LoopThread, task: Any) -> Any:
    for home in list(thread.homes):
        if home.task is task or task in home.tasks:
            return home
    return None


def _shown(frames: list[tuple[Any, int]]) -> str:
    """The stack as text, outermost first, without the loop's own frames. Empty: there are no others."""
    entries = [
        traceback.FrameSummary(code.co_filename, line, code.co_name)
        for code, line in frames
        if not code.co_filename.startswith(_OURS) and code.co_filename != threading.__file__
    ]
    if all(entry.filename.startswith(_ASYNCIO) for entry in entries):
        return ""
    return "".join(traceback.format_list(entries[::-1]))


_OURS = __file__.rsplit("_loop_watch", 1)[0]
_ASYNCIO = (asyncio.__file__.rsplit("__init__", 1)[0], selectors.__file__)


class Watch:
    """The thread that asks. It sleeps while no loop has anything to do."""

    def __init__(self, running: Callable[[], list[LoopThread]]) -> None:
        self.awake = threading.Event()
        self._running = running
        self._stopped = False
        self._thread = threading.Thread(target=self._main, name="transom-io-watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped = True
        self.awake.set()
        self._thread.join()

    def _main(self) -> None:
        while not self._stopped:
            self.awake.wait()
            busy = True
            while busy and not self._stopped:
                begun = self.awake.is_set()
                self.awake.clear()
                signs = [thread.sign for thread in self._running()]
                busy = any([self._round(sign, begun) for sign in signs])
                if busy:
                    time.sleep(LOOK_SECONDS if any(_is_late(sign) for sign in signs) else PERIOD_SECONDS)

    def _round(self, sign: Sign, begun: bool) -> bool:
        if sign.asked is not None:
            sign.look()
            return True
        if sign.thread.tasks or begun:
            sign.ask()
            return True
        return False


def _is_late(sign: Sign) -> bool:
    asked = sign.asked
    return asked is not None and time.monotonic() - asked > BLOCKED_SECONDS and not sign.reported
