"""A report as one page: no script, nothing loaded, everything from outside escaped."""

from __future__ import annotations

import json
from html import escape
from typing import TYPE_CHECKING

from transom.evals._report import plain, shown

if TYPE_CHECKING:
    from transom.evals._report import CaseResult, Report, Try

STYLE = """
:root { color-scheme: light dark; --good: #197a37; --bad: #c0232c; --line: #8884; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; } table { border-collapse: collapse; margin: 1rem 0; }
td, th { text-align: left; padding: .2rem 1rem .2rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
details { border-bottom: 1px solid var(--line); padding: .3rem 0; } summary { cursor: pointer; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: #8881; padding: .6rem; border-radius: .3rem; }
.good { color: var(--good); } .bad { color: var(--bad); } .num { text-align: right; }
@media (prefers-color-scheme: dark) { :root { --good: #5cc97d; --bad: #ff7b81; } }
"""

# Nothing may be loaded or run, even if an escape were forgotten.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def page(report: Report) -> str:
    """The whole page."""
    good = sum(result.passed for result in report.results)
    rows = "".join(
        f"<tr><td>{_text(name)}<td class=num>{passed:,} of {count:,}<td class=num>{mean:.2f}"
        for name, (passed, count, mean) in report.checks().items()
    )
    failed = [result for result in report.results if not result.passed]
    passed = [result for result in report.results if result.passed]
    return (
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8>"
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">'
        '<meta name=viewport content="width=device-width, initial-scale=1">'
        f"<title>{_text(report.name)}: evaluation</title><style>{STYLE}</style></head><body>\n"
        f"<h1>{_text(report.name)}: <span class={_class(report.passed)}>{_word(report.passed)}</span></h1>\n"
        f"<p>{good:,} of {len(report.results):,} cases passed ({report.pass_rate:.1%}, needs {report.needed:.1%}) in "
        f"{report.seconds:.1f} s.</p>\n"
        f"<table><tr><th>Check<th class=num>Passed<th class=num>Mean score{rows}</table>\n"
        f"<h2>Failed cases ({len(failed):,})</h2>\n{''.join(_case(one, is_open=True) for one in failed[:50])}"
        f"{''.join(_case(one, is_open=False) for one in failed[50:])}"
        f"<h2>Passed cases ({len(passed):,})</h2>\n{''.join(_case(one, is_open=False) for one in passed)}"
        "</body></html>\n"
    )


def _case(result: CaseResult, *, is_open: bool) -> str:
    head = shown(result.input)
    tries = "" if len(result.tries) == 1 else f" ({result.pass_rate:.0%} of {len(result.tries)} tries)"
    return (
        f"<details{' open' if is_open else ''}><summary><span class={_class(result.passed)}>{_word(result.passed)}"
        f"</span>{tries} <b>{_text(result.id)}</b> {_text(head[:160])}</summary>\n<pre>{_text(head)}</pre>\n"
        f"{''.join(_try(one) for one in result.tries)}</details>\n"
    )


def _try(one: Try) -> str:
    parts = []
    if one.output is not None:
        parts.append(f"<pre>{_text(one.output.text)}</pre>")
        for call in one.output.tool_calls:
            arguments = json.dumps(plain(call.arguments), ensure_ascii=False)
            parts.append(f"<pre>{_text(call.name)} {_text(arguments)}</pre>")
    rows = "".join(
        f"<tr><td class={_class(v.passed)}>{_word(v.passed)}<td>{_text(v.check)}<td class=num>{v.score:.2f} of "
        f"{v.threshold:.2f}<td>{_text(v.reason)}"
        for v in one.verdicts
    )
    parts.append(f"<table>{rows}</table>" if rows else "")
    if one.error is not None:
        parts.append(f"<pre class=bad>{_text(one.error)}</pre>")
    return "".join(parts)


def _text(value: str) -> str:
    return escape(value.encode("utf-8", "backslashreplace").decode())


def _class(passed: bool) -> str:
    return "good" if passed else "bad"


def _word(passed: bool) -> str:
    return "passed" if passed else "failed"
