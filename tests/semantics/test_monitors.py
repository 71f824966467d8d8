"""Semantics 1.4: monitors and aliases."""

from __future__ import annotations

import random
from typing import Any

import pytest
from support import (
    all_down,
    apply,
    in_node,
    info,
    is_,
    nothing,
    reason_of,
    returns,
    scaled,
    spin,
    tagged,
    take,
    until,
    waits,
    waits_and_ends,
)

import transom
from transom import (
    Down,
    NotOwner,
    Pid,
    Ref,
    alias,
    current_pid,
    demonitor,
    kill,
    make_ref,
    monitor,
    receive,
    register,
    send,
    spawn,
    spawn_monitor,
    unalias,
)

# -- monitors ---------------------------------------------------------------------------------------------------------


@in_node()
async def test_monitors_are_stackable() -> None:
    """One-way, stackable: n monitors give n DOWNs, each with own ref."""
    peer = spawn(waits_and_ends, "bye")
    refs = {monitor(peer) for _ in range(50)}
    assert len(refs) == 50
    send(peer, "go")
    downs = [await take() for _ in range(50)]
    assert {down.ref for down in downs} == refs
    assert {(down.pid, down.reason) for down in downs} == {(peer, "bye")}
    await nothing()


@in_node()
async def test_monitors_are_one_way() -> None:
    """One-way: the end of the monitoring process does nothing to the monitored one."""

    async def watcher(peer: Pid) -> None:
        monitor(peer)
        raise transom.Stop("bye")

    peer, gone = spawn_monitor(waits)
    _, ref = spawn_monitor(watcher, peer)
    assert await reason_of(ref) == "bye"
    # Owner death removes its monitors at the target, too.
    me = current_pid()
    await until(lambda: list(info(peer, "monitored_by")) == [me])
    send(peer, "go")
    assert await reason_of(gone) == "normal"


@in_node()
async def test_down_carries_ref_pid_and_reason() -> None:
    """DOWN = (tag 'DOWN', ref, type, object, reason); object is the pid."""
    pid, ref = spawn_monitor(waits_and_ends, ("bye", 1))
    send(pid, "go")
    match await take():
        case Down(down_ref, down_pid, ("bye", n)) as down:
            assert (down_ref, down_pid, n) == (ref, pid, 1)
            assert down.tag == "DOWN"
        case other:
            raise AssertionError(other)


@in_node(name="bridge")
async def test_down_of_a_monitor_by_name_carries_the_name() -> None:
    """object is (name, node) when monitored by name."""
    pid = spawn(waits_and_ends, "bye")
    register("watched", pid)
    ref = monitor("watched")
    send("watched", "go")
    assert await take() == Down(ref, ("watched", "bridge"), "bye")


@in_node()
async def test_monitor_of_a_dead_process() -> None:
    """Dead or unknown target: DOWN with noproc."""
    pid, ref = spawn_monitor(returns)
    assert await reason_of(ref) == "normal"
    for _ in range(100):
        ref = monitor(pid)
        assert await take() == Down(ref, pid, "noproc")


@in_node()
async def test_monitor_of_an_unknown_name() -> None:
    """Dead or unknown target: DOWN with noproc."""
    ref = monitor("nobody-here")
    down = await take()
    assert (down.ref, down.pid[0], down.reason) == (ref, "nobody-here", "noproc")


@in_node()
async def test_monitor_of_itself() -> None:
    """Monitoring self gives a ref and never a DOWN."""
    me = current_pid()

    async def body() -> None:
        register("itself", current_pid())
        refs = [monitor(current_pid()), monitor("itself")]
        assert all(isinstance(ref, Ref) for ref in refs)
        send(me, ("refs", *refs))
        await nothing()

    assert await apply(body) is None
    await take(tagged("refs"))
    await nothing()


@pytest.mark.race
@in_node()
async def test_a_monitor_racing_with_the_end(rng: random.Random) -> None:
    """Dead target: DOWN with noproc; whatever the race, a monitor gives exactly one DOWN."""
    for _ in range(scaled(10_000)):
        pid = spawn(waits_and_ends, ("shutdown", "bye"))
        send(pid, "go")
        spin(rng.randrange(60))
        ref = monitor(pid)
        assert await take() in (Down(ref, pid, ("shutdown", "bye")), Down(ref, pid, "noproc"))
    await nothing()


