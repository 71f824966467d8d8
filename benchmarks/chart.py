"""The chart of the README, as SVG written by hand: transom's bar as a share of its reference."""

from __future__ import annotations

from html import escape

from benchmarks.scenarios import ALL
from benchmarks.stats import Verdict, figure, number, verdicts
from benchmarks.store import Record

_WIDTH, _ROW, _LEFT, _BAR = 920, 34, 330, 330
_OURS, _FULL, _LIMIT, _TEXT, _FAINT = "#1f6f8b", "#e3e6e8", "#c0392b", "#20262a", "#6a737a"


def draw(records: dict[str, Record]) -> str:
    """One row a promise: the full bar is the reference or the limit, the mark is the promise."""
    rows = []
    for scenario in ALL:
        if scenario.name in records:
            runs = records[scenario.name].runs
            rows += [(v, records[scenario.name]) for v in verdicts(scenario, runs) if v.value]
    against = [(v, r) for v, r in rows if v.claim.over and v.claim.sense == "at most"]
    limits = [(v, r) for v, r in rows if not v.claim.over and v.claim.sense == "at most"]
    more = [(v, r) for v, r in rows if v.claim.sense == "at least"]
    parts = [_title(24, "transom beside Erlang, same machine, same run (shorter is better)")]
    y = 44
    for verdict, record in against:
        parts.append(_relative(y, verdict, record))
        y += _ROW
    parts.append(_title(y + 24, "against a limit (shorter is better)"))
    y += 44
    for verdict, _ in limits:
        parts.append(_absolute(y, verdict, full=max(verdict.claim.limit, _value(verdict))))
        y += _ROW
    parts.append(_title(y + 24, "at least (longer is better)"))
    y += 44
    for verdict, _ in more:
        full = 2.0 if verdict.claim.over else max(verdict.claim.limit, _value(verdict))
        parts.append(_absolute(y, verdict, full=full))
        y += _ROW
    return _frame(y + 34, parts, _foot(y + 20, rows))


def _relative(y: int, verdict: Verdict, record: Record) -> str:
    claim = verdict.claim
    assert claim.over is not None
    mine = figure(record.runs, claim.entry, claim.metric)
    other = figure(record.runs, claim.over, claim.metric)
    pair = f"{mine.median:,.0f} of {other.median:,.0f} ns" if mine and other else ""
    label = verdict.scenario.short + (f" ({claim.text})" if claim.text else "")
    value = _value(verdict)
    return _bars(y, label, value / max(1.0, value), claim.limit / max(1.0, value),
                 f"{value:.2f} x: {pair}")  # fmt: skip


def _absolute(y: int, verdict: Verdict, full: float) -> str:
    value, claim = _value(verdict), verdict.claim
    text = f"{number(value)} {claim.unit} ({claim.sense} {number(claim.limit)})"
    label = verdict.scenario.short
    return _bars(y, label, min(1.0, value / full), min(1.0, claim.limit / full), text)


def _value(verdict: Verdict) -> float:
    assert verdict.value is not None
    return verdict.value.median


def _bars(y: int, label: str, share: float, limit: float, text: str) -> str:
    bar, middle = max(1.0, share * _BAR), y + 16
    mark = _LEFT + limit * _BAR
    name = escape(label)
    return "".join(
        [
            f'<text x="{_LEFT - 10}" y="{middle}" text-anchor="end" fill="{_TEXT}">{name}</text>',
            f'<rect x="{_LEFT}" y="{y + 2}" width="{_BAR}" height="20" fill="{_FULL}"/>',
            f'<rect x="{_LEFT}" y="{y + 2}" width="{bar:.1f}" height="20" fill="{_OURS}"/>',
            f'<rect x="{mark - 1:.1f}" y="{y - 1}" width="2" height="26" fill="{_LIMIT}"/>',
            f'<text x="{_LEFT + _BAR + 10}" y="{middle}" fill="{_FAINT}">{escape(text)}</text>',
        ]
    )


def _title(y: int, text: str) -> str:
    return f'<text x="16" y="{y}" font-weight="bold" font-size="15" fill="{_TEXT}">{escape(text)}</text>'


def _foot(y: int, rows: list[tuple[Verdict, Record]]) -> str:
    if not rows:
        return ""
    machine, date = rows[0][1].machine, max(record.date[:10] for _, record in rows)
    text = f"red mark: the promise. {machine['processor']}, {machine['erlang']}, {date}"
    return f'<text x="16" y="{y}" font-size="12" fill="{_FAINT}">{escape(text)}</text>'


def _frame(height: int, parts: list[str], foot: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}"'
        f' viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" font-size="13">\n'
        f'<rect width="100%" height="100%" fill="#ffffff"/>\n'
        + "\n".join(part for part in [*parts, foot] if part)
        + "\n</svg>\n"
    )
