"""Semantics 1.12: tasks."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from supervised import close
from support import (
    DEADLINE,
    apply,
    in_node,
    is_,
    messages,
    nothing,
    reason_of,
    scaled,
    spin,
    tagged,
    take,
    until,
)

import transom
from transom import (
    Crash,
    NotOwner,
    Pid,
    Stop,
    Task,
    TaskError,
    TaskSupervisor,
    TooManyChildren,
    is_alive,
    kill,
    monitor,
    send,
    trap_exit,
)


async def value(x: Any) -> Any:
    return x


def plain_value(x: Any) -> Any:
    return x


async def ends(reason: Any) -> None:
    raise Stop(reason)


async def crashes() -> None:
    raise ZeroDivisionError("on purpose")


async def when_told(x: Any) -> Any:
    await transom.receive(is_("go"))
    return x


async def never() -> None:
    await transom.receive(is_("never"))


async def stubborn(owner: Pid) -> None:
    trap_exit(True)
    send(owner, ("ready", transom.current_pid()))
    await never()


# -- start and await --------------------------------------------------------------------------------------------------


@in_node()
async def test_await_gives_the_value() -> None:
    """Task.async links and monitors with alias; await gives the value, and nothing is left."""
    for fn in (value, plain_value):
        for x in (1, "text", None, ("exit", "no"), {"a": [1]}, transom.Down(None, None, "odd")):
            task = Task.start(fn, x)
            assert task.pid in transom.process_info(transom.current_pid(), "links")["links"] or not is_alive(task.pid)  # type: ignore[index]
            assert await task == x
            await until(lambda task=task: not is_alive(task.pid))
    with pytest.raises(TypeError, match="write Task.start"):
        coroutine = value(1)
        try:
            Task.start(coroutine)  # type: ignore[arg-type]
        finally:
            coroutine.close()


@in_node()
async def test_arguments_are_copied() -> None:
    data = [1]

    async def change(items: list[int], *, more: list[int]) -> list[int]:
        items.append(2)
        more.append(3)
        return items

    assert await Task.start(change, data, more=data) == [1, 2, 3]  # one copy, shared as the original was
    assert data == [1]


@in_node()
async def test_await_tells_the_reason() -> None:
    """await: the task's reason, or timeout."""
    trap_exit(True)
    task = Task.start(crashes)
    with pytest.raises(TaskError) as failed:
        await task
    assert failed.value.reason == Crash(ZeroDivisionError("on purpose"))
    assert isinstance(failed.value.__cause__, ZeroDivisionError)
    assert (await take(transom.Exit)).reason == failed.value.reason
    for reason in ("normal", "shutdown", ("odd", 1)):
        task = Task.start(ends, reason)
        with pytest.raises(TaskError) as failed:
            await task
        assert failed.value.reason == reason
        assert (await take(transom.Exit)).reason == reason


@in_node()
async def test_a_crash_ends_the_owner_and_the_other_way_round() -> None:
    """It is linked."""

    async def owner(of: Any) -> None:
        task = Task.start(of)
        send(boss, ("task", task.pid))
        await transom.receive(is_("go"))
        raise Stop("owner ends")

    boss = transom.current_pid()
    pid, ref = transom.spawn_monitor(owner, crashes)
    assert await reason_of(ref) == Crash(ZeroDivisionError("on purpose"))
    await take(tagged("task"))
    pid, ref = transom.spawn_monitor(owner, never)
    task = monitor((await take(tagged("task")))[1])
    send(pid, "go")
    assert (await reason_of(ref), await reason_of(task)) == ("owner ends", "owner ends")


@pytest.mark.race
@in_node()
async def test_await_in_time(rng: random.Random) -> None:
    """A late value vanishes, whenever it comes."""
    task = Task.start(when_told, 1)
    with pytest.raises(TaskError) as late:
        await task.await_(timeout=0.01)
    assert late.value.reason == "timeout"
    send(task.pid, "go")
    await until(lambda: not is_alive(task.pid))
    assert messages() == []
    for _ in range(scaled(1000)):
        task = Task.start(value, 1)
        spin(rng.randrange(3000))
        try:
            assert await task.await_(timeout=0) == 1
        except TaskError as error:
            assert error.reason == "timeout"
    assert messages() == []


