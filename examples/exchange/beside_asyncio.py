"""The same exchange on plain asyncio, written as well as asyncio allows.

Same sessions, same conversations, same crashes and restarts, same hogs. Tasks
are the agents, queues the mailboxes, futures the replies. Whoever waits for a
task that crashes is told, by hand, and the task is started again.

It runs as a program of its own (see ``compare``) so that the two sides do not
disturb each other. A thread watches the clock and ends the program, because a
loop that a hog holds could not.
"""

import asyncio
import json
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import asdict
from time import perf_counter
from typing import Any

from .figures import Figures, Tally
from .hogs import KINDS, hog
from .settings import Settings

Reply = asyncio.Future[Any]


class Overworked(Exception):
    """An agent crashes on purpose."""


class NoAnswer(Exception):
    """The asked agent crashed."""


class Agent:
    """A task with a mailbox that is started again when it crashes."""

    def __init__(self, tally: Callable[[], Tally], body: Callable[["Agent"], Coroutine[Any, Any, None]]) -> None:
        self.tally = tally
        self.body = body
        self.start()

    def start(self) -> None:
        self.mailbox: asyncio.Queue[tuple[Reply, object]] = asyncio.Queue()
        self.unanswered: set[Reply] = set()
        self.task = asyncio.create_task(self.body(self))
        self.task.add_done_callback(self.ended)

    def ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            task.exception()  # fetch it: asyncio complains about exceptions nobody looked at
        self.tally().restarts += 1
        for reply in self.unanswered:
            if not reply.done():
                reply.set_exception(NoAnswer())
        self.start()

    async def ask(self, question: object, timeout: float) -> Any:
        reply: Reply = asyncio.get_running_loop().create_future()
        unanswered = self.unanswered
        unanswered.add(reply)
        self.mailbox.put_nowait((reply, question))
        try:
            async with asyncio.timeout(timeout):
                return await reply
        finally:
            unanswered.discard(reply)


class Exchange:
    """All agents of one run, and what they measured."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.tally = Tally()
        self.due: dict[int, float] = {}  # when each caller last meant to speak
        self.background: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        """Start every agent."""
        self.lines = [Agent(lambda: self.tally, self.answerer) for _ in range(self.settings.answerers)]
        for number in range(self.settings.sessions - self.settings.answerers):
            self.keep(self.caller(number))

    def keep(self, work: Coroutine[Any, Any, None]) -> None:
        """The loop holds tasks weakly, so somebody has to hold them."""
        self.background.add(asyncio.create_task(work))

    async def answerer(self, agent: Agent) -> None:
        dice = random.Random()
        while True:
            reply, text = await agent.mailbox.get()
            if dice.random() < self.settings.crash_chance:
                raise Overworked(text)
            if not reply.done():
                reply.set_result(f"I heard {text!r}")

    async def caller(self, number: int) -> None:
        dice = random.Random(self.settings.seed - number)
        await self.rest(number, dice.random() * self.settings.think)
        while True:
            await self.converse(number, dice)
            await self.rest(number, self.settings.pause(dice))

    async def converse(self, caller: int, dice: random.Random) -> None:
        patience = self.settings.patience
        other = dice.choice(self.lines)
        started = perf_counter()
        try:
            for line in range(self.settings.lines):
                if line:
                    await self.rest(caller, self.settings.pause(dice))
                started = perf_counter()
                await other.ask(f"line {line}", patience)
                self.tally.delays.append(perf_counter() - started)
                self.tally.messages += 2
        except NoAnswer:
            self.tally.told.append(perf_counter() - started)
        except TimeoutError:
            self.tally.late += 1

    async def rest(self, caller: int, seconds: float) -> None:
        self.due[caller] = perf_counter() + seconds
        await asyncio.sleep(seconds)

    def start_hogs(self, in_threads: bool) -> None:
        for work in KINDS * self.settings.hogs_of_a_kind:
            self.keep(hog_in_thread(work) if in_threads else hog(work))

    def kill_some(self) -> None:
        for agent in self.lines[:: max(1, len(self.lines) // 100)]:
            agent.task.cancel()

    def take(self) -> Figures:
        """The figures of the part that ends now. Callers that are stuck count as late."""
        tally, self.tally = self.tally, Tally()
        now = perf_counter()
        tally.late += sum(now - due > 1.0 for due in list(self.due.values()))
        return tally.figures()


async def hog_in_thread(work: Callable[[], None]) -> None:
    """What a careful programmer does with a hog, where it is known to be one."""
    while True:
        await asyncio.to_thread(work)


def watch(exchange: Exchange, loop: asyncio.AbstractEventLoop, in_threads: bool) -> None:
    """Measure both parts from outside of the loop, print them and end the program."""
    seconds = exchange.settings.seconds
    parts = []
    for hogs in (False, True):
        if hogs:
            loop.call_soon_threadsafe(exchange.start_hogs, in_threads)
        time.sleep(min(1.0, seconds))  # get into swing
        exchange.tally = Tally()
        time.sleep(seconds / 2)
        loop.call_soon_threadsafe(exchange.kill_some)
        time.sleep(seconds / 2)
        parts.append(asdict(exchange.take()))
    print(json.dumps(parts), flush=True)
    os._exit(0)  # neither the loop nor the threads of the hogs can be stopped


async def exchange_on_asyncio(settings: Settings, in_threads: bool) -> None:
    exchange = Exchange(settings)
    loop = asyncio.get_running_loop()
    threading.Thread(target=watch, args=(exchange, loop, in_threads), daemon=True).start()
    exchange.open()
    await asyncio.Event().wait()


def main() -> None:
    """The settings come as JSON in the first argument; the second is ``loop`` or ``threads``."""
    settings = Settings(**json.loads(sys.argv[1]))
    work = exchange_on_asyncio(settings, in_threads=sys.argv[2] == "threads")
    try:
        import uvloop  # the faster loop, where it is installed
    except ImportError:
        asyncio.run(work)
    else:
        uvloop.run(work)


if __name__ == "__main__":
    main()
