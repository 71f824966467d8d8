"""Tables: the quick ways through update_counter and the calls of hot methods, against the slow ones."""

from __future__ import annotations

import inspect
import math
from collections import Counter
from typing import Any

import pytest
from support import in_node, other, take

from transom import NoTable, Table, TableAccess, reductions, send, spawn, spawn_monitor

HOT = ("lookup", "member", "insert", "lookup_element", "update_counter")


class Whole(int):
    pass


# -- how methods are called -------------------------------------------------------------------------------------------


@in_node()
async def test_hot_methods_are_methods_like_others() -> None:
    t = Table()
    t.insert((1, 10))
    assert Table.lookup(t, 1) == [(1, 10)] and Table.update_counter(t, 1, 1) == 11
    assert list(map(t.lookup_element, [1, 1], [0, 1])) == [1, 11]
    for name in HOT:
        method = getattr(t, name)
        assert method.__self__ is t and method.__name__ == name and method.__doc__
        assert list(inspect.signature(getattr(Table, name)).parameters)[0] == "self"
        assert type(getattr(Table, name)) is type(str.join)


@in_node()
async def test_wrong_calls_of_hot_methods() -> None:
    t: Any = Table()
    t.insert((1, 10))
    for name in HOT:
        method, unbound = getattr(t, name), getattr(Table, name)
        for args in ((), (1,) * 5) if name in ("lookup_element", "update_counter") else ((), (1, 2)):
            with pytest.raises(TypeError):
                method(*args)
        with pytest.raises(TypeError, match="keyword"):
            method(1, key=1)
        with pytest.raises(TypeError, match="needs an argument|must have an argument"):
            unbound()
        for not_a_table in (object(), [], None):
            with pytest.raises(TypeError, match="'transom|'Table|Table'"):
                unbound(not_a_table, 1)
    assert t.lookup(1) == [(1, 10)]


# -- counters ---------------------------------------------------------------------------------------------------------


@in_node()
async def test_counters_at_every_edge() -> None:
    """Around the ints the interpreter keeps, of one digit, of a cell and of a machine word, both ways."""
    edges = [0, -5, -6, 256, 257, 2**30, 2**31, 2**60, 2**61, 2**62 - 1, 2**62, 2**63 - 1, 2**63, 2**64, 10**30]
    steps = [1, -1, 2, -2, 255, 2**29, 2**30 - 1, 2**30, -(2**30) + 1, -(2**30), 2**61, -(2**62), 2**63, -(10**25)]
    for kind in ("set", "ordered_set"):
        t = Table(kind=kind)  # type: ignore[arg-type]
        for edge in [*edges, *(-e for e in edges)]:
            for near in (edge - 2, edge - 1, edge, edge + 1, edge + 2):
                for step in steps:
                    for key in (7, "seven"):
                        t.insert((key, near))
                        got = t.update_counter(key, step)
                        assert type(got) is int and got == near + step
                        assert t.lookup(key) == [(key, near + step)] == [(key, t.lookup_element(key, 1))]
                        assert t.delete_object((key, near + step)) == 1, "an int looks the same however it came about"


@in_node()
async def test_kept_results_do_not_change() -> None:
    t = Table()
    t.insert((1, -300))
    kept = [t.update_counter(1, 1) for _ in range(600)]
    kept += [t.update_counter(1, 2**29) for _ in range(40)]
    assert kept == [*range(-299, 301), *(300 + 2**29 * n for n in range(1, 41))]
    row = t.lookup(1)
    t.update_counter(1, 1)
    assert row == [(1, kept[-1])] and t.lookup(1) == [(1, kept[-1] + 1)]


@in_node()
async def test_keys_of_counters() -> None:
    keys: list[Any] = [
        0, 1, -1, True, False, 1.0, math.nan, "1", b"1", None, (1,), 2**29, 2**30 - 1, 2**30, -(2**30) + 1, -(2**30),
        2**31, 2**62, 2**63 - 1, 2**63, -(2**63), 2**64, 2**64 + 1, 10**40,
    ]  # fmt: skip
    t = Table()
    for n, key in enumerate(keys):
        t.insert((key, n))
    assert len(t) == len(keys), "each is a key of its own"
    for n, key in enumerate(keys):
        assert t.update_counter(key, 1000) == n + 1000
    assert [t.lookup_element(key, 1) for key in keys] == [n + 1000 for n in range(len(keys))]
    for key in (2, -2, 2**30 + 1, 3.0):
        with pytest.raises(KeyError) as raised:
            t.update_counter(key, 1)
        assert raised.value.args == (key,)
    with pytest.raises(TypeError, match="cannot be a table key"):
        t.update_counter(Whole(1), 1)
    for bad in (True, Whole(1), 1.0, "1"):
        with pytest.raises(TypeError, match="an operation is an int"):
            t.update_counter(1, bad)  # type: ignore[arg-type]
    assert t.lookup_element(1, 1) == 1001


