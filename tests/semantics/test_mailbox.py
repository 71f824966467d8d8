"""Semantics 1.5: the mailbox, selective receive, timeouts."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from support import apply, in_node, info, is_, messages, nothing, reason_of, scaled, spin, tagged, take, until, waits

import transom
from transom import Down, Exit, Pid, Ref, alias, current_pid, make_ref, monitor, receive, send, spawn_monitor, trap_exit

# -- selective receive ------------------------------------------------------------------------------------------------


@in_node()
async def test_oldest_acceptable_message_first() -> None:
    """Selective receive: scan from oldest; first message any clause accepts is removed, skipped ones keep order."""
    me = current_pid()
    for message in (1, "a", 2, "b", 3.0, "c"):
        send(me, message)
    assert await take(str) == "a"
    assert await take(float) == 3.0
    assert await take(str, int) == 1
    assert await take(is_("c")) == "c"
    assert messages() == [2, "b"]
    assert [await take(), await take()] == [2, "b"]


@pytest.mark.race
@in_node()
async def test_random_selective_receive_equals_a_list(rng: random.Random) -> None:
    """Selective receive: first message any clause accepts is removed, skipped ones keep order: against a plain list."""
    me = current_pid()
    model: list[int] = []
    for _ in range(scaled(5_000)):
        if rng.random() < 0.55:
            value = rng.randrange(1_000)
            send(me, value)
            model.append(value)
        else:
            divisor = rng.randrange(1, 8)
            wanted = next((value for value in model if value % divisor == 0), None)
            if wanted is None:
                await nothing(lambda message, divisor=divisor: message % divisor == 0)
            else:
                assert await receive(lambda message, divisor=divisor: message % divisor == 0, timeout=0) == wanted
                model.remove(wanted)
        if rng.random() < 0.01:
            assert messages() == model
    assert messages() == model
    for value in model:
        assert await take() == value


@in_node()
async def test_any_of_several_matches_accepts() -> None:
    """First message ANY clause accepts is removed: types, predicates and refs may be mixed."""
    me, ref = current_pid(), make_ref()
    for message in ([], ("skipped", 0), 7, (ref, "reply"), "text"):
        send(me, message)
    match: tuple[Any, ...] = (str, is_(7), ref)
    assert await take(*match) == 7
    assert await take(*match) == (ref, "reply")
    assert await take(*match) == "text"
    await nothing(*match)
    assert messages() == [[], ("skipped", 0)]
    assert [await take(), await take()] == [[], ("skipped", 0)]


class Base:
    pass


@dataclass(frozen=True)
class Derived(Base):
    n: int


@in_node()
async def test_types_match_subclasses() -> None:
    """A type as a clause accepts what isinstance accepts."""
    send(current_pid(), Derived(1))
    send(current_pid(), True)
    assert await take(Base) == Derived(1)
    assert await take(int) is True
    send(current_pid(), None)
    assert await take(type(None)) is None


@in_node()
async def test_a_ref_matches_its_down_its_alias_and_its_tuple() -> None:
    """A Ref as a clause accepts the Down of that monitor, a message to that alias, a tuple that begins with it."""
    me = current_pid()
    pid, ref = spawn_monitor(waits)
    other = make_ref()
    send(me, (other, "not this"))
    send(me, ("nor this", ref))
    send(me, (ref, "this"))
    assert await take(ref) == (ref, "this")
    send(pid, "go")
    assert await take(ref) == Down(ref, pid, "normal")
    address = alias()
    send(me, "past it")
    send(address, "through it")
    assert await take(address) == "through it"
    assert messages() == [(other, "not this"), ("nor this", ref), "past it"]
    for _ in range(3):
        await take()
    transom.unalias(address)


class Counting:
    """A predicate that counts what it is asked."""

    def __init__(self, wanted: Any) -> None:
        self.wanted = wanted
        self.asked = 0

    def __call__(self, message: Any) -> bool:
        self.asked += 1
        return bool(message == self.wanted)


@in_node()
async def test_the_scan_resumes_at_new_arrivals() -> None:
    """The scan resumes at new arrivals only (save pointer), not from the start."""
    me = current_pid()
    asked: list[int] = []

    async def body() -> None:
        wanted = Counting("go")
        send(me, "scanning")
        await receive(wanted)
        asked.append(wanted.asked)

    pid, ref = spawn_monitor(body)
    await take(is_("scanning"))
    for n in range(2_000):
        send(pid, n)
        if n % 100 == 0:
            # Let it look at what is there, so that it is woken many times.
            await until(lambda: info(pid, "status") == "waiting")
    send(pid, "go")
    assert await reason_of(ref) == "normal"
    assert asked == [2_001]


@in_node()
async def test_the_scan_restarts_after_a_match() -> None:
    """It restarts after a match or timeout."""
    me = current_pid()
    for n in range(100):
        send(me, n)
    for n in (99, 50):
        wanted = Counting(n)
        assert await take(wanted) == n
        assert wanted.asked == n + 1
    assert [await take() for _ in range(98)] == [n for n in range(100) if n not in (50, 99)]


@in_node()
async def test_the_scan_restarts_after_a_timeout() -> None:
    """It restarts after a match or timeout."""
    me = current_pid()
    for n in range(100):
        send(me, n)
    for _ in range(3):
        never = Counting("never")
        with pytest.raises(TimeoutError):
            await receive(never, timeout=0.01)
        assert never.asked == 100
    assert [await take() for _ in range(100)] == list(range(100))


@pytest.mark.race
@in_node()
async def test_messages_that_arrive_during_a_scan_are_seen(rng: random.Random) -> None:
    """The scan resumes at new arrivals: none is missed while it is under way."""
    me = current_pid()

    async def sender(peer: Pid, turns: int) -> None:
        for n in range(20):
            send(peer, n)
        spin(turns)
        send(peer, "wanted")

    async def body(seed: int) -> None:
        mine = random.Random(seed)
        spawn_monitor(sender, current_pid(), mine.randrange(500))

        def slowly(message: Any) -> bool:
            spin(mine.randrange(50))
            return bool(message == "wanted")

        assert await take(slowly) == "wanted"
        assert (await take(Down)).reason == "normal"
        assert [await take() for _ in range(20)] == list(range(20))
        send(me, "done")

    for _ in range(scaled(1_000)):
        _, ref = spawn_monitor(body, rng.getrandbits(32))
        assert await reason_of(ref) == "normal"
        await take(is_("done"))


@in_node()
async def test_a_raising_predicate_raises_in_the_receiver() -> None:
    """A clause that fails is the receiver's own fault: its exception comes out of receive and no message is lost."""
    for n in range(3):
        send(current_pid(), n)

    def bad(message: Any) -> bool:
        if message == 1:
            raise ZeroDivisionError("bad clause")
        return False

    for _ in range(2):
        with pytest.raises(ZeroDivisionError, match="bad clause"):
            await receive(bad)
        assert messages() == [0, 1, 2]
    assert [await take() for _ in range(3)] == [0, 1, 2]


