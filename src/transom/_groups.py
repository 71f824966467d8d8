"""Groups of processes by name, as OTP's pg."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from transom import _core
from transom._core import Pid, Ref

_KIND = 1


class Groups:
    """Named groups of processes: join, leave, who is in, and the news of it.

    A process is out of all its groups the moment it ends. It may join a group several times and then has to leave it as
    often. An empty group does not exist. All methods run in the caller and do not wait.

    Groups of different scopes know nothing of each other. A scope needs no start: everybody who names it means the same
    one.

    Args:
        scope: Name of the scope.

    Example:
        >>> import transom
        >>> async def member(groups):
        ...     groups.join("workers")
        ...     await transom.receive()
        >>> async def main():
        ...     groups = transom.Groups()
        ...     ref, _ = groups.monitor("workers")
        ...     pid = transom.spawn(member, groups)
        ...     joined = await transom.receive(ref)
        ...     transom.kill(pid)
        ...     left = await transom.receive(ref)
        ...     return joined[1:3], left[1:3], groups.members("workers")
        >>> transom.run(main)
        (('join', 'workers'), ('leave', 'workers'), [])

    Source: OTP ``pg``; within a node membership changes at once here, not eventually.
    """

    __slots__ = ("_dir", "_scope")

    def __init__(self, scope: str = "default") -> None:
        if type(scope) is not str or not scope:
            raise TypeError(f"Groups: scope must be a non-empty str, not {scope!r}")
        self._scope = scope
        self._dir = _core._directory(_KIND, scope, False, "join", "leave", False)

    def join(self, group: Any, pids: Pid | Iterable[Pid] | None = None) -> None:
        """Put processes into a group.

        Args:
            group: Any key, see ``Table``.
            pids: A Pid or several; default: the calling process.

        Raises:
            NoProcess: One of them is dead; those before it have joined.

        Source: pg:join/3.
        """
        for pid in _pids(pids):
            self._dir.join(group, pid, None)

    def leave(self, group: Any, pids: Pid | Iterable[Pid] | None = None) -> bool:
        """Take processes out of a group, each once.

        Args:
            group: As for ``join``.
            pids: The same.

        Returns:
            Whether at least one of them was in it.

        Source: pg:leave/3, whose not_joined is False here.
        """
        return any([self._dir.leave(group, pid, False) for pid in _pids(pids)])

    def members(self, group: Any) -> list[Pid]:
        """Who is in the group, in the order they joined, each as often as it joined."""
        return list(self._dir.members(group, False))

    def which(self) -> list[Any]:
        """The groups that have members. Source: pg:which_groups/1."""
        return list(self._dir.listing(None, False))

    def send(self, group: Any, message: Any) -> int:
        """Send message to every member of group; returns to how many. An immutable message is not copied."""
        return int(self._dir.broadcast(group, message, None))

    def monitor(self, group: Any) -> tuple[Ref, list[Pid]]:
        """Who is in the group, and from that moment on every change of it.

        The calling process receives ``(ref, "join", group, pid)`` and ``(ref, "leave", group, pid)``, one for each
        joining and leaving, in their order.

        Source: pg:monitor/2.
        """
        ref, snapshot = self._dir.watch(group)
        return ref, [pid for _, pid in snapshot]

    def monitor_scope(self) -> tuple[Ref, dict[Any, list[Pid]]]:
        """As ``monitor``, for all groups of the scope. Source: pg:monitor_scope/1."""
        ref, snapshot = self._dir.watch(...)
        found: dict[Any, list[Pid]] = {}
        for group, pid in snapshot:
            found.setdefault(group, []).append(pid)
        return ref, found

    def demonitor(self, ref: Ref) -> None:
        """End a monitor of the calling process, which gave ref; news sent before may still be in its mailbox."""
        self._dir.unwatch(ref)

    def __repr__(self) -> str:
        return f"<Groups {self._scope!r}>"

    def __deepcopy__(self, memo: dict[int, Any]) -> Groups:
        twin = object.__new__(Groups)
        twin._scope = self._scope
        twin._dir = self._dir.__copy__()
        return twin


def _pids(pids: Pid | Iterable[Pid] | None) -> list[Pid]:
    if pids is None:
        return [_core.current_pid()]
    one = pids if isinstance(pids, Pid) else getattr(pids, "_transom_pid", None)
    found: list[Any] = [one] if one is not None else list(pids)  # type: ignore[arg-type, unused-ignore]
    for pid in found:
        if not isinstance(pid, Pid):
            raise TypeError(f"a Pid is needed, not {pid!r}")
    return found
