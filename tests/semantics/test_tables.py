"""Semantics 1.13: tables."""

from __future__ import annotations

import copy
import enum
import math
import pickle
import random
from dataclasses import dataclass
from typing import Any

import pytest
from support import in_node, other, take

from transom import (
    NameTaken,
    NoProcess,
    NoTable,
    NotInProcess,
    Table,
    TableAccess,
    TableTransfer,
    current_pid,
    kill,
    receive,
    send,
    spawn,
    spawn_monitor,
)

MATCHED: tuple[Any, ...] = ("set", "bag", "duplicate_bag")
KINDS: tuple[Any, ...] = ("set", "ordered_set", "bag", "duplicate_bag")


# -- kinds ------------------------------------------------------------------------------------------------------------


@in_node()
async def test_a_set_keeps_one_row_a_key() -> None:
    for kind in ("set", "ordered_set"):
        t = Table(kind=kind)  # type: ignore[arg-type]
        t.insert(("a", 1))
        t.insert(("a", 2))
        assert t.lookup("a") == [("a", 2)] and t.lookup("b") == [] and len(t) == 1


@in_node()
async def test_bags_collapse_identical_rows_and_duplicate_bags_do_not() -> None:
    rows = [("a", 1), ("a", 2), ("b", 1), ("a", 1), ("a", 1.0), ("a", True), ("a", [1]), ("a", [1])]
    bag, duplicates = Table(kind="bag"), Table(kind="duplicate_bag")
    for row in rows:
        bag.insert(row)
        duplicates.insert(row)
    assert [repr(row) for row in bag.lookup("a")] == [
        repr(row) for row in (("a", 1), ("a", 2), ("a", 1.0), ("a", True), ("a", [1]))
    ]
    assert duplicates.lookup("a") == [row for row in rows if row[0] == "a"], "insertion order"
    assert len(bag) == 6 and len(duplicates) == 8


@in_node()
async def test_keys_match_by_type_and_value() -> None:
    for kind in MATCHED:
        t = Table(kind=kind)
        for row in ((1, "int"), (1.0, "float"), (True, "bool"), ("1", "str"), (b"1", "bytes"), ((1,), "tuple")):
            t.insert(row)
        assert [t.lookup(key)[0][1] for key in (1, 1.0, True, "1", b"1", (1,))] == [
            "int", "float", "bool", "str", "bytes", "tuple",
        ]  # fmt: skip
        assert not t.member((1.0,)) and not t.member((True,)) and t.member((1,))
        t.insert((0.0, "zero"))
        t.insert((math.nan, "nan"))
        assert t.member(-0.0) and t.member(math.nan) and not t.member(0)


@in_node()
async def test_an_ordered_set_compares_numbers_by_value() -> None:
    t = Table(kind="ordered_set")
    t.insert((1, "int"))
    t.insert((1.0, "float"))
    assert t.lookup(True) == [(1.0, "float")] and len(t) == 1
    keys: list[Any] = [None, -math.inf, -(2**70), -1.5, -1, -1e-300, 0, 1e-300, 0.5, 1, 1.5, 2**53, 2**53 + 1, 2.0**54]
    keys += [
        2**70,
        1e300,
        10**400,
        math.inf,
        "",
        "\0",
        "a",
        "a\0",
        "ab",
        "b",
        "\u00e9",
        "\uffff",
        "\U00010000",
        b"",
        b"\0",
    ]
    keys += [b"a", (), (None,), (1,), (1, "a"), (1.5,), ("a",)]
    t.delete_all()
    shuffled = random.Random(1).sample(keys, len(keys))
    for key in shuffled:
        t.insert((key,))
    assert [row[0] for row in t] == keys
    with pytest.raises(ValueError, match="nan"):
        t.insert((math.nan,))


class Color(enum.Enum):
    RED = 1
    BLUE = 2


@dataclass(frozen=True)
class Point:
    x: int
    y: Any

    def __eq__(self, other: object) -> bool:
        raise AssertionError("a table compares without running code of the user's classes")

    def __hash__(self) -> int:
        raise AssertionError("a table hashes without running code of the user's classes")