@in_node()
async def test_yield() -> None:
    """yield -> (ok, v) | (exit, r) | None."""
    trap_exit(True)
    task = Task.start(when_told, 7)
    assert await task.yield_(0) is None
    assert await task.yield_(0.005) is None
    send(task.pid, "go")
    assert await task.yield_(DEADLINE) == ("ok", 7)
    assert await task.yield_(None) == ("exit", "noproc")  # it is over
    await take(transom.Exit)
    task = Task.start(ends, "odd")
    assert await task.yield_(DEADLINE) == ("exit", "odd")
    await take(transom.Exit)


@in_node()
async def test_only_the_owner() -> None:
    """Only the owner may await/yield/shutdown/ignore, else error."""
    task = Task.start(when_told, 1)

    async def other() -> None:
        for operation in (task.await_, task.yield_, task.shutdown, task.ignore):
            with pytest.raises(NotOwner):
                await operation()
        with pytest.raises(NotOwner):
            await Task.await_many([task])
        with pytest.raises(NotOwner):
            await task

    await apply(other)
    send(task.pid, "go")
    assert await task == 1


@in_node()
async def test_from_a_plain_process() -> None:
    me = transom.current_pid()

    def plain() -> None:
        send(me, ("value", Task.start(value, 5).result(DEADLINE)))

    transom.spawn(plain)
    assert await take(tagged("value")) == ("value", 5)


# -- shutdown ---------------------------------------------------------------------------------------------------------


@in_node()
async def test_shutdown() -> None:
    """reply already queued -> (ok, v); ended by shutdown -> None; other -> (exit, r); trapping task killed after t ->
    (exit, killed); brutal_kill maps killed -> None."""
    for trapping in (False, True):
        trap_exit(trapping)
        task = Task.start(never)
        assert await task.shutdown() is None
        assert not is_alive(task.pid)
        assert await task.shutdown() is None
        task = Task.start(never)
        assert await task.shutdown("brutal_kill") is None
        task = Task.start(stubborn, transom.current_pid())
        await take(tagged("ready"))
        assert await task.shutdown(0.02) == ("exit", "killed")
        task = Task.start(stubborn, transom.current_pid())
        await take(tagged("ready"))
        assert await task.shutdown("brutal_kill") is None
        task = Task.start(value, 3)
        await until(lambda task=task: not is_alive(task.pid))
        assert await task.shutdown() == ("ok", 3)
    task = Task.start(ends, "odd")
    await until(lambda: not is_alive(task.pid))
    assert await task.shutdown() == ("exit", "odd")
    assert messages() == []


@in_node()
async def test_shutdown_after_a_timeout() -> None:
    """The value is lost by then; the process is not, and is ended all the same."""
    for how, trapping in itertools.product(("shutdown", "brutal_kill"), (False, True)):
        trap_exit(trapping)
        one, other = Task.start(never), Task.start(never)
        with pytest.raises(TaskError):
            await one.await_(0)
        with pytest.raises(TaskError):
            await Task.await_many([other], 0)
        for task in (one, other):
            assert is_alive(task.pid)
            assert await (task.shutdown() if how == "shutdown" else task.shutdown("brutal_kill")) is None
            assert not is_alive(task.pid)
            assert await task.shutdown() is None
    assert messages() == []


@pytest.mark.race
@in_node()
async def test_shutdown_races_with_the_value(rng: random.Random) -> None:
    trap_exit(True)
    seen = set()
    for turn in range(scaled(1000)):
        task = Task.start(value, turn)
        spin(rng.randrange(4000))
        outcome = await task.shutdown("brutal_kill" if turn % 2 else DEADLINE)
        assert outcome in (None, ("ok", turn))
        assert not is_alive(task.pid)
        seen.add(outcome is None)
    assert messages() == []
    assert seen


