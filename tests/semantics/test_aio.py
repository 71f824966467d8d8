"""aio(): asyncio code from processes."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import transom
from tests.support import in_node, take, until
from transom import _loop_thread, aio

VARIABLE = contextvars.ContextVar("VARIABLE", default="unset")


async def add(a: int, b: int) -> int:
    await asyncio.sleep(0)
    return a + b


async def fail(error: BaseException) -> None:
    await asyncio.sleep(0)
    raise error


class Watched:
    """A coroutine that waits for ever and notes on the loop how it ended."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.ended: list[str] = []

    async def wait(self) -> None:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            raise

    async def count(self, n: int) -> AsyncIterator[int]:
        self.begun.set()
        try:
            for i in range(n):
                await asyncio.sleep(0)
                yield i
        finally:
            self.ended.append("closed")


def running_tasks() -> int:
    return sum(len(thread.tasks) for thread in _loop_thread.running())


# -- await -------------------------------------------------------------------------------------------------------------


@in_node()
async def test_await_gives_the_result() -> None:
    assert await aio(add(1, 2)) == 3
    assert await aio(lambda: add(3, 4)) == 7


@in_node()
async def test_an_exception_comes_back_as_it_was_raised() -> None:
    error = KeyError("gone")
    with pytest.raises(KeyError) as caught:
        await aio(fail(error))
    assert caught.value is error
    with pytest.raises(SystemExit):
        await aio(fail(SystemExit(3)))
    with pytest.raises(asyncio.CancelledError):
        await aio(fail(asyncio.CancelledError()))
    assert await aio(add(1, 1)) == 2  # the loop is whole


@in_node()
async def test_the_result_is_handed_over_not_copied() -> None:
    kept: list[Any] = []

    async def make() -> Any:
        kept.append({"a": [1]})
        return kept[0]

    assert (await aio(make())) is kept[0]


@in_node()
async def test_contextvars_travel() -> None:
    VARIABLE.set("mine")

    async def read_and_set() -> str:
        value = VARIABLE.get()
        VARIABLE.set("theirs")
        return value

    assert await aio(read_and_set()) == "mine"
    assert VARIABLE.get() == "mine"


@in_node()
async def test_timeout_cancels() -> None:
    watched = Watched()
    with pytest.raises(TimeoutError, match=r"not done within 0\.010 seconds"):
        await aio(watched.wait(), timeout=0.01)
    await until(lambda: watched.ended == ["cancelled"])
    await until(lambda: running_tasks() == 0)


@in_node()
async def test_kill_cancels() -> None:
    watched = Watched()

    async def body() -> None:
        await aio(watched.wait())

    pid, ref = transom.spawn_monitor(body)
    await until(watched.begun.is_set)
    transom.kill(pid)
    assert (await take(ref)).reason == "killed"
    await until(lambda: watched.ended == ["cancelled"])


@in_node()
async def test_mail_in_between_stays_in_the_mailbox() -> None:
    me = transom.current_pid()

    async def mail() -> str:
        me.send("letter")
        await asyncio.sleep(0.001)
        return "done"

    assert await aio(mail()) == "done"
    assert await take(str) == "letter"


@in_node()
async def test_an_operation_is_used_once() -> None:
    operation = aio(add(1, 1))
    await operation
    with pytest.raises(RuntimeError, match="used once"):
        await operation


@in_node()
async def test_only_one_process_uses_an_operation() -> None:
    for _ in range(30):
        operation = aio(lambda: add(1, 1))
        outcomes: list[Any] = []

        async def body(operation: Any = operation, outcomes: list[Any] = outcomes) -> None:
            try:
                outcomes.append(await operation)
            except RuntimeError:
                outcomes.append("refused")
            with pytest.raises(RuntimeError):
                operation.__next__()

        refs = [transom.spawn_monitor(lambda body=body: body())[1] for _ in range(4)]
        for ref in refs:
            assert (await take(ref)).reason == "normal"
        assert sorted(map(str, outcomes)) == ["2", "refused", "refused", "refused"]
    with pytest.raises(RuntimeError):
        aio(add).__next__()


@in_node()
async def test_bad_arguments_are_named() -> None:
    with pytest.raises(TypeError, match="not int"):
        aio(3)  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="no event loop 1"):
        await aio(lambda: add(1, 1), loop=1)
    with pytest.raises(ValueError, match="window"):
        aio(Watched().count(1), window=1)
    with pytest.raises(ValueError, match="timeout"):
        aio(lambda: add(1, 1), timeout=-1)


# -- streams -----------------------------------------------------------------------------------------------------------


@in_node()
async def test_a_stream_comes_in_order_and_is_closed() -> None:
    watched = Watched()
    assert [i async for i in aio(watched.count(1000))] == list(range(1000))
    assert watched.ended == ["closed"]


@in_node()
async def test_a_stream_waits_for_its_reader() -> None:
    made: list[int] = []

    async def source() -> AsyncIterator[int]:
        for i in range(100):
            made.append(i)
            yield i

    read = 0
    async for _ in aio(source(), window=4):
        read += 1
        await transom.sleep(0)
        assert len(made) <= read + 4 + 1
    assert read == 100


@in_node()
async def test_leaving_a_stream_closes_it_on_the_loop() -> None:
    watched = Watched()
    async for i in aio(watched.count(1_000_000)):
        if i == 20:
            break
    await until(lambda: watched.ended == ["closed"])


