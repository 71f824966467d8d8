"""Running a coroutine on the stock loop or on uvloop."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Coroutine
from typing import Any

from benchmarks.side import Params


def run[T](body: Coroutine[Any, Any, T], params: Params) -> T:
    if params.text("loop") == "uvloop":
        factory = importlib.import_module("uvloop").new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(body)
    return asyncio.run(body)
