"""Tables under contention: sums, owners that die, batches, walks beside changes. Bounded by rounds, not by time."""

from __future__ import annotations

import random
from typing import Any

import pytest
from support import all_down, in_node, scaled, take

import transom
from transom import (
    Down,
    NoProcess,
    NoTable,
    Table,
    TableAccess,
    TableTransfer,
    current_pid,
    kill,
    receive,
    send,
    spawn_monitor,
)

pytestmark = pytest.mark.stress
KINDS: tuple[Any, ...] = ("set", "ordered_set", "bag", "duplicate_bag")


async def counts(t: Table, each: int, keys: int) -> None:
    for i in range(each):
        t.update_counter(i % keys, 1, (0, 0))
        if i % 64 == 0:
            t.update_counter(i % keys, [(1, 5), (1, -5)], (0, 0))


@pytest.mark.race
@in_node(schedulers=2)
async def test_counters_of_all_schedulers_add_up() -> None:
    for kind in ("set", "ordered_set"):
        for keys in (1, 100):
            t = Table(kind=kind, access="public")  # type: ignore[arg-type]
            each = scaled(3000)
            await all_down([spawn_monitor(counts, t, each, keys)[1] for _ in range(6)])
            assert sum(row[1] for row in t) == 6 * each
            t.drop()


@pytest.mark.race
@in_node(schedulers=2)
async def test_others_join_an_owner_at_work() -> None:
    """Until then its changes took no lock that others take; not one may be lost. Whoever looks on sees it grow."""

    async def other(t: Table, key: Any, each: int) -> None:
        await receive(str)
        for _ in range(each):
            t.update_counter(key, 1)

    async def onlooker(t: Table, key: Any) -> None:
        seen = 0
        while seen < 1400:
            [(found, now)] = t.lookup(key)
            assert found == key and seen <= now <= 1400
            seen = now

    for kind in ("set", "ordered_set"):
        for turn in range(scaled(60)):
            key: Any = ("sum", 5)[turn % 2]
            t = Table(kind=kind, access="public")  # type: ignore[arg-type]
            t.insert((key, 0))
            watch = spawn_monitor(onlooker, t, key)[1]
            pids, refs = zip(*[spawn_monitor(other, t, key, 200) for _ in range(2)], strict=True)
            kept = []
            for i in range(1000):
                kept.append(t.update_counter(key, 1))
                if i == turn * 7:
                    for pid in pids:
                        send(pid, "go")
            assert await all_down([*refs, watch]) == ["normal"] * 3
            assert t.lookup(key) == [(key, 1400)] and kept == sorted(set(kept))
            t.drop()


@pytest.mark.race
@in_node(schedulers=2)
async def test_counters_beside_splits_and_rows_that_come_and_go() -> None:
    """An owner counts in a table that grows under it, while another process puts text where it counts, and takes it."""

    async def other(t: Table, each: int) -> None:
        for i in range(each):
            t.insert((-1 - i, 0))
            t.insert((5, "text"))
            t.delete(5)

    for turn in range(scaled(30)):
        t = Table(access="public")
        t.insert([(key, 0) for key in range(4)])
        ref = spawn_monitor(other, t, 300)[1]
        for i in range(1000):
            assert t.update_counter(i % 4, 1) == i // 4 + 1
            try:
                assert t.update_counter(5, 1, (5, turn)) > turn
            except TypeError as error:
                assert "no int" in str(error)
        assert await all_down([ref]) == ["normal"]
        assert [t.lookup_element(key, 1) for key in range(4)] == [250] * 4 and t.lookup(-300) == [(-300, 0)]
        t.drop()


@pytest.mark.race
@in_node(schedulers=2)
async def test_a_table_is_gone_when_its_owner_is_down() -> None:
    """Writers, readers and walkers at work while the owner is killed: each sees rows, then NoTable for ever."""
    me = current_pid()

    async def owner(kind: Any) -> None:
        t = Table("raced", kind=kind, access="public")
        t.insert([(i, "x" * 300) for i in range(200)])
        send(me, t)
        await receive()

    async def user(t: Table, seed: int) -> None:
        pick = random.Random(seed)
        gone = 0
        while gone < 3:
            key = pick.randrange(400)
            try:
                for use in pick.sample(
                    [
                        lambda key=key: t.insert((key, [key])),
                        lambda key=key: t.lookup(key),
                        lambda key=key: t.delete(key),
                        lambda key=key: t.take(key),
                        lambda key=key: t.insert([(key, 1), (key + 1, 2)]),
                        lambda key=key: sum(1 for _ in t),
                        lambda key=key: t.next(key),
                    ],
                    3,
                ):
                    use()
                assert not gone, "it came back"
            except NoTable:
                gone += 1

    for round_ in range(scaled(60)):
        pid, ref = spawn_monitor(owner, KINDS[round_ % 4])
        t = await take(Table)
        users = [spawn_monitor(user, t, round_ * 4 + i)[1] for i in range(3)]
        for _ in range(random.randrange(3)):
            await transom.sleep(0)
        kill(pid)
        await take(ref)
        with pytest.raises(NoTable):
            t.lookup(1)
        assert Table.whereis("raced") is None
        assert await all_down(users) == ["normal"] * 3