@in_node()
async def test_many_keys_of_counters() -> None:
    """Chains of several entries, and shards that have grown some times."""
    t = Table()
    keys = [*range(-500, 2500), *(n * 2**17 % (2**30) for n in range(1, 4000)), *map(str, range(2000))]
    for key in keys:
        t.update_counter(key, 1, (None, 0))
    for _ in range(2):
        for key in keys:
            t.update_counter(key, 1)
    assert {row[0]: row[1] for row in t} == {key: 3 * n for key, n in Counter(keys).items()}


@in_node()
async def test_what_stands_behind_the_key() -> None:
    t = Table(keypos=2)
    t.insert(("a", 0, 5, 7))
    assert t.update_counter(5, 1) == 8 and t.update_counter(5, (1, 3)) == 3 and t.lookup(5) == [("a", 3, 5, 8)]
    for row in ((0, 0, 6), (0, 0, 6, "text"), (0, 0, 6, 1.0), (0, 0, 6, True), (0, 0, 6, None)):
        t.insert(row)
        with pytest.raises(TypeError, match="no int at position 3"):
            t.update_counter(6, 1)
        assert t.lookup(6) == [row]
    assert t.update_counter(8, 1, ("d", "e", "f", 10)) == 11 == t.lookup(8)[0][3]
    assert t.update_counter(8, 1, "not looked at, the row is there") == 12  # type: ignore[arg-type]
    for kind in ("bag", "duplicate_bag"):
        t = Table(kind=kind)  # type: ignore[arg-type]
        t.insert((1, 1))
        with pytest.raises(TypeError, match="set and ordered_set"):
            t.update_counter(1, 1)


@in_node()
async def test_who_may_count() -> None:
    mine, open_to_all = Table(), Table(access="public")
    for t in (mine, open_to_all):
        t.insert([(1, 0), ("one", 0)])
    for key in (1, "one"):
        assert mine.update_counter(key, 1) == 1
        assert isinstance(await other(mine.update_counter, key, 1), TableAccess)
        assert open_to_all.update_counter(key, 1) == 1
        assert await other(open_to_all.update_counter, key, 1) == 2
        assert open_to_all.update_counter(key, 1) == 3, "the owner, no longer alone"
        assert await other(open_to_all.update_counter, key, 2**80) == 3 + 2**80
        assert isinstance(await other(open_to_all.update_counter, 2, 1), KeyError)
    for t in (mine, open_to_all):
        t.drop()
        for key in (1, "one", 2):
            with pytest.raises(NoTable):
                t.update_counter(key, 1)

    async def short_lived() -> None:
        gone.append(Table())
        gone[0].insert((1, 0))

    gone: list[Table] = []
    spawn_monitor(short_lived)
    await take()
    with pytest.raises(NoTable):
        gone[0].update_counter(1, 1)


@in_node()
async def test_a_table_given_away_is_the_receivers_to_count_in() -> None:
    async def heir() -> None:
        transfer = await take()
        for _ in range(10):
            transfer.table.update_counter(1, 1)
        send(transfer.sender, ("counted", transfer.table.lookup(1)))

    t = Table()
    t.insert((1, 0))
    t.update_counter(1, 1)
    t.give_away(spawn(heir))
    with pytest.raises(TableAccess):
        t.update_counter(1, 1)
    assert await take(tuple) == ("counted", [(1, 11)])


@in_node()
async def test_a_call_is_one_reduction_whichever_way_it_takes() -> None:
    t, shared = Table(), Table(access="public")
    for table in (t, shared):
        table.insert([(1, 0), ("one", 0)])
    await other(shared.insert, (2, 0))

    def cost(table: Table, key: Any, by: Any) -> int:
        before = reductions()
        for _ in range(50):
            table.update_counter(key, by)
        return reductions() - before

    expected = cost(t, "one", 1)
    assert [cost(t, 1, 1), cost(t, 1, (1, 1)), cost(shared, 1, 1), cost(shared, "one", 1)] == [expected] * 4