@in_node()
async def test_ignore() -> None:
    """The task goes on without its owner."""
    me = transom.current_pid()

    async def tells() -> None:
        await transom.receive(is_("go"))
        send(me, "done")
        raise Stop("odd")

    task = Task.start(tells)
    assert await task.ignore() is None
    send(task.pid, "go")
    await take(is_("done"))
    await until(lambda: not is_alive(task.pid))
    done = Task.start(value, 1)
    await until(lambda: not is_alive(done.pid))
    assert await done.ignore() == ("ok", 1)
    assert messages() == []


# -- await_many -------------------------------------------------------------------------------------------------------


@in_node()
async def test_await_many_keeps_the_order() -> None:
    """await_many keeps input order."""
    assert await Task.await_many([]) == []
    tasks = [Task.start(when_told, n) for n in range(50)]
    for task in reversed(tasks):
        send(task.pid, "go")
    assert await Task.await_many(tasks) == list(range(50))
    assert await Task.await_many([Task.start(value, 1)], timeout=DEADLINE) == [1]
    task = Task.start(value, 1)
    with pytest.raises(ValueError, match="twice"):
        await Task.await_many([task, task])
    await task


@in_node()
async def test_await_many_fails_on_the_first_failure() -> None:
    """It fails on first failure, also of a later task while earlier ones run; nothing is left."""
    trap_exit(True)
    tasks = [Task.start(never), Task.start(when_told, 1), Task.start(ends, "odd"), Task.start(never)]
    with pytest.raises(TaskError) as failed:
        await Task.await_many(tasks)
    assert failed.value.reason == "odd"
    assert (await take(transom.Exit)).sender == tasks[2].pid
    send(tasks[1].pid, "go")  # its value vanishes
    assert (await take(transom.Exit)).sender == tasks[1].pid
    for task in (tasks[0], tasks[3]):
        assert is_alive(task.pid)
        kill(task.pid)
        assert (await take(transom.Exit)).sender == task.pid
    tasks = [Task.start(value, 1), Task.start(never)]
    with pytest.raises(TaskError) as failed:
        await Task.await_many(tasks, timeout=0.01)
    assert failed.value.reason == "timeout"
    kill(tasks[1].pid)
    assert {(await take(transom.Exit)).sender for _ in tasks} == {task.pid for task in tasks}


# -- async_stream -----------------------------------------------------------------------------------------------------


class Gauge:
    """How many run at once, and how many items have been taken."""

    def __init__(self) -> None:
        self.running: list[int] = []
        self.most = 0
        self.taken = 0

    def items(self, n: int | None = None) -> Iterator[int]:
        for number in itertools.count() if n is None else range(n):
            self.taken += 1
            yield number

    def task(self, yields: Any) -> Any:
        async def body(n: int) -> int:
            self.running.append(n)
            self.most = max(self.most, len(self.running))
            await transom.sleep(yields(n))
            self.running.remove(n)
            return n

        return body


@pytest.mark.parametrize("ordered", [True, False])
@in_node()
async def test_stream_order_and_bound(ordered: bool, rng: random.Random) -> None:
    """max_concurrency; lazy (no more than that in flight); ordered default."""
    gauge = Gauge()
    fn = gauge.task(lambda n: rng.random() * 0.003)
    got = []
    async for kind, n in Task.async_stream(gauge.items(60), fn, max_concurrency=4, ordered=ordered):
        assert kind == "ok"
        got.append(n)
        assert gauge.taken <= len(got) - 1 + 4
    assert sorted(got) == list(range(60))
    assert not ordered or got == list(range(60))
    assert 1 < gauge.most <= 4
    assert gauge.taken == 60


