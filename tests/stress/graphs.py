"""Processes that end holding random graphs of all kinds of objects, while plain threads walk through some and change them.

    python graphs.py SEED SECONDS SCHEDULERS

What it asserts: no crash; what a process published before it ended is whole: each object still has what it was made
with. Finalisers resurrect, raise, clear and start processes; weak references have callbacks; generators are suspended
in a try; some processes move between schedulers, crash or are killed; the program collects now and then, too.
"""

from __future__ import annotations

import faulthandler
import gc
import logging
import random
import sys
import threading
import time
import weakref
from collections import OrderedDict, defaultdict, deque
from contextvars import ContextVar
from types import FunctionType, MethodType, TracebackType
from typing import Any

import transom
from transom import Stop, kill, receive, send, sleep, spawn, spawn_monitor

logging.getLogger("transom").setLevel(logging.CRITICAL)
published: list[Any] = []

variable: ContextVar[Any] = ContextVar("variable")
wrong: list[str] = []
ROOM = 200


class Plain:
    """Made whole; whoever can reach one sees it whole."""

    def __init__(self) -> None:
        self.whole = "whole"

    def __reduce_ex__(self, protocol: object) -> Any:
        raise TypeError("not copied: half of a copy is not whole")

    def method(self) -> None: ...


class Finalised(Plain):
    def __del__(self) -> None:
        what = random.randrange(12)
        if what == 0:
            publish(self)
        elif what == 1:
            raise RuntimeError("on purpose")
        elif what == 2:
            self.again = [self]
        elif what == 3:
            spawn(nothing)
        elif what == 4:
            for value in list(vars(self).values()):
                if isinstance(value, list):
                    value.clear()


class Slotted:
    __slots__ = ("a", "b")


class Weakly:
    __slots__ = ("__weakref__", "a", "b")


class OwnList(list):  # type: ignore[type-arg]
    pass


class OwnDict(dict):  # type: ignore[type-arg]
    pass


class OwnTuple(tuple):  # type: ignore[type-arg]
    pass


class Failure(Exception):
    def __reduce__(self) -> Any:
        return Failure, ()  # a crash is told without the graph


