"""Researchers that use the tools of one MCP server, while it crashes and while its owner is killed."""

import logging
from collections.abc import Iterable

import transom
from transom import Backoff, ChildSpec, Pid, Recovery, Supervisor, Task
from transom.counters import Counters

from .toolbox import Toolbox, use

CITIES = ("Oslo", "Rome", "Paris", "Lima", "Cairo")
ROUNDS = ("nothing happens", "the server crashes", "the toolbox is killed")
START_SECONDS = 60.0  # what an interpreter with a server in it may take to start
PAUSE = 0.1  # seconds a researcher thinks about an answer
answers = Counters(1)


class Top(Supervisor):
    """The toolbox, which may crash now and then, before those that need it."""

    def children(self) -> Iterable[ChildSpec]:
        yield Toolbox.options(timeout=START_SECONDS).child().options(name="toolbox")


async def researcher(number: int, home: Pid) -> None:
    """The happy path."""
    for city in CITIES:
        await use("weather", city=city)
        answers.add(0, 1)
        await transom.sleep(PAUSE)
    transom.send(home, ("done", number))


def child(number: int, home: Pid) -> ChildSpec:
    """One that finds no toolbox, or loses it, begins again a little later."""
    recovery = Recovery(backoff=Backoff(initial=0.5, factor=2, maximum=5), attempts=12)
    return Task.child(researcher, number, home).options(id=number, restart="transient", recovery=recovery)


async def research(researchers: int = 50) -> None:
    """Three rounds: in each all researchers come to their end."""
    logging.getLogger("transom").setLevel(logging.CRITICAL)  # a hundred crash reports, all of them expected
    top = await Top.start_link()
    for what in ROUNDS:
        server = await use("whoami")
        before, home = answers.get(0), transom.current_pid()
        group = await Supervisor.start_link(children=[child(number, home) for number in range(researchers)])
        while answers.get(0) < before + researchers * 2:
            await transom.sleep(0.01)
        if what == "the server crashes":
            Toolbox.at("toolbox").call.cast("crash", {})
        elif what == "the toolbox is killed":
            transom.kill(Toolbox.at("toolbox"))
        for _ in range(researchers):
            await transom.receive(tuple)
        await group.stop()
        again = "the same server" if await use("whoami") == server else "another server"
        print(f"{what}: {researchers} researchers done, {answers.get(0) - before} answers, {again}", flush=True)
    await top.stop()
