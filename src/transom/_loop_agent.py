"""Agents on the loop: the process keeps mailbox, links and names; its handlers run on an event loop.

The process is an ordinary server. For each message it handles, it has the handler run by the agent's home, one task on
the loop that lives as long as the agent, and waits for what comes of it. So everything other processes see is as with
any agent, and everything asyncio sees is one task: `init`, handlers and `terminate` may open and close what must be
opened and closed by the same task.

    process                              loop
    _boot: enters the home        ->     Home.run begins (lifespan up to its yield)
    a message: perform(...)       ->     Home.post: run(handler)
       waits                      <-     the result, or a Job to be done in the process
    ends, however                 ->     the handle of the home goes: its task is cancelled, then the tasks it began
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from transom import _core, _errors

if TYPE_CHECKING:
    from transom._loop_thread import LoopThread

LOOP = 64  # a server whose handlers run on a loop; as in ext/bind/tsm_server.c
END_SECONDS = 5.0  # what the tasks of an agent may take to end

current: ContextVar[Home | None] = ContextVar("transom_home", default=None)

type Server = Any  # _core._Server


class Home:
    """The task of one agent on the loop. Made in the process, then used on the loop's thread alone."""

    def __init__(self, agent: Any, pid: _core.Pid, loop: int) -> None:
        self.agent = agent
        self.server: Server = None  # while a handler runs; the server holds us, its end is ours
        self.pid = pid
        self.index = loop
        self.op: Any = None  # of the handler that runs
        self.task: asyncio.Task[Any] | None = None
        self.tasks: set[asyncio.Task[Any]] = set()  # begun by handlers, directly or not
        self._posted: deque[tuple[Any, Request]] = deque()
        self._wanted: asyncio.Future[None] | None = None
        self._jobs: deque[Job] = deque()
        self.busy = False
        self.over = False
        self.error: BaseException | None = None  # why it is over

    async def run(self, op: Any, thread: LoopThread) -> None:
        """The task. op is the operation that keeps it: put into it, and it is known to have begun."""
        self.task = asyncio.current_task()
        thread.homes.add(self)
        current.set(self)
        try:
            async with self._lifespan():
                op.put(None)
                await self._serve()
        except BaseException as error:
            self._ended(op, error)
        finally:
            self.over = True
            await self._end_tasks()
            self._refuse_all()
            self.server = self.op = None
            thread.homes.discard(self)
            op.fail(None)
            self.task = op = None  # no circles through objects that the collector does not know

    def _lifespan(self) -> contextlib.AbstractAsyncContextManager[Any]:
        lifespan = getattr(self.agent, "lifespan", None)
        if lifespan is None:
            return contextlib.nullcontext()
        result = lifespan()
        if inspect.isasyncgen(result):
            return contextlib.asynccontextmanager(lambda: result)()
        if not hasattr(result, "__aenter__"):
            raise TypeError(
                f"{type(self.agent).__qualname__}.lifespan must be an async def with one yield, or give an "
                f"asynchronous context manager, not {type(result).__name__}"
            )
        return result  # type: ignore[no-any-return]

    async def _serve(self) -> None:
        while True:
            while not self._posted:
                self._wanted = asyncio.get_running_loop().create_future()
                await self._wanted
            self.op, request = self._posted.popleft()
            self.busy, self.server = True, request.server
            handling = self._handle(request.method, request.args, request.kwargs)
            del request
            await handling
            del handling
            self.op, self.busy, self.server = None, False, None
            while self._jobs:
                self._send(self._jobs.popleft())

    def is_at_rest(self) -> bool:
        """Does nothing happen before the process posts something? Any thread."""
        return not (self.busy or self._posted or self._jobs or self.tasks)

    async def _handle(self, method: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        try:
            result = method(*args, **kwargs)
            if inspect.isawaitable(result):
                result = await result
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and self.task is not None and self.task.cancelling():
                raise  # not the handler is cancelled, all of it is
            (await self._answerable()).fail(error)
        else:
            (await self._answerable()).done(result)

    async def _answerable(self) -> Any:
        """The operation of the handler; the process may be busy with a Job of the handler."""
        while self.op is None:
            self._wanted = asyncio.get_running_loop().create_future()
            await self._wanted
        return self.op

    def post(self, op: Any, request: Request | Answer) -> None:
        """Something from the process; op is where the answer goes."""
        if self.over:
            op.fail(self._why())
            return
        op.task = self.task  # given up with the process, and then all of it is
        if isinstance(request, Answer):
            self.op = op
            request.job.finish(request.value, request.error)
            self._pass_job()
        else:
            self._posted.append((op, request))
        if self._wanted is not None and not self._wanted.done():
            self._wanted.set_result(None)

    async def ask_process(self, job: Job) -> Any:
        """Have the process do something. A handler's process waits for it; one at rest gets a message."""
        if self.busy:
            self._jobs.append(job)
            self._pass_job()
        else:
            self._send(job)
        return await job.future

    def _pass_job(self) -> None:
        if self.op is not None and self._jobs:
            op, self.op = self.op, None
            op.done(self._jobs.popleft())

    def _send(self, message: Job | Over) -> None:
        with contextlib.suppress(_errors.NotRunning):
            _core.send(self.pid, _core.share(message))

    def _ended(self, op: Any, error: BaseException) -> None:
        """The task is over though the process is not: it ends for the same reason."""
        self.error = None if op.dropped else error
        if self.op is not None:
            self.op.fail(error)
        elif not op.dropped:
            op.fail(error)  # in case it has not begun
            self._send(Over(error))

    async def _end_tasks(self) -> None:
        """What handlers began ends with the agent."""
        loop = asyncio.get_running_loop()
        until = loop.time() + END_SECONDS
        while self.tasks and loop.time() < until:
            tasks = list(self.tasks)
            for task in tasks:
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait(tasks, timeout=1.0)

    def _refuse_all(self) -> None:
        while self._posted:
            op, _ = self._posted.popleft()
            op.fail(self._why())

    def _why(self) -> BaseException:
        return self.error or _errors.NotRunning("the task of the agent on its event loop has ended")


# -- what goes between them --------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Request:
    """Run a handler."""

    home: Home
    server: Server
    method: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Job:
    """Something a handler wants its process to do."""

    def __init__(self, home: Home, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.home, self.fn, self.args, self.kwargs = home, fn, args, kwargs
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self.loop.create_future()

    async def perform(self) -> tuple[Any, BaseException | None]:
        """In the process."""
        try:
            value = self.fn(*self.args, **self.kwargs)
            if inspect.isawaitable(value):
                value = await value
        except _errors.Killed:
            raise
        except BaseException as error:
            return None, error
        return value, None

    def finish(self, value: Any, error: BaseException | None) -> None:
        """On the loop."""
        if self.future.done():
            return
        if error is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(value)

    async def as_message(self) -> None:
        """In the process, which was at rest."""
        value, error = await self.perform()
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self.finish, value, error)


@dataclass(slots=True)
class Over:
    """The home of an agent has ended: an asynchronous context manager of its lifespan cancelled it, or failed."""

    error: BaseException


@dataclass(slots=True)
class Answer:
    """A Job is done; the handler goes on."""

    home: Home
    job: Job
    value: Any
    error: BaseException | None


# -- in the process ----------------------------------------------------------------------------------------------------


async def enter(server: Server, agent: Any, pid: _core.Pid, loop: int) -> None:
    """The agent starts: make its home. It lasts as long as the handle, which the server keeps."""
    home = Home(agent, pid, loop)
    handle: _core.Aio[None] = _core.Aio(home, None, loop, 2)
    if server.extra is None:
        server.extra = {}
    server.extra["home"] = home
    server.extra["home_handle"] = handle
    await handle.__aenter__()


def leave(server: Server) -> None:
    """The agent has ended by itself."""
    extra = server.extra or {}
    handle = extra.pop("home_handle", None)
    if handle is not None:
        handle.close()


def is_over(server: Server) -> bool:
    """It is an agent on the loop, and its home has ended."""
    home = (server.extra or {}).get("home")
    return home is not None and home.over


async def perform(server: Server, method: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Have a handler run by the agent's home."""
    home: Home = server.extra["home"]
    what: Request | Answer = Request(home, server, method, args, kwargs)
    try:
        while True:
            step: _core.Aio[Any] = _core.Aio(what, None, home.index, 2)
            result = await step
            if type(result) is not Job:
                return result
            value, error = await result.perform()
            what = Answer(home, result, value, error)
    except (_errors.Killed, GeneratorExit):  # the handler may be waiting for us, and keep the server and its home alive
        leave(server)
        raise


# -- for users ---------------------------------------------------------------------------------------------------------


async def in_process(fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """On the loop of an agent (``loop=True``): run fn(*args, **kwargs) in the agent's process and give its result.

    What acts on the calling process, such as ``monitor``, ``link``, ``trap_exit``, ``spawn_link`` or ``start_link``,
    has to be done there. ``send``, calls to other agents, ``current_pid`` and ``From.reply`` need it not.

    Args:
        fn: Plain or coroutine function, or one that gives an awaitable, which the process awaits. While it waits, the
            agent handles no messages.
        args: Handed over as they are.
        kwargs: The same.

    Raises:
        NotInProcess: The caller is no handler, or task, of an agent on the loop.

    Example:
        >>> import asyncio, transom
        >>> class Watcher(transom.Agent, loop=True):
        ...     async def watch(self, pid):
        ...         await transom.in_process(transom.monitor, pid)
        ...         self.down = asyncio.get_running_loop().create_future()
        ...     def handle_info(self, message): self.down.set_result(message.reason)
        >>> async def main():
        ...     watcher = await Watcher.start_link()
        ...     await watcher.watch(transom.spawn(transom.receive))
        >>> transom.run(main)

    Source: none in OTP, where a process never leaves its scheduler.
    """
    home = current.get()
    if home is None or asyncio._get_running_loop() is None:
        raise _errors.NotInProcess("in_process() is for handlers of agents on the loop (loop=True)")
    return await home.ask_process(Job(home, fn, args, kwargs))
