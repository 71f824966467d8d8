"""Copies without a message: what a Python program would do by hand to isolate a value."""

from __future__ import annotations

import copy
import importlib
import pickle
from collections.abc import Callable
from time import perf_counter_ns
from typing import Any

from benchmarks import side, terms
from benchmarks.side import Params, Result


def round_trip(how: str) -> Callable[[Any], Any]:
    if how == "deepcopy":
        return copy.deepcopy
    if how == "pickle":
        return lambda value: pickle.loads(pickle.dumps(value, pickle.HIGHEST_PROTOCOL))
    if how == "orjson":
        orjson = importlib.import_module("orjson")
        return lambda value: orjson.loads(orjson.dumps(value))
    msgpack = importlib.import_module("msgspec").msgpack
    encoder, decoder = msgpack.Encoder(), msgpack.Decoder()
    return lambda value: decoder.decode(encoder.encode(value))


def copies(params: Params) -> Result:
    value, once, count = terms.TERMS[params.text("kind")](), round_trip(params.text("how")), params.int("n")
    for _ in range(count // 10):
        once(value)
    start = perf_counter_ns()
    for _ in range(count):
        once(value)
    return {"ns": (perf_counter_ns() - start) / count}


side.main({"copy": copies})
