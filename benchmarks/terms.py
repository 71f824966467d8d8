"""The messages of the copy scenarios, the same for all Python sides; copies.erl has the like."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Order:
    """Deeply immutable."""

    number: int
    customer: str
    tags: tuple[str, ...]


@dataclass
class Job:
    """Mutable, with a list and a dict in it."""

    number: int
    customer: str
    tags: list[str]
    limits: dict[str, int]


def nested() -> dict[str, Any]:
    """About 1 KB as JSON: six dicts in a list in a dict."""
    return {
        "number": 12345,
        "customer": {"name": "Ada Lovelace", "mail": "ada@example.org", "roles": ["admin", "author", "reader"]},
        "items": [
            {"article": f"article-{n}", "price": 9.75 * n, "count": n, "options": ["small", "blue"], "note": None}
            for n in range(1, 7)
        ],
        "note": "please ring twice; " * 12,
        "paid": False,
    }


TERMS: dict[str, Callable[[], Any]] = {
    "dict": nested,
    "list": lambda: list(range(1000, 1100)),
    "frozen": lambda: Order(7, "Ada Lovelace", ("new", "large")),
    "dataclass": lambda: Job(7, "Ada Lovelace", ["new", "large"], {"cpu": 2, "memory": 4}),
}