@in_node()
async def test_unordered_gives_the_first_first() -> None:
    fast = Task.async_stream([when_told, value], call_with, max_concurrency=2, ordered=False, timeout=None)
    assert await anext(fast) == ("ok", "value")
    fast.close()
    await until(lambda: len(transom.processes()) == 1)


async def call_with(fn: Any) -> str:
    await fn(fn.__name__)
    return str(fn.__name__)


@in_node()
async def test_stream_of_anything() -> None:
    """Asynchronous iterables, plain functions, nothing at all, defaults."""

    async def numbers() -> AsyncIterator[int]:
        for n in range(5):
            await transom.sleep(0)
            yield n

    assert [n async for _, n in Task.async_stream(numbers(), value)] == [0, 1, 2, 3, 4]
    assert [n async for _, n in Task.async_stream("abc", plain_value, max_concurrency=2)] == ["a", "b", "c"]
    assert [n async for _, n in Task.async_stream([], value)] == []
    for options in ({"max_concurrency": 0}, {"on_timeout": "wait"}, {"timeout": 0}):
        with pytest.raises(ValueError, match=next(iter(options))):
            Task.async_stream([], value, **options)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        Task.async_stream([], value, max_concurrency=1.5)  # type: ignore[arg-type]


async def crash_on_two(n: int) -> int:
    if n == 2:
        raise Stop("two")
    return n


@in_node()
async def test_a_failure_in_a_stream() -> None:
    """A failing task raises in the consumer; a trapping one gets (exit, r) and no Exit."""
    got = []
    with pytest.raises(TaskError) as failed:
        async for outcome in Task.async_stream(itertools.count(), crash_on_two, max_concurrency=3):
            got.append(outcome)
    assert failed.value.reason == "two"
    assert got == [("ok", 0), ("ok", 1)]
    await until(lambda: len(transom.processes()) == 1)
    trap_exit(True)
    expected: list[tuple[str, Any]] = [("ok", 0), ("ok", 1), ("exit", "two"), ("ok", 3)]
    assert [o async for o in Task.async_stream(range(4), crash_on_two)] == expected
    expected[2] = ("exit", (2, "two"))
    assert [o async for o in Task.async_stream(range(4), crash_on_two, zip_input=True)] == expected
    assert messages() == []


async def slow_on_two(n: int) -> int:
    if n == 2:
        await never()
    return n


@in_node()
async def test_timeouts_in_a_stream() -> None:
    """timeout exits the caller or on_timeout kill_task yields (exit, timeout)."""
    with pytest.raises(TaskError) as late:
        async for _ in Task.async_stream(range(4), slow_on_two, timeout=0.2):
            pass
    assert late.value.reason == "timeout"
    outcomes = [o async for o in Task.async_stream(range(4), slow_on_two, timeout=0.5, on_timeout="kill_task")]
    assert outcomes == [("ok", 0), ("ok", 1), ("exit", "timeout"), ("ok", 3)]
    assert messages() == []


@pytest.mark.race
@in_node()
async def test_leaving_a_stream_ends_its_tasks(rng: random.Random) -> None:
    """Halting the consumer kills the rest and leaves no messages."""
    me = {transom.current_pid()}
    for _ in range(scaled(50)):
        async for _, n in Task.async_stream(itertools.count(), value, max_concurrency=5, ordered=rng.random() < 0.5):
            if n == rng.randrange(20) or n > 30:
                break
        await until(lambda: set(transom.processes()) == me)
        assert messages() == []


@in_node()
async def test_an_error_in_the_items() -> None:
    """It is the consumer's, and ends the tasks."""

    def items() -> Iterator[int]:
        yield 1
        raise KeyError("items")

    with pytest.raises(KeyError):
        async for _ in Task.async_stream(items(), when_told, max_concurrency=5):
            pass
    await until(lambda: len(transom.processes()) == 1)


