"""The codec of untrusted replies: round trips, and bytes that no honest writer makes."""

from __future__ import annotations

import random
import struct
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transom import _core, _isolated_data  # type: ignore[attr-defined, unused-ignore]

ATOMS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(1 << 200), max_value=1 << 200)
    | st.floats(allow_nan=False)
    | st.complex_numbers(allow_nan=False)
    | st.text()
    | st.binary()
)
HASHABLE = st.recursive(ATOMS, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=6)
VALUES = st.recursive(
    HASHABLE | st.binary().map(bytearray) | st.sets(HASHABLE, max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.tuples(inner, inner) | st.dictionaries(HASHABLE, inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None)
@given(VALUES)
def test_what_is_written_is_read(value: Any) -> None:
    again = _isolated_data.decode(_isolated_data.encode(value))
    assert type(again) is type(value) and again == value


@pytest.mark.parametrize("value", [0, -1, (1 << 63) - 1, 1 << 63, -(1 << 63), -(1 << 63) - 1, 255 << 56, 1 << 1000])
def test_ints_at_the_edges(value: int) -> None:
    assert _isolated_data.decode(_isolated_data.encode(value)) == value
    assert _isolated_data.decode(_isolated_data.encode(-value)) == -value


def test_kinds_made_from_data() -> None:
    value = [
        datetime(2026, 1, 2, 3, 4, 5, 6, UTC),
        date(2026, 1, 2),
        time(3, 4),
        timedelta(-1, 2, 3),
        Decimal("1.50"),
        UUID(int=5),
    ]
    assert _isolated_data.decode(_isolated_data.encode(value)) == value


def test_subclasses_are_no_data() -> None:
    class Text(str): ...

    for value in (Text("x"), object(), [lambda: 1], range(3), type):
        with pytest.raises(TypeError, match="cannot be in the result"):
            _isolated_data.encode(value)


def test_what_contains_itself_is_an_error() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(ValueError, match="contains itself"):
        _isolated_data.encode(loop)
    deep: Any = 1
    for _ in range(190):
        deep = (deep,)
    assert _isolated_data.decode(_isolated_data.encode(deep)) == deep
    with pytest.raises(ValueError, match="bad data"):
        _core._data_decode((b"t" + struct.pack("<Q", 1)) * 100_000 + b"N", lambda tag, payload: None)


def readable(data: bytes) -> bool:
    """Reading gives a value or one of the errors that callers expect; anything else fails the test."""
    try:
        _isolated_data.decode(data)
    except (ValueError, TypeError):  # TypeError: a key that is not hashable, a class that was not named
        return False
    return True


SAMPLE = {
    "a": [1, 2.5, 1j, None, True, 1 << 90],
    (b"x",): {frozenset([1]), "s"},
    "d": [date(2026, 1, 2), bytearray(b"z")],
}


def test_every_cut_is_an_error() -> None:
    data = _isolated_data.encode(SAMPLE)
    assert readable(data)
    for length in range(len(data)):
        assert not readable(data[:length])
    assert not readable(data + b"N")


def test_no_flipped_byte_does_harm() -> None:
    data = _isolated_data.encode(SAMPLE)
    outcomes = set()
    for at in range(len(data)):
        for value in {data[at] ^ 1 << bit for bit in range(8)} | set(b"NxlIsd\xff\0"):
            outcomes.add(readable(data[:at] + bytes([value]) + data[at + 1 :]))
    assert outcomes == {True, False}


def test_random_bytes_do_no_harm(rng: random.Random) -> None:
    tags = b"NTFifcIsbaltSZdx\0\1\xff"
    for _ in range(20_000):
        readable(bytes(rng.choices(tags, k=rng.randrange(40))))
        readable(rng.randbytes(rng.randrange(40)))


def test_no_count_is_believed() -> None:
    for tag in b"IsbaltSZd":
        for count in (1 << 62, (1 << 64) - 1, 1 << 32, 2):
            with pytest.raises(ValueError, match="bad data: a count is larger"):
                _core._data_decode(bytes([tag]) + struct.pack("<Q", count) + b"N", lambda tag, payload: None)


def test_hostile_kinds() -> None:
    def written(tag: Any, payload: Any) -> bytes:
        return _core._data_encode(object(), lambda value: (tag, payload))

    for tag, payload in [
        ("numpy", ("O", (1,), b"12345678", False)),
        ("numpy", ("f8", (1 << 40,), b"12345678", False)),
        ("numpy", ("f8", (1,), b"1234567", False)),
        ("numpy", 5),
        ("enum", ("os", "system", "x")),
        ("dataclass", ("builtins", "object", {"__class__": 1})),
        ("decimal", (0, (1, 2), 3)),
        ("decimal", "x"),
        ("uuid", b"1"),
        ("datetime", "yesterday"),
        ("timedelta", (1 << 80, 0, 0)),
        ("nothing", None),
        (7, None),
    ]:
        with pytest.raises((ValueError, TypeError)):
            _isolated_data.decode(written(tag, payload))


def test_misuse_of_the_codec() -> None:
    for wrong in ((), (b"N",), ("N", None), (bytearray(b"N"), None)):
        with pytest.raises(TypeError):
            _core._data_decode(*wrong)
    with pytest.raises(TypeError, match=r"\(tag, payload\)"):
        _core._data_encode(object(), lambda value: 5)
