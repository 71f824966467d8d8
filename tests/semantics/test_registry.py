"""Semantics 1.12 and 1.14: Registry, groups; and PubSub."""

from __future__ import annotations

import random
from typing import Any

import pytest
from support import all_down, in_node, nothing, scaled, take

import transom
from transom import (
    Groups,
    NameTaken,
    NoProcess,
    NoTable,
    NotInProcess,
    NotOwner,
    Pid,
    PubSub,
    Registry,
    Via,
    current_pid,
    kill,
    monitor,
    receive,
    send,
    spawn,
    spawn_monitor,
)


async def stands(registry: Registry, key: Any, value: Any, owner: Pid) -> None:
    try:
        registry.register(key, value)
        send(owner, ("up", current_pid()))
    except NameTaken as error:
        send(owner, ("taken", error.pid))  # type: ignore[attr-defined]
    await receive()


# -- Registry ---------------------------------------------------------------------------------------------------------


@in_node()
async def test_unique_keys() -> None:
    r, me = Registry(), current_pid()
    first, ref = spawn_monitor(stands, r, "k", {"v": [1]}, me)
    assert await take(tuple) == ("up", first)
    assert r.lookup("k") == [(first, {"v": [1]})] and r.whereis("k") == first and r.keys(first) == ["k"] and len(r) == 1
    r.lookup("k")[0][1]["v"].append(2)
    r.select()[0][2]["v"].append(2)
    assert r.lookup("k") == [(first, {"v": [1]})], "values are copied"
    second, ref2 = spawn_monitor(stands, r, "k", None, me)
    assert await take(tuple) == ("taken", first)
    kill(first)
    await take(ref)
    assert r.lookup("k") == [] and r.whereis("k") is None and r.keys(first) == []
    r.register("k", 1)
    assert r.update_value("k", lambda v: v + 1) == 2 and r.lookup("k") == [(me, 2)]
    with pytest.raises(NotOwner):
        r.update_value("other", lambda v: v)
    r.unregister("k")
    r.unregister("k")
    assert len(r) == 0
    kill(second)
    await take(ref2)


@in_node()
async def test_duplicate_keys() -> None:
    r, me = Registry(keys="duplicate"), current_pid()
    r.register("k", 1)
    r.register("k", 2)
    r.register(("other", 1), 3)
    pid, ref = spawn_monitor(stands, r, "k", 4, me)
    await take(tuple)
    assert r.lookup("k") == [(me, 1), (me, 2), (pid, 4)] and sorted(map(str, r.keys(me))) == ["('other', 1)", "k", "k"]
    called: list[Any] = []
    r.dispatch("k", called.append)
    r.dispatch("nobody", called.append)
    assert called == [r.lookup("k")]
    assert r.select(("k", ..., 2)) == [("k", me, 2)] and len(r.select(where=lambda e: e[1] == me)) == 3
    assert r.select((("other", ...), ..., ...)) == [(("other", 1), me, 3)]
    assert r.send("k", "hi") == 3 and r.send("nobody", "hi") == 0
    assert [await take(str), await take(str)] == ["hi", "hi"]
    await take(ref)  # it got one, too
    r.unregister("k")
    assert r.lookup("k") == [] and len(r) == 1


@in_node()
async def test_via_is_an_address() -> None:
    r, me = Registry("named"), current_pid()
    via = Registry.at("named").via("k")
    assert isinstance(via, Via) and via.whereis() is None
    for use in (lambda: send(via, 1), lambda: monitor(via), lambda: transom.link(via)):  # type: ignore[arg-type]
        with pytest.raises(NoProcess, match="'k'"):
            use()
    via.register()
    send(via, "hello")  # type: ignore[arg-type]
    assert await take(str) == "hello" and r.whereis("k") == me

    async def child(address: Via) -> None:
        send(address, "from a child")  # type: ignore[arg-type]

    spawn(child, via)
    assert await take(str) == "from a child"
    with pytest.raises(NameTaken):
        Registry("named")
    with pytest.raises(NoProcess):
        Registry.at("nobody")
    with pytest.raises(TypeError):
        r.register([])
    with pytest.raises(ValueError, match="keys"):
        Registry(keys="many")  # type: ignore[arg-type]


