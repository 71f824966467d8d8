"""The start of a child that is a plain process running a function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from transom._core import Pid
from transom._process import spawn_opt
from transom._values import SpawnOptions


@dataclass(frozen=True, slots=True)
class StartFunction:
    """Starts fn(*args, **kwargs) as a process linked to the caller."""

    fn: Callable[..., Any]
    args: tuple[Any, ...] = ()
    kwargs: tuple[tuple[str, Any], ...] = ()
    name: str | None = None
    label: str | None = None

    def __call__(self) -> Pid:
        options = SpawnOptions(link=True, name=self.name, label=self.label)
        pid: Pid = spawn_opt(options, self.fn, *self.args, **dict(self.kwargs))
        return pid

    def with_name(self, name: str | None) -> StartFunction:
        """The same under a name."""
        return replace(self, name=name)
