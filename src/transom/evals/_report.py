"""What came of a suite, and how it is told."""

from __future__ import annotations

import json
import math
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO
from xml.etree import ElementTree

from transom.evals._values import Output, Verdict

OWNER_ONLY = 0o600
LINE = 500  # characters of a problem on a terminal
DEEPEST = 50  # levels of a value in a report
FORMS = (".json", ".xml", ".html", ".txt")


@dataclass(frozen=True)
class Try:
    """One try of a case.

    Attributes:
        output: What the subject put out, or None.
        verdicts: One for each check that came to one.
        error: What went wrong beside the checks: an exception, a crash, a timeout; or None.
        seconds: How long it took.
    """

    output: Output | None
    verdicts: tuple[Verdict, ...]
    error: str | None
    seconds: float

    @property
    def passed(self) -> bool:
        """No error, and every verdict passed."""
        return self.error is None and all(verdict.passed for verdict in self.verdicts)


@dataclass(frozen=True)
class CaseResult:
    """What came of a case.

    Attributes:
        id: Of the case.
        input: Of the case.
        tries: One for each repeat.
        needed: The share of tries that must pass.
    """

    id: str
    input: Any
    tries: tuple[Try, ...]
    needed: float

    @property
    def pass_rate(self) -> float:
        """The share of its tries that passed."""
        return sum(one.passed for one in self.tries) / len(self.tries)

    @property
    def passed(self) -> bool:
        """Whether enough tries passed."""
        return self.pass_rate >= self.needed

    @property
    def seconds(self) -> float:
        """All its tries together."""
        return sum(one.seconds for one in self.tries)

    @property
    def problems(self) -> list[str]:
        """What failed, each thing once."""
        found = [text for one in self.tries for text in _problems(one)]
        return list(dict.fromkeys(found))


def _problems(one: Try) -> list[str]:
    failed = [str(verdict) for verdict in one.verdicts if not verdict.passed]
    return failed if one.error is None else [*failed, one.error]


