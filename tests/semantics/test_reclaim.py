"""What only a process held is gone when its end is known, cycles included, and nobody collects.

Every object that matters counts itself (Counted); the collector is off in these tests, so what is gone was reclaimed.
"""

from __future__ import annotations

import contextvars
import gc
import threading
import weakref
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from support import all_down, in_node, reason_of, scaled, until, until_sync

import transom
from transom import Stop, current_pid, gc_info, kill, receive, send, sleep, spawn_monitor

ONE = {"schedulers": 1}  # one thread makes and drops everything: nothing is left to the collector

kept: list[Any] = []  # what outlives its process
variable: contextvars.ContextVar[Any] = contextvars.ContextVar("variable")


class Counted:
    """Knows how many of its kind are alive, and may have any attributes."""

    alive = 0

    def __init__(self, **attributes: Any) -> None:
        for name, value in attributes.items():
            setattr(self, name, value)
        Counted.alive += 1

    def __del__(self) -> None:
        Counted.alive -= 1

    def method(self) -> None: ...


class Slotted:
    __slots__ = ("other", "owner")
    other: Any
    owner: Any


@pytest.fixture(autouse=True)
def nobody_collects() -> Iterator[None]:
    gc.collect()
    gc.disable()
    kept.clear()
    Counted.alive = 0
    yield
    kept.clear()
    gc.enable()
    gc.collect()


def ring(size: int = 3) -> Counted:
    nodes = [Counted() for _ in range(size)]
    for at, one in enumerate(nodes):
        one.next = nodes[(at + 1) % size]  # type: ignore[attr-defined]
    return nodes[0]


def in_attributes() -> Any:
    return ring()


def in_itself() -> Any:
    one = Counted()
    one.self = one  # type: ignore[attr-defined]
    return one


def in_containers() -> Any:
    one = Counted()
    one.all = [{"a": ({one}, deque([one]), frozenset([one]))}, defaultdict(list, {1: [one]})]  # type: ignore[attr-defined]
    return one


def in_a_bound_method() -> Any:
    one = Counted()
    one.callback = one.method  # type: ignore[attr-defined]
    return one


def in_a_closure() -> Any:
    one = Counted()

    def inner() -> Any:
        return one, inner

    one.inner = inner  # type: ignore[attr-defined]
    return one


def in_a_dict_asked_for() -> Any:
    one = ring(2)
    kept.append(sorted(vars(one)))
    return one


def in_slots() -> Any:
    one, two = Slotted(), Slotted()
    one.other, two.other = two, one
    one.owner = two.owner = Counted(slots=one)
    return one


def in_an_exception() -> Any:
    one = Counted()
    try:
        raise ValueError(one)
    except ValueError as error:
        one.error = error  # type: ignore[attr-defined]
    return one


def in_a_generator() -> Any:
    one = Counted()

    def endless() -> Iterator[Any]:
        try:
            while True:
                yield one
        finally:
            kept.append("closed")

    one.generator = endless()  # type: ignore[attr-defined]
    next(one.generator)  # type: ignore[attr-defined]
    return one


def in_many() -> Any:
    return ring(1000)


CYCLES = [
    in_attributes,
    in_itself,
    in_containers,
    in_a_bound_method,
    in_a_closure,
    in_a_dict_asked_for,
    in_slots,
    in_an_exception,
    in_a_generator,
    in_many,
]


async def returns(make: Callable[[], Any]) -> None:
    state = make()
    await sleep(0)
    _ = state


async def crashes(make: Callable[[], Any]) -> None:
    state = make()
    raise ValueError("on purpose", bool(state))


async def stops(make: Callable[[], Any]) -> None:
    state = make()
    await sleep(0)
    raise Stop(("why", bool(state)))


async def deeper(make: Callable[[], Any], level: int) -> None:
    state = make() if not level else [make]
    if level:
        await deeper(make, level - 1)
    else:
        await receive()
    _ = state


async def waits(make: Callable[[], Any]) -> None:
    state = make()
    await receive()
    _ = state


async def waits_deep(make: Callable[[], Any]) -> None:
    await deeper(make, 3)


async def catches(make: Callable[[], Any]) -> None:
    state = make()
    try:
        await receive()
    except BaseException as error:  # noqa: BLE001
        _ = (state, error)


async def keeps_the_error(make: Callable[[], Any]) -> None:
    state = [make()]
    try:
        raise KeyError
    except KeyError as error:
        state.append(error)
    await sleep(0)


def plain(argument: Any) -> None:
    """The arguments of a plain function are searched; its variables are not."""