def publish(thing: Any) -> None:
    published.append(thing)
    if len(published) > ROOM:
        del published[: ROOM // 2]


async def nothing() -> None: ...


async def awaited(thing: Any) -> Any:
    await sleep(0)
    return thing


def yields(thing: Any) -> Any:
    try:
        while True:
            yield thing
    finally:
        if random.random() < 0.1:
            publish(thing)


def closes_over(thing: Any) -> Any:
    def inner() -> Any:
        return thing, inner

    return inner


def weak(thing: Any) -> Any:
    return weakref.ref(thing, lambda _: None) if isinstance(thing, Plain | Weakly | OwnList) else [thing]


def failed(thing: Any) -> Any:
    try:
        raise Failure(thing)
    except Failure as failure:
        return failure


def started(thing: Any) -> Any:
    generator = yields(thing)
    next(generator)
    return generator


def with_attribute(one: Any, thing: Any) -> Any:
    one.a = thing
    return one


def asked(one: Any) -> Any:
    vars(one)
    return one


MAKERS: list[Any] = [
    lambda a, b: [a, b],
    lambda a, b: {1: a, 2: b},
    lambda a, b: (a, b),
    lambda a, b: {id(a): b, "x": (a, (b,))},
    lambda a, b: with_attribute(Plain(), a),
    lambda a, b: with_attribute(Finalised(), a),
    lambda a, b: asked(with_attribute(Plain(), a)),
    lambda a, b: with_attribute(Slotted(), a),
    lambda a, b: with_attribute(Weakly(), a),
    lambda a, b: with_attribute(Plain(), a).method,
    lambda a, b: closes_over(a),
    lambda a, b: started(a),
    lambda a, b: failed(a),
    lambda a, b: deque([a, b]),
    lambda a, b: defaultdict(list, {1: a}),
    lambda a, b: OrderedDict(a=a),
    lambda a, b: OwnList([a]),
    lambda a, b: OwnDict(a=a),
    lambda a, b: OwnTuple([a, b]),
    lambda a, b: weak(a),
]


def graph(rng: random.Random) -> list[Any]:
    made: list[Any] = [None]
    for _ in range(rng.randrange(1, 30)):
        made.append(rng.choice(MAKERS)(rng.choice(made), rng.choice(made)))
    for one in made * 2:
        other = rng.choice(made)
        if isinstance(one, list | deque):
            one.append(other)
        elif isinstance(one, dict):
            one[rng.random()] = other
        elif isinstance(one, Plain | Failure):
            setattr(one, rng.choice("abcd"), other)
        elif isinstance(one, Slotted | Weakly):
            one.b = other
    return made


async def body(seed: float) -> None:
    rng = random.Random(seed)
    made = graph(rng)
    what = rng.random()
    if what < 0.3:
        publish(rng.choice(made))
    if rng.random() < 0.2:
        variable.set(made)
    for _ in range(rng.randrange(3)):
        await sleep(0)
    what = rng.random()
    if what < 0.2:
        raise Failure(made)
    if what < 0.3:
        raise Stop("why")
    if what < 0.5:
        await receive()
    if what < 0.6:
        try:
            raise KeyError
        except KeyError as error:
            kept = error
            made.append(kept)


def inside(one: Any, rng: random.Random) -> list[Any]:
    if isinstance(one, list | tuple | deque):
        return list(one)
    if isinstance(one, dict):
        return list(one.values())
    if isinstance(one, FunctionType):
        return [cell.cell_contents for cell in one.__closure__ or ()]
    if isinstance(one, MethodType):
        return [one.__self__]
    if isinstance(one, Failure):
        return [*one.args, one.__traceback__]
    if isinstance(one, TracebackType):
        return [*one.tb_frame.f_locals.values(), one.tb_next]
    if isinstance(one, weakref.ref):
        return [one()]
    if isinstance(one, Plain):
        if one.whole != "whole":
            wrong.append(repr(one))
        return list(vars(one).values()) if rng.random() < 0.3 else [getattr(one, "a", None), getattr(one, "b", None)]
    return [getattr(one, "a", None), getattr(one, "b", None)]


def walk(seed: int, over: threading.Event) -> None:
    rng = random.Random(seed)
    while not over.wait(0.0001):
        try:
            one = rng.choice(published)
            for _ in range(50):
                if rng.random() < 0.02 and isinstance(one, Plain):
                    one.added = rng.choice(published)  # type: ignore[attr-defined]
                one = rng.choice(inside(one, rng))
        except AttributeError as error:
            if "whole" in str(error):
                wrong.append(str(error))
        except (IndexError, RuntimeError, ValueError):
            pass  # it ended, or changed while it was looked at


async def main(seed: int, seconds: float) -> int:
    rng = random.Random(seed)
    ended, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        some = [spawn_monitor(body, rng.random()) for _ in range(40)]
        for _ in range(3):
            await sleep(0)
        for pid, ref in some:
            if rng.random() < 0.3:
                send(pid, [{"left": "behind"}])
            kill(pid)
            await receive(ref)
        ended += len(some)
        if rng.random() < 0.05:
            gc.collect()
    return ended


if __name__ == "__main__":
    faulthandler.enable()
    sys.unraisablehook = lambda entry: None
    over = threading.Event()
    seed, seconds, schedulers = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    walkers = [threading.Thread(target=walk, args=(seed + n, over)) for n in range(2)]
    for walker in walkers:
        walker.start()
    try:
        ended = transom.run(main, seed, seconds, schedulers=schedulers)
    finally:
        over.set()
        for walker in walkers:
            walker.join()
    assert not wrong, wrong[:3]
    assert ended
    figures = transom.gc_info()
    assert figures["reclaimed"]
    print(ended, "ended;", {name: figures[name] for name in ("searches", "reclaimed", "left", "collections")})
    print("graphs are over")