@in_node()
async def test_a_stream_that_an_awaitable_gives() -> None:
    watched = Watched()

    async def request() -> AsyncIterator[int]:
        await asyncio.sleep(0)
        return watched.count(3)

    assert [i async for i in aio(request())] == [0, 1, 2]


@in_node()
async def test_a_stream_that_raises() -> None:
    async def source() -> AsyncIterator[int]:
        yield 1
        raise ValueError("broken")

    got = []
    with pytest.raises(ValueError, match="broken"):
        async for i in aio(source()):
            got.append(i)
    assert got == [1]


# -- sessions ----------------------------------------------------------------------------------------------------------


@in_node()
async def test_a_context_manager_is_entered_and_left_by_one_task() -> None:
    tasks: list[Any] = []
    seen: list[BaseException] = []

    @contextlib.asynccontextmanager
    async def manager() -> AsyncIterator[str]:
        tasks.append(asyncio.current_task())
        try:
            yield "value"
        except ValueError as error:
            seen.append(error)
        finally:
            tasks.append(asyncio.current_task())

    async with aio(manager()) as value:
        assert value == "value"
    async with aio(manager()):
        raise ValueError("swallowed by the manager")
    with pytest.raises(KeyError):
        async with aio(manager()):
            raise KeyError("through")
    assert len(seen) == 1
    assert tasks[0] is tasks[1] and tasks[2] is tasks[3] and tasks[4] is tasks[5]


class Mark:
    """Tells when it goes, and on which thread."""

    def __init__(self, gone: list[int]) -> None:
        self.gone = gone

    def __del__(self) -> None:
        self.gone.append(threading.get_ident())


@in_node()
async def test_what_an_operation_held_goes_on_the_loop() -> None:
    """The process gives up its count of the coroutine, its variables and what hangs on them: nothing waits for its thread."""
    ends: list[int] = []

    def held() -> Iterator[None]:
        try:
            yield
        finally:
            ends.append(threading.get_ident())

    def one() -> Iterator[None]:
        holder = held()
        next(holder)
        return holder

    async def variable(holder: Any, **rest: Any) -> int:
        return threading.get_ident()

    async def captured(holder: Any) -> int:
        def inner() -> Any:
            return holder

        assert inner() is not None
        return threading.get_ident()

    async def awaits(inner: Any) -> int:
        return int(await inner)

    async def stream(holder: Any) -> AsyncIterator[int]:
        yield threading.get_ident()

    threads = [
        await aio(variable(one())),
        await aio(captured(one())),
        await aio(variable([(one(),)])),
        await aio(variable(None, key={"holder": one()})),
        await aio(awaits(captured(one()))),
        *[thread async for thread in aio(stream(one()))],
    ]
    await until(lambda: len(ends) == len(threads))
    assert ends == threads
    assert threading.get_ident() not in threads


@in_node()
async def test_what_the_process_still_has_stays_its_own() -> None:
    kept: list[Any] = [float(1), {"key": "value"}]

    async def add(to: list[Any], number: int) -> int:
        to.append(number)
        return len(to)

    for number in range(200):
        assert await aio(add(kept, number)) == number + 3
        kept[1][str(number)] = [number]
    assert kept[0] == 1.0
    assert len(kept) == 202
    assert kept[1]["199"] == [199]


@in_node(schedulers=1)
async def test_items_of_every_shape_arrive_and_go() -> None:
    """The loop gives up its count of what it hands over, with what hangs on it; circles, shared parts and depth included."""
    gone: list[int] = []

    def shapes(round_: int) -> list[Any]:
        circle: list[Any] = []
        circle += [circle] * 20
        twice: Any = [float(round_)]
        for _ in range(40):
            twice = [twice, twice]
        deep: Any = str(round_)
        for _ in range(3000):
            deep = (deep,)
        return [circle, twice, deep, {"key" + str(round_): [round_ << 70, b"x" * round_]}, [Mark(gone), round_]]

    async def source() -> AsyncIterator[Any]:
        kept: list[Any] = []
        for round_ in range(50):
            item = shapes(round_)
            kept.append(item[3])  # the loop goes on with a part of it
            yield item
            kept[-1]["late"] = round_
            yield kept  # seen by both, and changed while the other reads

    async def body() -> None:
        rounds = 0
        async for item in aio(source(), window=2):
            if isinstance(item[-1], list):
                circle, twice, deep, table, (_, number) = item
                assert number == rounds
                assert circle[19] is circle
                while isinstance(twice, list):
                    assert twice[0] is twice[-1]
                    twice = twice[0]
                while isinstance(deep, tuple):
                    (deep,) = deep
                assert (twice, deep) == (float(rounds), str(rounds))
                assert table["key" + str(rounds)] == [rounds << 70, b"x" * rounds]
                circle.clear()
                rounds += 1
        assert rounds == 50

    await body()
    await until(lambda: len(gone) == 50)


# -- plain functions and outside ---------------------------------------------------------------------------------------


@in_node()
async def test_in_plain_functions_it_blocks() -> None:
    def body(parent: transom.Pid) -> None:
        parent.send((aio(add(1, 2)).result(), list(aio(Watched().count(5)))))

    transom.spawn(body, transom.current_pid())
    assert await take(tuple) == (3, [0, 1, 2, 3, 4])


def test_outside_of_processes() -> None:
    async def program() -> tuple[int, list[int]]:
        return await aio(add(1, 2)), [i async for i in aio(Watched().count(3))]

    transom.start(schedulers=1)
    try:
        assert asyncio.run(program()) == (3, [0, 1, 2])
        assert aio(add(4, 5)).result() == 9
    finally:
        transom.stop()
