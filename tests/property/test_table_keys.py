"""Keys as bytes: equality and order of any keys, against plain Python."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from support import run_node

from transom import Table

NUMBERS = st.one_of(
    st.integers(-(2**80), 2**80),
    st.integers(-5, 5),
    st.floats(allow_nan=False),
    st.booleans(),
    st.integers(-(2**60), 2**60).map(float),
)
ATOMS = st.one_of(st.none(), NUMBERS, st.text(), st.text(alphabet="a\0\xe9\ud800\U00010000"), st.binary())
KEYS = st.recursive(ATOMS, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=6)


def exact(key: Any) -> Any:
    """Equal for keys that are one in a set: same type and value, at every depth."""
    if isinstance(key, tuple):
        return tuple(exact(item) for item in key)
    if isinstance(key, float):
        return (float, key + 0.0 if key else 0.0)
    return (type(key), key)


def rank(key: Any) -> Any:
    """Sorts as keys do in an ordered_set."""
    if key is None:
        return (0,)
    if isinstance(key, (bool, int, float)):
        return (1, key)
    if isinstance(key, str):
        return (2, [ord(c) for c in key])
    if isinstance(key, bytes):
        return (3, key)
    return (4, [rank(item) for item in key])


@settings(max_examples=150, deadline=None)
@given(st.lists(KEYS, max_size=30))
def test_a_set_tells_keys_by_type_and_value(keys: list[Any]) -> None:
    async def main() -> None:
        t = Table()
        model: dict[Any, tuple[Any, int]] = {}
        for i, key in enumerate(keys):
            t.insert((key, i))
            model[exact(key)] = (key, i)
        assert len(t) == len(model)
        for key in keys:
            assert t.lookup(key)[0][1] == model[exact(key)][1]
        walked, key = 0, t.first()
        while key is not ...:
            walked += 1
            key = t.next(key)
        assert walked == len(model)

    run_node(main, schedulers=1)


@settings(max_examples=150, deadline=None)
@given(st.lists(KEYS, max_size=30))
def test_an_ordered_set_is_in_order(keys: list[Any]) -> None:
    async def main() -> None:
        t = Table(kind="ordered_set")
        for i, key in enumerate(keys):
            t.insert((key, i))
        ranks = [rank(row[0]) for row in t]
        assert ranks == sorted(ranks)
        distinct = []
        for r in sorted(rank(key) for key in keys):
            if not distinct or distinct[-1] != r:
                distinct.append(r)
        assert ranks == distinct
        back, key = [], t.last()
        while key is not ...:
            back.append(rank(key))
            key = t.prev(key)
        assert back == ranks[::-1]
        assert not t.member(math.inf) or math.inf in keys

    run_node(main, schedulers=1)
