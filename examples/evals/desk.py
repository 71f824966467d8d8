"""The agent: it answers from the shop's own words, and opens a ticket where they say nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable

from transom import Agent
from transom.evals import Output, ToolCall

FACTS = (
    "Returns are accepted within 30 days with the receipt.",
    "Delivery takes three to five working days and is free from 40 euros.",
    "The shop is open from Monday to Saturday, nine to six.",
)
WORD = re.compile(r"\w+")
STOP = frozenset("a an and are can do does from i in is it my of on the this to what when with you your".split())


def words(text: str) -> set[str]:
    """The words that say something, with an s at their end taken off."""
    return {word.removesuffix("s") for word in WORD.findall(text.casefold())} - STOP


class Desk(Agent):
    """Answers with the fact that has most words in common with the question."""

    def init(self, facts: Iterable[str] = FACTS) -> None:
        self.facts = tuple(facts)

    async def answer(self, question: str) -> Output:
        best = max(self.facts, key=lambda fact: len(words(fact) & words(question)))
        if words(best) & words(question):
            return Output(best)
        return Output(
            "I do not know; a colleague will write to you.", (ToolCall("open_ticket", {"question": question}),)
        )