@in_node()
async def test_a_row_comes_out_as_it_went_in_whatever_key_it_is_asked_with() -> None:
    t = Table(kind="ordered_set")
    for stored in (1, 1.0, True):
        t.insert((stored, "x"))
        for asked in (1, 1.0, True):
            [(key, _)] = t.lookup(asked)
            assert type(key) is type(stored)
    for kind in KINDS:
        t = Table(kind=kind, keypos=1)
        for key in (7, 12345, 1 << 62, "text", "\u20ac", 0.5, True, None, (1, "a"), b"b"):
            t.insert(("x", key))
            equal = eval(repr(key))
            assert t.lookup(equal) == [("x", key)]
            assert type(t.lookup(equal)[0][1]) is type(key)


@in_node()
async def test_other_immutable_keys() -> None:
    import datetime
    import decimal
    import uuid

    for kind in KINDS:
        t = Table(kind=kind)
        keys = [
            Color.RED, Color.BLUE, Point(1, 2), Point(1, "2"), len, Color, frozenset({1, 2}), frozenset({1, "2"}),
            decimal.Decimal("1.5"), uuid.UUID(int=5), datetime.date(2020, 1, 2), current_pid(), 3j, ..., 2**100, -(2**100),
        ]  # fmt: skip
        for i, key in enumerate(keys):
            t.insert((key, i))
        for i, key in enumerate(keys):
            assert t.lookup_element(key, 1) == i, key
        assert t.member(Point(1, 2)) and not t.member(Point(2, 1)) and t.member(frozenset({2, 1}))


class Hostile:
    def __eq__(self, other: object) -> bool:
        raise AssertionError("called")

    def __hash__(self) -> int:
        raise AssertionError("called")


class Sneaky(str):
    def __eq__(self, other: object) -> bool:
        raise AssertionError("called")

    def __hash__(self) -> int:
        raise AssertionError("called")


@in_node()
async def test_what_cannot_be_a_key_is_refused_by_name() -> None:
    for kind in KINDS:
        t = Table(kind=kind)
        for key in (
            [1],
            {1: 2},
            {1},
            bytearray(b"x"),
            Hostile(),
            Sneaky("x"),
            object(),
            ([],),
            frozenset({Hostile.__new__}),
        ):
            if isinstance(key, frozenset):
                t.insert((key,))  # functions are themselves
                continue
            for use in (t.lookup, t.member, t.delete, t.take, t.next, lambda k, t=t: t.insert((k, 1))):
                with pytest.raises(TypeError, match="cannot be a table key"):
                    use(key)
        deep: Any = 1
        for _ in range(100_000):
            deep = (deep,)
        with pytest.raises(RecursionError):
            t.lookup(deep)
        while isinstance(deep, tuple):
            deep = deep[0]