BODIES: list[Callable[..., Awaitable[None]]] = [
    returns,
    crashes,
    stops,
    waits,
    waits_deep,
    catches,
    keeps_the_error,
]
KILLED = {waits, waits_deep, catches}


async def gone_at_once(attempt: Callable[[], Awaitable[None]]) -> None:
    """After `attempt` nothing counted is alive. One of several tries must do: when its thread sits in native code or is
    kept from running, a scheduler goes on in another thread, and what the first one made is left to the collector."""
    for _ in range(20):
        Counted.alive = 0
        kept.clear()
        await attempt()
        if Counted.alive == 0:
            return
        gc.collect()
        assert Counted.alive == 0, "not even the collector finds it"
    raise AssertionError("never gone at once")


@pytest.mark.parametrize("make", CYCLES, ids=lambda make: make.__name__)
@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.__name__)
@in_node(**ONE)
async def test_a_cycle_is_gone_when_the_end_is_known(
    body: Callable[..., Awaitable[None]], make: Callable[[], Any]
) -> None:
    me = current_pid()

    def tells() -> Any:
        send(me, "made")
        return make()

    async def once() -> None:
        pid, ref = spawn_monitor(body, tells)
        await receive(str)
        await sleep(0)  # until it waits
        if body in KILLED:
            assert Counted.alive > 0
            kill(pid)
        await reason_of(ref)
        if body in KILLED:  # dead to the world before its frames are gone
            for _ in range(1000):
                if Counted.alive == 0:
                    break
                await sleep(0)

    await gone_at_once(once)
    if make is in_a_generator:
        assert kept == ["closed"]


@in_node(**ONE)
async def test_what_is_shared_lives() -> None:
    """Reachable from outside, by any object of the circle: all of it stays as it is."""

    async def publishes(place: int) -> None:
        one = ring(4)
        for _ in range(place):
            one = one.next  # type: ignore[attr-defined]
        kept.append(one)

    for place in range(4):
        await reason_of(spawn_monitor(publishes, place)[1])
    assert Counted.alive == 16
    for one in kept:
        assert one.next.next.next.next is one
    kept.clear()


@in_node(**ONE)
async def test_what_a_circle_refers_to_is_only_let_go() -> None:
    outer = Counted(name="outer")
    kept.append(outer)

    async def refers() -> None:
        one = ring(2)
        one.outer = kept[0]  # type: ignore[attr-defined]
        one.all = kept  # type: ignore[attr-defined]

    await reason_of(spawn_monitor(refers)[1])
    assert Counted.alive == 1
    assert kept == [outer]
    assert outer.name == "outer"  # type: ignore[attr-defined]


@in_node(**ONE)
async def test_what_a_generator_works_on_counts_once() -> None:
    """3.14: what waits on the stack of a generator may be borrowed from its variables, and its visit shows it twice."""

    def works_on(state: Any) -> Any:
        return state, (yield)

    async def refers() -> None:
        one = ring(2)
        state = Counted()
        kept.append(state)
        one.work = works_on(state)  # type: ignore[attr-defined]
        next(one.work)  # type: ignore[attr-defined]
        del state

    await reason_of(spawn_monitor(refers)[1])
    assert Counted.alive >= 1, "finalised while somebody held it"
    kept.clear()
    gc.collect()
    assert Counted.alive == 0


@in_node(**ONE)
async def test_a_finaliser_may_resurrect() -> None:
    class Phoenix(Counted):
        def __del__(self) -> None:
            kept.append(self)

    async def body() -> None:
        one = Phoenix(name="phoenix")
        one.other = ring(3)  # type: ignore[attr-defined]
        one.other.back = one  # type: ignore[attr-defined]
        one.self = one  # type: ignore[attr-defined]

    await reason_of(spawn_monitor(body)[1])
    (one,) = kept
    assert one.name == "phoenix"
    assert one.self is one
    assert one.other.back is one
    assert one.other.next.next.next is one.other


@in_node(**ONE)
async def test_a_finaliser_that_fails_ends_nobody() -> None:
    class Bad:
        def __init__(self) -> None:
            self.self = self
            self.good = Counted(bad=self)

        def __del__(self) -> None:
            raise RuntimeError("on purpose")

    async def body() -> None:
        _ = Bad()

    import sys

    seen: list[Any] = []
    before, sys.unraisablehook = sys.unraisablehook, lambda entry: seen.append(str(entry.exc_value))
    try:
        assert await reason_of(spawn_monitor(body)[1]) == "normal"
    finally:
        sys.unraisablehook = before
    assert seen == ["on purpose"]
    assert Counted.alive == 0


