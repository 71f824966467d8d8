"""Calls into the node from asyncio programs and plain threads; errors for asyncio's own awaitables in processes."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

import transom
from tests.support import in_node, take, until_sync
from transom import _operation


class Counter(transom.Agent):
    n = 0

    def add(self, k: int) -> int:
        self.n += k
        return self.n

    async def wait(self) -> None:
        await transom.receive(lambda m: m == "never")

    def fail(self) -> None:
        raise ValueError("broken")


@pytest.fixture
def node() -> Iterator[None]:
    transom.start(schedulers=2)
    yield
    transom.stop()


def with_asyncio(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(main())


def with_uvloop(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    uvloop = pytest.importorskip("uvloop")
    uvloop.run(main())


def with_anyio(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    anyio = pytest.importorskip("anyio")
    anyio.run(main)


runners = pytest.mark.parametrize("run", [with_asyncio, with_uvloop, with_anyio])


@runners
def test_calls(node: None, run: Callable[..., None]) -> None:
    async def main() -> None:
        counter = await Counter.start()
        assert await counter.add(2) == 2
        with pytest.raises(transom.CallError, match="broken"):
            await counter.fail()
        with pytest.raises(transom.CallTimeout):
            await (await Counter.start()).wait.options(timeout=0.01)()

    run(main)


@runners
def test_cancelling_the_caller_ends_the_wait_not_the_agent(node: None, run: Callable[..., None]) -> None:
    async def main() -> None:
        counter = await Counter.start()
        waiting = [asyncio.ensure_future(counter.add.options(timeout=None)(1)) for _ in range(50)]
        stuck = await Counter.start()
        never = [asyncio.ensure_future(awaited(stuck.wait.options(timeout=None)())) for _ in range(50)]
        await asyncio.gather(*waiting)
        for task in never:
            task.cancel()
        results = await asyncio.gather(*never, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results)
        assert transom.is_alive(transom.pid_of(counter)) and transom.is_alive(transom.pid_of(stuck))
        until_sync(lambda: len(transom.processes()) == 2)  # the relays have gone

    run(main)


async def awaited(call: Any) -> Any:
    return await call


def test_thousands_of_calls_wake_the_loop_a_few_times(node: None) -> None:
    woken = 0

    async def main() -> None:
        nonlocal woken
        loop = asyncio.get_running_loop()
        plain = loop.call_soon_threadsafe

        def counted(*args: Any, **kwargs: Any) -> Any:
            nonlocal woken
            woken += 1
            return plain(*args, **kwargs)

        loop.call_soon_threadsafe = counted  # type: ignore[method-assign]
        counter = await Counter.start()
        gate = transom.spawn(transom.sync.receive)
        transom.kill(gate)
        tasks = [asyncio.ensure_future(awaited(counter.add(1))) for _ in range(5000)]
        await asyncio.sleep(0)  # each has sent its call
        time.sleep(0.3)  # and has its answer, or most have
        assert sorted(await asyncio.gather(*tasks)) == list(range(1, 5001))

    asyncio.run(main())
    assert woken < 2500


def test_the_node_stops_while_an_asyncio_program_waits() -> None:
    async def main() -> None:
        transom.start(schedulers=1)
        stuck = await Counter.start()
        waiting = [asyncio.ensure_future(awaited(stuck.wait.options(timeout=None)())) for _ in range(100)]
        await asyncio.sleep(0)
        await asyncio.to_thread(transom.stop)
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(result, transom.NotRunning | transom.CallError) for result in results)

    asyncio.run(main())


def test_no_bridge_keeps_a_loop_alive(node: None) -> None:
    async def main() -> None:
        await Counter.start()

    gc.collect()
    before = len(_operation._bridges)
    for _ in range(5):
        asyncio.run(main())

    def gone() -> bool:
        gc.collect()
        return len(_operation._bridges) <= before + 1

    until_sync(gone)


def test_threads_call_in(node: None) -> None:
    counter = Counter.start().result()
    results: list[int] = []

    def work() -> None:
        for _ in range(20):
            results.append(counter.add(1).result())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == list(range(1, 81))


def test_offload_from_an_asyncio_program(node: None) -> None:
    async def main() -> None:
        assert await transom.offload(sum, [1, 2, 3]) == 6
        with pytest.raises(ValueError):
            await transom.offload(int, "x")

        async def double(x: int) -> int:
            await transom.sleep(0)
            return 2 * x

        assert await transom.offload(double, 4) == 8
        begun = threading.Event()

        def hog() -> None:
            begun.set()
            while True:
                pass

        task = asyncio.ensure_future(awaited(transom.offload(hog)))
        await asyncio.to_thread(begun.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        until_sync(lambda: transom.processes() == [])

    asyncio.run(main())


# -- asyncio's awaitables in a process ---------------------------------------------------------------------------------


@in_node()
async def test_awaiting_a_bare_future_names_it_and_the_way_out() -> None:
    loop = asyncio.new_event_loop()
    future = loop.create_future()
    with pytest.raises(RuntimeError, match=r"asyncio future.*transom\.aio\(.*loop=True"):
        await future
    with pytest.raises(RuntimeError, match=r"asyncio\.sleep\(0\).*transom\.aio"):
        await asyncio.sleep(0)
    loop.close()


@in_node()
async def test_asyncio_without_a_loop_says_so_too() -> None:
    async def body() -> None:
        await asyncio.sleep(1)

    _, ref = transom.spawn_monitor(body)
    down = await take(ref)
    assert "transom.aio(" in down.reason.traceback


def test_in_the_main_process_as_well() -> None:
    async def main() -> None:
        await asyncio.sleep(1)

    with pytest.raises(RuntimeError) as caught:
        transom.run(main)
    assert "transom.aio(" in caught.value.__notes__[0]


@in_node(check=False)
async def test_killing_a_plain_function_that_waits_for_an_answer() -> None:
    stuck = await Counter.start_link()

    def body(parent: transom.Pid) -> None:
        call = stuck.wait.options(timeout=None)()
        parent.send("waiting")
        call.result()

    for _ in range(50):
        pid, ref = transom.spawn_monitor(body, transom.current_pid())
        await take("waiting".__eq__)
        transom.kill(pid)
        assert (await take(ref)).reason == "killed"
