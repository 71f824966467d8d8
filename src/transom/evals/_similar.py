"""Similarity to a text: by words, or by the embeddings of a model."""

from __future__ import annotations

import difflib
import math
import re
from collections import Counter

from transom.evals._endpoint import Endpoint
from transom.evals._values import Case, Check, Output

WORD = re.compile(r"\w+")
LONGEST = 5_000  # words; comparing sequences takes the square of it


def similar(text: str | None = None, *, threshold: float = 0.7) -> Check:
    """The output has nearly the words of a text, in nearly its order. No model is asked, and meaning is not seen.

    The score is the mean of two: the overlap of the words (twice the common ones by all of both) and that of
    sequences (``difflib``). Letter case and punctuation do not count.

    Args:
        text: What it should be like; None: the ``expected`` of the case.
        threshold: The least score, 0 to 1.

    Example:
        >>> from transom.evals import similar
        >>> similar("Returns are accepted within 30 days.", threshold=0.6)("We accept returns within 30 days").passed
        True
    """

    def judge(output: Output, case: Case) -> tuple[float, str]:
        wanted, got = _words(_wanted(text, case, "similar")), _words(output.text)
        if not wanted and not got:
            return 1.0, "both are empty"
        common = sum((Counter(wanted) & Counter(got)).values())
        overlap = 2 * common / (len(wanted) + len(got))
        order = difflib.SequenceMatcher(None, wanted[:LONGEST], got[:LONGEST], autojunk=False).ratio()
        return (overlap + order) / 2, f"{common} words in common; overlap {overlap:.2f}, order {order:.2f}"

    return Check("similar", judge, threshold)


def similar_meaning(text: str | None = None, *, endpoint: Endpoint, threshold: float = 0.8) -> Check:
    """The output means nearly the same as a text: the cosine of their embeddings.

    Args:
        text: What it should be like; None: the ``expected`` of the case.
        endpoint: Where embeddings are made.
        threshold: The least cosine, 0 to 1; what is alike differs from model to model.

    Returns:
        A check that raises EndpointError when the endpoint does not answer.
    """

    def judge(output: Output, case: Case) -> tuple[float, str]:
        one, other = endpoint.embed([_wanted(text, case, "similar_meaning"), output.text])
        if len(one) != len(other):
            raise ValueError(f"{endpoint.url}: embeddings of {len(one)} and {len(other)} dimensions")
        length = math.hypot(*one) * math.hypot(*other)
        cosine = math.sumprod(one, other) / length if length > 0 else 0.0
        return min(1.0, max(0.0, cosine)), f"cosine {cosine:.3f}"

    return Check("similar_meaning", judge, threshold)


def _wanted(text: str | None, case: Case, check: str) -> str:
    wanted = text if text is not None else case.expected
    if not isinstance(wanted, str):
        raise ValueError(f"{check}: no text to compare with; give one, or a case with expected=")
    return wanted


def _words(text: str) -> list[str]:
    return WORD.findall(text.casefold())
