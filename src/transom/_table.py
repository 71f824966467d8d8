"""Tables: rows outside any process, shared by all of them, as OTP's ETS."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import fractions
import pathlib
import types
import uuid
from collections.abc import Callable, Iterator
from typing import Any, Literal

from transom import _copying, _core, _errors
from transom._core import Pid, TableTransfer

Kind = Literal["set", "ordered_set", "bag", "duplicate_bag"]
Access = Literal["public", "protected", "private"]
KINDS: tuple[Kind, ...] = ("set", "ordered_set", "bag", "duplicate_bag")
ACCESSES: tuple[Access, ...] = ("public", "protected", "private")
_KEYS_A_TURN = 32

Row = tuple[Any, ...]


class Continuation:
    """Where a ``select`` with a limit stopped; hand it to ``select_more``, now or later.

    It stays good whatever happens to the table meanwhile, and can be used more than once.

    Example:
        >>> import transom
        >>> async def main():
        ...     table = transom.Table(kind="ordered_set")
        ...     table.insert([(n,) for n in range(5)])
        ...     rows, more = table.select(limit=3)
        ...     return rows, table.select_more(more)[0]
        >>> transom.run(main)
        ([(0,), (1,), (2,)], [(3,), (4,)])

    Source: the continuations of ets:select/3.
    """

    __slots__ = ("_limit", "_pattern", "_position", "_value", "_where")

    def __init__(
        self,
        pattern: Any,
        where: Callable[[Row], Any] | None,
        value: Callable[[Row], Any] | None,
        limit: int,
        position: bytes,
    ) -> None:
        self._pattern = pattern
        self._where = where
        self._value = value
        self._limit = limit
        self._position = position

    def __repr__(self) -> str:
        return f"<Continuation of select, limit {self._limit}>"


class Table(_core._Table):
    """A table of rows that processes share; the calling process becomes its owner.

    A row is a tuple, one of whose elements is the key. Values are copied in and out by the rules of messages
    (deeply immutable ones go by reference), so nobody ever holds a part of the table. Each operation on one row, and
    ``insert`` of a list, is atomic and isolated. Lookups take no lock.

    The table lives until its owner ends or somebody with write access calls ``drop()``; handles do not keep it alive.
    When the owner ends the table is gone before any monitor fires, unless there is an heir. A handle is a small value:
    sending it, or passing it to ``spawn``, gives the receiver one of its own, which is also faster on more than one core
    than a handle that processes share.

    Which keys are the same: in a ``set``, ``bag`` and ``duplicate_bag`` those of the same type and value, so ``1``,
    ``1.0`` and ``True`` are three keys; in an ``ordered_set`` numbers are compared by value and those three are one. No
    ``__eq__`` or ``__hash__`` of yours is ever called. Keys are numbers, str, bytes, None, Pids, Refs, tuples and
    frozensets of keys, enum members, classes, functions, frozen dataclasses of keys, and the immutable values of the
    standard library (Decimal, UUID, datetime, ...).

    Args:
        name: Makes it a named table, found with ``Table.at(name)``. Default: none.
        kind: ``"set"``: one row a key. ``"ordered_set"``: one row a key, in the order of keys (None, numbers, str,
            bytes, Refs, Pids, tuples). ``"bag"``: any number of different rows a key. ``"duplicate_bag"``: of any rows.
        access: ``"protected"``: all read, the owner writes. ``"public"``: all read and write, also threads outside
            of any process. ``"private"``: only the owner reads and writes.
        keypos: The position of the key in a row, counted from 0.
        heir: The process that becomes owner when the owner ends, and receives ``TableTransfer``.
        heir_data: What the heir receives with it.

    Raises:
        NotInProcess: Called outside a process.
        NameTaken: Another table has the name.
        ValueError: An unknown kind or access, or a negative keypos.

    Example:
        >>> import transom
        >>> async def worker(table):
        ...     table.update_counter("visits", 1)
        >>> async def main():
        ...     table = transom.Table(access="public")
        ...     table.insert(("visits", 0))
        ...     refs = [transom.spawn_monitor(worker, table)[1] for _ in range(3)]
        ...     for ref in refs:
        ...         await transom.receive(ref)
        ...     return table.lookup("visits")
        >>> transom.run(main)
        [('visits', 3)]

    Source: ets:new/2.
    """

    __slots__ = ()

    def __new__(
        cls,
        name: str | None = None,
        *,
        kind: Kind = "set",
        access: Access = "protected",
        keypos: int = 0,
        heir: Pid | None = None,
        heir_data: Any = None,
    ) -> Table:
        if name is not None and (type(name) is not str or not name):
            raise TypeError(f"Table: name must be a non-empty str, not {name!r}")
        if type(keypos) is not int:
            raise TypeError(f"Table: keypos must be an int, not {keypos!r}")
        if not 0 <= keypos < 1 << 24:
            raise ValueError(f"Table: keypos counts from 0 and is below 2**24, not {keypos}")
        kind_number = _index("kind", kind, KINDS)
        table: Table = _core._table_new(name, kind_number, _index("access", access, ACCESSES), keypos, False)
        if heir is not None:
            try:
                table.set_heir(heir, heir_data)
            except BaseException:
                table.drop()
                raise
        return table

    @staticmethod
    def at(name: str) -> Table:
        """The table with this name.

        Raises:
            NoTable: There is none.

        Source: the named tables of ets; ets:whereis/1.
        """
        table: Table | None = _core._table_named(name)
        if table is None:
            raise _errors.NoTable(f"no table is named {name!r}")
        return table

    @staticmethod
    def whereis(name: str) -> Table | None:
        """The table with this name, or None. Source: ets:whereis/1."""
        table: Table | None = _core._table_named(name)
        return table

    def info(self) -> dict[str, Any] | None:
        """What is known about the table, or None when it is gone.

        Returns:
            ``id``, ``name``, ``kind``, ``access``, ``keypos``, ``owner``, ``heir``, ``size`` (rows) and ``memory``
            (bytes of the table itself, without the values that are not small ints). The two numbers are read
            without a lock.

        Source: ets:info/1.
        """
        found = self._info()
        if found is not None:
            found["kind"] = KINDS[found["kind"]]
            found["access"] = ACCESSES[found["access"]]
        return found

    def select(
        self,
        pattern: Any = ...,
        *,
        where: Callable[[Row], Any] | None = None,
        value: Callable[[Row], Any] | None = None,
        limit: int | None = None,
    ) -> Any:
        """The rows that fit, or what ``value`` makes of them.

        Not a snapshot: each row that is there and fits during the whole call comes exactly once, one that comes, goes or
        changes meanwhile may or may not. ``where`` and ``value`` are ordinary functions; they run in the caller,
        outside of any lock, and may use the table. A pattern whose key holds no ``...`` finds its rows at once.

        Args:
            pattern: ``...`` fits everything; a tuple fits tuples of its length whose elements fit; any other value fits
                what has the same type and is equal to it.
            where: Called with each row that fits the pattern; only rows for which it is true count.
            value: Called with each row that counts; the result holds what it returns.
            limit: Stop after this many results, at least 1 (rows of one key in a bag are not split).

        Returns:
            A list; with ``limit`` a pair of a list and a ``Continuation``, or of a list and None at the end.

        Example:
            >>> import transom
            >>> async def main():
            ...     t = transom.Table(kind="ordered_set")
            ...     t.insert([("ann", "red", 3), ("bob", "blue", 1), ("cy", "red", 2)])
            ...     return t.select((..., "red", ...), where=lambda row: row[2] > 2, value=lambda row: row[0])
            >>> transom.run(main)
            ['ann']

        Source: ets:select/2,3; functions take the place of match specifications.
        """
        if limit is None:
            return [row if value is None else value(row) for row in self._rows(pattern, where)]
        if type(limit) is not int or limit < 1:
            raise ValueError(f"select: limit must be an int of at least 1, not {limit!r}")
        return self._some(pattern, where, value, limit, None)

    def select_more(self, continuation: Continuation) -> tuple[list[Any], Continuation | None]:
        """The next results of a ``select`` with a limit, which gave the continuation. Source: ets:select/1."""
        if not isinstance(continuation, Continuation):
            raise TypeError(f"select_more takes what select returned, not {type(continuation).__name__}")
        c = continuation
        return self._some(c._pattern, c._where, c._value, c._limit, c._position)

    def match(self, pattern: Any, limit: int | None = None) -> Any:
        """The rows that fit the pattern, as ``select(pattern, limit=limit)``. Source: ets:match_object/2,3."""
        return self.select(pattern, limit=limit)

    def select_count(self, pattern: Any = ..., *, where: Callable[[Row], Any] | None = None) -> int:
        """How many rows fit; pattern and where as for ``select``. Source: ets:select_count/2."""
        return sum(1 for _ in self._rows(pattern, where))

    def select_delete(self, pattern: Any = ..., *, where: Callable[[Row], Any] | None = None) -> int:
        """Delete the rows that fit, one by one, and return how many; pattern and where as for ``select``.

        Source: ets:select_delete/2. In a ``bag`` and ``set`` a row that changed after ``where`` saw it is not deleted.
        """
        return sum(self.delete_object(row) for row in self._rows(pattern, where))

    def select_replace(
        self,
        pattern: Any,
        replace: Callable[[Row], Row],
        *,
        where: Callable[[Row], Any] | None = None,
    ) -> int:
        """Replace each row that fits by ``replace(row)``, which must have the same key; returns how many.

        A row that changed after it was read is left as it is now. Works on ``set`` and ``ordered_set``.

        Raises:
            ValueError: The new row has another key; rows before it are replaced.

        Source: ets:select_replace/2.
        """
        keypos = self._known()["keypos"]
        count = 0
        for row in self._rows(pattern, where):
            new = replace(row)
            if not isinstance(new, tuple) or len(new) <= keypos or not _core._table_same(new[keypos], row[keypos]):
                raise ValueError(f"select_replace: {new!r} does not keep the key of {row!r}")
            count += self._swap(row, new)
        return count

    def __iter__(self) -> Iterator[Row]:
        """All rows, with the promises of ``select``."""
        return self._rows(..., None)

    def __len__(self) -> int:
        """The number of rows now."""
        return int(self._known()["size"])

    def __contains__(self, key: Any) -> bool:
        """Whether a row has this key; ``member``."""
        return self.member(key)

    def __bool__(self) -> bool:
        """A handle is true, also of an empty table."""
        return True

    def _known(self) -> dict[str, Any]:
        found = self._info()
        if found is None:
            raise _errors.NoTable(f"{self!r} is gone: its owner ended or it was dropped")
        return found

    def _rows(self, pattern: Any, where: Callable[[Row], Any] | None) -> Iterator[Row]:
        found = self._by_key(pattern)
        position: bytes | None = None
        while True:
            if found is None:
                rows, position = self._scan(pattern, position, _KEYS_A_TURN)
            else:
                rows = found
            for row in rows:
                if where is None or where(row):
                    yield row
            if position is None:
                return

    def _by_key(self, pattern: Any) -> list[Row] | None:
        """The rows of the one key that the pattern names, or None when it names none."""
        if type(pattern) is not tuple:
            return None
        known = self._known()
        if len(pattern) <= known["keypos"] or _has_wildcard(pattern[known["keypos"]]):
            return None
        rows: list[Row] = self.lookup(pattern[known["keypos"]])
        return [row for row in rows if _core._table_fits(row, pattern)]

    def _some(
        self,
        pattern: Any,
        where: Callable[[Row], Any] | None,
        value: Callable[[Row], Any] | None,
        limit: int,
        position: bytes | None,
    ) -> tuple[list[Any], Continuation | None]:
        results: list[Any] = []
        while True:
            rows, position = self._scan(pattern, position, min(limit - len(results), _KEYS_A_TURN))
            results += [row if value is None else value(row) for row in rows if where is None or where(row)]
            if position is None:
                return results, None
            if len(results) >= limit:
                return results, Continuation(pattern, where, value, limit, position)


def _index(what: str, value: str, known: tuple[str, ...]) -> int:
    if value not in known:
        raise ValueError(f"Table: {what} must be one of {', '.join(known)}, not {value!r}")
    return known.index(value)


def _has_wildcard(pattern: Any) -> bool:
    return pattern is ... or (type(pattern) is tuple and any(_has_wildcard(item) for item in pattern))


# Immutable values of the standard library: equal exactly when these texts are.
_BY_TEXT = frozenset(
    {
        decimal.Decimal, fractions.Fraction, uuid.UUID,
        datetime.date, datetime.time, datetime.datetime, datetime.timedelta, datetime.timezone,
        pathlib.PurePosixPath, pathlib.PureWindowsPath, pathlib.PosixPath, pathlib.WindowsPath, range,
    }
)  # fmt: skip


def _key_of(value: Any) -> tuple[Any, ...] | None:
    """What stands for a key that the core does not know; None: the object itself. Called before any lock."""
    kind = type(value)
    if isinstance(value, (enum.Enum, type, types.MethodDescriptorType, types.WrapperDescriptorType)):
        return None
    if kind in _BY_TEXT:
        return (repr(value),)
    if dataclasses.is_dataclass(kind) and _copying.classify(kind) == _copying.FROZEN:
        return tuple(getattr(value, field.name) for field in dataclasses.fields(kind))
    if isinstance(value, tuple):
        return tuple(tuple.__iter__(value))
    raise TypeError(
        f"{kind.__qualname__} cannot be a table key: a key is compared by its value without running code of its own, so "
        "it is made of numbers, str, bytes, None, Pids, Refs, tuples, frozensets, enum members, frozen dataclasses or "
        "classes"
    )


_core._table_setup(Table, _errors.NoTable, _errors.TableAccess, _key_of)

__all__ = ["Continuation", "Table", "TableTransfer"]
