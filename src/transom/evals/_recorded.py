"""A judge whose answers are kept in a file, so that runs without the model give the same verdicts.

The file has one JSON object a line: the SHA-256 of the question and of who was asked, and the answer. The question
itself, which may be confidential, is not in it. Files are made for their owner alone (mode 0600).
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from pathlib import Path
from typing import Any, Literal

from transom.evals._judge import Judge, Judgement, NoJudge, Question, demand_judge, environment_judge

type Mode = Literal["replay", "record", "auto"]

MODES = ("replay", "record", "auto")
OWNER_ONLY = 0o600


class NotRecorded(LookupError):
    """The file has no answer to a question, and the judge must not be asked."""


class RecordedJudge:
    """Answers from a file; those that are not in it from another judge, when it may be asked.

    Args:
        path: The file. It need not exist unless the mode is ``"replay"``.
        judge: Who is asked in the other modes; None: the one of the environment, when it is needed.
        mode: ``"replay"`` asks nobody; ``"auto"`` asks for what is not in the file, and adds it; ``"record"`` asks
            again for everything and replaces what was there.
        identity: Who is asked, in words: part of each key, so that another model gets none of this one's answers.
            None: the ``identity`` of the judge, or of the environment's (of a ModelJudge: model, options and
            instructions). Where neither is there, as in a replay without a judge, any answer of the file to the
            question will do, the latest first.

    Raises:
        FileNotFoundError: There is no file to replay.
        ValueError: A line of the file is no answer; or an unknown mode.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        judge: Judge | None = None,
        *,
        mode: Mode = "auto",
        identity: str | None = None,
    ) -> None:
        if mode not in MODES:
            raise ValueError(f"RecordedJudge: mode must be one of {', '.join(MODES)}, not {mode!r}")
        self.path = Path(path)
        self.mode = mode
        self.identity = identity
        if judge is not None:
            demand_judge("RecordedJudge", judge)
        self._judge = judge
        self._lock = threading.Lock()
        self._answers: dict[str, Judgement] = {}
        self._renewed: set[str] = set()
        self._asked: dict[str, None] = {}  # marks of who answered in the file; the latest last
        if mode == "replay" or self.path.exists():
            self._answers, self._asked = _read(self.path)

    def __repr__(self) -> str:
        return f"RecordedJudge({str(self.path)!r}, mode={self.mode!r})"

    def judge(self, question: Question) -> Judgement:
        """The answer of the file, or of the judge behind it.

        Raises:
            NotRecorded: The file has none and the mode is ``"replay"``.
            Exception: What the judge behind it raises.
        """
        mark = self._mark()
        with self._lock:
            marks = tuple(reversed(self._asked)) if mark is None else (mark,)
            for key in (_key(one, question) for one in marks):
                if key in self._answers and (self.mode != "record" or key in self._renewed):
                    return self._answers[key]
        if self.mode == "replay":
            raise NotRecorded(
                f"{self.path} has no answer for check {question.check!r} of the output {question.output[:80]!r}; the "
                "output, the check, the context or the judge has changed since: record it anew with mode='auto'"
            )
        answer = (self._judge if self._judge is not None else environment_judge()).judge(question)
        mark = mark or ""
        key = _key(mark, question)
        with self._lock:
            self._answers[key] = answer
            self._renewed.add(key)
            self._asked[mark] = None
            _append(self.path, {"key": key, "by": mark, "check": question.check}, answer)
        return answer

    def key(self, question: Question) -> str:
        """The content hash of a question and of who is asked: 64 hexadecimal digits."""
        return _key(self._mark() or "", question)

    def _mark(self) -> str | None:
        """Who is asked, as a hash; None: nobody knows."""
        name = self.identity
        if name is None and self._judge is not None:
            name = getattr(self._judge, "identity", "")
        if name is None:
            try:
                name = environment_judge().identity
            except (NoJudge, ImportError):
                return None
        return _hash(str(name)) if name else ""


def _key(mark: str, question: Question) -> str:
    return _hash(json.dumps([mark, question.material(), question.attempt], ensure_ascii=False))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _read(path: Path) -> tuple[dict[str, Judgement], dict[str, None]]:
    answers: dict[str, Judgement] = {}
    asked: dict[str, None] = {}
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            row: dict[str, Any] = json.loads(line)
            answers[str(row["key"])] = Judgement(row["score"], str(row["reason"]))
            mark = str(row.get("by", ""))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ValueError(f"{path}:{number}: no recorded answer: {error!r}") from None
        asked.pop(mark, None)
        asked[mark] = None
    return answers, asked


def _append(path: Path, row: dict[str, Any], answer: Judgement) -> None:
    """Add one line, in one write: another process may be at the same file. A later line replaces an earlier one."""
    row |= {"score": answer.score, "reason": answer.reason}
    line = (json.dumps(row, ensure_ascii=True) + "\n").encode()
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0), OWNER_ONLY)
    try:
        os.write(file, line)
    finally:
        os.close(file)