@pytest.mark.race
@in_node(schedulers=2)
async def test_giving_away_races_with_death() -> None:
    """The table ends with whoever owns it at the end; a giver that is told "no process" still has it."""
    me = current_pid()

    async def heir() -> None:
        await receive()
        await receive()

    async def giver(to: transom.Pid) -> None:
        t = Table(access="public")
        send(me, t)
        try:
            t.give_away(to, "gift")
            given = True
        except NoProcess:
            t.insert(("mine", 1))
            given = False
        send(me, ("given", given))
        await receive()

    for _ in range(scaled(400)):
        to, to_ref = spawn_monitor(heir)
        pid, ref = spawn_monitor(giver, to)
        t = await take(Table)
        kill(to)
        given = (await take(tuple))[1]
        await take(to_ref)
        if given:
            with pytest.raises(NoTable):
                t.lookup(1)
        else:
            assert t.lookup("mine") == [("mine", 1)]
        kill(pid)
        await take(ref)
        assert t.info() is None


@in_node(schedulers=2, check=False)
async def test_an_heir_does_not_meet_the_dead_owner_in_the_table() -> None:
    """The owner sits in native code, without its slot, in the middle of a list; killed there, it goes on to its end."""
    rows = [(key,) for key in range(200_000)]

    def owner(to: transom.Pid, boss: transom.Pid) -> None:
        t = Table()
        t.set_heir(to)
        send(boss, "ready")
        while True:
            t.insert(rows)

    def heir(boss: transom.Pid) -> None:
        t = transom.sync.receive(TableTransfer).table
        for row in rows[:5000]:
            t.insert(row)
            t.delete(row[0])
        while True:  # a list that it was about to insert may come as long as it runs
            left = len(t)
            keys = [row[0] for row in t]
            if len(t) == left:
                break
        assert len(keys) == len(set(keys)) == left
        send(boss, "checked")

    async def other() -> None:  # wants the slots
        while True:
            await transom.sleep(0.001)

    me = current_pid()
    others = [transom.spawn_link(other) for _ in range(2)]
    for turn in range(scaled(12)):
        pid, down = spawn_monitor(owner, transom.spawn_link(heir, me), me)
        assert await take(str) == "ready"
        await transom.sleep(0.04 + turn * 0.02)
        kill(pid)
        assert await take(str) == "checked"
        assert (await receive(down)).reason == "killed"
    for pid in others:
        transom.unlink(pid)
        kill(pid)


@pytest.mark.race
@in_node(schedulers=2)
async def test_an_heir_gets_it_or_it_goes() -> None:
    me = current_pid()

    async def heir() -> None:
        got = await receive(TableTransfer)
        got.table.insert(("heir", 1))
        send(me, got.table.lookup("heir"))
        await receive()

    async def owner(to: transom.Pid) -> None:
        t = Table(heir=to)
        send(me, t)
        await receive()

    for round_ in range(scaled(300)):
        to, to_ref = spawn_monitor(heir)
        pid, ref = spawn_monitor(owner, to)
        t = await take(Table)
        kill(pid)
        await take(ref)
        if round_ % 2:
            assert await take(list) == [("heir", 1)]
            with pytest.raises(TableAccess):
                t.insert(("x", 1))
        kill(to)
        await take(to_ref)
        assert t.info() is None
        if round_ % 2 == 0:
            try:
                await receive(list, timeout=0)
            except TimeoutError:
                pass


@pytest.mark.race
@in_node(schedulers=2)
async def test_nobody_sees_half_of_a_list() -> None:
    """One process moves money by inserting two rows at once; readers read one and then the other, in both orders."""
    for kind in ("set", "ordered_set"):
        t = Table(kind=kind, access="public")  # type: ignore[arg-type]
        t.insert([("a", 0), ("b", 0)])
        rounds = scaled(3000)

        async def writer(t: Table, rounds: int) -> None:
            for i in range(1, rounds + 1):
                t.insert([("a", i), ("b", i)])

        async def reader(t: Table, first: str, second: str, rounds: int) -> None:
            now = 0
            while now < rounds:
                before = t.lookup_element(first, 1)
                now = t.lookup_element(second, 1)
                assert before <= now, f"{first} was {before} when {second} was still {now}"

        refs = [spawn_monitor(reader, t, *names, rounds)[1] for names in (("a", "b"), ("b", "a"))]
        refs.append(spawn_monitor(writer, t, rounds)[1])
        assert await all_down(refs) == ["normal"] * 3


