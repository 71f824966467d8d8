"""The figures side by side, as plain text."""

from collections.abc import Callable, Sequence

from ..exchange.figures import shown
from ..exchange.report import line
from .meter import Figures

Column = tuple[str, Figures | None]

ROWS: tuple[tuple[str, Callable[[Figures], str]], ...] = (
    ("tokens/s", lambda figures: f"{figures.tokens_per_second:,.0f}"),
    ("messages/s", lambda figures: f"{figures.messages_per_second:,.0f}"),
    ("token delay p50", lambda figures: shown(figures.p50)),
    ("token delay p99", lambda figures: shown(figures.p99)),
    ("restarts, retries", lambda figures: f"{figures.restarts:,}"),
)


def side_by_side(columns: Sequence[Column]) -> str:
    """One column for each measured part; None is a part that gave no figures."""
    rows = [["", *(title for title, _ in columns)]]
    rows += [[name, *("no answer" if f is None else show(f) for _, f in columns)] for name, show in ROWS]
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    return "\n".join(line(row, widths) for row in rows)
