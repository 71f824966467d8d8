"""Child specifications: what a supervisor must know to start, restart and stop a child."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from transom._restart import Recovery

type Restart = Literal["permanent", "transient", "temporary"]
type Shutdown = float | Literal["brutal_kill", "infinity"]

RESTARTS = ("permanent", "transient", "temporary")
SHUTDOWNS = ("brutal_kill", "infinity")
KINDS = ("worker", "supervisor")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSpec:
    """A child of a supervisor, as a value: make one with ``MyAgent.child(...)``, change it with ``options``.

    Attributes:
        id: Names the child within its supervisor; anything hashable and immutable.
        start: Called in the supervisor, without arguments, for each start. Starts the child linked to its caller
            and returns, or gives when awaited, what names it: a reference, a Pid, or None when the child is not
            needed (init gave up with ``Ignore``). It raises StartError when the child cannot start.
        restart: ``"permanent"`` always, ``"transient"`` only after an abnormal end, ``"temporary"`` never.
        shutdown: Seconds it may take to stop before it is killed, > 0; ``"brutal_kill"``: it is killed at once;
            ``"infinity"``: any time, for supervisors.
        kind: ``"worker"`` or ``"supervisor"``.
        significant: Its end may end its supervisor (``auto_shutdown``); not for permanent children.
        name: The name it registers, or None.
        recovery: Back-off, other parameters for the next try, a fallback; see ``Recovery``. None: as in OTP.

    Raises:
        TypeError, ValueError: A field is not as it should be; the message names it.

    Example:
        >>> import transom
        >>> spec = transom.ChildSpec(id="clock", start=lambda: transom.spawn_link(transom.receive))
        >>> spec.options(restart="transient").restart
        'transient'

    Source: supervisor:child_spec().
    """

    id: Hashable
    start: Callable[[], Awaitable[Any] | Any]
    restart: Restart = "permanent"
    shutdown: Shutdown = 5.0
    kind: Literal["worker", "supervisor"] = "worker"
    significant: bool = False
    name: str | None = None
    recovery: Recovery | None = None

    def __post_init__(self) -> None:
        try:
            hash(self.id)
        except TypeError:
            raise TypeError(f"ChildSpec: id must be hashable, not {self.id!r}") from None
        if not callable(self.start):
            raise TypeError(f"{self._who()}: start must be a function without arguments, not {self.start!r}")
        self._check_word("restart", RESTARTS)
        self._check_word("kind", KINDS)
        self._check_shutdown()
        if not isinstance(self.significant, bool):
            raise TypeError(f"{self._who()}: significant must be True or False, not {self.significant!r}")
        if self.significant and self.restart == "permanent":
            raise ValueError(
                f"{self._who()}: significant cannot be True with restart 'permanent', whose end is never final; "
                "use 'transient' or 'temporary'"
            )
        if self.name is not None and (type(self.name) is not str or not self.name):
            raise TypeError(f"{self._who()}: name must be a non-empty str or None, not {self.name!r}")
        if self.recovery is not None and not isinstance(self.recovery, Recovery):
            raise TypeError(f"{self._who()}: recovery must be a Recovery or None, not {self.recovery!r}")

    def _who(self) -> str:
        return f"ChildSpec {self.id!r}"

    def _check_word(self, field: str, words: tuple[str, ...]) -> None:
        value = getattr(self, field)
        if not isinstance(value, str) or value not in words:
            raise ValueError(f"{self._who()}: {field} must be one of {', '.join(words)}, not {value!r}")

    def _check_shutdown(self) -> None:
        value = self.shutdown
        if isinstance(value, str):
            if value not in SHUTDOWNS:
                raise ValueError(f"{self._who()}: shutdown must be seconds, {' or '.join(SHUTDOWNS)}, not {value!r}")
        elif isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(f"{self._who()}: shutdown must be seconds, {' or '.join(SHUTDOWNS)}, not {value!r}")
        elif not 0 < value <= 8e9:
            raise ValueError(f"{self._who()}: shutdown must be > 0 seconds ('brutal_kill' to kill), not {value!r}")

    def options(self, **changes: Any) -> ChildSpec:
        """A copy with some fields changed.

        Args:
            changes: Fields and their new values.

        A changed ``name`` reaches the start function when the child is an Agent or Supervisor: it is what
        ``MyAgent.options(name=...)`` does.

        Raises:
            TypeError: There is no such field, or its value is of the wrong type.
            ValueError: Its value is not allowed.
        """
        known = [field.name for field in fields(self)]
        for name in changes:
            if name not in known:
                raise TypeError(f"{self._who()}: there is no option {name!r}; there are {', '.join(known)}")
        if "name" in changes and "start" not in changes:
            renamed = getattr(self.start, "with_name", None)
            if renamed is not None:
                changes["start"] = renamed(changes["name"])
        return replace(self, **changes)
