"""Who is interrupted on an event loop: only a task of the dead that keeps the loop all the time."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from transom import _errors, _loop_watch


class Loop:
    """A loop that never answers, at a time of our own."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.running: Any = None
        self.interrupts: list[Any] = []
        patch.setattr(_loop_watch, "time", SimpleNamespace(monotonic=lambda: self.now))
        patch.setattr(asyncio, "current_task", lambda loop: self.running)
        core = SimpleNamespace(stack=lambda: [], interrupt=self.interrupts.append)
        self.tasks = {task: SimpleNamespace(dropped=task != "alive") for task in ("dead", "dead, too", "alive")}
        thread: Any = SimpleNamespace(
            index=0, loop=None, homes=set(), tasks=self.tasks, core=core, call=lambda fn, *args: True
        )
        self.sign = _loop_watch.Sign(thread)
        self.sign.ask()

    def seen(self, seconds: float, *tasks: Any) -> None:
        """So long one after the other run, in turns, and the watch looks at each."""
        for step in range(round(seconds / 0.02)):
            self.now += 0.02
            self.running = tasks[step % len(tasks)]
            self.sign.look()


def test_a_task_of_the_dead_that_keeps_the_loop_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = Loop(monkeypatch)
    loop.seen(_loop_watch.HUNG_SECONDS / 2, "dead")
    assert loop.interrupts == []
    loop.seen(_loop_watch.HUNG_SECONDS, "dead")
    assert loop.interrupts == [_errors.Killed]


@pytest.mark.parametrize("tasks", [("dead", "dead, too"), ("dead", "alive"), ("dead", None)])
def test_a_slow_loop_is_not_a_blocked_one(monkeypatch: pytest.MonkeyPatch, tasks: tuple[Any, ...]) -> None:
    loop = Loop(monkeypatch)
    loop.seen(5.0, *tasks)
    assert loop.interrupts == []


def test_the_living_are_not_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = Loop(monkeypatch)
    loop.seen(5.0, "alive")
    assert loop.interrupts == []


def test_what_was_seen_before_a_sign_of_life_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = Loop(monkeypatch)
    for _ in range(10):
        loop.seen(_loop_watch.HUNG_SECONDS * 0.8, "dead")
        loop.sign._answer()
        loop.sign.ask()
    assert loop.interrupts == []
