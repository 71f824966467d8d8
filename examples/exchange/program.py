"""The whole demo: start the exchange, measure it, add the hogs, kill the stubborn, compare."""

import time

import transom
from transom import DynamicSupervisor, DynamicSupervisorRef, Registry, Task

from .compare import REMARK, beside_asyncio
from .figures import Figures, shown
from .hogs import KINDS, hog
from .meter import Meter
from .report import Column, heading, side_by_side
from .settings import Settings, parse
from .stubborn import kill_the_stubborn
from .tree import Exchange
from .view import View, catch_crash_reports

VICTIMS = 100  # so many answerers, or a few more, are killed in the middle of each part
PATIENCE = 30.0  # seconds to wait for the parts of the exchange: the machine may be busy


async def main(*argv: str) -> None:
    """For ``transom run examples.exchange:main [options]``."""
    await exchange(parse(argv))


async def exchange(settings: Settings) -> None:
    """Run all parts; takes less than a minute."""
    catch_crash_reports()
    print(heading(settings), flush=True)
    tree = await Exchange.start_link(settings)

    calm = await measure("no hogs", settings)
    hogs = await start_hogs(settings)
    loaded = await measure(f"with {len(KINDS) * settings.hogs_of_a_kind} hogs", settings)
    started = time.perf_counter()
    await hogs.stop()
    ended = time.perf_counter() - started

    await View.at("view").begin("the stubborn")
    outcomes = await kill_the_stubborn()
    await tree.stop()

    print(f"\nThe hogs were killed under load; the last one was gone after {shown(ended)}.")
    print("Then three that do not want to die. Who was told, and when:")
    for outcome in outcomes:
        print(outcome.line())
    columns: list[Column] = [("transom", calm), ("with hogs", loaded)]
    if settings.asyncio:
        print("\nThe same load on asyncio ...", flush=True)
        columns += beside_asyncio(settings)
    print(f"\n{side_by_side(columns)}", flush=True)
    if settings.asyncio:
        print(REMARK)


async def measure(title: str, settings: Settings) -> Figures:
    """The figures of one part of the run; in the middle of it, many answerers are killed."""
    await View.at("view").begin.options(timeout=PATIENCE)(title)
    take = Meter.at("meter").take.options(timeout=PATIENCE)
    await transom.sleep(min(1.0, settings.seconds))  # get into swing
    await take("program")
    await transom.sleep(settings.seconds / 2)
    await kill_some(settings)
    await transom.sleep(settings.seconds / 2)
    return await take("program")


async def kill_some(settings: Settings) -> None:
    """Kill answerers, and wait until their supervisors have brought them back."""
    numbers = Registry.at("numbers")
    every = max(1, settings.answerers // VICTIMS)
    victims = {number: numbers.whereis(number) for number in range(0, settings.answerers, every)}
    for pid in victims.values():
        if pid is not None:  # else it is being restarted just now
            transom.kill(pid)
    while any(numbers.whereis(number) in (None, pid) for number, pid in victims.items()):
        await transom.sleep(0.01)


async def start_hogs(settings: Settings) -> DynamicSupervisorRef:
    """Hogs come and go; their supervisor kills them all when it is stopped."""
    hogs = await DynamicSupervisor.start_link()
    for work in KINDS * settings.hogs_of_a_kind:
        await hogs.start_child(Task.child(hog, work).options(shutdown="brutal_kill"))
    return hogs