@pytest.mark.race
@in_node(schedulers=2)
async def test_nobody_sees_half_of_a_row() -> None:
    """Ints are written over ints in place, other values replace the row: whoever looks sees one insert's row whole."""

    async def over_ints(t: Table, seed: int) -> None:
        for i in range(scaled(20_000)):
            t.insert((7, i, i, i, i, i, i, i))

    async def over_any(t: Table, seed: int) -> None:
        pick = random.Random(seed)
        for i in range(scaled(4000)):
            t.insert(("seven", *[pick.choice((i, i, float(i), 1 << 70))] * pick.choice((7, 7, 2))))
            if i % 16 == 0:
                t.insert((pick.randrange(1000), i, i))  # neighbours come, and buckets split

    async def reader(t: Table, key: Any) -> None:
        for _ in range(scaled(20_000)):
            (row,) = t.lookup(key)
            assert row[0] == key
            assert len(row) in (3, 8)
            assert len(set(row[1:])) == 1, row

    for kind in ("set", "ordered_set"):
        t = Table(kind=kind, access="public")  # type: ignore[arg-type]
        t.insert([(7, *[0] * 7), ("seven", 0, 0)])
        work: list[tuple[Any, Any]] = [(over_ints, 1), (reader, 7), (over_any, 2), (reader, "seven")]
        reasons = await all_down([spawn_monitor(body, t, what)[1] for body, what in work * 2])
        assert reasons == ["normal"] * 8
        t.drop()


@pytest.mark.race
@in_node(schedulers=2)
async def test_walks_see_what_stays_exactly_once() -> None:
    for kind in KINDS:
        t = Table(kind=kind, access="public")
        stays = [("stays", i) for i in range(500)]
        t.insert([(key, 0) for key in stays])

        async def disturb(t: Table, seed: int) -> None:
            pick = random.Random(seed)
            for _ in range(scaled(4000)):
                key = ("goes", pick.randrange(3000))
                t.insert((key, 1)) if pick.random() < 0.7 else t.delete(key)

        refs = [spawn_monitor(disturb, t, seed)[1] for seed in range(2)]
        walks = 0
        while refs:
            seen = [row[0] for row in t if row[0][0] == "stays"]
            assert sorted(seen) == stays
            walked, more = t.select((("stays", ...), ...), limit=50)
            while more is not None:
                rows, more = t.select_more(more)
                walked += rows
            assert sorted(row[0] for row in walked) == stays
            walks += 1
            try:
                down = await receive(Down, timeout=0)
                assert down.reason == "normal"
                refs.remove(down.ref)
            except TimeoutError:
                pass
        assert walks


@pytest.mark.race
@in_node(schedulers=2)
async def test_a_model_of_a_set() -> None:
    """Owners of disjoint keys work side by side, each against a dict of its own."""

    async def check(t: Table, name: int) -> None:
        pick = random.Random(name)
        model: dict[Any, Any] = {}
        for _ in range(scaled(4000)):
            key: Any = (
                name,
                pick.choice([pick.randrange(200), str(pick.randrange(50)), pick.randrange(50) / 2 + 0.25]),
            )
            how = pick.randrange(6)
            if how == 0:
                value: Any = pick.choice([pick.randrange(2**70), "text", [1, {"a": b"x" * 300}], None, 1.5])
                t.insert((key, value))
                model[key] = value
            elif how == 1:
                t.delete(key)
                model.pop(key, None)
            elif how == 2:
                assert t.take(key) == ([(key, model.pop(key))] if key in model else [])
            elif how == 3:
                assert t.insert_new((key, 5)) == (key not in model)
                model.setdefault(key, 5)
            elif how == 4 and type(model.get(key, 0)) is int:
                model[key] = model.get(key, 0) + 3
                assert t.update_counter(key, 3, (None, 0)) == model[key]
            assert t.lookup(key) == ([(key, model[key])] if key in model else [])
        assert {row[0]: row[1] for row in t.select(((name, ...), ...))} == model

    for kind in ("set", "ordered_set"):
        t = Table(kind=kind, access="public")  # type: ignore[arg-type]
        assert await all_down([spawn_monitor(check, t, name)[1] for name in range(3)]) == ["normal"] * 3
