"""Copying every kind of value, and every kind of failure, leaves no references and no memory behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

SCRIPT = """
import array, collections, gc, os, sys, threading
from dataclasses import dataclass
from typing import Any, NamedTuple
import transom
from transom import Exit, current_pid, move, receive, send, share, spawn_monitor

class Plain:
    def __init__(self, **k): self.__dict__.update(k)
class Slots:
    __slots__ = ("a", "b")
@dataclass
class Record:
    x: Any
@dataclass(frozen=True)
class Frozen:
    x: Any
class Point(NamedTuple):
    x: Any
class MyDict(dict): pass
class MyList(list): pass
class MySet(set): pass
class MyTuple(tuple): pass
class MyStr(str): pass
class Hook:
    def __init__(self, x): self.x = x
    def __deepcopy__(self, memo): return Hook(memo and None)
class BadHook:
    def __deepcopy__(self, memo): raise ValueError("no")
class Reduces:
    def __init__(self, x): self.x = x
    def __reduce__(self): return Reduces, (self.x,), {"y": self.x}, None, None
class Broken:
    def __init__(self, *result): self.result = result
    def __reduce_ex__(self, protocol): return self.result
class Custom(Exception):
    def __init__(self, *, a): super().__init__("x", a); self.a = a

def slots(x):
    made = Slots(); made.a = x; return made
def attributes(made, x):
    made.x = x; return made

LOCK = threading.Lock()
KINDS = [
    lambda x: [x, [x]], lambda x: {"k": x, "l": {"m": x}}, lambda x: {(1, "k"): x}, lambda x: (1, (x,)),
    lambda x: {Plain(x=x)}, lambda x: {Plain(x=x): 1}, lambda x: frozenset([Plain(x=x)]), lambda x: Plain(x=x),
    lambda x: Plain(**{f"a{n}": n for n in range(40)}, x=x), slots, Record, Frozen, Point,
    lambda x: MyDict(k=x), lambda x: attributes(MyList([x]), x), lambda x: attributes(MySet([1]), x),
    lambda x: attributes(MyTuple([x]), x), lambda x: attributes(MyStr("s"), x),
    lambda x: collections.deque([x]), lambda x: collections.defaultdict(list, k=x),
    lambda x: collections.OrderedDict(k=x), lambda x: Hook(x), Reduces, lambda x: ValueError(1, x),
    lambda x: Custom(a=x), lambda x: Plain(x=x).__init__, lambda x: Exit(None, x), lambda x: [share(x), x],
    lambda x: [move(bytearray(b"moved")), x], lambda x: [move([x]), x], lambda x: [[n, [x]] for n in range(20)],
    lambda x: bytearray(b"bytes"), lambda x: array.array("i", [1]),
    lambda x: [Broken(str, ("x", )), x], lambda x: [Broken(1), x], lambda x: [Broken(list, (), None, 5), x],
    lambda x: [Broken(str, (1, 2, 3, 4)), x], lambda x: [x, BadHook()], lambda x: [Broken(list, (), None, None, [x]), x],
]

async def rounds(count):
    me = current_pid()
    for make in KINDS:
        for part in ([1], LOCK):
            for _ in range(count):
                try:
                    send(me, make(part))
                except (TypeError, ValueError, AttributeError):
                    continue
                await receive()
    async def child(*args, **kwargs):
        pass
    for _ in range(count):
        _, ref = spawn_monitor(child, [1], {"k": [2]}, key=Plain(x=1))
        await receive(ref)
        try:
            spawn_monitor(child, [1], LOCK)
        except TypeError:
            pass

def blocks():
    gc.collect()
    return sys.getallocatedblocks()

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

async def main(count):
    watched = [LOCK, Plain, Record, Point, Slots, 1 << 70]
    await rounds(count)
    await transom.sleep(0.05)
    before = [sys.getrefcount(thing) for thing in watched], blocks(), resident()
    await rounds(count)
    await transom.sleep(0.05)
    after = [sys.getrefcount(thing) for thing in watched], blocks(), resident()
    print(max(abs(a - b) for a, b in zip(after[0], before[0])), after[1] - before[1], after[2] - before[2])

transom.run(main, int(sys.argv[1]), schedulers=1)
"""


def test_copies_leave_nothing(script: Callable[..., Any]) -> None:
    """A leak of one object in a hundred copies would show."""
    count = 150
    done = script(SCRIPT, count)
    references, blocks, resident = map(int, done.stdout.split())
    assert references < 20, f"{references} references left"
    assert blocks < count, f"{blocks} blocks left"
    assert resident < 3_000_000, f"{resident} bytes left"