@in_node()
async def test_a_predicate_may_use_the_runtime() -> None:
    """A clause runs in the receiving process: it may send, look at the mailbox and read process_info."""
    me = current_pid()

    def asks(message: Any) -> bool:
        assert current_pid() == me
        if message == 0:
            send(me, "sent by the clause")
        return bool(message == "sent by the clause")

    send(me, 0)
    assert await take(asks) == "sent by the clause"
    assert await take() == 0


# -- timeouts ---------------------------------------------------------------------------------------------------------


@in_node()
async def test_timeout_zero_tries_every_queued_message_once() -> None:
    """`after 0`: every queued message (and signals already delivered) is tried once, then the timeout branch runs without
    waiting."""
    me = current_pid()
    for n in range(50):
        send(me, n)
    never = Counting("never")
    with pytest.raises(TimeoutError):
        await receive(never, timeout=0)
    assert never.asked == 50
    assert await receive(is_(49), timeout=0) == 49
    for n in range(49):
        assert await receive(timeout=0) == n
    with pytest.raises(TimeoutError):
        await receive(timeout=0)


@pytest.mark.race
@in_node()
async def test_timeout_zero_sees_signals_already_delivered() -> None:
    """`after 0`: signals already delivered are tried, too."""
    trap_exit(True)
    me = current_pid()
    for _ in range(scaled(2_000)):
        transom.exit(me, "signal")
        assert await receive(Exit, timeout=0) == Exit(me, "signal")


@in_node()
async def test_infinity_never_times_out() -> None:
    """`after infinity` never: a receive without timeout is still waiting when others have timed out many times."""

    async def body() -> None:
        await receive(is_("go"), timeout=None)

    pid, ref = spawn_monitor(body)
    for _ in range(20):
        with pytest.raises(TimeoutError):
            await receive(timeout=0.01)
    assert info(pid, "status") == "waiting"
    send(pid, "go")
    assert await reason_of(ref) == "normal"