@pytest.mark.race
@in_node()
async def test_no_down_after_demonitor_with_flush(rng: random.Random) -> None:
    """demonitor(ref): after it returns no NEW DOWN is delivered; [flush] also removes one already queued; [flush, info] tells
    whether it was cancelled in time. 20,000 races, 0 leftovers."""
    cancelled = 0
    for _ in range(scaled(20_000)):
        pid, guard = spawn_monitor(waits)
        ref = monitor(pid)
        send(pid, "go")
        spin(rng.randrange(60))
        cancelled += demonitor(ref, flush=True)
        assert await reason_of(guard) == "normal"
        await nothing()
    print(f"cancelled in time: {cancelled}")


@pytest.mark.race
@in_node()
async def test_demonitor_tells_whether_it_was_in_time(rng: random.Random) -> None:
    """[info] -> false if it had fired/was unknown: without flush, exactly the monitors that were not cancelled in time have
    their DOWN."""
    cancelled = fired = 0
    for _ in range(scaled(10_000)):
        pid, guard = spawn_monitor(waits)
        ref = monitor(pid)
        send(pid, "go")
        spin(rng.randrange(200))
        in_time = demonitor(ref)
        assert await reason_of(guard) == "normal"
        if in_time:
            cancelled += 1
            await nothing()
        else:
            fired += 1
            assert await take() == Down(ref, pid, "normal")
        assert demonitor(ref) is False
    print(f"in time {cancelled}, fired {fired}")
    await nothing()


@in_node()
async def test_demonitor_of_an_unknown_or_expired_ref() -> None:
    """demonitor(ref) -> false (info) if it had fired/was unknown."""
    assert demonitor(make_ref()) is False
    pid, ref = spawn_monitor(waits)
    send(pid, "go")
    await until(lambda: info(current_pid(), "message_queue_len") == 1)
    assert demonitor(ref) is False
    assert await take() == Down(ref, pid, "normal")
    # With flush the one already queued goes.
    pid, ref = spawn_monitor(waits)
    send(pid, "go")
    await until(lambda: info(current_pid(), "message_queue_len") == 1)
    assert demonitor(ref, flush=True) is False
    await nothing()


@in_node()
async def test_flush_removes_only_its_own_down() -> None:
    """[flush] also removes one already queued: no other message of the mailbox, and their order stays."""
    first, first_ref = spawn_monitor(waits)
    second, second_ref = spawn_monitor(waits)
    for n in range(10):
        send(current_pid(), n)
    send(first, "go")
    await until(lambda: info(current_pid(), "message_queue_len") == 11)
    send(second, "go")
    await until(lambda: info(current_pid(), "message_queue_len") == 12)
    assert demonitor(first_ref, flush=True) is False
    assert [await take() for _ in range(10)] == list(range(10))
    assert await take() == Down(second_ref, second, "normal")
    await nothing()


@in_node()
async def test_only_the_owner_can_demonitor() -> None:
    """Only the owner can demonitor; someone else calling raises badarg and leaves it in place."""
    pid, ref = spawn_monitor(waits)

    async def stranger() -> str:
        try:
            demonitor(ref)
        except NotOwner as error:
            assert isinstance(error, ValueError)
            return "refused"
        return "done"

    assert await apply(stranger) == "refused"
    send(pid, "go")
    assert await take() == Down(ref, pid, "normal")


@in_node()
async def test_owner_death_removes_its_monitors_at_the_target() -> None:
    """Owner death removes its monitors at the target."""
    peer, gone = spawn_monitor(waits)
    me = current_pid()

    async def watcher() -> None:
        for _ in range(5):
            monitor(peer)
        send(me, "watching")
        await receive()

    watchers = []
    for _ in range(20):
        watchers.append(spawn_monitor(watcher))
        await take(is_("watching"))
    assert sorted(info(peer, "monitored_by")) == sorted([me] + [pid for pid, _ in watchers for _ in range(5)])
    for pid, _ in watchers:
        kill(pid)
    assert await all_down([ref for _, ref in watchers]) == ["killed"] * 20
    await until(lambda: list(info(peer, "monitored_by")) == [me])
    send(peer, "go")
    assert await reason_of(gone) == "normal"


