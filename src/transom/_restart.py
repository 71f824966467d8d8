"""When and how children are started again: values and pure functions; nothing here knows a process.

Restart types, strategies and the intensity are OTP's. Recovery is what agents need beyond them: delays that grow (rate
limits), other parameters for the next try, and a fallback when the child cannot be made to work.

Source: OTP supervisor.erl (restart types, strategies, add_restart); exponential back-off with jitter.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

type Strategy = Literal["one_for_one", "one_for_all", "rest_for_one"]
type AutoShutdown = Literal["never", "any_significant", "all_significant"]

STRATEGIES = ("one_for_one", "one_for_all", "rest_for_one")
AUTO_SHUTDOWNS = ("never", "any_significant", "all_significant")


def is_clean(reason: object) -> bool:
    """Is this an orderly end: "normal", "shutdown" or ("shutdown", anything)?"""
    if isinstance(reason, str):
        return reason in ("normal", "shutdown")
    return isinstance(reason, tuple) and len(reason) == 2 and isinstance(reason[0], str) and reason[0] == "shutdown"


def wants_restart(restart: str, reason: object) -> bool:
    """Is a child of this restart type started again after it ended by itself with this reason?"""
    return restart == "permanent" or (restart == "transient" and not is_clean(reason))


def group_of[T](strategy: str, children: Sequence[T], ended: T) -> list[T]:
    """The children that are stopped (in reverse) and started again (in order) when one has ended, itself included."""
    if strategy == "one_for_one":
        return [ended]
    if strategy == "one_for_all":
        return list(children)
    return list(children[children.index(ended) :])


def intensity(max_restarts: int, max_seconds: float) -> Callable[[float], bool]:
    """A function that notes a restart at a time, and says whether there are at most max_restarts in max_seconds."""
    times: deque[float] = deque()

    def note(now: float) -> bool:
        times.append(now)
        while times[0] < now - max_seconds:
            times.popleft()
        return len(times) <= max_restarts

    return note


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Delays before restarts: initial, initial * factor, initial * factor**2 and so on.

    Attributes:
        initial: Seconds before the first restart, >= 0.
        factor: What each further delay is multiplied by, >= 1.
        maximum: Seconds that no delay exceeds, >= initial.
        jitter: Share of the delay that is left to chance, 0 to 1: with 0.2 a delay of 10 s lasts 8 to 10 s. So
            agents that a rate limit ended together do not come back together.

    Example:
        >>> import transom
        >>> backoff = transom.Backoff(initial=1, factor=3, maximum=20, jitter=0)
        >>> [backoff.delay(n) for n in (1, 2, 3, 4)]
        [1.0, 3.0, 9.0, 20.0]

    Source: exponential back-off with jitter, as clients of rate-limited services use it; not in OTP.
    """

    initial: float = 1.0
    factor: float = 2.0
    maximum: float = 60.0
    jitter: float = 0.2

    def __post_init__(self) -> None:
        for field in ("initial", "factor", "maximum", "jitter"):
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise TypeError(f"Backoff: {field} must be a number, not {value!r}")
        if not 0 <= self.initial <= 8e9:
            raise ValueError(f"Backoff: initial must be 0 to 8e9 seconds, not {self.initial!r}")
        if not 1 <= self.factor < float("inf"):
            raise ValueError(f"Backoff: factor must be at least 1, not {self.factor!r}")
        if not self.initial <= self.maximum <= 8e9:
            raise ValueError(f"Backoff: maximum must be initial to 8e9 seconds, not {self.maximum!r}")
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"Backoff: jitter must be 0 to 1, not {self.jitter!r}")

    def delay(self, restart: int, chance: Callable[[], float] | None = None) -> float:
        """Seconds to wait before the n-th restart in a row.

        Args:
            restart: 1 for the first.
            chance: Gives a number from 0 to 1; default random.random.
        """
        try:
            delay = min(float(self.maximum), self.initial * float(self.factor) ** (restart - 1))
        except OverflowError:
            delay = float(self.maximum)
        return delay * (1 - self.jitter * (chance or random.random)())


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """How a child is started again beyond its restart type; a field of ``ChildSpec``.

    A child with a Recovery is judged by it and not by its supervisor's ``max_restarts``: its restarts do not count
    there, until the fallback has taken its place.

    Attributes:
        backoff: Delays before the restarts. None: no delay.
        attempts: Restarts in a row, at least 0, before the child is given up; then the fallback takes its place, and
            without a fallback the supervisor gives up as if ``max_restarts`` were exceeded. None: no limit.
        variants: ChildSpecs whose ``start`` the first, second, ... restart uses; the last one serves all further
            ones. Only ``start`` is taken from them. Empty: as the child itself.
        fallback: ChildSpec whose ``start`` takes the child's place, under its id, when it is given up. Its own
            restarts count as those of a child without Recovery. restart_child goes back to the child itself.
        reset_after: Seconds that a child must live for its next end to count as the first in a row again, >= 0.

    Example:
        >>> import transom
        >>> async def main():
        ...     async def broken():
        ...         raise RuntimeError("no such model")
        ...     async def small():
        ...         await transom.receive()
        ...     transom.trap_exit(True)
        ...     recovery = transom.Recovery(attempts=2, fallback=transom.Task.child(small))
        ...     spec = transom.Task.child(broken).options(id="model", restart="permanent", recovery=recovery)
        ...     desk = await transom.Supervisor.start_link(children=[spec])
        ...     await transom.sleep(0.1)
        ...     return (await desk.count_children())["active"]
        >>> import logging; logging.getLogger("transom").setLevel(logging.CRITICAL)
        >>> transom.run(main)
        1

    Source: not in OTP, where a process between supervisor and child would do it.
    """

    backoff: Backoff | None = None
    attempts: int | None = None
    variants: tuple[Any, ...] = ()
    fallback: Any = None
    reset_after: float = 60.0

    def __post_init__(self) -> None:
        if self.backoff is not None and not isinstance(self.backoff, Backoff):
            raise TypeError(f"Recovery: backoff must be a Backoff or None, not {self.backoff!r}")
        if self.attempts is not None:
            if type(self.attempts) is not int:
                raise TypeError(f"Recovery: attempts must be an int or None, not {self.attempts!r}")
            if self.attempts < 0:
                raise ValueError(f"Recovery: attempts must be at least 0, not {self.attempts}")
        if not isinstance(self.variants, tuple):
            raise TypeError(f"Recovery: variants must be a tuple of ChildSpecs, not {self.variants!r}")
        for spec in self.variants:
            self._demand_spec("variants", spec)
        if self.fallback is not None:
            self._demand_spec("fallback", self.fallback)
            if self.attempts is None:
                raise ValueError("Recovery: fallback needs attempts, the restarts after which it takes over")
        if isinstance(self.reset_after, bool) or not isinstance(self.reset_after, int | float):
            raise TypeError(f"Recovery: reset_after must be seconds, not {self.reset_after!r}")
        if not self.reset_after >= 0:
            raise ValueError(f"Recovery: reset_after must be at least 0 seconds, not {self.reset_after!r}")

    @staticmethod
    def _demand_spec(field: str, spec: Any) -> None:
        # A ChildSpec has a Recovery, so this module cannot import it.
        if type(spec).__name__ != "ChildSpec":
            raise TypeError(f"Recovery: {field} must hold ChildSpecs, such as MyAgent.child(...), not {spec!r}")


