"""Sessions as processes under supervisors: the happy path, and a policy."""

from __future__ import annotations

from array import array
from typing import Any

import transom
from benchmarks.llm import hogs
from benchmarks.llm.client import RESULT, delays_of, stream
from benchmarks.llm.plan import Plan, given, report, resident
from transom import Backoff, ChildSpec, Recovery, Supervisor, Task
from transom.counters import Counters

GROUP = 500


async def session(plan: Plan, number: int, collector: transom.Pid) -> None:
    """One conversation."""
    await transom.sleep(plan.ramp * number / plan.sessions)
    await converse(plan, number, collector)


async def converse(plan: Plan, number: int, collector: transom.Pid) -> None:
    messages: list[dict[str, Any]] = [{"role": "user", "content": "hello"}]
    finish: str | None = None
    while finish != "stop":
        delays = array("I")
        async for tokens in transom.aio(stream(plan, str(number), messages), timeout=plan.patience):
            delays.extend(delays_of(tokens))
            finish = tokens[-1][1]
        transom.send(collector, delays.tobytes())
        messages.append(RESULT)
        await transom.sleep(0.001)  # the tool
    transom.send(collector, (number, True))


async def give_up(number: int, collector: transom.Pid) -> None:
    transom.send(collector, (number, False))


def child(plan: Plan, number: int, collector: transom.Pid) -> ChildSpec:
    again = Task.child(converse, plan, number, collector)  # a restart does not wait for its place in the ramp
    recovery = Recovery(
        backoff=Backoff(initial=1, factor=2, maximum=10),
        attempts=plan.attempts,
        variants=(again,),
        fallback=Task.child(give_up, number, collector),
    )
    return Task.child(session, plan, number, collector).options(id=number, restart="transient", recovery=recovery)


def hog(number: int, turns: Counters) -> None:
    """A plain function: nothing is done so that others get their turn."""
    while True:
        hogs.HOGS[number]()
        turns.add(0, 1)
        transom.sync.sleep(hogs.PAUSE)


async def main(plan: Plan) -> None:
    import logging

    logging.getLogger("transom").setLevel(logging.CRITICAL)
    turns = Counters(1)
    if plan.hogs != "none":
        hogs.warm()
        for number in range(len(hogs.HOGS)):
            transom.spawn(hog, number, turns)
    before = resident()
    collector = transom.current_pid()
    for first in range(0, plan.sessions, GROUP):
        numbers = range(first, min(first + GROUP, plan.sessions))
        await Supervisor.start_link(children=[child(plan, number, collector) for number in numbers])
    limit = transom.send_after(plan.limit, collector, "late")
    await transom.sleep(plan.ramp + plan.seconds / 2)
    peak = resident()
    ended: dict[int, bool] = {}
    delays: list[bytes] = []
    while len(ended) < plan.sessions:
        match await transom.receive():
            case "late":
                break
            case bytes() as part:
                delays.append(part)
            case number, done:
                ended[number] = done
    transom.cancel_timer(limit)
    done = sum(ended.values())
    report(plan, done, len(ended) - done, delays, before, peak, turns.get(0))


if __name__ == "__main__":
    transom.run(main, given())