@in_node()
async def test_a_monitor_by_name_follows_the_process() -> None:
    """A monitor by name is on the process that had the name then: the name may go, the DOWN comes."""
    pid = spawn(waits_and_ends, "bye")
    register("watched", pid)
    ref = monitor("watched")
    transom.unregister("watched")
    other = spawn(waits)
    register("watched", other)
    send(pid, "go")
    down = await take()
    assert (down.ref, down.pid[0], down.reason) == (ref, "watched", "bye")
    send(other, "go")
    await until(lambda: not transom.is_alive(other))
    await nothing()


@pytest.mark.parametrize("tag", ["gone", ("request", 7), 7, None])
@in_node()
async def test_tag_replaces_down(tag: Any) -> None:
    """{tag, T} replaces the atom 'DOWN' - ideal for request collections."""
    pid = spawn(waits)
    ref = monitor(pid, tag=tag)
    send(pid, "go")
    down = await take(ref)
    assert isinstance(down, Down)
    assert (down.ref, down.pid, down.reason, down.tag) == (ref, pid, "normal", tag if tag is not None else "DOWN")


@in_node()
async def test_refs_are_unique_and_hashable() -> None:
    """Each monitor has its own ref; a ref equals itself alone."""
    refs = [make_ref() for _ in range(10_000)]
    assert len(set(refs)) == 10_000
    assert refs[0] == refs[0] and refs[0] != refs[1]

    async def makes() -> tuple[Ref, ...]:
        return tuple(make_ref() for _ in range(10_000))

    assert not set(await apply(makes)) & set(refs)
    # A copy that went through a mailbox is the same reference.
    send(current_pid(), refs[0])
    assert await take() == refs[0]


# -- aliases ----------------------------------------------------------------------------------------------------------


async def sends(dest: Any, *what: Any) -> None:
    """Send from another process, one by one."""
    for message in what:
        send(dest, message)


async def sent(dest: Any, *what: Any) -> None:
    """Let another process send these; when this returns they have arrived or vanished."""
    assert await apply(sends, dest, *what) is None


@in_node()
async def test_alias_is_an_address_of_its_creator() -> None:
    """Alias: a reference usable as address of its creator only. Mode explicit_unalias lasts until unalias."""
    ref = alias()
    assert isinstance(ref, Ref)
    await sent(ref, 1, 2, 3)
    assert [await take() for _ in range(3)] == [1, 2, 3]
    assert unalias(ref) is True
    await sent(ref, 4)
    await nothing()
    assert unalias(ref) is False


@in_node()
async def test_alias_messages_queued_before_unalias_stay() -> None:
    """Messages to a dead alias vanish before the mailbox, those queued stay."""
    ref = alias(mode="explicit_unalias")
    await sent(ref, "queued")
    await until(lambda: info(current_pid(), "message_queue_len") >= 1)
    assert unalias(ref) is True
    await sent(ref, "late")
    assert await take() == "queued"
    await nothing()


@in_node()
async def test_reply_alias_takes_one_message() -> None:
    """reply (dropped after first message received through it): the second of two replies vanished."""
    for _ in range(100):
        ref = alias(mode="reply")
        await sent(ref, "one", "two")
        assert await take() == "one"
        await nothing()
        assert unalias(ref) is False


@in_node()
async def test_reply_alias_may_be_dropped_unused() -> None:
    """unalias -> true/false (false if already inactive): a reply alias that was not used is active."""
    ref = alias(mode="reply")
    assert unalias(ref) is True
    await sent(ref, "late")
    await nothing()


@in_node()
async def test_demonitor_alias_dies_with_the_monitor() -> None:
    """as monitor option: demonitor (dies with the monitor or DOWN)."""
    pid = spawn(waits)
    ref = monitor(pid, alias="demonitor")
    await sent(ref, "early", "again")
    assert [await take(), await take()] == ["early", "again"]
    assert demonitor(ref) is True
    await sent(ref, "late")
    assert unalias(ref) is False
    send(pid, "go")
    await until(lambda: not transom.is_alive(pid))
    await nothing()


@in_node()
async def test_demonitor_alias_dies_with_down() -> None:
    """as monitor option: demonitor (dies with the monitor or DOWN)."""
    pid = spawn(waits)
    ref = monitor(pid, alias="demonitor")
    await sent(ref, "early")
    send(pid, "go")
    assert await take() == "early"
    assert await take() == Down(ref, pid, "normal")
    await sent(ref, "late")
    await nothing()
    assert unalias(ref) is False


