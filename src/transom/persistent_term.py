"""Values that change almost never and are read all the time, by everybody, without a copy.

    >>> from transom import persistent_term
    >>> persistent_term.put("limits", (10, 20))
    >>> persistent_term.get("limits")
    (10, 20)
    >>> persistent_term.items()
    [('limits', (10, 20))]
    >>> persistent_term.erase("limits")
    True

Values must be deeply immutable, as nobody gets a copy: tuples, frozen dataclasses, frozensets, str, functions, classes.
Keys are compared as in a ``Table`` of kind ``"set"``. Any thread may use this, with or without a node, and nothing here
blocks; what is put stays until it is erased or the program ends. Source: OTP ``persistent_term``.
"""

from __future__ import annotations

from typing import Any

from transom import _core, _table

__all__ = ["erase", "get", "items", "put"]

_MISSING: Any = object()
_terms: _table.Table = _core._table_new(None, 0, 0, 0, True)


def put(key: Any, value: Any) -> None:
    """Set the value of key. Whoever got the old value keeps it.

    Args:
        key: As the key of a table.
        value: Deeply immutable.

    Raises:
        TypeError: value can be changed, or key cannot be a key.

    Source: persistent_term:put/2. No process is stopped or scanned here: values are reference-counted.
    """
    if not _core._table_immutable(value):
        raise TypeError(
            f"persistent_term.put: {type(value).__qualname__} can be changed, and readers get no copy; "
            "use tuples, frozensets or frozen dataclasses, or a Table"
        )
    _terms.insert((key, value))


def get(key: Any, default: Any = _MISSING) -> Any:
    """The value of key, the very object that was put; takes no lock.

    Args:
        key: As the key of a table.
        default: What to return when nothing was put; not given: KeyError.

    Raises:
        KeyError: Nothing was put, and no default given.

    Source: persistent_term:get/1,2.
    """
    if default is _MISSING:
        return _terms.lookup_element(key, 1)
    return _terms.lookup_element(key, 1, default)


def erase(key: Any) -> bool:
    """Remove key. Returns whether it was there. Source: persistent_term:erase/1."""
    return bool(_terms.take(key))


def items() -> list[tuple[Any, Any]]:
    """All keys and values now. Source: persistent_term:get/0."""
    return [(row[0], row[1]) for row in _terms]
