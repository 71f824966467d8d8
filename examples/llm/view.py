"""The live view: a table drawn by rich, or plain lines where there is no terminal."""

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import transom

from .desk import Desk

Values = dict[str, str]
Show = Callable[[float, Values], None]


class LastCrash(logging.Handler):
    """Keeps the crash reports off the screen: counts them and remembers the last one's error."""

    count = 0
    text = "none so far"

    def emit(self, record: logging.LogRecord) -> None:
        lines = record.getMessage().strip().splitlines() or [""]
        if lines[0].startswith("process "):  # a supervisor reports what it does about it, too
            LastCrash.count += 1
            LastCrash.text = lines[-1].strip()


def catch_crash_reports() -> None:
    """Crash reports are ordinary records of the logger ``transom``."""
    log = logging.getLogger("transom")
    log.addHandler(LastCrash())
    log.propagate = False


def last_line(answered: int, given_up: int, still_open: int) -> str:
    """What came of it."""
    return (
        f"answered {answered}, given up {given_up}, still open {still_open}; "
        f"{LastCrash.count} crashes, {Desk.tokens.get(0)} tokens"
    )


async def viewer(plain: bool) -> None:
    """Show how it goes, once or twice a second."""
    screen, show = plain_screen() if plain else rich_screen()
    started, before, then = time.monotonic(), 0, time.monotonic()
    with screen:
        while True:
            await transom.sleep(1.0 if plain else 0.5)
            counts = await Desk.at("desk").counts.options(timeout=30)()
            tokens, now = Desk.tokens.get(0), time.monotonic()
            show(now - started, rows(counts, (tokens - before) / (now - then)))
            before, then = tokens, now


def rows(counts: tuple[int, int, int], rate: float) -> Values:
    """What is shown, in order."""
    node, other = transom.node_info(), transom.isolated_info()
    return {
        "open": f"{counts[2]:,}",
        "answered": f"{counts[0]:,}",
        "given up": f"{counts[1]:,}",
        "crashes": f"{LastCrash.count:,}",
        "tokens/s": f"{rate:,.0f}",
        "processes": f"{node['processes']:,}",
        "tools in OS processes": f"{other.get('calls', 0):,}",
    }


def plain_screen() -> tuple[AbstractContextManager[object], Show]:
    """One line a second, good for a file."""

    def show(seconds: float, values: Values) -> None:
        print(f"{seconds:4.0f} s ", "  ".join(f"{name} {value}" for name, value in values.items()), flush=True)

    return nullcontext(), show


def rich_screen() -> tuple[AbstractContextManager[object], Show]:
    """A table that is drawn in place."""
    try:
        from rich.live import Live
        from rich.table import Table
    except ImportError:
        return plain_screen()

    live = Live(auto_refresh=False, redirect_stdout=False, redirect_stderr=False)

    def show(seconds: float, values: Values) -> None:
        table = Table(
            title=f"conversations after {seconds:.0f} s", caption=f"last crash: {LastCrash.text[:60]}", width=70
        )
        table.add_column("", style="dim")
        table.add_column("", justify="right")
        for name, value in values.items():
            table.add_row(name, value)
        live.update(table, refresh=True)

    return live, show