class Progress:
    """How far the recovery of one child has come."""

    __slots__ = ("failures", "fallen_back", "since")

    def __init__(self) -> None:
        self.failures = 0  # ends in a row
        self.fallen_back = False  # the fallback is in its place
        self.since = 0.0  # when it was last started, or failed to

    def next_step(self, recovery: Recovery | None, now: float) -> float | Literal["count", "fall_back", "give_up"]:
        """What to do after an end: wait so many seconds and restart; or what the word says.

        "count" leaves it to the supervisor's intensity; "fall_back" starts the fallback.
        """
        if recovery is None or self.fallen_back:
            return "count"
        if self.failures and now - self.since >= recovery.reset_after:
            self.failures = 0
        self.failures += 1
        if recovery.attempts is not None and self.failures > recovery.attempts:
            if recovery.fallback is None:
                return "give_up"
            self.fallen_back = True
            return "fall_back"
        return 0.0 if recovery.backoff is None else recovery.backoff.delay(self.failures)

    def start_of(self, spec: Any) -> Callable[[], Any]:
        """The start function that is due."""
        recovery = spec.recovery
        if recovery is not None and self.fallen_back:
            return recovery.fallback.start  # type: ignore[no-any-return]
        if recovery is not None and self.failures and recovery.variants:
            return recovery.variants[min(self.failures, len(recovery.variants)) - 1].start  # type: ignore[no-any-return]
        return spec.start  # type: ignore[no-any-return]