@dataclass(frozen=True)
class Report:
    """What came of a suite. It holds inputs and outputs, and no key: those never leave the environment.

    Attributes:
        name: Of the suite.
        results: One for each case, in order.
        needed: The share of cases that must pass.
        seconds: How long it took in all.
    """

    name: str
    results: tuple[CaseResult, ...]
    needed: float
    seconds: float

    @property
    def pass_rate(self) -> float:
        """The share of cases that passed."""
        return sum(result.passed for result in self.results) / len(self.results)

    @property
    def passed(self) -> bool:
        """Whether enough cases passed."""
        return self.pass_rate >= self.needed

    def checks(self) -> dict[str, tuple[int, int, float]]:
        """By name of the check: how often it passed, how often it came to a verdict, its mean score."""
        scores: dict[str, list[tuple[bool, float]]] = {}
        for result in self.results:
            for one in result.tries:
                for verdict in one.verdicts:
                    scores.setdefault(verdict.check, []).append((verdict.passed, verdict.score))
        return {
            name: (sum(passed for passed, _ in all_), len(all_), sum(score for _, score in all_) / len(all_))
            for name, all_ in scores.items()
        }

    # -- how it is told ------------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON has it."""
        return {
            "suite": self.name,
            "passed": self.passed,
            "pass_rate": self.pass_rate,
            "needed": self.needed,
            "seconds": round(self.seconds, 3),
            "checks": {
                name: {"passed": passed, "of": count, "mean_score": round(mean, 4)}
                for name, (passed, count, mean) in self.checks().items()
            },
            "cases": [_case_dict(result) for result in self.results],
        }

    def to_json(self) -> str:
        """The report as JSON text."""
        return json.dumps(plain(self.to_dict()), indent=2, ensure_ascii=False) + "\n"

    def to_junit(self) -> str:
        """The report as JUnit's XML, for CI servers: a test case for each case."""
        bad = [result for result in self.results if not result.passed]
        errors = [result for result in bad if any(one.error is not None for one in result.tries)]
        counts = {"tests": len(self.results), "failures": len(bad) - len(errors), "errors": len(errors)}
        top = ElementTree.Element("testsuites")
        suite = ElementTree.SubElement(
            top,
            "testsuite",
            {"name": _xml(self.name), "time": f"{self.seconds:.3f}", **{k: str(v) for k, v in counts.items()}},
        )
        for result in self.results:
            attributes = {"classname": _xml(self.name), "name": _xml(result.id), "time": f"{result.seconds:.3f}"}
            case = ElementTree.SubElement(suite, "testcase", attributes)
            if not result.passed:
                kind = "error" if result in errors else "failure"
                problems = result.problems
                node = ElementTree.SubElement(case, kind, {"message": _xml(problems[0] if problems else "failed")})
                node.text = _xml("\n".join(problems))
        return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(top, encoding="unicode") + "\n"

    def to_html(self) -> str:
        """The report as one page that holds everything it needs and runs nothing."""
        from transom.evals._html import page

        return page(self)

    def to_text(self) -> str:
        """The report for a terminal, without colours."""
        return "\n".join(f"{sign} {_visible(text)}" for sign, text in self._lines())

    def _lines(self) -> list[tuple[str, str]]:
        lines = []
        for result in self.results:
            if result.passed:
                continue
            tries = "" if len(result.tries) == 1 else f" ({result.pass_rate:.0%} of {len(result.tries)} tries passed)"
            lines.append(("FAILED", f"{result.id}{tries}: {_short(result.input)}"))
            lines += [("      ", _cut(text)) for problem in result.problems[:5] for text in problem.splitlines()[:5]]
        width = max((len(name) for name in self.checks()), default=0)
        for name, (passed, count, mean) in self.checks().items():
            lines.append(("check ", f"{name.ljust(width)}  {passed:>6,} of {count:,} passed, mean score {mean:.2f}"))
        good = sum(result.passed for result in self.results)
        lines.append(
            (
                "passed" if self.passed else "FAILED",
                f"{self.name}: {good:,} of {len(self.results):,} cases ({self.pass_rate:.1%}, needs {self.needed:.1%}) "
                f"in {self.seconds:.1f} s",
            )
        )
        return lines

    def show(self, file: TextIO | None = None) -> None:
        """Print it, in colours where ``rich`` is installed and the file is a terminal."""
        out = file if file is not None else sys.stdout
        try:
            from rich.console import Console
            from rich.text import Text
        except ImportError:
            print(self.to_text(), file=out)
            return
        console = Console(file=out, highlight=False, soft_wrap=True)
        for sign, text in self._lines():
            style = {"FAILED": "bold red", "passed": "bold green"}.get(sign, "dim")
            console.print(Text(sign, style=style), Text(_visible(text)))

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write it to a file, for its owner alone (mode 0600): ``.json``, ``.xml`` (JUnit), ``.html`` or ``.txt``.

        A file that is there already is replaced, and made its owner's alone before anything is written.

        Raises:
            ValueError: Another kind of file, or no such folder.
            OSError: It cannot be written, such as a file of somebody else.
        """
        where = report_path(path)
        forms = {".json": self.to_json, ".xml": self.to_junit, ".html": self.to_html, ".txt": self.to_text}
        text = forms[where.suffix]()
        flags = os.O_WRONLY | os.O_CREAT
        with open(os.open(where, flags, OWNER_ONLY), "w", encoding="utf-8", errors="backslashreplace") as file:
            if hasattr(os, "fchmod"):
                os.fchmod(file.fileno(), OWNER_ONLY)
            file.truncate(0)
            file.write(text)


def report_path(path: str | os.PathLike[str]) -> Path:
    """The path, which a report could be written to.

    Raises:
        ValueError: Another kind of file, or no such folder.
    """
    where = Path(path)
    if where.suffix not in FORMS:
        raise ValueError(f"{where}: a report is written as {', '.join(FORMS)}")
    if not where.parent.is_dir():
        raise ValueError(f"{where}: there is no folder {where.parent}")
    if where.is_dir():
        raise ValueError(f"{where}: a folder is there already")
    return where


def _case_dict(result: CaseResult) -> dict[str, Any]:
    return {
        "id": result.id,
        "input": result.input,
        "passed": result.passed,
        "pass_rate": result.pass_rate,
        "tries": [
            {
                "passed": one.passed,
                "seconds": round(one.seconds, 3),
                "output": None if one.output is None else one.output.text,
                "tool_calls": []
                if one.output is None
                else [{"name": call.name, "arguments": dict(call.arguments)} for call in one.output.tool_calls],
                "error": one.error,
                "verdicts": [vars(verdict) for verdict in one.verdicts],
            }
            for one in result.tries
        ],
    }


UNFIT = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _xml(text: str) -> str:
    """Without what XML cannot hold at all."""
    return UNFIT.sub("\ufffd", text)


def _visible(text: str) -> str:
    """Without what a terminal would obey: outputs are not ours."""
    return "".join(c if c.isprintable() or c in "\t\n" else "\ufffd" for c in text)


def _cut(text: str) -> str:
    return text if len(text) <= LINE else f"{text[:LINE]}... ({len(text):,} characters)"


def shown(value: Any) -> str:
    """A text as it is, of anything else its repr."""
    try:
        return value if isinstance(value, str) else repr(value)
    except Exception as error:  # an object of the user's: a report must not end by it
        return f"<{type(value).__name__}, whose repr raises {type(error).__name__}>"


def plain(value: Any, depth: int = 0) -> Any:
    """The value as JSON can have it: what it has no word for becomes its repr, keys included."""
    if value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if depth < DEEPEST and isinstance(value, Mapping):
        return {shown(key): plain(one, depth + 1) for key, one in value.items()}
    if depth < DEEPEST and isinstance(value, list | tuple):
        return [plain(one, depth + 1) for one in value]
    return shown(value)


def _short(value: Any) -> str:
    text = shown(value)
    line = " ".join(text.split())
    return line if len(line) <= 100 else f"{line[:100]}..."
