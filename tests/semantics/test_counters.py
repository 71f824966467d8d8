"""Semantics 1.13: counters, atomics, persistent terms."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from support import all_down, in_node, scaled

from transom import persistent_term, spawn_monitor
from transom.counters import Atomics, Counters


def test_atomics() -> None:
    a = Atomics(3)
    assert len(a) == 3 and a.get(0) == 0
    a.put(0, 5)
    a.add(0, 2)
    a.sub(0, 10)
    assert a.get(0) == -3 and a.add_get(0, 3) == 0 and a.exchange(0, 7) == 0
    assert a.compare_exchange(0, 7, 8) is None and a.compare_exchange(0, 7, 9) == 8 and a.get(0) == 8
    assert a.get(1) == a.get(2) == 0


def test_arithmetic_wraps_around() -> None:
    for a in (Atomics(1), Counters(1), Counters(1, write_concurrency=True)):
        a.put(0, 2**63 - 1)
        a.add(0, 1)
        assert a.get(0) == -(2**63)
        a.sub(0, 1)
        assert a.get(0) == 2**63 - 1
        a.put(0, 2**64 + 5)
        assert a.get(0) == 5
    u = Atomics(1, signed=False)
    u.sub(0, 1)
    assert u.get(0) == 2**64 - 1 and u.add_get(0, 1) == 0


def test_bad_arguments() -> None:
    a = Atomics(2)
    for index in (2, -1, 2**70):
        with pytest.raises(IndexError, match="0 to 1"):
            a.get(index)
    for bad in ("0", 1.0, None):
        with pytest.raises(TypeError):
            a.get(bad)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            a.add(0, bad)  # type: ignore[arg-type]
    for size in (0, -1, 2**40):
        with pytest.raises(ValueError, match="size"):
            Counters(size)
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(a)
    b = copy.deepcopy(a)
    b.put(1, 4)
    assert a.get(1) == 4, "a copy is a handle of the same array"


@pytest.mark.race
@in_node(schedulers=2)
async def test_all_schedulers_add_up() -> None:
    arrays: list[Any] = [Atomics(1), Counters(1), Counters(1, write_concurrency=True)]
    each = scaled(2000)

    async def add(arrays: list[Any]) -> None:
        for _ in range(each):
            for a in arrays:
                a.add(0, 1)
            arrays[0].add_get(0, -1)
            while (now := arrays[0].get(0)) or True:
                if arrays[0].compare_exchange(0, now, now + 1) is None:
                    break

    await all_down([spawn_monitor(add, arrays)[1] for _ in range(8)])
    assert [a.get(0) for a in arrays] == [8 * each] * 3


def test_persistent_terms() -> None:
    value = ("a", (1, 2), frozenset({3}))
    persistent_term.put(("app", "key"), value)
    try:
        assert persistent_term.get(("app", "key")) is value
        persistent_term.put(("app", "key"), 5)
        assert persistent_term.get(("app", "key")) == 5 and (("app", "key"), 5) in persistent_term.items()
        for changeable in ([1], {"a": 1}, (1, [2])):
            with pytest.raises(TypeError, match="can be changed"):
                persistent_term.put("x", changeable)
    finally:
        assert persistent_term.erase(("app", "key")) is True
    assert persistent_term.erase(("app", "key")) is False and persistent_term.get("x", None) is None
    with pytest.raises(KeyError):
        persistent_term.get("x")
    with pytest.raises(TypeError, match="key"):
        persistent_term.get([])
