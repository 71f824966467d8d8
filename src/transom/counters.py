"""Arrays of 64-bit integers that processes share and change without a message or a lock.

Arithmetic wraps around: signed numbers run from -2**63 to 2**63 - 1. An array lives as long as somebody has it; sending
it, or passing it to ``spawn``, gives the receiver a handle of the same array.

    >>> import transom
    >>> from transom.counters import Counters
    >>> async def worker(hits):
    ...     hits.add(0, 1)
    >>> async def main():
    ...     hits = Counters(1)
    ...     for ref in [transom.spawn_monitor(worker, hits)[1] for _ in range(3)]:
    ...         await transom.receive(ref)
    ...     return hits.get(0)
    >>> transom.run(main)
    3
"""

from __future__ import annotations

from typing import Any

from transom import _core

__all__ = ["Atomics", "Counters"]


class _Shared:
    __slots__ = ("_array",)
    _array: Any

    def __copy__(self) -> Any:
        return self.__deepcopy__({})

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        twin = object.__new__(type(self))
        twin._array = self._array.__copy__()
        return twin

    def __reduce__(self) -> Any:
        raise TypeError(f"{self!r} lives in this node and cannot be pickled")

    def __len__(self) -> int:
        """The number of elements."""
        return int(self._array.size())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)}>"

    def get(self, index: int) -> int:
        """The number at index, counted from 0. Raises IndexError outside of the array."""
        return int(self._array.get(index))

    def put(self, index: int, value: int) -> None:
        """Set the number at index; of value the lowest 64 bits count."""
        self._array.put(index, value)

    def add(self, index: int, increment: int) -> None:
        """Add increment to the number at index."""
        self._array.add(index, increment)

    def sub(self, index: int, decrement: int) -> None:
        """Subtract decrement from the number at index."""
        self._array.add(index, -decrement)


class Atomics(_Shared):
    """An array of integers with atomic operations, sequentially consistent among each other.

    Args:
        size: Number of elements, 1 to 2**28. All start as 0.
        signed: False: numbers run from 0 to 2**64 - 1.

    Example:
        >>> from transom.counters import Atomics
        >>> flags = Atomics(2)
        >>> flags.add_get(0, 5), flags.exchange(0, 1), flags.compare_exchange(0, 1, 9), flags.compare_exchange(0, 1, 7)
        (5, 5, None, 9)

    Source: OTP ``atomics``; positions count from 0 here.
    """

    __slots__ = ()

    def __init__(self, size: int, *, signed: bool = True) -> None:
        self._array = _core._array(size, signed, False)

    def add_get(self, index: int, increment: int) -> int:
        """Add increment to the number at index and return what it is now."""
        return int(self._array.add_get(index, increment))

    def exchange(self, index: int, value: int) -> int:
        """Set the number at index to value and return what it was."""
        return int(self._array.exchange(index, value))

    def compare_exchange(self, index: int, expected: int, desired: int) -> int | None:
        """Set the number at index to desired if it is expected.

        Returns:
            None when it was set; else the number that is there.

        Source: atomics:compare_exchange/4, whose ``ok`` is None here.
        """
        found = self._array.compare_exchange(index, expected, desired)
        return None if found is None else int(found)


class Counters(_Shared):
    """An array of signed counters.

    Args:
        size: Number of elements, 1 to 2**28. All start as 0.
        write_concurrency: Counters are split, so that threads that add do not wait for each other's cache lines;
            ``get`` may then miss additions that are under way, ``put`` beside ``add`` may lose some, and each counter
            takes 128 bytes and more.

    Source: OTP ``counters``.
    """

    __slots__ = ()

    def __init__(self, size: int, *, write_concurrency: bool = False) -> None:
        self._array = _core._array(size, True, write_concurrency)
