"""Its evaluation: `transom eval examples.evals.suite --report report.html`, or as tests: tests/evals/test_example.py.

Without a model at hand, `faithful` asks Words, a judge that counts; set TRANSOM_JUDGE_URL and TRANSOM_JUDGE_MODEL to ask a
model instead, and add --record judge.jsonl to keep its answers for runs without it.
"""

from __future__ import annotations

import os
from pathlib import Path

from examples.evals.desk import FACTS, Desk, words
from transom.evals import Judge, Judgement, ModelJudge, Output, Question, Suite, at_most, faithful, no_personal_data

CASES = Path(__file__).with_name("cases.jsonl")


class Words:
    """Judges by the share of the output's words that the context has: no model, and no understanding."""

    def judge(self, question: Question) -> Judgement:
        said, known = words(question.output), words(" ".join(question.context))
        share = len(said & known) / len(said) if said else 1.0
        return Judgement(share, f"{share:.0%} of its words stand in the context")


async def ask(question: str) -> Output:
    """One conversation, with an agent of its own that ends with it."""
    desk = await Desk.start_link()
    return await desk.answer(question)


def judge() -> Judge:
    """A model where the environment names one."""
    return ModelJudge() if os.environ.get("TRANSOM_JUDGE_URL") else Words()


KNOWN_WORDS = (*FACTS, "I do not know; a colleague will write to you.")

suite = Suite(
    name="help desk",
    cases=CASES,
    subject=ask,
    checks=[at_most(words=40), no_personal_data(), faithful(KNOWN_WORDS, judge=judge())],
    timeout=30,
)

if __name__ == "__main__":
    from transom.evals import run_suite

    report = run_suite(suite)
    report.show()
    raise SystemExit(not report.passed)