@in_node()
async def test_the_consumer_ends() -> None:
    """A failure in the caller process terminates all tasks, also those that trap exits."""
    me = transom.current_pid()

    async def consumer() -> None:
        async for _ in Task.async_stream([me, me, me], stubborn, max_concurrency=3, timeout=None):
            pass

    pid = transom.spawn(consumer)
    pids = [(await take(tagged("ready")))[1] for _ in range(3)]
    kill(pid)
    await until(lambda: not any(map(is_alive, pids)))


@in_node()
async def test_a_stream_is_consumed_elsewhere() -> None:
    """The stream may be consumed by a process other than its builder."""
    stream = Task.async_stream(range(3), value)

    async def consumer() -> list[Any]:
        return [n async for _, n in stream]

    assert await apply(consumer) == [0, 1, 2]


# -- under a supervisor -----------------------------------------------------------------------------------------------


@in_node()
async def test_task_supervisor_nolink() -> None:
    """async_nolink: failure only as (exit, r), no link."""
    trap_exit(True)
    ref = await TaskSupervisor.start_link()
    task = await ref.start_nolink(crashes)
    assert await task.yield_(DEADLINE) == ("exit", Crash(ZeroDivisionError("on purpose")))
    assert await (await ref.start_nolink(value, 3)) == 3
    assert messages() == []
    task = await ref.start_task(crashes)
    with pytest.raises(TaskError):
        await task
    assert await (await ref.start_task(value, 4)) == 4
    await close(ref)
    while messages():
        await take(transom.Exit)  # of the linked ones


@in_node()
async def test_task_supervisor_children() -> None:
    """start_child fire-and-forget; max_children respected; its end ends the tasks."""
    trap_exit(True)
    me = transom.current_pid()
    ref = await TaskSupervisor.options(name="tasks").start_link(max_children=2)

    async def work(x: int, *, y: int) -> None:
        send(me, ("work", x, y))
        await never()

    pid = await TaskSupervisor.at("tasks").start_child(work, 1, y=2)
    assert await take(tagged("work")) == ("work", 1, 2)
    task = await ref.start_nolink(never)
    for operation in (ref.start_child, ref.start_nolink, ref.start_task):
        with pytest.raises(TooManyChildren):
            await operation(never)
    assert (await ref.count_children())["active"] == 2
    await ref.terminate_child(pid)
    assert not is_alive(pid)
    with pytest.raises(transom.NoChild):
        await ref.terminate_child(pid)
    await close(ref)
    assert await task.yield_(DEADLINE) == ("exit", "shutdown")


@in_node()
async def test_streams_under_a_supervisor() -> None:
    """The same streams; nolink gives (exit, r) without trapping."""
    ref = await TaskSupervisor.start()
    assert [n async for _, n in ref.async_stream(range(5), value)] == [0, 1, 2, 3, 4]
    expected: list[tuple[str, Any]] = [("ok", 0), ("ok", 1), ("exit", "two"), ("ok", 3)]
    assert [o async for o in ref.async_stream_nolink(range(4), crash_on_two)] == expected
    with pytest.raises(TaskError):
        async for _ in ref.async_stream(range(4), crash_on_two):
            pass
    stream = ref.async_stream_nolink(itertools.count(), value, max_concurrency=3)
    assert await anext(stream) == ("ok", 0)
    stream.close()
    await until(lambda: len(transom.processes()) == 2)
    assert await ref.count_children() == {"specs": 0, "active": 0, "supervisors": 0, "workers": 0}
    await ref.stop()
    await nothing()


@pytest.mark.race
@in_node()
async def test_the_owner_ends_before_the_task_begins(rng: random.Random) -> None:
    """A task of a supervisor whose owner is gone does not wait for ever."""
    ref = await TaskSupervisor.start()

    async def owner() -> None:
        await ref.start_nolink(value, 1)

    for _ in range(scaled(100)):
        pid = transom.spawn(owner)
        spin(rng.randrange(3000))
        kill(pid)
    begun = time.monotonic()
    while (await ref.count_children())["active"]:
        assert time.monotonic() < begun + DEADLINE
    await ref.stop()