@pytest.mark.parametrize("timeout", [-1, -0.001, float("nan"), 2.0**63, -float("inf")])
@in_node()
async def test_timeout_outside_of_its_range(timeout: float) -> None:
    """Timeout must be integer 0..2^32-1 or infinity, else timeout_value error. (Here seconds, as a float.)"""
    send(current_pid(), "stays")
    with pytest.raises((ValueError, OverflowError)):
        await receive(is_("never"), timeout=timeout)
    assert await take() == "stays"


@pytest.mark.parametrize("timeout", ["1", [], object])
@in_node()
async def test_timeout_of_a_wrong_type(timeout: Any) -> None:
    """Timeout must be a number or infinity, else an error."""
    with pytest.raises(TypeError):
        await receive(timeout=timeout)


@in_node()
async def test_timeout_counts_from_entering_receive() -> None:
    """Receive timeouts count from entering receive; messages that do not match do not restart it."""
    me = current_pid()

    async def nags() -> None:
        while True:
            send(me, "junk")
            await transom.sleep(0.005)

    pid, ref = spawn_monitor(nags)
    for _ in range(3):
        before = time.monotonic()
        with pytest.raises(TimeoutError):
            # Were it restarted by each of them it would never end: the test would run into its time limit.
            await receive(is_("never"), timeout=0.1)
        assert time.monotonic() - before >= 0.1
    transom.kill(pid)
    assert await reason_of(ref) == "killed"
    while info(me, "message_queue_len"):
        assert await take() == "junk"


@pytest.mark.parametrize("seconds", [0.001, 0.01, 0.05])
@in_node()
async def test_timeout_is_never_early(seconds: float) -> None:
    """Receive timeouts count from entering receive; never early."""
    for _ in range(20):
        before = time.monotonic()
        with pytest.raises(TimeoutError):
            await receive(timeout=seconds)
        assert time.monotonic() - before >= seconds


@pytest.mark.race
@in_node()
async def test_timeout_races_with_a_message(rng: random.Random) -> None:
    """A message that arrives as the timeout fires is received or stays: it is never lost, and the timer leaves nothing."""
    me = current_pid()

    async def sender(delay: float) -> None:
        await transom.sleep(delay)
        send(me, "message")

    in_time = late = 0
    for _ in range(scaled(1_000)):
        _, ref = spawn_monitor(sender, 0.001 + rng.random() * 0.002)
        try:
            assert await receive(is_("message"), timeout=0.002) == "message"
            in_time += 1
        except TimeoutError:
            assert await take(is_("message")) == "message"
            late += 1
        assert await reason_of(ref) == "normal"
    print(f"in time {in_time}, late {late}")


@in_node()
async def test_a_timeout_left_behind_does_not_wake_a_later_receive() -> None:
    """Receive timeouts count from entering receive: that of a receive which got its message is gone."""
    me = current_pid()
    for _ in range(50):
        send(me, 1)
        assert await receive(timeout=0.002) == 1
        before = time.monotonic()
        with pytest.raises(TimeoutError):
            await receive(timeout=0.01)
        assert time.monotonic() - before >= 0.01


# -- the fresh reference ----------------------------------------------------------------------------------------------


async def echoes() -> None:
    while (message := await receive()) != "go":
        ref, sender = message
        send(sender, (ref, "reply"))


async def fastest_call(server: Pid, fresh: Callable[[], Any], calls: int) -> float:
    """Seconds of the fastest of some calls, so that a busy machine does not count."""
    best = float("inf")
    for _ in range(calls):
        before = time.perf_counter()
        ref = fresh()
        send(server, (ref, current_pid()))
        assert (await take(ref))[1] == "reply"
        best = min(best, time.perf_counter() - before)
        if isinstance(ref, Ref):
            transom.demonitor(ref, flush=True)
    return best