@in_node()
async def test_rows_must_be_tuples_with_a_key() -> None:
    t = Table(keypos=1)
    for bad in ("ab", 5, {"a": 1}, None):
        with pytest.raises(TypeError, match="row is a tuple"):
            t.insert(bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no position 1"):
        t.insert(("a",))
    t.insert(("a", "key"))
    assert t.lookup("key") == [("a", "key")]


# -- owner, access, heir ----------------------------------------------------------------------------------------------


@in_node()
async def test_a_table_needs_a_process_and_dies_with_it() -> None:
    me = current_pid()

    async def owner() -> None:
        t = Table("mine", access="public")
        t.insert(("a", 1))
        send(me, t)
        await receive()

    pid, ref = spawn_monitor(owner)
    t = await take(Table)
    assert t.lookup("a") == [("a", 1)] and Table.at("mine") == t
    kill(pid)
    await take(ref)
    for use in (
        lambda: t.lookup("a"), lambda: t.insert(("b", 1)), lambda: t.member("a"), lambda: t.delete("a"), t.first, t.drop,
        lambda: t.update_counter("a", 1), lambda: t.select(), lambda: len(t), lambda: list(t), t.delete_all,
        lambda: t.give_away(me), lambda: t.take("a"), lambda: t.insert([("b", 1)]), lambda: Table.at("mine"),
    ):  # fmt: skip
        with pytest.raises(NoTable):
            use()
    assert t.info() is None and Table.whereis("mine") is None


def test_outside_of_a_process() -> None:
    with pytest.raises(NotInProcess):
        Table()


@in_node()
async def test_access() -> None:
    for access, may_read, may_write in (("public", True, True), ("protected", True, False), ("private", False, False)):
        t = Table(access=access)  # type: ignore[arg-type]
        t.insert(("a", 1))
        read, write = await other(t.lookup, "a"), await other(t.insert, ("b", 2))
        assert (read == [("a", 1)]) if may_read else isinstance(read, TableAccess)
        assert (write is None) if may_write else isinstance(write, TableAccess)
        assert isinstance(await other(t.give_away, current_pid()), TableAccess)
        assert isinstance(await other(t.set_heir, None), TableAccess)
        assert isinstance(await other(t.drop), TableAccess) != may_write


@in_node()
async def test_names() -> None:
    t = Table("n")
    with pytest.raises(NameTaken):
        Table("n")
    t.drop()
    assert Table("n") != t
    with pytest.raises(TypeError):
        Table("")
    with pytest.raises(ValueError, match="kind"):
        Table(kind="heap")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="access"):
        Table(access="open")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="keypos"):
        Table(keypos=-1)


@in_node()
async def test_an_heir_is_not_set_by_who_gave_the_table_away_meanwhile() -> None:
    """Copying the heir's data runs code, which may do anything."""

    class Gives:
        def __reduce__(self) -> Any:
            t.give_away(heir)
            return int, ()

    async def inherits() -> None:
        await receive("end")

    t, heir = Table(), spawn(inherits)
    with pytest.raises(TableAccess, match="only the owner"):
        t.set_heir(current_pid(), Gives())
    assert (t.info() or {})["owner"] == heir
    send(heir, "end")


@in_node()
async def test_give_away_and_heir() -> None:
    me = current_pid()

    async def child() -> None:
        got = await receive(TableTransfer)
        got.table.insert(("b", 2))  # protected: only the owner may
        send(me, (got.sender, got.data))
        await receive()

    t = Table(heir=me, heir_data={"from": "child"})
    t.insert(("a", 1))
    pid, ref = spawn_monitor(child)
    t.give_away(pid, ["data"])
    assert await take(tuple) == (me, ["data"])
    with pytest.raises(TableAccess):
        t.insert(("c", 3))
    assert (t.info() or {})["owner"] == pid
    kill(pid)
    got = await take(TableTransfer)
    await take(ref)
    assert got.table == t and got.sender == pid and got.data == {"from": "child"}
    assert t.lookup("b") == [("b", 2)], "it survived its owner"
    t.insert(("c", 3))
    assert (t.info() or {})["owner"] == me
    with pytest.raises(ValueError, match="already"):
        t.give_away(me)
    with pytest.raises(NoProcess):
        t.give_away(pid)
    t.insert(("d", 4))


# -- operations -------------------------------------------------------------------------------------------------------


@in_node()
async def test_values_are_copied_in_and_out() -> None:
    t = Table()
    value = {"list": [1]}
    t.insert(("a", value))
    value["list"].append(2)
    assert t.lookup("a") == [("a", {"list": [1]})]
    t.lookup("a")[0][1]["list"].append(3)
    t.lookup_element("a", 1)["list"].append(4)
    t.select()[0][1]["list"].append(5)
    assert t.take("a") == [("a", {"list": [1]})]
    text = "x" * 100
    t.insert(("b", text))
    assert t.lookup_element("b", 1) is text
    with pytest.raises(TypeError, match="not sendable"):
        t.insert(("c", (i for i in ())))
    assert not t.member("c")


