"""What hibernating means here: an idle agent keeps no frame, but its containers may have seen better days."""

from __future__ import annotations

import gc
import sys
from typing import Any

OURS = 3  # references that there are to a value while compact looks at it: the attribute, the list, the variable


def compact(agent: Any) -> None:
    """Give back what dicts and sets in the attributes of an agent have grown to and no longer need.

    A dict or set never gets smaller when items are taken out; a copy has the size it needs. What anybody else refers
    to, too, is left alone: it might be in use at this moment.
    """
    values = gc.get_referents(agent)  # unlike vars(agent) it makes no dict where there is none
    held = agent.__dict__ if any(type(value) is dict and value is agent.__dict__ for value in values) else None
    if held is not None:
        values = list(held.values())
    for value in values:
        if type(value) in (dict, set) and value is not held and sys.getrefcount(value) <= OURS + 1:
            _renew(value)
    del values


def _renew(value: Any) -> None:
    fresh = value.copy()
    if sys.getsizeof(fresh) < sys.getsizeof(value):
        value.clear()
        value.update(fresh)