@in_node()
async def test_a_registry_ends_with_its_owner() -> None:
    me = current_pid()

    async def owner() -> None:
        send(me, Registry("short"))
        await receive()

    pid, ref = spawn_monitor(owner)
    r = await take(Registry)
    r.register("k")
    kill(pid)
    await take(ref)
    assert r.lookup("k") == []
    with pytest.raises(NoTable):
        r.register("k")
    Registry("short")


def test_outside_of_a_process() -> None:
    with pytest.raises(NotInProcess):
        Registry()


@in_node()
async def test_listeners_hear_of_every_change() -> None:
    r, me = Registry(keys="duplicate"), current_pid()
    every, one = r.listen(), r.listen("k")
    r.register("k", 1)
    r.register("x", 1)
    pid, ref = spawn_monitor(stands, r, "k", 1, me)
    await take(lambda m: m == ("up", pid))
    kill(pid)
    await take(ref)
    r.unregister("x")
    wanted = [("register", "k", me), ("register", "x", me), ("register", "k", pid), ("unregister", "k", pid)]
    wanted.append(("unregister", "x", me))
    assert [(await take(every))[1:] for _ in wanted] == wanted
    assert [(await take(one))[1:] for _ in range(3)] == [event for event in wanted if event[1] == "k"]
    r.unlisten(every)
    r.unlisten(one)
    r.unregister("k")
    await nothing()


@pytest.mark.race
@in_node(schedulers=2)
async def test_one_wins_and_the_dead_are_out_before_their_monitors_fire() -> None:
    r, me = Registry(), current_pid()
    for _ in range(scaled(150)):
        spawned = [spawn_monitor(stands, r, "k", None, me) for _ in range(6)]
        answers = [await take(tuple) for _ in spawned]
        winners = [pid for word, pid in answers if word == "up"]
        assert len(winners) == 1 and {pid for _, pid in answers} == set(winners) and r.whereis("k") == winners[0]
        for pid, _ in random.sample(spawned, len(spawned)):
            kill(pid)
        while spawned:
            down = await take(transom.Down)
            assert r.whereis("k") != down.pid and r.keys(down.pid) == []
            spawned = [pair for pair in spawned if pair[0] != down.pid]
        assert len(r) == 0


# -- groups -----------------------------------------------------------------------------------------------------------


@in_node()
async def test_groups() -> None:
    g, me = Groups(), current_pid()
    assert g.members("a") == [] and g.which() == [] and g.leave("a") is False
    g.join("a")
    g.join("a", [me, me])
    g.join(("b", 1), me)
    assert g.members("a") == [me] * 3 and set(g.which()) == {"a", ("b", 1)} and Groups("other").members("a") == []
    assert Groups().members("a") == [me] * 3
    assert g.leave("a", [me, me]) and g.members("a") == [me] and g.leave("a") and g.which() == [("b", 1)]
    pid, ref = spawn_monitor(stands, Registry(), "k", None, me)
    await take(tuple)
    g.join("a", [pid, pid, me])
    g.join("c", pid)
    assert g.send("a", "hi") == 3 and await take(str) == "hi"
    await take(ref)
    assert g.members("a") == [me] and g.which() != [] and "c" not in g.which()
    with pytest.raises(NoProcess):
        g.join("a", pid)
    with pytest.raises(TypeError):
        g.join("a", ["x"])  # type: ignore[list-item]


@in_node()
async def test_monitoring_groups() -> None:
    g, me = Groups("monitored"), current_pid()
    g.join("a")
    ref, members = g.monitor("a")
    scope, groups = g.monitor_scope()
    assert members == [me] and groups == {"a": [me]}
    g.join("b")
    g.join("a")
    g.leave("a")
    assert [(await take(ref))[1:] for _ in range(2)] == [("join", "a", me), ("leave", "a", me)]
    assert [(await take(scope))[1:] for _ in range(3)] == [("join", "b", me), ("join", "a", me), ("leave", "a", me)]
    g.demonitor(ref)
    g.demonitor(scope)
    g.leave("a")
    await nothing()