@in_node()
async def test_inserting_over_a_row() -> None:
    """Whatever stood there: ints over ints, other lengths, other types, a key of the same value."""
    rows: list[tuple[Any, ...]] = [
        ("k", 1, 2), ("k", 3, 4), ("k", -(1 << 61), 1 << 61), ("k", 1 << 70, 0), ("k", 0, 1 << 70), ("k", 5, 6),
        ("k",), ("k", 7), ("k", True), ("k", 8), ("k", 1.5), ("k", None, [1]), ("k", 2, [1]), ("k", 2, 1),
        ("k", *range(40)), ("k", *range(1, 41)), ("k", 9),
    ]  # fmt: skip
    for kind in ("set", "ordered_set"):
        t = Table(kind=kind)
        for row in rows:
            t.insert(row)
            assert t.lookup("k") == [row]
            assert [type(value) for value in t.lookup("k")[0]] == [type(value) for value in row]
            assert (len(t), t.insert_new(("k", 0))) == (1, False)
        t.delete("k")
        assert (t.lookup("k"), len(t)) == ([], 0)
    ordered = Table(kind="ordered_set")
    for key in (1, 1.0, True, 1, 2**70, float(2**70), 2**70):
        ordered.insert((key, 5))
        assert repr(ordered.lookup(key)) == repr([(key, 5)])  # the row with the key as it was inserted last
    assert len(ordered) == 2
    backwards = Table(keypos=1)
    for n in range(3):
        backwards.insert((n, "key", n))
        backwards.insert((n, 4, n))
    assert sorted(backwards, key=repr) == [(2, "key", 2), (2, 4, 2)]
    memory = backwards.info()
    backwards.insert((n, 4, n + 1))
    assert backwards.info() == memory


@in_node()
async def test_a_row_has_a_longest_length() -> None:
    t = Table(kind="bag")
    for row_of in (t, Table()):
        with pytest.raises(ValueError, match=r"fewer than 2\*\*24 elements, not 16777216"):
            row_of.insert((0,) * (1 << 24))
        assert len(row_of) == 0


@in_node()
async def test_insert_new() -> None:
    for kind in KINDS:
        t = Table(kind=kind)
        assert t.insert_new(("a", 1)) is True and t.insert_new(("a", 2)) is False
        assert t.insert_new([("b", 1), ("a", 2)]) is False and not t.member("b")
        assert t.insert_new([("b", 1), ("c", 2)]) is True and len(t) == 3
        assert t.insert_new([]) is True


@in_node()
async def test_inserting_a_list_is_all_or_nothing() -> None:
    t = Table()
    with pytest.raises(TypeError):
        t.insert([("a", 1), ("b", 2), ([], 3)])
    assert len(t) == 0
    t.insert([(i, i) for i in range(5000)] + [(1, "last wins")])
    assert len(t) == 5000 and t.lookup(1) == [(1, "last wins")] and t.lookup(4999) == [(4999, 4999)]


@in_node()
async def test_delete_take_and_delete_object() -> None:
    for kind in KINDS:
        t = Table(kind=kind)
        t.delete("nothing")
        assert t.take("nothing") == [] and t.delete_object(("nothing",)) == 0
        t.insert(("a", 1))
        assert t.delete_object(("a", 2)) == 0 and t.delete_object(("a", 1.0)) == 0 and t.delete_object(("a", True)) == 0
        assert t.delete_object(("a", 1)) == 1 and not t.member("a")
        t.insert([("a", 1), ("b", {"k": [1, (2,)]})])
        assert t.delete_object(("b", {"k": [1, (2,)]})) == 1
        assert t.take("a") == [("a", 1)] and len(t) == 0
    t.insert([("a", i % 2) for i in range(301)])
    assert t.delete_object(("a", 0)) == 151 and t.lookup("a") == [("a", 1)] * 150
    t.insert(("a", 5))
    assert t.lookup("a")[-1] == ("a", 5) and t.delete_object(("a", 5)) == 1
    assert t.delete_object(("a", 1)) == 150 and len(t) == 0 and not t.member("a")


