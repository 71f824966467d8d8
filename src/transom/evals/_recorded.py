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

from transom.evals._judge import Judge, Judgement, Question

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
        identity: Who is asked, in words: part of each key. Default: the judge's ``identity``, else nothing, so that
            a file replayed without a judge names the same.

    Raises:
        FileNotFoundError: There is no file to replay.
        ValueError: A line of the file is no answer; or an unknown mode.
    """

    def __init__(
        self, path: str | os.PathLike[str], judge: Judge | None = None, *, mode: Mode = "auto", identity: str = ""
    ) -> None:
        if mode not in MODES:
            raise ValueError(f"RecordedJudge: mode must be one of {', '.join(MODES)}, not {mode!r}")
        self.path = Path(path)
        self.mode = mode
        self.identity = identity
        self._judge = judge
        self._lock = threading.Lock()
        self._answers: dict[str, Judgement] = {}
        self._renewed: set[str] = set()
        if mode == "replay" or self.path.exists():
            self._answers = _read(self.path)

    def __repr__(self) -> str:
        return f"RecordedJudge({str(self.path)!r}, mode={self.mode!r})"

    def judge(self, question: Question) -> Judgement:
        """The answer of the file, or of the judge behind it.

        Raises:
            NotRecorded: The file has none and the mode is ``"replay"``.
            Exception: What the judge behind it raises.
        """
        key = self.key(question)
        with self._lock:
            known = self._answers.get(key)
            fresh = self.mode != "record" or key in self._renewed
        if known is not None and fresh:
            return known
        if self.mode == "replay":
            raise NotRecorded(
                f"{self.path} has no answer for check {question.check!r} of the output {question.output[:80]!r}; the "
                "output, the check or the context has changed since: record it anew with mode='auto'"
            )
        answer = self._ask(question)
        with self._lock:
            self._answers[key] = answer
            self._renewed.add(key)
            _append(self.path, key, question.check, answer)
        return answer

    def key(self, question: Question) -> str:
        """The content hash of a question: 64 hexadecimal digits."""
        parts = [self.identity, question.material(), question.attempt]
        return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode("utf-8", "surrogatepass")).hexdigest()

    def _ask(self, question: Question) -> Judgement:
        from transom.evals._judge import ModelJudge

        with self._lock:
            if self._judge is None:
                self._judge = ModelJudge()
            judge = self._judge
        return judge.judge(question)


def _read(path: Path) -> dict[str, Judgement]:
    answers: dict[str, Judgement] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            row: dict[str, Any] = json.loads(line)
            answers[str(row["key"])] = Judgement(row["score"], str(row["reason"]))
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{path}:{number}: no recorded answer: {error!r}") from None
    return answers


def _append(path: Path, key: str, check: str, answer: Judgement) -> None:
    """Add one line, in one write: another process may be at the same file. A later line replaces an earlier one."""
    row = {"key": key, "check": check, "score": answer.score, "reason": answer.reason}
    line = (json.dumps(row, ensure_ascii=True) + "\n").encode()
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0), OWNER_ONLY)
    try:
        os.write(file, line)
    finally:
        os.close(file)
