"""Faults in deterministic runs: messages that are lost, late, doubled or out of order, deaths, failing allocations.

Each function is called by a process of the run, mostly by the test, and holds until the run ends or ``stop()``. Whether
a fault with a chance below 1 strikes is decided by the seed, like who runs when: it is in the schedule, replays, and is
shrunk away where the failure does not need it. In exhaustive search both ways are tried.

Exit signals, links and monitors are not touched: the node keeps its promises. What these faults stand for is the
world between nodes, and code that is slow.
"""

from __future__ import annotations

from typing import Any

from transom import _core
from transom._core import Pid
from transom._start import pid_of

DROP, DELAY, REORDER, DUPLICATE, ALLOCATION = range(5)
MANY = 0xFFFFFFFF


class Fault:
    """A fault that holds.

    Attributes:
        what: In words.
    """

    def __init__(self, what: str, id: int) -> None:
        self.what = what
        self._id = id
        self._hits: int | None = None

    @property
    def hits(self) -> int:
        """How often it has struck."""
        if self._hits is not None:
            return self._hits
        return _core._fault_hits(self._id, False) or 0

    def stop(self) -> None:
        """It strikes no more."""
        if self._hits is None:
            self._hits = _core._fault_hits(self._id, True) or 0

    def __repr__(self) -> str:
        return f"<{self.what}, struck {self.hits} times>"


def _pid(who: Any, name: str) -> Pid | None:
    if who is None:
        return None
    pid = _core.whereis(who) if isinstance(who, str) else pid_of(who)
    if pid is None:
        raise ValueError(f"{name}: there is no process {who!r}")
    return pid


def _add(
    kind: int, what: str, sender: Any, to: Any, chance: float, skip: int, times: int | None, seconds: float = 0.0
) -> Fault:
    if not isinstance(chance, int | float) or not 0 < chance <= 1:
        raise ValueError(f"chance must be above 0 and at most 1, not {chance!r}")
    for name, value in (("skip", skip), ("times", MANY if times is None else times)):
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MANY:
            raise ValueError(f"{name} must be an int from 0, not {value!r}")
    if not isinstance(seconds, int | float) or not 0 <= seconds <= 8e9:
        raise ValueError(f"seconds must be a number from 0, not {seconds!r}")
    limit = MANY if times is None else times
    permille = max(1, round(chance * 1000))
    delay_ns = int(seconds * 1e9)
    id = _core._fault_add(kind, _pid(sender, "sender"), _pid(to, "to"), skip, limit, permille, delay_ns)
    return Fault(what, id)


def drop(sender: Any = None, to: Any = None, *, chance: float = 1.0, skip: int = 0, times: int | None = None) -> Fault:
    """Messages are lost on the way, as between machines. Calls are messages, and so are their answers.

    Args:
        sender: Pid, reference or registered name; None: anybody, timers included. A name stands for who has it now.
        to: The receiver, likewise.
        chance: How likely each message is hit, above 0, at most 1.
        skip: So many messages that fit pass first.
        times: It strikes so often at most; None: always.

    Returns:
        The Fault: ``hits`` counts, ``stop()`` ends it.

    Raises:
        RuntimeError: The run is not deterministic, no process asks, or 64 faults hold already.
        ValueError: An argument out of range, or there is no such process.

    Example:
        >>> import transom
        >>> from transom.testing import faults
        >>> async def main():
        ...     me = transom.current_pid()
        ...     lost = faults.drop(to=me, skip=1, times=1)
        ...     for n in range(3):
        ...         transom.send(me, n)
        ...     return [await transom.receive(), await transom.receive()], lost.hits
        >>> transom.run(main, deterministic=1)
        ([0, 2], 1)
    """
    return _add(DROP, "messages are dropped", sender, to, chance, skip, times)


def delay(
    sender: Any = None,
    to: Any = None,
    *,
    seconds: float,
    chance: float = 1.0,
    skip: int = 0,
    times: int | None = None,
) -> Fault:
    """Messages arrive later; those that come after may overtake them.

    Args:
        sender: As for ``drop``, like the rest.
        to: As for ``drop``.
        seconds: How much later, >= 0, in the virtual time of the run.
        chance: As for ``drop``.
        skip: As for ``drop``.
        times: As for ``drop``.

    Returns:
        The Fault.

    Raises:
        RuntimeError: As for ``drop``.
        ValueError: As for ``drop``.
    """
    return _add(DELAY, f"messages are {seconds} s late", sender, to, chance, skip, times, seconds)


def reorder(
    sender: Any = None,
    to: Any = None,
    *,
    window: float = 0.01,
    chance: float = 0.5,
    skip: int = 0,
    times: int | None = None,
) -> Fault:
    """Messages arrive in another order: each that is hit is late by a part of a window.

    Args:
        sender: As for ``drop``, like the rest.
        to: As for ``drop``.
        window: Seconds of virtual time, >= 0; the seed picks one of eight parts of it.
        chance: As for ``drop``.
        skip: As for ``drop``.
        times: As for ``drop``.

    Returns:
        The Fault.

    Raises:
        RuntimeError: As for ``drop``.
        ValueError: As for ``drop``.
    """
    return _add(REORDER, "messages are reordered", sender, to, chance, skip, times, window)


def duplicate(
    sender: Any = None, to: Any = None, *, chance: float = 1.0, skip: int = 0, times: int | None = None
) -> Fault:
    """Messages of ``send`` arrive twice, each a copy of its own. Calls and casts of agents are not doubled.

    Args:
        sender: As for ``drop``, like the rest.
        to: As for ``drop``.
        chance: As for ``drop``.
        skip: As for ``drop``.
        times: As for ``drop``.

    Returns:
        The Fault.

    Raises:
        RuntimeError: As for ``drop``.
        ValueError: As for ``drop``.
    """
    return _add(DUPLICATE, "messages are doubled", sender, to, chance, skip, times)


def fail_allocation(process: Any = None, *, chance: float = 1.0, skip: int = 0, times: int | None = 1) -> Fault:
    """Memory for a signal cannot be had: what the process is about to send raises MemoryError.

    Args:
        process: Whose; None: anybody's.
        chance: As for ``drop``.
        skip: So many allocations succeed first.
        times: It strikes so often at most; once by default.

    Returns:
        The Fault.

    Raises:
        RuntimeError: As for ``drop``.
        ValueError: As for ``drop``.
    """
    return _add(ALLOCATION, "allocations fail", process, None, chance, skip, times)


def kill_at(process: Any, reductions: int) -> None:
    """Kill a process when it has used so many more reductions, wherever its code then is.

    Args:
        process: Pid, reference or registered name.
        reductions: 1 to 2**63.

    Raises:
        RuntimeError: As for ``drop``.
        ValueError: As for ``drop``.
    """
    if isinstance(reductions, bool) or not isinstance(reductions, int) or not 1 <= reductions <= 1 << 63:
        raise ValueError(f"reductions must be an int from 1, not {reductions!r}")
    pid = _pid(process, "process")
    if pid is None:
        raise ValueError("process: say which")
    _core._fault_kill(pid, reductions)


def skew(seconds: float) -> None:
    """The clock of the run jumps ahead: timers that are due by then fire.

    Args:
        seconds: How far, >= 0.

    Raises:
        RuntimeError: As for ``drop``.
        ValueError: seconds is negative.
    """
    if not isinstance(seconds, int | float) or not 0 <= seconds <= 8e9:
        raise ValueError(f"seconds must be a number from 0, not {seconds!r}")
    _core._fault_skew(float(seconds))