@pytest.mark.race
@in_node(schedulers=2)
async def test_a_monitor_misses_nothing_and_doubles_nothing() -> None:
    g, me = Groups("raced"), current_pid()

    async def member(rounds: int) -> None:
        for _ in range(rounds):
            g.join("a")
            g.leave("a")
        g.join("a")

    async def watcher() -> None:
        ref, now = g.monitor("a")
        inside = {pid: now.count(pid) for pid in now}
        while me not in inside:  # the last to join, when all others have left
            _, word, _, pid = await receive(ref)
            inside[pid] = inside.get(pid, 0) + (1 if word == "join" else -1)
            assert inside[pid] in (0, 1), "an event was lost, doubled, or is in the snapshot as well"
        send(me, {pid: count for pid, count in inside.items() if count})

    for _ in range(scaled(30)):
        watchers = [spawn_monitor(watcher)[1] for _ in range(2)]
        members = [spawn_monitor(member, 20)[1] for _ in range(4)]
        await all_down(members)
        assert g.members("a") == [], "the dead have left"
        g.join("a")
        for _ in watchers:
            assert await take(dict) == {me: 1}
        await all_down(watchers)
        g.leave("a")


# -- PubSub -----------------------------------------------------------------------------------------------------------


async def listens(topic: str, owner: Pid, count: int) -> None:
    PubSub().subscribe(topic)
    send(owner, "ready")
    send(owner, (current_pid(), [await receive() for _ in range(count)]))


@in_node()
async def test_topics_and_patterns() -> None:
    p, me = PubSub(), current_pid()
    for pattern in ("room:1", "room:*", "*", "room:1:*", "room:2"):
        p.subscribe(pattern)
    assert p.broadcast("room:1", ("n", 1)) == 3 and [await take() for _ in range(3)] == [("n", 1)] * 3
    assert p.broadcast("room:1:typing", "t") == 3 and [await take() for _ in range(3)] == ["t"] * 3
    assert p.broadcast_from(me, "room:1", "not me") == 0 and len(p.subscribers("room:2")) == 3
    p.unsubscribe("*")
    p.unsubscribe("room:*")
    assert p.broadcast("elsewhere", 1) == 0 and p.broadcast("room:2", 1) == 1 and await take() == 1
    assert PubSub("other").broadcast("room:1", 1) == 0
    for bad in ("a*", "*a", "a:*:b", "**"):
        with pytest.raises(ValueError, match=r"\*"):
            p.subscribe(bad)
    with pytest.raises(ValueError, match="pattern"):
        p.broadcast("room:*", 1)
    for bad in ("", 5):  # type: ignore[assignment]
        with pytest.raises(TypeError):
            p.broadcast(bad, 1)


@in_node(schedulers=2)
async def test_immutable_messages_are_shared_and_others_copied_for_each() -> None:
    p, me = PubSub(), current_pid()
    refs = [spawn_monitor(listens, "t", me, 2)[1] for _ in range(600)]
    for _ in refs:
        assert await take(str) == "ready"
    p.subscribe("t")
    shared = ("x", 1)
    assert p.broadcast("t", shared) == 601 and await take(tuple) is shared
    changeable = {"list": [1]}
    assert p.broadcast_from(me, "t", changeable) == 600
    changeable["list"].append(2)
    got = [await take(tuple) for _ in refs]
    assert all(messages == [("x", 1), {"list": [1]}] for _, messages in got)
    await all_down(refs)
    assert p.subscribers("t") == [me]
    with pytest.raises(TypeError, match="not sendable"):
        p.broadcast("t", (i for i in ()))


@in_node()
async def test_dispatch() -> None:
    p, me = PubSub(), current_pid()
    p.subscribe("t", {"socket": 1})
    p.subscribe("*", None)
    calls: list[Any] = []
    assert p.broadcast("t", "m", dispatch=lambda entries, message: calls.append((entries, message))) == 2
    assert calls == [([(me, {"socket": 1})], "m"), ([(me, None)], "m")]
    assert p.broadcast_from(me, "t", "m", dispatch=lambda entries, message: calls.append(1)) == 0 and len(calls) == 2
