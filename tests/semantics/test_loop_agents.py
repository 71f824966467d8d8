"""Agents on the loop: Agent subclasses whose handlers run on an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

import transom
from tests.support import in_node, take, until
from transom import _loop_thread


class Desk(transom.Agent, loop=True):
    def init(self, log: list[Any] | None = None) -> None:
        self.n = 0
        self.tasks = [asyncio.current_task()]

    def add(self, k: int) -> int:
        self.n += k
        return self.n

    async def slow_add(self, k: int) -> int:
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            first = group.create_task(asyncio.sleep(0.001, k))
        self.n += first.result()
        return self.n

    def where(self) -> tuple[str, transom.Pid]:
        return threading.current_thread().name, transom.current_pid()

    async def crash(self) -> None:
        raise ValueError("broken")

    async def hang(self) -> None:
        await asyncio.Event().wait()

    def one_task(self) -> bool:
        return self.tasks == [asyncio.current_task()]

    def handle_info(self, message: Any) -> None:
        self.n += message


@in_node(check=False)
async def test_calls_casts_and_messages() -> None:
    desk = await Desk.start_link()
    assert await desk.add(1) == 1
    assert await desk.slow_add(2) == 3
    desk.add.cast(3)
    transom.pid_of(desk).send(4)
    assert await desk.add(0) == 10
    assert await desk.where() == ("transom-io-0", transom.pid_of(desk))
    assert await desk.one_task()


@in_node(check=False)
async def test_a_crash_is_that_of_any_agent() -> None:
    desk = await Desk.start()
    ref = transom.monitor(transom.pid_of(desk))
    with pytest.raises(transom.CallError, match="broken") as caught:
        await desk.crash()
    assert isinstance(caught.value.__cause__, ValueError)
    down = await take(ref)
    assert isinstance(down.reason, transom.Crash) and isinstance(down.reason.exception, ValueError)


@in_node(check=False)
async def test_kill_cancels_what_it_does() -> None:
    ended: list[str] = []

    class Waiter(transom.Agent, loop=True):
        async def wait(self, parent: transom.Pid) -> None:
            asyncio.create_task(self.beside())
            await asyncio.sleep(0)
            parent.send("waiting")
            try:
                await asyncio.Event().wait()
            finally:
                ended.append("handler")

        async def beside(self) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append("task")

    waiter = await Waiter.start()
    ref = transom.monitor(transom.pid_of(waiter))
    waiter.wait.cast(transom.current_pid())
    await take("waiting".__eq__)
    transom.kill(transom.pid_of(waiter))
    assert (await take(ref)).reason == "killed"
    await until(lambda: sorted(ended) == ["handler", "task"])
    await until(lambda: not any(thread.tasks for thread in _loop_thread.running()))


@in_node(check=False)
async def test_tasks_end_with_the_agent() -> None:
    ended: list[str] = []

    class Spawner(transom.Agent, loop=True):
        def begin(self) -> None:
            self.task = asyncio.create_task(self.beside())

        async def beside(self) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append("task")

        def finish(self) -> str:
            transom.stop_after()
            return "bye"

        async def terminate(self, reason: Any) -> None:
            ended.append(f"terminate {reason}")

    spawner = await Spawner.start_link()
    await spawner.begin()
    assert await spawner.finish() == "bye"
    await until(lambda: ended == ["terminate normal", "task"])


@in_node(check=False)
async def test_lifespan_is_one_task_also_when_killed() -> None:
    log: list[Any] = []

    @contextlib.asynccontextmanager
    async def scope() -> AsyncIterator[str]:
        task = asyncio.current_task()
        try:
            yield "open"
        finally:
            await asyncio.sleep(0)
            log.append(asyncio.current_task() is task)

    class Session(transom.Agent, loop=True):
        async def lifespan(self) -> AsyncIterator[None]:
            async with scope() as self.state:
                yield

        def ask(self) -> str:
            return self.state

    for end in (transom.kill, lambda pid: transom.exit(pid, "shutdown")):
        session = await Session.start()
        assert await session.ask() == "open"
        end(transom.pid_of(session))
        await until(lambda: log == [True])
        log.clear()


@in_node(check=False)
async def test_a_lifespan_that_fails() -> None:
    class Bad(transom.Agent, loop=True):
        async def lifespan(self) -> AsyncIterator[None]:
            raise OSError("no server")
            yield

    class Late(transom.Agent, loop=True):
        async def lifespan(self) -> AsyncIterator[None]:
            self.lost = asyncio.Event()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._fail())
                yield

        async def _fail(self) -> None:
            await self.lost.wait()
            raise OSError("connection lost")

        def lose(self) -> None:
            self.lost.set()

    class Early(Late, loop=True):
        async def init(self) -> None:
            self.lost.set()
            await asyncio.sleep(60)

    with pytest.raises(transom.StartError, match="no server"):
        await Bad.start()
    with pytest.raises(transom.StartError) as caught:
        await Early.start()
    assert isinstance(caught.value.__cause__, ExceptionGroup)
    late = await Late.start()
    ref = transom.monitor(transom.pid_of(late))
    late.lose.cast()
    reason = (await take(ref)).reason
    assert isinstance(reason, transom.Crash) and isinstance(reason.exception, ExceptionGroup)


@in_node(check=False)
async def test_in_process() -> None:
    class Watcher(transom.Agent, loop=True):
        async def init(self) -> None:
            await transom.in_process(transom.trap_exit, True)

        async def watch(self, pid: transom.Pid) -> bool:
            self.seen: list[Any] = []
            refs = await asyncio.gather(
                transom.in_process(transom.monitor, pid), transom.in_process(transom.monitor, pid)
            )
            return len(set(refs)) == 2

        async def later(self, pid: transom.Pid) -> None:
            self.task = asyncio.create_task(self.beside(pid))

        async def beside(self, pid: transom.Pid) -> None:
            await asyncio.sleep(0.001)
            self.seen.append(await transom.in_process(transom.monitor, pid))

        async def count(self) -> int:
            return len(self.seen)

        async def fails(self) -> None:
            await transom.in_process(int, "x")

        def handle_info(self, message: Any) -> None:
            self.seen.append(message)

    async def child() -> None:
        await transom.receive()

    watcher = await Watcher.start()
    pid = transom.spawn(child)
    assert await watcher.watch(pid)
    await watcher.later(pid)

    async def seen(n: int) -> None:
        for _ in range(10_000):
            if await watcher.count() >= n:
                return
            await transom.sleep(0.001)
        raise AssertionError(f"never {n}")

    await seen(1)  # the third monitor, made by a task between handlers
    pid.send("end")
    await seen(4)
    with pytest.raises(transom.CallError, match="invalid literal"):
        await watcher.fails()


@in_node(check=False)
async def test_defer_and_idle_timeout_in_handlers() -> None:
    class Later(transom.Agent, loop=True):
        def init(self) -> None:
            self.timeouts = 0

        def ask(self, x: int) -> None:
            asyncio.create_task(self.work(transom.defer(), x))

        async def work(self, to: transom.From, x: int) -> None:
            await asyncio.sleep(0.001)
            to.reply(2 * x)

        def rest(self) -> None:
            transom.idle_timeout(0)

        def handle_timeout(self) -> None:
            self.timeouts += 1

        def count(self) -> int:
            return self.timeouts

    later = await Later.start_link()
    assert await transom.gather(*(later.ask(i) for i in range(10))) == [2 * i for i in range(10)]
    await later.rest()
    assert await later.count() <= 1


@in_node(check=False)
async def test_agents_on_the_loop_call_others() -> None:
    class Front(transom.Agent, loop=True):
        def init(self, back: Any) -> None:
            self.back = back

        async def ask(self) -> list[int]:
            return await asyncio.gather(*(self.back.add(1) for _ in range(20)))

    class Back(transom.Agent):
        n = 0

        def add(self, k: int) -> int:
            self.n += k
            return self.n

    back = await Back.start_link()
    front = await Front.start_link(back)
    assert sorted(await front.ask()) == list(range(1, 21))


@in_node(check=False)
async def test_supervised() -> None:
    class Root(transom.Supervisor):
        def children(self) -> list[Any]:
            return [Desk.child().options(id="desk", name="desk")]

    await Root.start_link()
    first = transom.whereis("desk")
    with pytest.raises(transom.CallError):
        await Desk.at("desk").crash()
    await until(lambda: transom.whereis("desk") not in (None, first))
    assert await Desk.at("desk").add(1) == 1


def test_loop_is_checked() -> None:
    with pytest.raises(TypeError, match="loop="):

        class Bad(transom.Agent, loop="yes"):  # type: ignore[arg-type]
            pass
