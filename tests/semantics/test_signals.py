"""Semantics 1.1: signals and their order. One test a statement; the docstring quotes it."""

from __future__ import annotations

import random
import time

import pytest
from support import (
    all_down,
    apply,
    forwards,
    in_node,
    info,
    is_,
    nothing,
    reason_of,
    returns,
    scaled,
    spin,
    take,
    waits,
)

import transom
from transom import (
    Down,
    Exit,
    Pid,
    Ref,
    Stop,
    alias,
    current_pid,
    demonitor,
    exit,
    is_alive,
    kill,
    link,
    monitor,
    process_info,
    receive,
    register,
    registered,
    send,
    spawn,
    spawn_link,
    spawn_monitor,
    trap_exit,
    unlink,
    whereis,
)


async def sends_two_and_ends(owner: Pid, turns: int) -> None:
    me = current_pid()
    spin(turns)
    send(owner, ("a", me))
    send(owner, ("b", me))


@pytest.mark.race
@in_node()
async def test_down_never_overtakes_a_message(rng: random.Random) -> None:
    """Only ordering promise: signals from A to B keep A's send order. 20,000 rounds "send a, send b, exit": DOWN never
    overtook a message."""
    me = current_pid()
    batch = 20
    for _ in range(scaled(20_000) // batch):
        seen: dict[Pid, list[str]] = {}
        for _ in range(batch):
            pid, _ = spawn_monitor(sends_two_and_ends, me, rng.randrange(50))
            seen[pid] = []
        for _ in range(3 * batch):
            message = await take()
            if isinstance(message, Down):
                assert message.reason == "normal"
                seen[message.pid].append("down")
            else:
                seen[message[1]].append(message[0])
        assert set(map(tuple, seen.values())) == {("a", "b", "down")}


async def sends_every_kind(peer: Pid, seed: int) -> None:
    """Random signals of every kind; at last the list of those that the trapping peer should see, in order."""
    rng = random.Random(seed)
    visible: list[tuple[str, int]] = []
    refs: list[Ref] = []
    linked = False
    for n in range(30):
        kind = rng.randrange(9)
        if kind < 2:
            send(peer, ("message", n))
            visible.append(("message", n))
        elif kind == 2:
            exit(peer, ("signal", n))
            visible.append(("signal", n))
        elif kind == 3:
            link(peer)
            linked = True
        elif kind == 4:
            unlink(peer)
            linked = False
        elif kind == 5:
            refs.append(monitor(peer))
        elif kind == 6 and refs:
            assert demonitor(refs.pop())
        elif kind == 7:
            assert is_alive(peer)
        else:
            assert process_info(peer, "message_queue_len", "links") is not None
    send(peer, ("end", tuple(visible), linked))
    raise Stop("done")


async def sees_every_kind(seed: int) -> None:
    trap_exit(True)
    sender, ref = spawn_monitor(sends_every_kind, current_pid(), seed)
    seen: list[tuple[str, int]] = []
    while True:
        message = await take()
        if isinstance(message, Exit):
            assert message.sender == sender
            seen.append(message.reason)
        elif message[0] == "end":
            break
        else:
            seen.append(message)
    assert tuple(seen) == message[1]
    # Both ends of the story come after everything that was sent; between them nothing is promised.
    last = [await take() for _ in range(1 + message[2])]
    assert Down(ref, sender, "done") in last
    if message[2]:
        assert Exit(sender, "done") in last
    await nothing()


@pytest.mark.race
@in_node()
async def test_order_holds_across_all_kinds(rng: random.Random) -> None:
    """Signals from A to B keep A's send order, across ALL kinds (message, link, unlink, monitor, demonitor, exit, down,
    alive/process_info requests)."""
    for _ in range(scaled(1_000) // 10):
        refs = [spawn_monitor(sees_every_kind, rng.getrandbits(32))[1] for _ in range(10)]
        assert await all_down(refs) == ["normal"] * 10


async def answers_who_is_tied(owner: Pid) -> None:
    """For each message, what this process then sees of its own links and monitors."""
    while (message := await take()) != "go":
        mine = process_info(current_pid(), "links", "monitored_by")
        assert mine is not None
        send(owner, (message, owner in mine["links"], owner in mine["monitored_by"]))


@pytest.mark.race
@in_node()
async def test_a_message_after_a_signal_finds_it_done() -> None:
    """Signals from A to B keep A's send order across all kinds: whoever reads a message sent after a link, unlink, monitor
    or demonitor finds that it has taken effect."""
    peer, down = spawn_monitor(answers_who_is_tied, current_pid())
    for n in range(scaled(5_000)):
        link(peer)
        send(peer, n)
        assert (await take())[1] is True
        ref = monitor(peer)
        send(peer, n)
        assert (await take())[1:] == (True, True)
        unlink(peer)
        send(peer, n)
        # The monitor `down` ties them for good, so only the link can be seen to go.
        assert (await take())[1] is False
        assert demonitor(ref)
    send(peer, "go")
    assert await reason_of(down) == "normal"


async def counts_up(owner: Pid, pid: Pid, name: str, ref: Ref, count: int, seed: int) -> None:
    rng = random.Random(seed)
    for n in range(count):
        send(rng.choice((pid, name, ref)), (current_pid(), n))
    send(owner, ("counted", current_pid()))


@pytest.mark.race
@in_node()
async def test_order_holds_whichever_address_was_used(rng: random.Random) -> None:
    """The promise holds whichever address was used (pid, registered name, alias). So pid/name/alias sends must feed ONE
    inbound queue per receiver."""
    me, ref = current_pid(), alias()
    register("order", me)
    count = scaled(5_000)
    senders = [spawn(counts_up, me, me, "order", ref, count, rng.getrandbits(32)) for _ in range(4)]
    expected = dict.fromkeys(senders, 0)
    ended = 0
    while ended < len(senders):
        first, second = await take()
        if first == "counted":
            assert expected[second] == count
            ended += 1
        else:
            assert second == expected[first]
            expected[first] += 1
    assert transom.unalias(ref)
    transom.unregister("order")


async def named_talker(owner: Pid, name: str, turns: int) -> None:
    register(name, current_pid())
    send(owner, ("named", name))
    await take(is_("go"))
    spin(turns)
    send(owner, ("a", name))
    send(owner, ("b", name))


@pytest.mark.race
@in_node()
async def test_order_holds_for_monitors_placed_by_name(rng: random.Random) -> None:
    """The promise holds for monitors placed by name (monitor_named_order_*)."""
    me = current_pid()
    for _ in range(scaled(3_000) // 10):
        names = [f"talker-{n}" for n in range(10)]
        for name in names:
            spawn(named_talker, me, name, rng.randrange(50))
        refs = {}
        for name in names:
            assert await take(is_(("named", name)))
            refs[monitor(name)] = name
            send(name, "go")
        seen: dict[str, list[str]] = {name: [] for name in names}
        for _ in range(30):
            message = await take()
            if isinstance(message, Down):
                assert message.pid[0] == refs[message.ref] and message.reason == "normal"
                seen[refs[message.ref]].append("down")
            else:
                seen[message[1]].append(message[0])
        assert set(map(tuple, seen.values())) == {("a", "b", "down")}


async def never_receives(owner: Pid) -> None:
    send(owner, "running")
    while True:
        pass


@pytest.mark.parametrize("reason", ["stop it", "kill"])
@in_node()
async def test_signals_are_received_outside_of_receive(reason: str) -> None:
    """Signals are received at any time, not only in `receive`: an exit signal ends a process that never calls receive (at
    its next yield point)."""
    for _ in range(20):
        pid, ref = spawn_monitor(never_receives, current_pid())
        await take(is_("running"))
        exit(pid, reason)
        assert await reason_of(ref) == ("killed" if reason == "kill" else reason)


@in_node()
async def test_sending_never_fails_because_the_target_died() -> None:
    """Sending is asynchronous and never fails because the target died: send to dead pid returns normally; exit(DeadPid, r)
    returns; unlink of any pid and demonitor of an own (even expired) ref return."""
    dead, ref = spawn_monitor(returns)
    assert await reason_of(ref) == "normal"
    assert send(dead, "hello") is None
    assert dead.send("hello") is None
    assert exit(dead, "r") is None
    assert kill(dead) is None
    assert unlink(dead) is None
    assert unlink(current_pid()) is None
    living, down = spawn_monitor(waits)
    assert unlink(living) is None
    assert demonitor(ref) is False
    assert demonitor(ref, flush=True) is False
    send(living, "go")
    assert await reason_of(down) == "normal"


@in_node()
async def test_send_to_an_unregistered_local_name_raises() -> None:
    """Exceptions with synchronous local checks: send to an unregistered local NAME raises badarg."""
    with pytest.raises(transom.NoProcess, match="nobody-here"):
        send("nobody-here", "hello")


@in_node(name="bridge")
async def test_send_to_name_and_node_never_raises() -> None:
    """`{Name, Node}` form never raises, even for the own node."""
    assert send(("nobody-here", "bridge"), "hello") is None
    register("somebody", current_pid())
    assert send(("somebody", "bridge"), "hello") is None
    assert await take() == "hello"


@in_node()
async def test_link_to_dead_pid_raises_unless_trapping() -> None:
    """link/1 to dead pid raises noproc unless trapping."""
    dead, ref = spawn_monitor(returns)
    assert await reason_of(ref) == "normal"
    with pytest.raises(transom.NoProcess):
        link(dead)
    trap_exit(True)
    link(dead)
    assert await take() == Exit(dead, "noproc")


async def registered_then_ends(name: str, turns: int) -> None:
    register(name, current_pid())
    spin(turns)


@pytest.mark.race
@in_node()
async def test_the_name_is_gone_before_down_and_link_exit(rng: random.Random) -> None:
    """Before link-exit, DOWN and is_process_alive replies are sent, the dying process's name registrations are already
    gone. 5,000 rounds, never visible after DOWN."""
    trap_exit(True)
    for n in range(scaled(5_000)):
        name = f"name-{n % 7}"
        if n % 2:
            pid, ref = spawn_monitor(registered_then_ends, name, rng.randrange(50))
            assert await take() == Down(ref, pid, "normal")
        else:
            pid = spawn_link(registered_then_ends, name, rng.randrange(50))
            assert await take() == Exit(pid, "normal")
        assert whereis(name) is None
        assert name not in registered()
        assert not is_alive(pid)
        assert process_info(pid) is None
        # The name is free for the next owner.
        register(name, current_pid())
        transom.unregister(name)


@pytest.mark.race
@in_node()
async def test_is_alive_and_info_after_kill_see_it_dead(rng: random.Random) -> None:
    """is_process_alive(P) and process_info(P) after exit(P, kill) by the same caller see it dead (the request queues
    behind the exit). 20,000/20,000"""
    me = current_pid()
    for n in range(scaled(20_000)):
        pid = spawn(waits) if n % 16 else spawn(never_receives, me)
        if n % 16 == 0:
            await take(is_("running"))
        spin(rng.randrange(30))
        exit(pid, "kill")
        if n % 2:
            assert is_alive(pid) is False
        else:
            assert process_info(pid, "status") is None
        assert pid not in transom.processes()


@pytest.mark.race
@in_node()
async def test_is_alive_after_any_deadly_signal_sees_it_dead(rng: random.Random) -> None:
    """The request queues behind the exit: so it is for every exit signal that ends its receiver."""
    for _ in range(scaled(5_000)):
        pid = spawn(waits)
        spin(rng.randrange(30))
        exit(pid, "enough")
        assert is_alive(pid) is False


@in_node()
async def test_no_back_pressure_on_local_sends() -> None:
    """No back-pressure on local sends (mailboxes unbounded)."""
    deaf, ref = spawn_monitor(waits)
    count = 200_000
    for n in range(count):
        send(deaf, n)
    assert info(deaf, "message_queue_len") == count
    send(deaf, "go")
    assert await reason_of(ref) == "normal"


@pytest.mark.race
@in_node()
async def test_info_requests_queue_behind_messages() -> None:
    """Signals from A to B keep A's send order, also alive/process_info requests: the count includes what the caller sent
    before."""
    deaf, ref = spawn_monitor(waits)
    for n in range(1, scaled(5_000)):
        send(deaf, n)
        assert info(deaf, "message_queue_len") == n
    kill(deaf)
    assert await reason_of(ref) == "killed"


@pytest.mark.race
@in_node()
async def test_the_first_of_two_pending_exits_wins(rng: random.Random) -> None:
    """Two pending exits: the first wins."""
    me = current_pid()
    for n in range(scaled(5_000)):
        busy = n % 5 == 0
        pid, ref = spawn_monitor(never_receives, me) if busy else spawn_monitor(waits)
        if busy:
            await take(is_("running"))
        spin(rng.randrange(30))
        exit(pid, "first")
        exit(pid, "second")
        kill(pid)
        assert await reason_of(ref) == "first"


@pytest.mark.race
@in_node()
async def test_many_senders_lose_and_double_nothing(rng: random.Random) -> None:
    """No promise between different senders; nothing is lost or doubled, each sender's own order is kept."""
    me = current_pid()

    async def sender(name: int, count: int, seed: int) -> None:
        mine = random.Random(seed)
        for n in range(count):
            if mine.random() < 0.1:
                spin(mine.randrange(200))
            send(me, (name, n))

    count = scaled(5_000)
    refs = [spawn_monitor(sender, name, count, rng.getrandbits(32))[1] for name in range(8)]
    following = [0] * 8
    for _ in range(8 * count):
        name, n = await take(tuple)
        assert n == following[name]
        following[name] += 1
    assert await all_down(refs) == ["normal"] * 8


async def pings(peer: Pid, rounds: int) -> None:
    for n in range(rounds):
        send(peer, (current_pid(), n))
        assert await take() == n


async def pongs(rounds: int) -> None:
    for _ in range(rounds):
        sender, n = await take()
        send(sender, n)


@pytest.mark.race
@in_node(schedulers=2)
async def test_no_wake_up_is_lost() -> None:
    """Signals are received at any time: a process that has just gone to sleep is woken by a message. Both sides sleep
    between any two messages here, and the node has nothing else to do."""
    rounds = scaled(20_000)
    for _ in range(3):
        peer, second = spawn_monitor(pongs, rounds)
        first = spawn_monitor(pings, peer, rounds)[1]
        assert await all_down([first, second]) == ["normal", "normal"]


@pytest.mark.race
@in_node(schedulers=2)
async def test_no_wake_up_is_lost_after_a_spawn() -> None:
    """Signals are received at any time: a process that was just made is run, and its end wakes who waits for it. A wake-up
    that is lost shows as a receive that returns only when its own timer wakes the slot."""
    for _ in range(scaled(50_000)):
        pid, ref = spawn_monitor(returns)
        before = time.monotonic()
        assert await receive(timeout=5) == Down(ref, pid, "normal")
        assert time.monotonic() - before < 4, "nobody woke until the timer did"


@in_node()
async def test_messages_to_self_arrive_in_order() -> None:
    """Signals from A to B keep A's send order: also where A is B."""
    for n in range(1_000):
        send(current_pid(), n)
    assert [await receive(timeout=0) for _ in range(1_000)] == list(range(1_000))


@pytest.mark.race
@in_node()
async def test_exit_signal_and_message_keep_their_order() -> None:
    """Signals from A to B keep A's send order: a trapping receiver sees exit signals and messages as they were sent."""
    peer, ref = spawn_monitor(forwards, current_pid())
    await take(is_(("ready", peer)))
    me = current_pid()
    for n in range(scaled(5_000)):
        exit(peer, ("signal", n))
        send(peer, n)
        exit(peer, "normal")
        assert await take() == ("got", Exit(me, ("signal", n)))
        assert await take() == ("got", n)
        assert await take() == ("got", Exit(me, "normal"))
    send(peer, "go")
    assert await reason_of(ref) == "normal"


@in_node()
async def test_apply_helper_returns_what_the_process_returned() -> None:
    """Guards the helper the other files use: a failure inside the process is not swallowed."""

    async def doubles(n: int) -> int:
        return 2 * n

    async def fails() -> None:
        raise RuntimeError

    assert await apply(doubles, 4) == 8
    with pytest.raises(AssertionError, match="RuntimeError"):
        await apply(fails)