@in_node()
async def test_update_counter() -> None:
    for kind in ("set", "ordered_set"):
        t = Table(kind=kind)  # type: ignore[arg-type]
        t.insert(("a", 5, 0, "text", 2**62))
        assert t.update_counter("a", 3) == 8 and t.update_counter("a", -10) == -2
        assert t.update_counter("a", (2, 7)) == 7 and t.update_counter("a", [(1, 1), (2, 1), 1]) == [-1, 8, 0]
        assert t.update_counter("a", (2, 1, 9, 100)) == 9 and t.update_counter("a", (2, 1, 9, 100)) == 100
        assert t.update_counter("a", (2, -101, 0, 50)) == 50 and t.update_counter("a", []) == []
        assert t.update_counter("a", (4, 2**62)) == 2**63 and t.update_counter("a", (4, -(2**63))) == 0
        assert t.update_counter("a", 2**80) == 2**80 and t.update_counter("a", -(2**80)) == 0
        with pytest.raises(TypeError, match="no int at position 3"):
            t.update_counter("a", [(2, 1), (3, 1)])
        assert t.lookup_element("a", 2) == 50, "all or none"
        with pytest.raises(TypeError, match="no int at position 9"):
            t.update_counter("a", (9, 1))
        for bad in (1.0, True, "x", (1,), (1, 2, 3), (1, 2.0), None):
            with pytest.raises(TypeError):
                t.update_counter("a", bad)  # type: ignore[arg-type]
        for bad_pos in ((0, 1), (-1, 1), (2**70, 1)):
            with pytest.raises(ValueError, match="position"):
                t.update_counter("a", bad_pos)
        with pytest.raises(KeyError):
            t.update_counter("b", 1)
        assert t.update_counter("b", 1, ("any", 10)) == 11 and t.lookup("b") == [("b", 11)]
        assert t.update_counter("b", 1, ("any", 10)) == 12
    for kind in ("bag", "duplicate_bag"):
        with pytest.raises(TypeError, match="set and ordered_set"):
            Table(kind=kind).update_counter("a", 1)  # type: ignore[arg-type]


@in_node()
async def test_update_element() -> None:
    t = Table()
    t.insert(("a", 1, 2))
    assert t.update_element("a", (1, [5])) is True and t.lookup("a") == [("a", [5], 2)]
    t.lookup("a")[0][1].append(6)
    assert t.update_element("a", [(2, "x"), (2, "y")]) is True and t.lookup("a") == [("a", [5], "y")]
    assert t.update_element("b", (1, 1)) is False and t.update_element("b", (1, 1), (0, 0, 0)) is True
    assert t.lookup("b") == [("b", 1, 0)]
    with pytest.raises(IndexError):
        t.update_element("a", [(1, 0), (3, 1)])
    with pytest.raises(ValueError, match="key"):
        t.update_element("a", (0, "c"))
    with pytest.raises(TypeError):
        t.update_element("a", 5)  # type: ignore[arg-type]
    assert t.lookup("a") == [("a", [5], "y")]


@in_node()
async def test_lookup_element() -> None:
    t = Table()
    t.insert(("a", 1))
    assert t.lookup_element("a", 1) == 1 and t.lookup_element("b", 1, "none") == "none"
    with pytest.raises(KeyError):
        t.lookup_element("b", 1)
    for pos in (2, -1):
        with pytest.raises(IndexError):
            t.lookup_element("a", pos)


# -- walks ------------------------------------------------------------------------------------------------------------