@in_node()
async def test_demonitor_alias_dropped_alone_leaves_the_monitor() -> None:
    """unalias of a monitor's alias leaves the monitor in place."""
    pid = spawn(waits)
    ref = monitor(pid, alias="demonitor")
    assert unalias(ref) is True
    await sent(ref, "late")
    await nothing()
    send(pid, "go")
    assert await take() == Down(ref, pid, "normal")


@in_node()
async def test_explicit_alias_of_a_monitor_outlives_it() -> None:
    """as monitor option: explicit_unalias lasts until unalias, after DOWN and after demonitor."""
    pid = spawn(waits)
    ref = monitor(pid, alias="explicit_unalias")
    send(pid, "go")
    assert await take() == Down(ref, pid, "normal")
    await sent(ref, "after down")
    assert await take() == "after down"
    assert unalias(ref) is True
    await sent(ref, "late")
    await nothing()

    pid = spawn(waits)
    ref = monitor(pid, alias="explicit_unalias")
    assert demonitor(ref) is True
    await sent(ref, "after demonitor")
    assert await take() == "after demonitor"
    assert unalias(ref) is True
    kill(pid)


@in_node()
async def test_reply_demonitor_ends_with_the_first_reply() -> None:
    """reply_demonitor (first reply or DOWN removes both monitor and alias)."""
    for _ in range(100):
        pid = spawn(waits)
        ref = monitor(pid, alias="reply_demonitor")
        await sent(ref, ("reply", 1), ("reply", 2))
        assert await take() == ("reply", 1)
        assert current_pid() not in info(pid, "monitored_by")
        send(pid, "go")
        await until(lambda pid=pid: not transom.is_alive(pid))
        await nothing()
        assert unalias(ref) is False
        assert demonitor(ref) is False


@in_node()
async def test_reply_demonitor_ends_with_down() -> None:
    """reply_demonitor (first reply or DOWN removes both monitor and alias)."""
    pid = spawn(waits)
    ref = monitor(pid, alias="reply_demonitor")
    send(pid, "go")
    assert await take() == Down(ref, pid, "normal")
    await sent(ref, "late")
    await nothing()
    assert unalias(ref) is False


@pytest.mark.race
@in_node()
async def test_reply_demonitor_race_gives_one_of_both(rng: random.Random) -> None:
    """reply_demonitor: the first reply or DOWN removes both monitor and alias, so of a reply and an end exactly one is
    seen, the first."""
    for n in range(scaled(5_000)):
        ends_first = n % 2 == 0
        # The server needs the alias of the monitor on itself: it is told.
        server = spawn(server_of_one)
        ref = monitor(server, alias="reply_demonitor")
        send(server, (ref, ends_first, rng.randrange(60)))
        message = await take()
        assert message == (Down(ref, server, "normal") if ends_first else "reply")
    await nothing()


async def server_of_one() -> None:
    ref, ends_first, turns = await take()
    spin(turns)
    if not ends_first:
        send(ref, "reply")
        send(ref, "reply again")


async def late_server() -> None:
    ref, turns = await take()
    spin(turns)
    send(ref, ("reply", ref))


@pytest.mark.race
@in_node()
async def test_a_late_reply_after_a_timeout_is_harmless(rng: random.Random) -> None:
    """This is what makes a late reply after a call timeout harmless; thousands of calls that time out at random moments
    leave nothing in the mailbox."""
    answered = 0
    for _ in range(scaled(10_000)):
        server, guard = spawn_monitor(late_server)
        ref = monitor(server, alias="reply_demonitor")
        send(server, (ref, rng.randrange(100)))
        spin(rng.randrange(100))
        try:
            assert await receive(ref, timeout=0) == ("reply", ref)
            answered += 1
        except TimeoutError:
            # The idiom of a call: give up, then look once whether the reply was ahead of that.
            demonitor(ref, flush=True)
            unalias(ref)
            try:
                assert await receive(ref, timeout=0) == ("reply", ref)
                answered += 1
            except TimeoutError:
                pass
        assert await reason_of(guard) == "normal"
        await nothing()
    print(f"answered in time: {answered}")


