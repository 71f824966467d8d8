"""The same conversations on plain asyncio, with the defensive code that such programs have.

It runs as a program of its own (see ``compare``), so that the two sides do not disturb each other. A thread watches the
clock and ends the program, because a loop that a hog holds could not.
"""

import asyncio
import json
import math
import os
import random
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from typing import Any

from . import meter, tools
from .hogs import KINDS, hog
from .session import QUESTION, add_to, client_of
from .settings import Provider, Settings, start_of


class Sessions:
    """All conversations of one run."""

    def __init__(self, where: Provider, settings: Settings) -> None:
        self.where = where
        self.settings = settings
        self.pool = ProcessPoolExecutor(2)
        self.background: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        for number in range(self.settings.sessions):
            self.keep(self.session(number))

    def keep(self, work: Any) -> None:
        """The loop holds tasks weakly, so somebody has to hold them."""
        self.background.add(asyncio.create_task(work))

    async def session(self, number: int) -> None:
        """Conversations without end; a failure is waited out, for longer each time."""
        wait = self.settings.first_delay
        await asyncio.sleep(start_of(number, self.settings))
        while True:
            meter.counts.add(meter.STARTS, 1)
            try:
                while True:
                    await self.converse(number)
                    wait = self.settings.first_delay
            except Exception:  # of the client, of its transport, of JSON: nobody knows them all
                await asyncio.sleep(wait * random.uniform(0.8, 1))
                wait = min(wait * 2, 10)

    async def converse(self, number: int) -> None:
        messages: list[dict[str, Any]] = [{"role": "user", "content": QUESTION}]
        answer = await self.hear(number, messages)
        while answer.get("tool_calls"):
            messages.append(answer)
            for call in answer["tool_calls"]:
                result = await self.use(call["function"]["name"], json.loads(call["function"]["arguments"]))
                meter.counts.add(meter.MESSAGES, 2)
                messages.append({"role": "tool", "tool_call_id": call["id"], "content": result})
            answer = await self.hear(number, messages)
        meter.counts.add(meter.MESSAGES, 1)

    async def use(self, name: str, arguments: dict[str, Any]) -> str:
        if name == "weather":
            return f"{arguments['city']}: 7 degrees"
        loop = asyncio.get_running_loop()
        return str(await asyncio.wait_for(loop.run_in_executor(self.pool, math.factorial, arguments["n"]), 10))

    async def hear(self, number: int, messages: list[dict[str, Any]]) -> dict[str, Any]:
        answer: dict[str, Any] = {"role": "assistant", "content": ""}
        async with asyncio.timeout(self.settings.patience) as limit:
            stream = await client_of(self.where).chat.completions.create(
                model=self.where.model,
                messages=messages,  # type: ignore[arg-type, unused-ignore]
                tools=tools.DESCRIPTIONS,  # type: ignore[arg-type, unused-ignore]
                stream=True,
                user=f"session {number}",
            )
            async with stream:
                async for chunk in stream:
                    limit.reschedule(asyncio.get_running_loop().time() + self.settings.patience)
                    for choice in chunk.choices:
                        if choice.delta.content:
                            answer["content"] += choice.delta.content
                            meter.heard(getattr(chunk, "sent", None))
                        for part in choice.delta.tool_calls or ():
                            add_to(answer.setdefault("tool_calls", []), part)
        return answer

    def start_hogs(self, in_threads: bool) -> None:
        for work in KINDS:
            self.keep(hog_in_thread(work) if in_threads else hog(work))


async def hog_in_thread(work: Callable[[], None]) -> None:
    """What a careful programmer does with a hog, where it is known to be one."""
    while True:
        await asyncio.to_thread(work)


def watch(sessions: Sessions, loop: asyncio.AbstractEventLoop, in_threads: bool) -> None:
    """Measure from outside of the loop, print the figures and end the program."""
    seconds = sessions.settings.part
    parts = []
    for hogs in (False, True):
        if hogs:
            loop.call_soon_threadsafe(sessions.start_hogs, in_threads)
        time.sleep(min(2.0, seconds))  # get into swing
        if in_threads and not hogs:
            continue  # the other program measures that
        counted = meter.Meter()
        time.sleep(seconds)
        parts.append(asdict(counted.take()))
    print(json.dumps(parts), flush=True)
    for process in list((sessions.pool._processes or {}).values()):
        process.kill()
    os._exit(0)  # neither the loop nor the threads of the hogs can be stopped


async def converse_on_asyncio(where: Provider, settings: Settings, in_threads: bool) -> None:
    sessions = Sessions(where, settings)
    _ = client_of(where).chat.completions
    print("ready", flush=True)
    sys.stdin.readline()  # until it is our turn
    sessions.start()
    loop = asyncio.get_running_loop()
    threading.Thread(target=watch, args=(sessions, loop, in_threads), daemon=True).start()
    await asyncio.Event().wait()


def main() -> None:
    """Provider and settings come as JSON; the third argument is ``loop`` or ``threads``."""
    where, settings = Provider(**json.loads(sys.argv[1])), Settings(**json.loads(sys.argv[2]))
    work = converse_on_asyncio(where, settings, in_threads=sys.argv[3] == "threads")
    try:
        import uvloop  # the faster loop, where it is installed
    except ImportError:
        asyncio.run(work)
    else:
        uvloop.run(work)


if __name__ == "__main__":
    main()