@pytest.mark.parametrize("kind", ["make_ref", "monitor", "alias"])
@in_node()
async def test_a_fresh_ref_skips_everything_older(kind: str) -> None:
    """Ref-marker optimisation: awaiting a fresh ref skips everything older. OTP's own test demands ratio < 10 with 500,000
    messages."""
    server, gone = spawn_monitor(echoes)

    def fresh() -> Ref:
        if kind == "make_ref":
            return make_ref()
        return monitor(server) if kind == "monitor" else alias(mode="reply")

    empty = await fastest_call(server, fresh, 300)
    junk = 500_000
    for n in range(junk):
        send(current_pid(), n)
    full = await fastest_call(server, fresh, 300)
    # A scan of them all takes milliseconds, a call some microseconds.
    assert full < 10 * empty + 50e-6, f"{full * 1e6:.1f} us with {junk} messages waiting, {empty * 1e6:.1f} us without"
    assert info(current_pid(), "message_queue_len") == junk
    for n in range(junk):
        assert await receive(timeout=0) == n
    send(server, "go")
    assert await reason_of(gone) == "normal"


@in_node()
async def test_a_fresh_ref_does_not_hide_older_messages() -> None:
    """Ref-marker optimisation: it may skip only what cannot match; with another clause beside the ref, or with a ref that is
    older than the mailbox, everything is looked at."""
    me = current_pid()
    old = make_ref()
    send(me, (old, "old"))
    send(me, 1)
    fresh = make_ref()
    send(me, (fresh, "fresh"))
    assert await take(fresh, int) == 1
    assert await take(old) == (old, "old")
    assert await take(fresh) == (fresh, "fresh")
    # Two refs, interleaved.
    first = make_ref()
    second = make_ref()
    send(me, (second, 2))
    send(me, (first, 1))
    assert await take(second) == (second, 2)
    assert await take(first) == (first, 1)


@pytest.mark.race
@in_node()
async def test_random_refs_equal_a_list(rng: random.Random) -> None:
    """Ref-marker optimisation is invisible: random sends and receives by old and fresh refs against a plain list."""
    me = current_pid()
    refs = [make_ref()]
    model: list[tuple[Ref, int]] = []
    for n in range(scaled(5_000)):
        choice = rng.random()
        if choice < 0.2:
            refs = [*refs[-5:], make_ref()]
        elif choice < 0.6:
            message = (rng.choice(refs), n)
            send(me, message)
            model.append(message)
        else:
            ref = rng.choice(refs)
            wanted = next((message for message in model if message[0] == ref), None)
            if wanted is None:
                await nothing(ref)
            else:
                assert await receive(ref, timeout=0) == wanted
                model.remove(wanted)
    assert messages() == model
    for message in model:
        assert await take() == message


# -- what others see --------------------------------------------------------------------------------------------------


@in_node()
async def test_messages_are_shown_in_order() -> None:
    """process_info(P, messages) shows exactly order the process will see; message_queue_len counts messages only, not
    pending signals."""
    pid, ref = spawn_monitor(waits)
    sent = [("n", n) for n in range(100)]
    for message in sent:
        send(pid, message)
        transom.link(pid)
        transom.unlink(pid)
    shown = transom.process_info(pid, "messages", "message_queue_len")
    assert shown is not None
    assert list(shown["messages"]) == sent
    assert shown["message_queue_len"] == 100
    send(pid, "go")
    assert await reason_of(ref) == "normal"


@in_node()
async def test_receive_without_match_takes_whatever_is_next() -> None:
    """Scan from oldest: without any clause the oldest message is taken."""
    me = current_pid()
    values: list[Any] = [None, 0, (), "", False, ("tuple",), b"bytes"]
    for value in values:
        send(me, value)
    assert [await receive() for _ in values] == values


@in_node()
async def test_nested_receives_share_one_mailbox() -> None:
    """One mailbox per process, however deep the call that receives."""

    async def deep(level: int) -> Any:
        return await deep(level - 1) if level else await take(tagged("deep"))

    send(current_pid(), "shallow")
    send(current_pid(), ("deep", 1))
    assert await deep(30) == ("deep", 1)
    assert await take() == "shallow"


@in_node()
async def test_receive_in_generators_and_context_managers() -> None:
    """`await receive` works wherever await works."""
    import contextlib

    @contextlib.asynccontextmanager
    async def opened() -> Any:
        yield await take(is_("open"))
        assert await take(is_("close")) == "close"

    async def numbers() -> Any:
        while (n := await take(int)) >= 0:
            yield n

    me = current_pid()
    for message in ("open", 1, 2, -1, "close"):
        send(me, message)
    async with opened() as word:
        assert word == "open"
        assert [n async for n in numbers()] == [1, 2]


@in_node()
async def test_a_child_cannot_read_its_parents_mailbox() -> None:
    """One mailbox per process."""
    send(current_pid(), "mine")

    async def child() -> None:
        await nothing()

    await apply(child)
    assert await take() == "mine"
