"""The same on asyncio and uvloop, with the defensive code that such programs have: retries, back-off, time limits."""

from __future__ import annotations

import asyncio
import random
from array import array
from typing import Any

from benchmarks.llm import hogs
from benchmarks.llm.client import RESULT, Refused, delays_of, stream
from benchmarks.llm.plan import Plan, given, report, resident

turns = 0


class Heard:
    """What all sessions have come to."""

    def __init__(self) -> None:
        self.delays: list[bytes] = []  # of each reply that was heard to its end
        self.done = 0
        self.given_up = 0


async def session(plan: Plan, number: int, heard: Heard) -> None:
    await asyncio.sleep(plan.ramp * number / plan.sessions)
    wait = 1.0
    for attempt in range(plan.attempts + 1):
        try:
            await converse(plan, number, heard)
            heard.done += 1
            return
        except Refused as error:
            pause = max(wait, error.wait)
        except (OSError, EOFError, ValueError, KeyError, TimeoutError):  # IncompleteReadError is an EOFError
            pause = wait
        if attempt < plan.attempts:
            await asyncio.sleep(pause * random.uniform(0.8, 1))
            wait = min(wait * 2, 10)
    heard.given_up += 1


async def converse(plan: Plan, number: int, heard: Heard) -> None:
    messages: list[dict[str, Any]] = [{"role": "user", "content": "hello"}]
    finish: str | None = None
    while finish != "stop":
        delays = array("I")
        items = stream(plan, str(number), messages)
        try:
            while True:
                try:
                    async with asyncio.timeout(plan.patience):
                        tokens = await anext(items)
                except StopAsyncIteration:
                    break
                delays.extend(delays_of(tokens))
                finish = tokens[-1][1]
        finally:
            await items.aclose()  # type: ignore[attr-defined]
        heard.delays.append(delays.tobytes())
        messages.append(RESULT)
        await asyncio.sleep(0.001)  # the tool


async def hog(plan: Plan, number: int) -> None:
    global turns
    while True:
        if plan.hogs == "threads":
            await asyncio.to_thread(hogs.HOGS[number])
        else:
            hogs.HOGS[number]()
        turns += 1
        await asyncio.sleep(hogs.PAUSE)


async def main(plan: Plan) -> None:
    busy = []
    if plan.hogs != "none":
        hogs.warm()
        busy = [asyncio.create_task(hog(plan, number)) for number in range(len(hogs.HOGS))]
    before = resident()
    heard = Heard()
    tasks = [asyncio.create_task(session(plan, number, heard)) for number in range(plan.sessions)]
    await asyncio.sleep(plan.ramp + plan.seconds / 2)
    peak = resident()
    await asyncio.wait(tasks, timeout=plan.limit - plan.ramp - plan.seconds / 2)
    report(plan, heard.done, heard.given_up, heard.delays, before, peak, turns)
    for task in [*tasks, *busy]:
        task.cancel()


if __name__ == "__main__":
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(given()))
