"""The whole demo: start the exchange, measure it, add the hogs, kill the stubborn, compare."""

import time

import transom
from transom import Pid, Ref

from .asking import ask
from .compare import REMARK, beside_asyncio
from .figures import Figures, shown
from .hogs import KINDS, hog
from .messages import Finish, Part, PullThePlug, TakeFigures
from .meter import meter
from .report import Column, heading, side_by_side
from .sessions import answerer, caller
from .settings import Settings, parse
from .stubborn import kill_the_stubborn
from .supervisor import Child, supervise
from .switchboard import board_of, switchboard
from .view import catch_crash_reports, viewer

DESK = 500  # sessions under one supervisor
PATIENCE = 30.0  # seconds to wait for the parts of the exchange: the machine may be busy


async def main(*argv: str) -> None:
    """For ``transom run examples.exchange:main [options]``."""
    await exchange(parse(argv))


async def exchange(settings: Settings) -> None:
    """Run all parts; takes less than a minute."""
    catch_crash_reports()
    print(heading(settings), flush=True)
    top = transom.spawn_link(supervise, tree(settings), 3, 5.0)
    view = transom.spawn_link(viewer, settings.plain)

    calm = await measure(view, "no hogs", settings)
    hogs = [transom.spawn_monitor(hog, work) for work in KINDS * settings.hogs_of_a_kind]
    loaded = await measure(view, f"with {len(hogs)} hogs", settings)
    ended = await kill_hogs(hogs)

    view.send(Part("the stubborn"))
    await transom.sleep(min(1.0, settings.seconds))  # let the exchange catch up
    outcomes = await kill_the_stubborn()
    await ask(view, Finish(), PATIENCE)
    await close(top)

    print(f"\n{len(hogs)} hogs were killed under load; the last one's monitor fired after {shown(ended)}.")
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


def tree(settings: Settings) -> tuple[Child, ...]:
    """The children of the top supervisor: the meter, the switchboards, and the desks of sessions."""
    boards = [Child(switchboard, name=board_of(number, settings.boards)) for number in range(settings.boards)]
    sessions = [Child(answerer, (number, settings)) for number in range(settings.answerers)]
    sessions += [Child(caller, (number, settings)) for number in range(settings.sessions - settings.answerers)]
    # Crashes are part of this job, so a desk puts up with many of them.
    desks = [
        Child(supervise, (tuple(sessions[first : first + DESK]), DESK, 5.0)) for first in range(0, len(sessions), DESK)
    ]
    return (Child(meter, name="meter"), *boards, *desks)


async def measure(view: Pid, title: str, settings: Settings) -> Figures:
    """The figures of one part of the run; in the middle of it, a switchboard crashes."""
    view.send(Part(title))
    await transom.sleep(min(1.0, settings.seconds))  # get into swing
    await ask("meter", TakeFigures("program"), PATIENCE)
    await transom.sleep(settings.seconds / 2)
    transom.send(board_of(0, settings.boards), PullThePlug())
    await transom.sleep(settings.seconds / 2)
    figures: Figures = await ask("meter", TakeFigures("program"), PATIENCE)
    return figures


async def kill_hogs(hogs: list[tuple[Pid, Ref]]) -> float:
    """Seconds until the monitors of all hogs have fired."""
    started = time.perf_counter()
    for pid, _ in hogs:
        transom.kill(pid)
    for _, ref in hogs:
        await transom.receive(ref)
    return time.perf_counter() - started


async def close(top: Pid) -> None:
    """Stop the tree and wait for its end."""
    done = transom.monitor(top)
    transom.unlink(top)
    transom.exit(top, "shutdown")
    await transom.receive(done, timeout=PATIENCE)
