"""Semantics 1.3: links."""

from __future__ import annotations

import random
from typing import Any

import pytest
from support import (
    all_down,
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

from transom import (
    Down,
    Exit,
    NoProcess,
    Pid,
    SpawnOptions,
    Stop,
    current_pid,
    exit,
    is_alive,
    kill,
    link,
    monitor,
    processes,
    receive,
    send,
    spawn,
    spawn_link,
    spawn_monitor,
    spawn_opt,
    trap_exit,
    unlink,
)

# A reason that is no crash: thousands of reports would only take time.
BYE = ("shutdown", "bye")


@in_node()
async def test_links_are_bidirectional() -> None:
    """Bidirectional: both ends list the other, and the end of either reaches the other."""
    trap_exit(True)
    me = current_pid()
    for _ in range(100):
        peer = spawn(waits_and_ends, "bye")
        link(peer)
        assert list(info(me, "links")) == [peer]
        assert list(info(peer, "links")) == [me]
        send(peer, "go")
        assert await take() == Exit(peer, "bye")
        assert list(info(me, "links")) == []


async def links_and_waits(peer: Pid, owner: Pid) -> None:
    link(peer)
    send(owner, "linked")
    await receive()


@in_node()
async def test_the_linker_is_reached_too() -> None:
    """Bidirectional: the process that was linked to ends, the one that called link() ends with it, and the other way."""
    me = current_pid()
    for first_dies in (True, False):
        peer, peer_ref = spawn_monitor(waits)
        pid, ref = spawn_monitor(links_and_waits, peer, me)
        await take(is_("linked"))
        exit(peer if first_dies else pid, "bye")
        assert await all_down([peer_ref, ref]) == ["bye", "bye"]


@in_node()
async def test_at_most_one_link_per_pair() -> None:
    """At most one per pair, link() idempotent: one exit message however often both sides linked."""
    trap_exit(True)
    me = current_pid()

    async def links_back() -> None:
        for _ in range(3):
            link(me)
        send(me, "linked")
        await receive(is_("go"))
        raise Stop("bye")

    peer = spawn(links_back)
    for _ in range(3):
        link(peer)
    await take(is_("linked"))
    assert list(info(me, "links")) == [peer]
    assert list(info(peer, "links")) == [me]
    gone = monitor(peer)
    send(peer, "go")
    assert await take(Exit) == Exit(peer, "bye")
    assert await reason_of(gone) == "bye"
    await nothing()


@in_node()
async def test_one_unlink_undoes_any_number_of_links() -> None:
    """At most one per pair, link() idempotent."""
    peer, ref = spawn_monitor(waits_and_ends, "bye")
    for _ in range(5):
        link(peer)
    unlink(peer)
    assert list(info(current_pid(), "links")) == []
    send(peer, "go")
    assert await reason_of(ref) == "bye"


@pytest.mark.parametrize("linker_unlinks", [True, False])
@in_node()
async def test_either_side_may_unlink(linker_unlinks: bool) -> None:
    """Either side may unlink."""
    me = current_pid()

    async def peer_body() -> None:
        if not linker_unlinks:
            await receive(is_("unlink"))
            unlink(me)
            send(me, "unlinked")
        await receive(is_("go"))
        raise Stop("bye")

    for _ in range(100):
        peer, ref = spawn_monitor(peer_body)
        link(peer)
        if linker_unlinks:
            unlink(peer)
        else:
            send(peer, "unlink")
            await take(is_("unlinked"))
        send(peer, "go")
        assert await reason_of(ref) == "bye"
        assert list(info(me, "links")) == []


@in_node()
async def test_link_to_self_does_nothing() -> None:
    """link(self()) is true and does nothing."""

    async def body() -> None:
        link(current_pid())
        assert list(info(current_pid(), "links")) == []
        unlink(current_pid())
        raise Stop("bye")

    _, ref = spawn_monitor(body)
    assert await reason_of(ref) == "bye"


@in_node()
async def test_link_to_the_dead_without_trapping_raises() -> None:
    """link(Dead): not trapping -> raises noproc."""
    dead, ref = spawn_monitor(returns)
    await reason_of(ref)
    for _ in range(100):
        with pytest.raises(NoProcess):
            link(dead)
    assert list(info(current_pid(), "links")) == []


@in_node()
async def test_link_to_the_dead_while_trapping_is_a_message() -> None:
    """link(Dead): trapping -> returns true then message ('EXIT', Dead, noproc)."""
    trap_exit(True)
    dead, ref = spawn_monitor(returns)
    await reason_of(ref)
    for _ in range(100):
        assert link(dead) is None
        assert await take() == Exit(dead, "noproc")
    assert list(info(current_pid(), "links")) == []


@pytest.mark.race
@in_node()
async def test_link_racing_with_the_end(rng: random.Random) -> None:
    """link(Dead): the race of link() with the end of its target gives exactly one message, its reason or noproc."""
    trap_exit(True)
    for _ in range(scaled(10_000)):
        pid = spawn(waits_and_ends, BYE)
        send(pid, "go")
        spin(rng.randrange(60))
        link(pid)
        message = await take()
        assert message in (Exit(pid, BYE), Exit(pid, "noproc"))
    await nothing()


@pytest.mark.race
@in_node()
async def test_no_exit_message_after_unlink(rng: random.Random) -> None:
    """After unlink() returns, no exit signal due to that link takes effect; one already converted to a message stays in the
    mailbox (idiom: unlink, then receive EXIT after 0). 20,000 racing rounds, 0 late."""
    trap_exit(True)
    seen = 0
    for _ in range(scaled(20_000)):
        pid = spawn_link(waits_and_ends, BYE)
        gone = monitor(pid)
        send(pid, "go")
        spin(rng.randrange(60))
        unlink(pid)
        try:
            assert await receive(Exit, timeout=0) == Exit(pid, BYE)
            seen += 1
        except TimeoutError:
            pass
        assert await reason_of(gone) == BYE
        # Late would be here: the process is gone for good.
        await nothing()
    print(f"exit messages that were ahead of unlink: {seen}")


@pytest.mark.race
@in_node()
async def test_no_exit_signal_takes_effect_after_unlink(rng: random.Random) -> None:
    """After unlink() returns, no exit signal due to that link takes effect: a process that does not trap outlives it."""
    me = current_pid()

    async def unlinks(turns: int) -> None:
        pid = spawn_link(waits_and_ends, BYE)
        send(pid, "go")
        spin(turns)
        unlink(pid)
        send(me, ("unlinked", current_pid()))
        ref = monitor(pid)
        await take(ref)
        await nothing()

    outlived = 0
    for _ in range(scaled(10_000) // 10):
        started = [spawn_monitor(unlinks, rng.randrange(60)) for _ in range(10)]
        for pid, ref in started:
            reason = await reason_of(ref)
            assert reason in ("normal", BYE)
            if reason == "normal":
                await take(is_(("unlinked", pid)))
                outlived += 1
        await nothing()
    print(f"outlived their peer: {outlived}")


async def links_at_random(seed: int, owner: Pid) -> None:
    """Link and unlink a peer that does the same, then tell what both ends are left with."""
    trap_exit(True)
    rng = random.Random(seed)
    peer = (await take(tagged("peer")))[1]
    for _ in range(rng.randrange(1, 20)):
        (link if rng.random() < 0.5 else unlink)(peer)
        spin(rng.randrange(100))
    # Two passes: the second has arrived only after every answer to a signal sent before the first.
    for word in ("first pass", "second pass"):
        send(peer, word)
        await take(is_(word))
    send(owner, ("tied", current_pid(), peer in info(current_pid(), "links")))
    await take(is_("bye"))
    raise Stop("bye")


@pytest.mark.race
@in_node()
async def test_both_ends_agree_about_the_link(rng: random.Random) -> None:
    """Protocol that makes it race-free: per-link local record {peer, active?, unlink_id}; however link() and unlink() of
    both sides cross, both ends agree in the end, and the exit signal follows what they agreed on."""
    me = current_pid()
    tied = 0
    for _ in range(scaled(2_000)):
        a, a_ref = spawn_monitor(links_at_random, rng.getrandbits(32), me)
        b, b_ref = spawn_monitor(links_at_random, rng.getrandbits(32), me)
        send(a, ("peer", b))
        send(b, ("peer", a))
        ends = {pid: linked for _, pid, linked in [await take(tagged("tied")), await take(tagged("tied"))]}
        assert ends[a] == ends[b]
        send(a, "bye")
        assert await reason_of(a_ref) == "bye"
        if ends[a]:
            tied += 1
            await until(lambda a=a, b=b: Exit(a, "bye") in info(b, "messages"))
        else:
            assert info(b, "messages") in ([], ())
        send(b, "bye")
        assert await reason_of(b_ref) == "bye"
    assert 0 < tied < scaled(2_000)
    await nothing()


@pytest.mark.race
@in_node()
async def test_unlink_and_link_again_leaves_one_working_link(rng: random.Random) -> None:
    """UNLINK_ID received -> drop record only if active; ACK with equal id drops an inactive record; any other ACK is
    ignored: a link made again while the unlink is under way is a link."""
    trap_exit(True)
    for _ in range(scaled(5_000)):
        pid = spawn_link(waits_and_ends, BYE)
        for _ in range(rng.randrange(1, 4)):
            unlink(pid)
            spin(rng.randrange(30))
            link(pid)
        send(pid, "go")
        assert await take() == Exit(pid, BYE)
    await nothing()


@pytest.mark.race
@in_node()
async def test_spawn_link_is_atomic_for_a_trapping_parent() -> None:
    """spawn_link is atomic: no window where the child died unlinked."""
    trap_exit(True)
    pids = set()
    for _ in range(scaled(10_000) // 10):
        pids = {spawn_link(returns) for _ in range(10)}
        for _ in range(10):
            message = await take()
            assert message.reason == "normal"
            pids.remove(message.sender)
        assert not pids


@pytest.mark.race
@in_node()
async def test_spawn_link_is_atomic_for_a_plain_parent() -> None:
    """spawn_link is atomic: no window where the child died unlinked."""

    async def ends(reason: Any) -> None:
        raise Stop(reason)

    async def parent(n: int) -> None:
        if n % 2:
            spawn_link(ends, ("boom", n))
        else:
            spawn_opt(SpawnOptions(link=True), ends, ("boom", n))
        await receive()

    for n in range(scaled(3_000)):
        _, ref = spawn_monitor(parent, n)
        assert await reason_of(ref) == ("boom", n)


@pytest.mark.race
@in_node()
async def test_spawn_link_child_never_outlives_a_killed_parent(rng: random.Random) -> None:
    """spawn_link is atomic: no window where the parent died and the child did not hear of it. (The node must be empty at
    the end of this test.)"""

    async def parent() -> None:
        while True:
            spawn_link(waits)

    me = current_pid()
    for _ in range(scaled(300)):
        pid, ref = spawn_monitor(parent)
        spin(rng.randrange(5_000))
        kill(pid)
        assert await reason_of(ref) == "killed"
        assert not is_alive(pid)
    await until(lambda: processes() == [me])


@in_node()
async def test_link_of_a_process_that_was_linked_to_many() -> None:
    """Links: the end of one process reaches each of its links once."""
    me = current_pid()
    hub, gone = spawn_monitor(waits_and_ends, "hub")

    async def spoke() -> None:
        trap_exit(True)
        link(hub)
        send(me, "linked")
        assert await take() == Exit(hub, "hub")
        await nothing()

    refs = [spawn_monitor(spoke)[1] for _ in range(2_000)]
    for _ in refs:
        await take(is_("linked"))
    assert len(info(hub, "links")) == 2_000
    send(hub, "go")
    assert await reason_of(gone) == "hub"
    assert await all_down(refs) == ["normal"] * 2_000


@pytest.mark.race
@in_node()
async def test_down_and_exit_of_one_process_both_arrive() -> None:
    """Links and monitors are separate: a process that is both gets both, once."""
    trap_exit(True)
    for _ in range(scaled(2_000)):
        pid, ref = spawn_opt(SpawnOptions(link=True, monitor=True), returns)
        got = [await take(), await take()]
        assert Down(ref, pid, "normal") in got and Exit(pid, "normal") in got
    await nothing()