@in_node()
async def test_walking_by_key() -> None:
    for kind in KINDS:
        t = Table(kind=kind)
        assert t.first() is ... and t.last() is ...
        keys = [random.Random(1).choice((i, str(i), (i, "x"))) for i in range(1000)]
        for key in keys:
            t.insert((key,))
        walked, key = [], t.first()
        while key is not ...:
            walked.append(key)
            t.delete(key)  # next() needs no key that is still there
            key = t.next(key)
        assert sorted(walked, key=repr) == sorted(keys, key=repr) and len(t) == 0
    o = Table(kind="ordered_set")
    o.insert([(i,) for i in (1, 2, 3)])
    assert (o.first(), o.last(), o.next(1), o.next(1.5), o.prev(2), o.prev(1), o.next(3)) == (1, 3, 2, 2, 1, ..., ...)
    assert o.prev("beyond") == 3 and o.next(None) == 1


@in_node()
async def test_select() -> None:
    for kind in KINDS:
        t = Table(kind=kind)
        t.insert([(i, "odd" if i % 2 else "even", (i % 3, "x")) for i in range(300)])
        assert len(t.select()) == len(t.match(...)) == len(list(t)) == 300
        assert t.select((7, ..., ...)) == [(7, "odd", (1, "x"))] and t.select((7, "even", ...)) == []
        assert t.match((300, ..., ...)) == t.match((1, 2)) == t.match("odd") == []
        assert t.select_count((..., "odd", (0, ...))) == 50
        assert t.select_count(where=lambda row: row[0] < 10) == 10
        assert sorted(t.select((..., "odd", ...), where=lambda r: r[0] > 290, value=lambda r: r[0])) == [
            291, 293, 295, 297, 299,
        ]  # fmt: skip
        got, more = t.select((..., "odd", ...), limit=7)
        results = list(got)
        while more is not None:
            again, _ = t.select_more(more)
            got, more = t.select_more(more)
            assert again == got, "a continuation can be used twice"
            assert len(got) == 7 or more is None
            results += got
        assert sorted(results) == [row for row in sorted(t) if row[1] == "odd"]
        assert t.select_delete((..., "even", ...)) == 150 and len(t) == 150
        with pytest.raises(ZeroDivisionError):
            t.select(where=lambda row: 1 / 0)
        for bad in (0, -1, "x"):
            with pytest.raises(ValueError, match="limit"):
                t.select(limit=bad)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        t.select_more(b"xxxxxxxxx")  # type: ignore[arg-type]


@in_node()
async def test_select_replace_keeps_the_key() -> None:
    for kind in ("set", "ordered_set"):
        t = Table(kind=kind)  # type: ignore[arg-type]
        t.insert([(i, i) for i in range(100)])
        assert t.select_replace(..., lambda row: (row[0], row[1] * 2), where=lambda row: row[0] < 50) == 50
        assert sum(row[1] for row in t) == sum(range(50)) * 2 + sum(range(50, 100))
        with pytest.raises(ValueError, match="keep the key"):
            t.select_replace((5, ...), lambda row: (row[0] + 1, 0))
    with pytest.raises(TypeError):
        bag = Table(kind="bag")
        bag.insert((1, 1))
        bag.select_replace(..., lambda row: row)


# -- handles ----------------------------------------------------------------------------------------------------------


@in_node()
async def test_handles() -> None:
    t, u = Table("named"), Table()
    assert t != u and t == Table.at("named") == copy.deepcopy(t) and hash(t) == hash(Table.at("named"))
    assert copy.copy(t) is not t and bool(u) and "named" in repr(t)
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(t)
    u.insert(("t", t))
    assert u.lookup_element("t", 1) == t
    info = t.info()
    assert info is not None and info["owner"] == current_pid() and info["size"] == 0 and info["name"] == "named"
    assert (info["kind"], info["access"], info["keypos"], info["heir"]) == ("set", "protected", 0, None)


@in_node()
async def test_values_may_use_the_table_when_they_go() -> None:
    t = Table(access="public")
    late = []

    class Value:
        def __deepcopy__(self, memo: Any) -> Value:
            t.insert(("copied", 1))
            return Value()

        def __del__(self) -> None:
            late.append(t.member("a"))
            t.insert(("gone", 1))

    for _ in range(50):
        t.insert(("a", Value()))
    t.delete("a")
    assert late and t.member("gone") and t.member("copied")