@in_node()
async def test_alias_of_a_dead_process() -> None:
    """Messages to a dead alias vanish: also when its creator is gone; sending never fails."""

    async def creates() -> tuple[Ref, ...]:
        return (alias(), alias(mode="reply"))

    for ref in await apply(creates):
        await sent(ref, "nobody")
        assert send(ref, "nobody") is None
    await nothing()


@in_node()
async def test_only_the_creator_can_unalias() -> None:
    """unalias -> true/false (false if already inactive); another process gets false and the alias lives."""
    ref = alias()

    async def stranger() -> bool:
        return unalias(ref)

    assert await apply(stranger) is False
    await sent(ref, "still")
    assert await take() == "still"
    assert unalias(ref) is True
    assert unalias(make_ref()) is False


@in_node()
async def test_plain_refs_are_no_address() -> None:
    """Alias: a reference usable as address of its creator only; other references are the address of nobody."""
    pid, ref = spawn_monitor(waits)
    for plain in (make_ref(), ref):
        await sent(plain, "nobody")
    await nothing()
    send(pid, "go")
    assert await reason_of(ref) == "normal"


# -- priority messages ------------------------------------------------------------------------------------------------


@in_node()
async def test_priority_messages_go_ahead_of_ordinary_ones() -> None:
    """OTP 28 priority messages: receiver must OPT IN with alias([priority]); sender must ASK. Then it queues after other
    priority messages but before all ordinary ones."""
    ref = alias(priority=True)
    for n in range(100):
        send(current_pid(), ("ordinary", n))
    for n in range(10):
        send(ref, ("urgent", n), priority=True)
    assert [await take() for _ in range(10)] == [("urgent", n) for n in range(10)]
    assert [await take() for _ in range(100)] == [("ordinary", n) for n in range(100)]
    unalias(ref)


@in_node()
async def test_priority_needs_both_sides() -> None:
    """priority flag toward a pid, or a plain send to a priority alias, is an ordinary message."""
    me, urgent, plain = current_pid(), alias(priority=True), alias()
    send(me, 1)
    send(me, 2, priority=True)
    send(urgent, 3)
    send(plain, 4, priority=True)
    send(urgent, 0, priority=True)
    assert [await take() for _ in range(5)] == [0, 1, 2, 3, 4]
    unalias(urgent)
    unalias(plain)


@in_node()
async def test_priority_down() -> None:
    """receiver must OPT IN with monitor [priority]: its DOWN queues before all ordinary messages."""
    pid = spawn(waits)
    ref = monitor(pid, priority=True)
    for n in range(10):
        send(current_pid(), n)
    send(pid, "go")
    await until(lambda: info(current_pid(), "message_queue_len") == 11)
    assert await take() == Down(ref, pid, "normal")
    assert [await take() for _ in range(10)] == list(range(10))


@in_node()
async def test_priority_message_reaches_a_waiting_selective_receive() -> None:
    """Strong fit for "cancel this agent now" with a long mailbox: it wakes a receive that skipped everything before."""
    me = current_pid()

    async def busy() -> None:
        ref = alias(priority=True)
        send(me, ("alias", ref))
        await receive(is_("nothing of this"), is_("cancel"))
        send(me, info(current_pid(), "message_queue_len"))

    pid, gone = spawn_monitor(busy)
    _, ref = await take(tagged("alias"))
    for n in range(1_000):
        send(pid, n)
    send(ref, "cancel", priority=True)
    assert await take(int) == 1_000
    assert await reason_of(gone) == "normal"


@in_node()
async def test_priority_messages_of_many_senders_keep_their_order(rng: random.Random) -> None:
    """Signals from A to B keep A's send order, among the priority messages and among the ordinary ones."""
    ref, me = alias(priority=True), current_pid()

    async def sender(name: int, seed: int) -> None:
        mine = random.Random(seed)
        for n in range(500):
            if mine.random() < 0.3:
                send(ref, ("urgent", name, n), priority=True)
            else:
                send(me, ("ordinary", name, n))

    refs = [spawn_monitor(sender, name, rng.getrandbits(32))[1] for name in range(4)]
    last: dict[tuple[str, int], int] = {}
    total = 0
    while total < 4 * 500:
        kind, name, n = await take(tuple)
        assert n > last.get((kind, name), -1)
        last[kind, name] = n
        total += 1
    assert await all_down(refs) == ["normal"] * 4
    unalias(ref)
