"""Recovery: back-off, other parameters for the next try, a fallback; beyond OTP."""

from __future__ import annotations

import random
import time

import pytest
from supervised import close, desk, eventually, gone, kid, orderly, spec, states, up
from support import in_node, nothing, scaled, spin, tagged, take

import transom
from transom import Backoff, ChildSpec, DynamicSupervisor, Pid, Recovery, StartError, Task, is_alive, send, trap_exit

LONG = Backoff(initial=1000, maximum=1000)


def variant(name: str) -> ChildSpec:
    return Task.child(kid, transom.current_pid(), name)


@in_node()
async def test_restarts_wait_and_do_not_count() -> None:
    """Each restart waits for its delay, never less, and max_restarts does not apply."""
    backoff = Backoff(initial=0.01, factor=1.5, maximum=0.03, jitter=0)
    ref, pids = await desk([spec("a", recovery=Recovery(backoff=backoff)), spec("b")], max_restarts=0)
    for n in range(1, 7):
        begun = time.monotonic()
        send(pids["a"], ("end", "crash"))
        pids["a"] = await up("a")
        assert time.monotonic() - begun >= backoff.delay(n)
    assert await states(ref) == pids
    await close(ref)


@in_node()
async def test_while_it_waits() -> None:
    """It is "restarting", the supervisor answers, and terminate_child calls the restart off."""
    ref, pids = await desk([spec("a", recovery=Recovery(backoff=LONG)), spec("b")])
    send(pids["a"], ("end", "crash"))
    await eventually(lambda: states(ref), {"a": "restarting", "b": pids["b"]})
    assert (await ref.count_children())["active"] == 1
    for operation in (ref.restart_child, ref.delete_child):
        with pytest.raises(transom.ChildRunning) as running:
            await operation("a")
        assert running.value.state == "restarting"
    with pytest.raises(transom.ChildExists):
        await ref.start_child(spec("a"))
    await ref.terminate_child("a")
    assert await states(ref) == {"a": None, "b": pids["b"]}
    assert await ref.restart_child("a") == await up("a")
    await close(ref)
    # A supervisor that is stopped meanwhile does not wait for the delay.
    ref, pids = await desk([spec("a", recovery=Recovery(backoff=LONG))])
    send(pids["a"], ("end", "crash"))
    await eventually(lambda: states(ref), {"a": "restarting"})
    await close(ref)


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
@in_node()
async def test_a_group_is_stopped_at_once_and_started_after_the_delay(strategy: str) -> None:
    recovery = Recovery(backoff=Backoff(initial=0.02, jitter=0))
    ref, pids = await desk([spec("a", recovery=recovery), spec("b", orderly)], strategy=strategy)
    begun = time.monotonic()
    send(pids["a"], ("end", "crash"))
    assert await take(tagged("told")) == ("told", "b", "shutdown")
    after = {"a": await up("a"), "b": await up("b")}
    assert time.monotonic() - begun >= 0.02
    assert await states(ref) == after
    await close(ref)
    await take(tagged("told"))


@in_node()
async def test_a_group_restart_overtakes_a_waiting_child() -> None:
    """A sibling's crash restarts all; the wait that was going on is called off, and nothing is started twice."""
    ref, pids = await desk([spec("a", recovery=Recovery(backoff=LONG)), spec("b")], strategy="rest_for_one")
    ref2, more = await desk([spec("x"), spec("y", recovery=Recovery(backoff=LONG))], strategy="rest_for_one")
    send(more["y"], ("end", "crash"))
    await eventually(lambda: states(ref2), {"x": more["x"], "y": "restarting"})
    send(more["x"], ("end", "crash"))
    after = {"x": await up("x"), "y": await up("y")}
    assert await states(ref2) == after
    await nothing(tagged("up"))
    assert await states(ref) == pids
    await close(ref2)
    await close(ref)


