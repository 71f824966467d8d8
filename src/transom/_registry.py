"""Registry: processes under keys of any kind, with values; and addresses made of them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Literal

from transom import _core, _errors
from transom._core import Pid, Ref

_KIND = 0


class Via:
    """An address: whoever stands under a key of a registry when it is used.

    ``send``, ``monitor``, ``link`` and every other function that takes a Pid take it, too, and raise NoProcess where
    nobody stands there. Made by ``Registry.via``; can be sent.

    Example:
        >>> import transom
        >>> async def main():
        ...     desks = transom.Registry()
        ...     seven = desks.via(7)
        ...     seven.register()
        ...     transom.send(seven, "hello")
        ...     return await transom.receive(), seven.whereis() == transom.current_pid()
        >>> transom.run(main)
        ('hello', True)

    Source: the via tuples of OTP.
    """

    __slots__ = ("_key", "_registry")

    def __init__(self, registry: Registry, key: Any) -> None:
        self._registry = registry
        self._key = key

    @property
    def _transom_pid(self) -> Pid:
        pid = self._registry.whereis(self._key)
        if pid is None:
            raise _errors.NoProcess(f"no process is registered under {self._key!r} in {self._registry!r}")
        return pid

    def whereis(self) -> Pid | None:
        """The Pid that stands there now, or None."""
        return self._registry.whereis(self._key)

    def register(self, value: Any = None) -> None:
        """Register the calling process there; as ``Registry.register``."""
        self._registry.register(self._key, value)

    def __repr__(self) -> str:
        return f"<Via {self._key!r} in {self._registry!r}>"


class Registry:
    """Processes register themselves under keys, and are out of it the moment they end.

    With ``keys="unique"`` a key has one process, with ``"duplicate"`` any number, and a process may stand under a key
    more than once. Keys are compared as in a ``Table`` of kind ``"set"``; values are copied in and out. All methods run
    in the caller and do not wait.

    The registry belongs to the process that makes it and ends with it. It can be sent, and found by its name.

    Args:
        name: For ``Registry.at``. Default: none.
        keys: ``"unique"`` or ``"duplicate"``.

    Raises:
        NameTaken: Another registry has the name.
        NotInProcess: Called outside a process.

    Example:
        >>> import transom
        >>> async def desk(registry, me):
        ...     registry.register(("desk", 7), {"floor": 2})
        ...     transom.send(me, "ready")
        ...     transom.send(me, await transom.receive(int) * 2)
        >>> async def main():
        ...     registry = transom.Registry()
        ...     transom.spawn(desk, registry, transom.current_pid())
        ...     await transom.receive(str)
        ...     transom.send(registry.via(("desk", 7)), 21)
        ...     return await transom.receive(int)
        >>> transom.run(main)
        42

    Source: Elixir's Registry; entries of dead processes are gone before any monitor fires, not soon after.
    """

    __slots__ = ("_dir", "_name")

    def __init__(self, name: str | None = None, *, keys: Literal["unique", "duplicate"] = "unique") -> None:
        if name is not None and (type(name) is not str or not name):
            raise TypeError(f"Registry: name must be a non-empty str, not {name!r}")
        if keys not in ("unique", "duplicate"):
            raise ValueError(f"Registry: keys must be 'unique' or 'duplicate', not {keys!r}")
        self._name = name
        self._dir = _core._directory(_KIND, name, keys == "unique", "register", "unregister", True)
        if self._dir is None:
            raise _errors.NameTaken(f"Registry(): the name {name!r} is taken")

    @staticmethod
    def at(name: str) -> Registry:
        """The registry with this name.

        Raises:
            NoProcess: There is none.
        """
        found = _core._directory_named(_KIND, name)
        if found is None:
            raise _errors.NoProcess(f"no registry is named {name!r}")
        return _wrap(found, name)

    def register(self, key: Any, value: Any = None) -> None:
        """Put the calling process under key.

        Raises:
            NameTaken: keys are unique, and another process stands there; its Pid is the exception's ``pid``.
            NotInProcess: Called outside a process.
            NoTable: The registry's owner has ended.
            TypeError: key cannot be a key, or value cannot be copied.

        Source: Registry.register/3.
        """
        taken = self._dir.join(key, _core.current_pid(), value)
        if taken is not None:
            error = _errors.NameTaken(f"register: {key!r} is taken by {taken}")
            error.pid = taken  # type: ignore[attr-defined]
            raise error

    def unregister(self, key: Any) -> None:
        """Take the calling process out from under key, every mention of it; none is fine."""
        self._dir.leave(key, _core.current_pid(), True)

    def update_value(self, key: Any, update: Callable[[Any], Any]) -> Any:
        """Replace the value the calling process has under key by ``update(value)``, and return it.

        Raises:
            NotOwner: The calling process does not stand there.

        Source: Registry.update_value/3.
        """
        me = _core.current_pid()
        for pid, value in self._dir.members(key, True):
            if pid == me:
                new = update(value)
                self._dir.set_value(key, me, new)
                return new
        raise _errors.NotOwner(f"update_value: the calling process is not registered under {key!r}")

    def lookup(self, key: Any) -> list[tuple[Pid, Any]]:
        """The processes under key and their values, in the order they registered."""
        return list(self._dir.members(key, True))

    def whereis(self, key: Any) -> Pid | None:
        """The process under key, with duplicate keys the first, or None."""
        pid: Pid | None = self._dir.first(key)
        return pid

    def via(self, key: Any) -> Via:
        """An address: who stands under key when it is used. Source: the via tuples of OTP."""
        return Via(self, key)

    def keys(self, pid: Pid) -> list[Any]:
        """The keys that pid stands under, with a mention for each time."""
        return list(self._dir.listing(pid, False))

    def dispatch(self, key: Any, function: Callable[[list[tuple[Pid, Any]]], Any]) -> None:
        """Call ``function`` with what ``lookup(key)`` finds, in the caller; not when nobody is there.

        Source: Registry.dispatch/3.
        """
        entries = self.lookup(key)
        if entries:
            function(entries)

    def send(self, key: Any, message: Any) -> int:
        """Send message to all processes under key; returns to how many."""
        return int(self._dir.broadcast(key, message, None))

    def select(
        self, pattern: Any = ..., *, where: Callable[[tuple[Any, Pid, Any]], Any] | None = None
    ) -> list[tuple[Any, Pid, Any]]:
        """All entries ``(key, pid, value)`` that fit; pattern and where as for ``Table.select``. One moment's view.

        Source: Registry.select/2 and match/4.
        """
        found = [row for row in self._dir.listing(None, True) if _core._table_fits(row, pattern)]
        found = [(key, pid, copy.deepcopy(value)) for key, pid, value in found]
        return [row for row in found if where is None or where(row)]

    def count(self) -> int:
        """The number of entries now; of those that fit a pattern: ``len(registry.select(pattern))``."""
        return int(self._dir.count())

    __len__ = count

    def __bool__(self) -> bool:
        return True

    def listen(self, key: Any = ...) -> Ref:
        """Tell the calling process of every change from now on.

        It receives ``(ref, "register", key, pid)`` and ``(ref, "unregister", key, pid)``, also when pid ends.

        Args:
            key: Only changes under it; default: of all keys.

        Source: the listeners of Elixir's Registry.
        """
        ref: Ref = self._dir.watch(key)[0]
        return ref

    def unlisten(self, ref: Ref) -> None:
        """End a ``listen``, which gave ref; what it sent may still be in the mailbox."""
        self._dir.unwatch(ref)

    def __repr__(self) -> str:
        return f"<Registry {self._name!r}>" if self._name is not None else "<Registry>"

    def __deepcopy__(self, memo: dict[int, Any]) -> Registry:
        return _wrap(self._dir.__copy__(), self._name)


def _wrap(found: Any, name: str | None) -> Registry:
    registry = object.__new__(Registry)
    registry._dir = found
    registry._name = name
    return registry
