"""RESULTS.md and the table on the terminal, from the same text."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.model import Metric, Run, Scenario
from benchmarks.scenarios import ALL
from benchmarks.stats import Figure, Verdict, figure, number, ratio, verdicts
from benchmarks.store import Record

_HEAD = """# Results

Every figure comes from `python -m benchmarks` (see README.md): all sides in one run, in turn, each in a
fresh operating-system process. A value is the median of its rounds, with the lowest and highest in
brackets. A ratio is taken within each round, and then the median of those.

![chart](chart.svg)
"""


def document(records: dict[str, Record]) -> str:
    """The whole of RESULTS.md."""
    measured = [(s, records[s.name]) for s in ALL if s.name in records]
    parts = [_HEAD, _machine([record for _, record in measured]), _promises(measured)]
    parts += [_losses(measured), "## Every side\n"]
    parts += [section(scenario, record) for scenario, record in measured]
    missing = [scenario.name for scenario in ALL if scenario.name not in records]
    if missing:
        parts.append(f"Not measured yet: {', '.join(missing)}.\n")
    return "\n".join(parts)


def section(scenario: Scenario, record: Record) -> str:
    """One scenario: what it is, every side, its promises."""
    lines = [f"### {scenario.title}", "", scenario.about, ""]
    metrics = [m for m in scenario.metrics if any(m.key in run.values for run in record.runs)]
    lines.append(_row(["side", *(metric.label for metric in metrics), "transom / side", "rounds"]))
    lines.append(_row(["---", *("---:" for _ in metrics), "---:", "---:"]))
    lines += [_entry(scenario, entry.label, metrics, record.runs) for entry in scenario.entries]
    lines.append("")
    lines += [f"- {_sentence(verdict)}" for verdict in verdicts(scenario, record.runs)]
    lines += [f"- {note}" for note in _notes(record)]
    lines += [
        f"- `{record.command}`, {record.date}, load {record.load:.1f} at the start"
        + (", **quick run, for orientation only**" if record.quick else ""),
        "",
    ]
    return "\n".join(lines)


def _entry(scenario: Scenario, label: str, metrics: list[Metric], runs: list[Run]) -> str:
    shown = [_value(metric, figure(runs, label, metric.key)) for metric in metrics]
    against = _against(scenario, label, metrics, runs)
    good = sum(run.label == label and run.error is None for run in runs)
    return _row([label, *shown, against, str(good)])


def _against(scenario: Scenario, label: str, metrics: list[Metric], runs: list[Run]) -> str:
    """transom's value over this side's, where transom has one entry."""
    own = scenario.entries[0].label
    if label == own or own != "transom":
        return ""
    found = ratio(runs, own, label, _compared(metrics).key) if metrics else None
    return "" if found is None else f"{found.median:.3g} ({found.low:.3g} to {found.high:.3g})"


def _compared(metrics: Sequence[Metric]) -> Metric:
    """The plain time where there is one (a ratio of ratios says little), else the first."""
    return next((metric for metric in metrics if metric.key == "ns"), metrics[0])


def _value(metric: Metric, found: Figure | None) -> str:
    if found is None:
        return ""
    digits = metric.digits
    if found.low == found.high:
        return f"{found.median:,.{digits}f}"
    return f"{found.median:,.{digits}f} ({found.low:,.{digits}f} to {found.high:,.{digits}f})"


def _machine(records: list[Record]) -> str:
    if not records:
        return ""
    newest = max(records, key=lambda record: record.date)
    lines = [_row(["what", "version"]), _row(["---", "---"])]
    lines += [_row([key, value]) for key, value in newest.machine.items()]
    dates = sorted({record.date[:10] for record in records})
    span = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    others = {tuple(sorted(record.machine.items())) for record in records}
    note = ""
    if len(others) > 1:
        note = "\nSome figures were measured with other versions: results.json has each.\n"
    return f"## Machine\n\nMeasured {span}.\n\n" + "\n".join(lines) + "\n" + note


def _promises(measured: list[tuple[Scenario, Record]]) -> str:
    lines = ["## Promises", ""]
    if quick := [scenario.name for scenario, record in measured if record.quick]:
        lines += [f"**For orientation only**, from a quick run: {', '.join(quick)}.", ""]
    lines.append(_row(["what", "transom", "beside it", "ratio or value", "promise", ""]))
    lines.append(_row(["---", "---:", "---:", "---:", "---", "---"]))
    for scenario, record in measured:
        for verdict in verdicts(scenario, record.runs):
            lines.append(_promise(verdict, record.runs))
    return "\n".join(lines) + "\n"


def _promise(verdict: Verdict, runs: list[Run]) -> str:
    claim, scenario = verdict.claim, verdict.scenario
    metric = next(metric for metric in scenario.metrics if metric.key == claim.metric)
    text = scenario.title + (f" ({claim.text})" if claim.over and claim.text else "")
    mine = figure(runs, claim.entry, metric.key)
    return _row(
        [
            text,
            f"{_median(metric, mine)} {metric.label}",
            _beside(verdict, metric, runs),
            _measured(verdict),
            f"{claim.sense} {number(claim.limit)} {claim.unit}",
            verdict.word,
        ]
    )


def _beside(verdict: Verdict, metric: Metric, runs: list[Run]) -> str:
    """What the promise is held against; for a plain limit, Erlang and asyncio for comparison."""
    claim = verdict.claim
    labels = [claim.over] if claim.over else ["Erlang", "asyncio"]
    found = [(label, figure(runs, label, metric.key)) for label in labels]
    shown = [f"{label}: {_median(metric, value)}" for label, value in found if value]
    if claim.also and (stricter := figure(runs, claim.entry, claim.also)):
        label = next(m.label for m in verdict.scenario.metrics if m.key == claim.also)
        shown.append(f"transom, {label}: {number(stricter.median)}")
    if claim.beside and (same := ratio(runs, *claim.beside, metric.key)):
        shown.append(f"Erlang's own ratio: {number(same.median)}")
    return "; ".join(shown)


def _median(metric: Metric, found: Figure | None) -> str:
    return "no figure" if found is None else f"{found.median:,.{metric.digits}f}"


def _measured(verdict: Verdict) -> str:
    return "" if verdict.value is None else _spread(verdict.value)


def _spread(value: Figure) -> str:
    return f"{number(value.median)} ({number(value.low)} to {number(value.high)})"


def _sentence(verdict: Verdict) -> str:
    claim = verdict.claim
    over = f" over {claim.over}" if claim.over else ""
    what = f", {claim.text}" if claim.text and not claim.over else ""
    return (
        f"promise {verdict.word}: {claim.entry}{over}{what}: {_measured(verdict) or 'no figure'},"
        f" promised {claim.sense} {number(claim.limit)} {claim.unit}"
    )


def _notes(record: Record) -> list[str]:
    """Runs that failed, sides that are absent, requests never answered."""
    notes = []
    for run in record.runs:
        if run.error is not None and f"{run.label}: {run.error}" not in notes:
            notes.append(f"{run.label}: {run.error}")
        elif run.values.get("unanswered"):
            notes.append(f"{run.label}: a request was never answered; its time is a lower bound")
    return notes


def _losses(measured: list[tuple[Scenario, Record]]) -> str:
    """Promises missed, and every side that was ahead of transom, in plain words."""
    lines = []
    for scenario, record in measured:
        told = set()
        for verdict in verdicts(scenario, record.runs):
            if verdict.met is not True:
                told.add(verdict.claim.over)
                lines.append(f"- {scenario.title}: {_sentence(verdict)}")
        metric = _compared(scenario.metrics)
        for entry in scenario.entries[1:] if scenario.entries[0].label == "transom" else ():
            found = ratio(record.runs, "transom", entry.label, metric.key)
            if found and found.median > 1 and entry.label not in told:
                lines.append(
                    f"- {scenario.title}: {entry.label} is ahead,"
                    f" transom takes {found.median:.3g} times its {metric.label}"
                )
    return "## Losses\n\n" + ("\n".join(lines) or "None in this run.") + "\n"


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
