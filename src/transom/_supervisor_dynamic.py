"""The process of a DynamicSupervisor: children that come and go, known by their Pid.

It differs from Engine in four ways: keys are numbers of its own, children that end for good are always forgotten, there
may be a limit, and all are stopped side by side, so that many slow ones take as long as the slowest.

Source: Elixir's DynamicSupervisor.
"""

from __future__ import annotations

from typing import Any

from transom import _core
from transom._child import ChildSpec
from transom._core import Pid
from transom._supervisor_engine import Child, Engine, Failed, patience


class DynamicEngine(Engine):
    """Children by Pid."""

    def __init__(
        self, who: str, max_restarts: int, max_seconds: float, max_children: int | None, parent: Pid | None
    ) -> None:
        super().__init__(who, "one_for_one", max_restarts, max_seconds, "never", parent)
        self.max_children = max_children
        self.waiting: dict[Pid, Child] = {}  # last Pid -> child that waits for its restart
        self._next_key = 0

    def forget(self, child: Child) -> None:
        self._call_off(child)
        self.children.pop(child.key, None)

    def _wait(self, child: Child, delay: float) -> None:
        super()._wait(child, delay)
        if child.last_pid is not None:
            self.waiting[child.last_pid] = child

    def _call_off(self, child: Child) -> None:
        super()._call_off(child)
        if child.last_pid is not None:
            self.waiting.pop(child.last_pid, None)

    async def do_start_child(self, spec: ChildSpec) -> Any:
        if self.max_children is not None and len(self.children) >= self.max_children:
            raise Failed("full", self.max_children)
        if spec.significant:
            raise Failed("invalid", f"ChildSpec {spec.id!r}: significant has no meaning in a DynamicSupervisor")
        self._next_key += 1
        child = self.children[self._next_key] = Child(self._next_key, spec)
        return await self.add(child)

    async def do_terminate_child(self, id: Any) -> None:
        child = self.by_pid.get(id) or self.waiting.get(id)
        if child is None:
            raise Failed("unknown", id)
        await self.stop(child)

    async def stop_all(self) -> None:
        """Ask all at once, then wait for each until its time is over."""
        now = _core._monotonic()
        asked = []
        for child in list(self.children.values()):
            if child.pid is not None:
                seconds = patience(child.spec)
                end = None if seconds is None else now + seconds
                asked.append((child, self._ask_to_stop(child), end))
        late = []
        for child, ref, end in asked:
            try:
                left = None if end is None else max(0.0, end - _core._monotonic())
                self._stopped(child, (await _core.receive(ref, timeout=left)).reason)
            except TimeoutError:
                self._kill(child)
                late.append((child, ref))
        for child, ref in late:
            self._stopped(child, (await _core.receive(ref)).reason)
        for child in list(self.children.values()):
            self.forget(child)