@in_node()
async def test_other_parameters_for_the_next_try() -> None:
    """The n-th restart uses the n-th variant, the last one all further ones; the id stays."""
    recovery = Recovery(variants=(variant("second"), variant("third")))
    ref, pids = await desk([spec("a", recovery=recovery)])
    pid = pids["a"]
    for name in ("second", "third", "third", "third", "third"):
        send(pid, ("end", "crash"))
        pid = await up(name)
    assert await states(ref) == {"a": pid}
    await close(ref)


@in_node()
async def test_the_fallback_takes_the_place() -> None:
    """After so many attempts the fallback stands in, under the same id; its own restarts count."""
    recovery = Recovery(attempts=4, fallback=variant("spare"))
    ref, pids = await desk([spec("a", recovery=recovery)], max_restarts=1, max_seconds=1000)
    pid = pids["a"]
    for _ in range(4):
        send(pid, ("end", "crash"))
        pid = await up("a")
    send(pid, ("end", "crash"))
    pid = await up("spare")
    assert await states(ref) == {"a": pid}
    await ref.terminate_child("a")
    await ref.restart_child("a")  # back to the child itself
    pid = await up("a")
    for _ in range(4):
        send(pid, ("end", "crash"))
        pid = await up("a")
    send(pid, ("end", "crash"))
    for _ in range(2):
        pid = await up("spare")
        send(pid, ("end", "crash"))
    await gone(ref, reason="shutdown")


@in_node()
async def test_without_a_fallback_the_supervisor_gives_up() -> None:
    ref, pids = await desk([spec("a", recovery=Recovery(attempts=0)), spec("b", orderly)])
    send(pids["a"], ("end", "crash"))
    await gone(ref, reason="shutdown")
    assert await take(tagged("told")) == ("told", "b", "shutdown")


@in_node()
async def test_starts_that_fail_are_attempts_too() -> None:
    """A child that cannot start again falls back as one that crashes does."""
    me = transom.current_pid()
    tries: list[int] = []

    def start() -> Pid:
        tries.append(1)
        if len(tries) > 1:
            raise StartError("rate limit")
        return transom.spawn_link(kid, me, "a")

    recovery = Recovery(backoff=Backoff(initial=0.001, maximum=0.002), attempts=3, fallback=variant("spare"))
    ref, pids = await desk([ChildSpec(id="a", start=start, recovery=recovery)])
    send(pids["a"], ("end", "crash"))
    assert await states(ref) != {} and await up("spare")
    assert len(tries) == 4
    await close(ref)


@in_node()
async def test_in_a_dynamic_supervisor() -> None:
    """The same rules; a waiting child counts and is known by its last Pid."""
    trap_exit(True)
    ref = await DynamicSupervisor.start_link(max_children=1, max_restarts=0)
    pid = await ref.start_child(spec("a", recovery=Recovery(backoff=LONG)))
    send(await up("a"), ("end", "crash"))

    async def children() -> list[object]:
        return [state for _, state, _ in await ref.which_children()]

    await eventually(children, ["restarting"])
    with pytest.raises(transom.TooManyChildren):
        await ref.start_child(spec("b"))
    await ref.terminate_child(pid)
    assert await children() == []
    with pytest.raises(transom.NoChild):
        await ref.terminate_child(pid)
    await close(ref)


@pytest.mark.race
@in_node()
async def test_calling_off_races_with_the_delay(rng: random.Random) -> None:
    """However the two meet, a terminated child stays terminated, and none is started twice."""
    recovery = Recovery(backoff=Backoff(initial=0.001, maximum=0.001, jitter=1))
    for _ in range(scaled(150)):
        ref, pids = await desk([spec("a", recovery=recovery)])
        send(pids["a"], ("end", "crash"))
        await transom.sleep(rng.random() * 0.002)
        spin(rng.randrange(500))
        await ref.terminate_child("a")
        assert await states(ref) == {"a": None}
        await close(ref)
        try:
            _, _, late = await transom.receive(tagged("up"), timeout=0)
        except TimeoutError:
            continue
        assert not is_alive(late)
        await nothing(tagged("up"))
