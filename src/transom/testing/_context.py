"""The test under way. There is one node per OS process at a time, so there is one test at a time, too."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from transom import _replay

if TYPE_CHECKING:
    from transom._supervisor_ref import SupervisorRef
    from transom.testing._crashes import Recorder

TIMEOUT_SECONDS = 60.0
LEAK_SECONDS = 2.0


@dataclass
class Node:
    """How a test's node is set up; the fixture ``transom_node`` gives the one of the test, to be changed by fixtures.

    Attributes:
        schedulers: Slots, 1 to 256; None: one for each core.
        timeout: Seconds the test may take, > 0; then it is ended and fails.
        leak_seconds: Seconds that processes get to end when the test is over, >= 0.
        allow_leaks: True: processes that live on are no failure; they are ended with the node.
        deterministic: A seed or a schedule: the test runs as ``run(..., deterministic=...)`` does, and ``timeout`` is of
            the real clock; True: a seed nobody knows, which a failure tells. False, the default: off.
        schedules: Run it under so many schedules, as ``explore`` does, >= 1; 0, the default: once.
        strategy: For schedules: ``"random"``, ``"pct"`` or ``"exhaustive"``.
        max_preemptions: For schedules: as for ``explore``.
        allow_crashes: True: any crash report is expected; exception types: those are.
    """

    schedulers: int | None = None
    timeout: float = TIMEOUT_SECONDS
    leak_seconds: float = LEAK_SECONDS
    allow_leaks: bool = False
    deterministic: bool | int | str = False
    schedules: int = 0
    strategy: str = "random"
    max_preemptions: int | None = None
    allow_crashes: bool | type[BaseException] | tuple[type[BaseException], ...] = False

    def __post_init__(self) -> None:
        for name in ("timeout", "leak_seconds"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 8e9:
                raise ValueError(f"{name} must be seconds, not {value!r}")
        if not isinstance(self.deterministic, bool):
            _replay.parse(self.deterministic)
        if (self.deterministic is not False or self.schedules) and self.schedulers not in (None, 1):
            raise ValueError(f"a deterministic test has one scheduler, not {self.schedulers}")


@dataclass
class Test:
    """What the tools must know of the test under way."""

    __test__ = False  # no test class, whatever pytest thinks of the name

    node: Node
    recorder: Recorder
    supervisor: SupervisorRef | None = None
    expected: list[Any] = field(default_factory=list)


_current: Test | None = None


def enter(test: Test) -> None:
    global _current
    if _current is not None:
        raise RuntimeError("a test of transom is under way already; one node runs at a time")
    _current = test


def leave() -> None:
    global _current
    _current = None


def current(what: str) -> Test:
    if _current is None:
        raise RuntimeError(
            f"{what}() works inside a test only: mark it with @pytest.mark.transom, or run it with transom.testing.run_test"
        )
    return _current
