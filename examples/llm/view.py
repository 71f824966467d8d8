"""The live view: a table drawn by rich, or plain lines where there is no terminal."""

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import transom

from ..exchange.figures import shown
from . import meter
from .desk import Desk

Values = dict[str, str]
Columns = dict[str, Values]  # by part of the run, the one that goes on comes last
Show = Callable[[float, Columns], None]


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
        f"{LastCrash.count} crashes, {meter.counts.get(meter.TOKENS)} tokens"
    )


class View(transom.Agent):
    """Shows how it goes, once or twice a second, until it is stopped."""

    def init(self, plain: bool, sessions: int) -> None:
        self.sessions = sessions
        self.screen, self.show = plain_screen() if plain else rich_screen()
        self.interval = 1.0 if plain else 0.5
        self.columns: Columns = {}  # the last values of each part of the run
        self.part, self.started = "conversations", time.monotonic()
        self.meter = meter.Meter()
        self.screen.__enter__()
        transom.idle_timeout(self.interval)

    @transom.method
    async def begin(self, part: str) -> None:
        """This part of the run begins."""
        await self._draw()
        self.part = part
        transom.idle_timeout(self.interval)

    async def handle_timeout(self) -> None:
        await self._draw()
        transom.idle_timeout(self.interval)

    def terminate(self, reason: object) -> None:
        self.screen.__exit__(None, None, None)

    async def _draw(self) -> None:
        counts = await Desk.at("desk").counts.options(timeout=30)()
        restarts = max(0, meter.counts.get(meter.STARTS) - self.sessions)
        self.columns[self.part] = rows(counts, self.meter.take(), restarts)
        self.show(time.monotonic() - self.started, self.columns)


def rows(counts: tuple[int, int, int], figures: meter.Figures, restarts: int) -> Values:
    """What is shown, in order."""
    node, other = transom.node_info(), transom.isolated_info()
    return {
        "sessions": f"{counts[2]:,}",
        "answers": f"{counts[0]:,}",
        "given up": f"{counts[1]:,}",
        "restarts": f"{restarts:,}",
        "tokens/s": f"{figures.tokens_per_second:,.0f}",
        "messages/s": f"{figures.messages_per_second:,.0f}",
        "token delay p50": shown(figures.p50),
        "token delay p99": shown(figures.p99),
        "preemptions": f"{node['preemptions']:,}",
        "hand-overs": f"{node['handovers']:,}",
        "processes": f"{node['processes']:,}",
        "tools in OS processes": f"{other.get('calls', 0):,}",
    }


def plain_screen() -> tuple[AbstractContextManager[object], Show]:
    """One line a second, good for a file."""

    def show(seconds: float, columns: Columns) -> None:
        part, values = list(columns.items())[-1]
        print(f"{seconds:4.0f} s  {part:<14}", "  ".join(f"{name} {values[name]}" for name in values), flush=True)

    return nullcontext(), show


def rich_screen() -> tuple[AbstractContextManager[object], Show]:
    """A table that is drawn in place, with a column for each part of the run."""
    try:
        from rich.live import Live
        from rich.table import Table
    except ImportError:
        print("rich is not installed, so there is a line a second in place of the live view")
        return plain_screen()

    live = Live(auto_refresh=False, redirect_stdout=False, redirect_stderr=False)

    def show(seconds: float, columns: Columns) -> None:
        table = Table(
            title=f"conversations after {seconds:.0f} s", caption=f"last crash: {LastCrash.text[:60]}", width=80
        )
        table.add_column("", style="dim")
        for part in columns:
            table.add_column(part, justify="right")
        parts = list(columns.values())
        for name in parts[-1]:
            table.add_row(name, *(values[name] for values in parts[:-1]), f"[bold]{parts[-1][name]}[/bold]")
        live.update(table, refresh=True)

    return live, show
