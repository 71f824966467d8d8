"""The parts of the demo: conversations without end, hogs beside them, kills, and the same on asyncio."""

import os
import platform
import time

import transom
from transom import DynamicSupervisor, DynamicSupervisorRef, Task

from ..exchange.figures import shown
from ..exchange.hogs import gil_is_on
from ..exchange.stubborn import kill_the_stubborn
from .compare import REMARK, beside_asyncio
from .desk import Desk
from .endpoint import endpoint
from .hogs import KINDS, hog
from .meter import Figures, Meter
from .program import Top, prepare
from .report import Column, side_by_side
from .session import client_of
from .settings import Provider, Settings
from .stuck import VICTIMS, Stuck
from .view import View

PATIENCE = 30.0  # seconds to wait for the view: the machine may be busy


async def demo(settings: Settings) -> None:
    """All parts, in turn."""
    prepare()
    with endpoint(settings) as where:
        _ = client_of(where).chat.completions  # takes a second of imports: not on the event loop, while sessions wait
        print(heading(settings), flush=True)
        columns = await on_transom(where, settings)
        if settings.asyncio:
            print("\nThe same load on asyncio ...", flush=True)
            columns += beside_asyncio(where, settings)
    print(f"\n{side_by_side(columns)}", flush=True)
    if settings.asyncio:
        print(REMARK)


async def on_transom(where: Provider, settings: Settings) -> list[Column]:
    """Conversations alone, with hogs, and the kills."""
    top = await Top.start_link(where, settings)
    calm = await measure("no hogs", settings)
    hogs = await start_hogs()
    loaded = await measure("with hogs", settings)
    started = time.perf_counter()
    await hogs.stop()
    ended = time.perf_counter() - started

    await View.at("view").begin.options(timeout=PATIENCE)("the kills")
    outcomes = await kill_the_stubborn(Stuck, where, victims=VICTIMS)
    answers, given_up, _ = await Desk.at("desk").counts.options(timeout=PATIENCE)()
    await top.stop()

    print(f"\n{answers:,} answers; {given_up} sessions of {settings.sessions} were given up by their policy.")
    print(f"The hogs were killed under load; the last one was gone after {shown(ended)}.")
    print("Then four that do not want to die, conversations going on. Who was told, and when:")
    for outcome in outcomes:
        print(outcome.line())
    return [("transom", calm), ("with hogs", loaded)]


async def measure(title: str, settings: Settings) -> Figures:
    """The figures of one part of the run."""
    await View.at("view").begin.options(timeout=PATIENCE)(title)
    await transom.sleep(min(2.0, settings.part))  # get into swing
    meter = Meter()
    await transom.sleep(settings.part)
    return meter.take()


async def start_hogs() -> DynamicSupervisorRef:
    """Their supervisor kills them all when it is stopped."""
    hogs = await DynamicSupervisor.start_link()
    for work in KINDS:
        await hogs.start_child(Task.child(hog, work).options(shutdown="brutal_kill"))
    return hogs


def heading(settings: Settings) -> str:
    """What runs on what."""
    return (
        f"{settings.sessions:,} sessions on {transom.node_info()['slots']} schedulers hold conversations with a model that "
        f"breaks now and then;\nPython {platform.python_version()} {'with' if gil_is_on() else 'without'} the GIL, "
        f"{os.cpu_count()} cores, which the model's server shares"
    )
