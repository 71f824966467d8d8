"""The figures side by side, as plain text."""

import os
import platform
from collections.abc import Callable, Sequence

import transom

from .figures import Figures, shown
from .hogs import gil_is_on
from .settings import Settings

Column = tuple[str, Figures | None]


def heading(settings: Settings) -> str:
    """What runs on what."""
    return (
        f"{settings.sessions:,} agent sessions on {transom.node_info()['slots']} schedulers; "
        f"Python {platform.python_version()} {'with' if gil_is_on() else 'without'} the GIL, {os.cpu_count()} cores"
    )


def side_by_side(columns: Sequence[Column]) -> str:
    """One column for each measured part; None is a part that gave no figures."""
    rows = [
        ["", *(title for title, _ in columns)],
        ["messages/s", *(value(f, lambda f: f"{f.messages_per_second:,.0f}") for _, f in columns)],
        ["reply p50", *(value(f, lambda f: shown(f.p50)) for _, f in columns)],
        ["reply p99", *(value(f, lambda f: shown(f.p99)) for _, f in columns)],
        ["longest reply", *(value(f, lambda f: shown(f.longest)) for _, f in columns)],
        ["over 1 s or never", *(value(f, lambda f: f"{f.over_a_second:,}") for _, f in columns)],
        ["restarts", *(value(f, lambda f: f"{f.restarts:,}") for _, f in columns)],
        ["caller of the dead told", *(value(f, lambda f: shown(f.told)) for _, f in columns)],
    ]
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    return "\n".join(line(row, widths) for row in rows)


def value(figures: Figures | None, show: Callable[[Figures], str]) -> str:
    return "no answer" if figures is None else show(figures)


def line(row: list[str], widths: list[int]) -> str:
    first, *rest = (text.rjust(width) for text, width in zip(row, widths, strict=True))
    return "  " + "   ".join([row[0].ljust(len(first)), *rest])
