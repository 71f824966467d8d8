"""The live view: a table drawn by rich, or plain lines where there is no terminal."""

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import transom

from .figures import Figures, shown
from .meter import Meter

Values = dict[str, str]
Columns = dict[str, Values]  # by part of the demo, the one that runs comes last
Show = Callable[[float, Columns], None]


class LastCrash(logging.Handler):
    """Keeps the crash reports off the screen: counts them and remembers the last one."""

    count = 0
    text = "none so far"

    def emit(self, record: logging.LogRecord) -> None:
        lines = record.getMessage().strip().splitlines() or [""]
        LastCrash.count += 1
        LastCrash.text = lines[-1].strip()


def catch_crash_reports() -> None:
    """Crash reports are ordinary records of the logger ``transom``."""
    log = logging.getLogger("transom")
    log.addHandler(LastCrash())
    log.propagate = False


class View(transom.Agent):
    """Shows the exchange, once or twice a second, until it is stopped."""

    def init(self, plain: bool) -> None:
        self.screen, self.show = plain_screen() if plain else rich_screen()
        self.interval = 1.0 if plain else 0.5
        self.columns: Columns = {}  # the last values of each part of the demo
        self.part, self.restarts, self.started = "starting", 0, time.monotonic()
        self.screen.__enter__()
        transom.idle_timeout(self.interval)

    @transom.method
    async def begin(self, part: str) -> None:
        """This part of the demo begins."""
        await self._draw()
        self.part = part
        transom.idle_timeout(self.interval)

    async def handle_timeout(self) -> None:
        await self._draw()
        transom.idle_timeout(self.interval)

    async def terminate(self, reason: object) -> None:
        await self._draw()
        self.screen.__exit__(None, None, None)

    async def _draw(self) -> None:
        figures = await Meter.at("meter").take.options(timeout=30)("view")
        self.restarts += figures.restarts
        self.columns[self.part] = rows(figures, self.restarts)
        self.show(time.monotonic() - self.started, self.columns)


def rows(figures: Figures, restarts: int) -> Values:
    """What is shown, in order."""
    node = transom.node_info()
    return {
        "processes": f"{node['processes']:,}",
        "messages/s": f"{figures.messages_per_second:,.0f}",
        "reply p50": shown(figures.p50),
        "reply p99": shown(figures.p99),
        "restarts": f"{restarts:,}",
        "preemptions": f"{node['preemptions']:,}",
        "hand-overs": f"{node['handovers']:,}",
        "threads": f"{node['threads']}",
    }


def plain_screen() -> tuple[AbstractContextManager[object], Show]:
    """One line a second, good for a file."""

    def show(seconds: float, columns: Columns) -> None:
        part, values = list(columns.items())[-1]
        print(
            f"{seconds:4.0f} s  {part:<22}", "  ".join(f"{name} {value}" for name, value in values.items()), flush=True
        )

    return nullcontext(), show


def rich_screen() -> tuple[AbstractContextManager[object], Show]:
    """A table that is drawn in place, with a column for each part of the demo."""
    try:
        from rich.live import Live
        from rich.table import Table
    except ImportError:
        return plain_screen()

    live = Live(auto_refresh=False, redirect_stdout=False, redirect_stderr=False)

    def show(seconds: float, columns: Columns) -> None:
        table = Table(
            title=f"the exchange after {seconds:.0f} s", caption=f"last crash: {LastCrash.text[:60]}", width=80
        )
        table.add_column("", style="dim")
        for part in columns:
            table.add_column(part, justify="right")
        parts = list(columns.values())
        for name in parts[-1]:
            table.add_row(name, *(values[name] for values in parts[:-1]), f"[bold]{parts[-1][name]}[/bold]")
        live.update(table, refresh=True)

    return live, show