@in_node(**ONE)
async def test_a_finaliser_may_use_the_runtime() -> None:
    me = current_pid()

    class Reports(Counted):
        def __del__(self) -> None:
            super().__del__()
            send(me, "gone")
            transom.spawn(returns, in_attributes)

    async def body() -> None:
        one = Reports()
        one.self = one  # type: ignore[attr-defined]
        await sleep(0)
        raise ValueError

    await reason_of(spawn_monitor(body)[1])
    assert await receive(timeout=10) == "gone"
    await until(lambda: Counted.alive == 0 and transom.node_info()["processes"] == 1)


@in_node(**ONE)
async def test_weak_references_are_left_to_the_collector() -> None:
    called: list[Any] = []

    async def body() -> None:
        one = ring(2)
        kept.append(weakref.ref(one, called.append))

    await reason_of(spawn_monitor(body)[1])
    assert Counted.alive == 2
    assert kept[0]() is not None
    gc.collect()
    assert Counted.alive == 0
    assert called == kept


@in_node(**ONE)
async def test_mailbox_context_match_and_arguments() -> None:
    """Whatever else the process held: messages nobody took, variables of its context, what it waited for."""
    me = current_pid()

    class Copied(Counted):
        def __deepcopy__(self, memo: Any) -> Copied:
            copy = Copied()
            copy.self = copy  # type: ignore[attr-defined]
            return copy

    async def holds(argument: Any) -> None:
        variable.set(ring(2))
        mine = ring(2)
        send(me, "ready")
        await receive(lambda message: message is mine)

    async def once() -> None:
        argument = Copied()  # no circle: it goes by itself
        pid, ref = spawn_monitor(holds, [argument])
        await receive(str)
        for _ in range(3):
            send(pid, [argument])
        del argument
        assert Counted.alive == 2 + 2 + 1 + 3
        kill(pid)
        await all_down([ref])
        for _ in range(1000):
            if Counted.alive == 0:
                break
            await sleep(0)

    await gone_at_once(once)


@in_node(**ONE)
async def test_too_many_are_left_to_the_collector() -> None:
    before = gc_info()["left"]

    async def body() -> None:
        _ = ring(50_000)

    await reason_of(spawn_monitor(body)[1])
    assert Counted.alive == 50_000
    assert gc_info()["left"] > before
    gc.collect()
    assert Counted.alive == 0


@in_node(**ONE)
async def test_the_figures_tell() -> None:
    before = gc_info()["reclaimed"]

    async def once() -> None:
        await all_down([spawn_monitor(returns, in_attributes)[1] for _ in range(10)])

    await gone_at_once(once)
    assert gc_info()["reclaimed"] >= before + 30
    assert gc_info()["collections"] == gc_info()["program"]


@pytest.mark.race
@in_node(schedulers=2)
async def test_threads_that_walk_through_it_see_it_whole(rng: Any) -> None:
    """Processes publish circles they hold and end, while plain threads walk through those: nothing is ever cleared
    under them, and nothing crashes."""
    wrong: list[Any] = []
    over = threading.Event()
    steps = [0, 0]

    def walks(number: int) -> None:
        while not over.is_set():
            try:
                here = kept[0]
            except IndexError:
                continue
            for _ in range(50):
                there = here.other
                if there.owner != here.owner:
                    wrong.append((here.owner, there.owner))
                here = there
                steps[number] += 1

    async def body(size: int, slots: bool, publish: int) -> None:
        nodes: list[Any] = [Slotted() if slots else Counted() for _ in range(size)]
        for at, one in enumerate(nodes):
            one.other = nodes[(at + 1) % size]
            one.owner = size
        if publish:
            kept[:] = [nodes[0]]
        if publish == 2:
            kept.clear()

    threads = [threading.Thread(target=walks, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(scaled(60)):
            await all_down(
                [
                    spawn_monitor(body, rng.randint(1, 6), rng.random() < 0.5, rng.choice((0, 1, 1, 2)))[1]
                    for _ in range(50)
                ]
            )
        await until(lambda: min(steps) > 0 or not kept)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert not wrong


def test_what_an_idle_scheduler_made_does_not_wait_for_it() -> None:
    """Objects made by a scheduler's thread and dropped by another thread go soon, though the first one sleeps."""

    async def makes() -> None:
        kept.extend(Counted() for _ in range(100))
        await receive()

    transom.start(schedulers=1)
    try:
        for _ in range(scaled(10)):
            pid = transom.spawn(makes)
            until_sync(lambda: len(kept) == 100)
            kept.clear()
            until_sync(lambda: Counted.alive == 0)
            kill(pid)
    finally:
        transom.stop()
