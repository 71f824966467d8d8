"""Containers that other threads change while they are being sent: any mixture of old and new is a right copy, a crash is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

SCRIPT = """
import collections, random, sys, threading, time
import transom
from transom import current_pid, receive, send, spawn

class Plain:
    def __init__(self):
        self.x, self.items = 0, []

class Slots:
    __slots__ = ("a", "b")

shared_list = [[n] for n in range(50)]
shared_dict = {n: {"k": [n]} for n in range(50)}
shared_set = set(range(50))
plain, slots, deque = Plain(), Slots(), collections.deque([1, [2]])
frozen_like = (shared_list, shared_dict)
message = [shared_list, shared_dict, shared_set, plain, slots, deque, frozen_like, {"all": shared_list}]
stop = threading.Event()

def mutate(seed):
    rng = random.Random(seed)
    while not stop.is_set():
        what = rng.randrange(12)
        n = rng.randrange(100)
        try:
            if what == 0: shared_list.append([n])
            elif what == 1 and len(shared_list) > 10: shared_list.pop()
            elif what == 2: shared_list[rng.randrange(5)] = {n: [n]}
            elif what == 3: del shared_list[60:]
            elif what == 4: shared_dict[n] = {"k": [n]}
            elif what == 5: shared_dict.pop(n, None)
            elif what == 6: shared_set.add(n)
            elif what == 7: shared_set.discard(n)
            elif what == 8: plain.__dict__[f"y{n % 7}"] = [n]; plain.items = [n]
            elif what == 9: plain.__dict__.pop(f"y{n % 7}", None)
            elif what == 10: slots.a = [n]; slots.b = (n, [n])
            elif hasattr(slots, "a"): del slots.a
        except (AttributeError, IndexError):
            pass

async def sender(me, rounds):
    for _ in range(rounds):
        try:
            send(me, message)
        except RuntimeError:  # a deque that changed while it was read says so
            send(me, None)

async def main(seed, rounds):
    me = current_pid()
    for _ in range(3):
        spawn(sender, me, rounds)
    for _ in range(3 * rounds):
        got = await receive(timeout=50)
        if got is not None:
            items, mapping, numbers, obj, slotted, queue, pair, again = got
            assert items is pair[0] is again["all"] and mapping is pair[1]
            assert all(type(item) in (list, dict) for item in items)
            assert all(value["k"] == [key] for key, value in mapping.items())
            assert numbers <= set(range(100))

seed, rounds = int(sys.argv[1]), int(sys.argv[2])
threads = [threading.Thread(target=mutate, args=(seed + n,)) for n in range(3)]
for thread in threads:
    thread.start()
try:
    transom.run(main, seed, rounds, schedulers=2)
finally:
    stop.set()
    for thread in threads:
        thread.join()
print("whole")
"""


@pytest.mark.stress
@pytest.mark.slow
def test_containers_that_change_while_they_are_sent(script: Callable[..., Any], rng: Any) -> None:
    """Three threads mutate, three processes send what they mutate."""
    done = script(SCRIPT, rng.randrange(1 << 30), 150, timeout=55)
    assert done.stdout.strip() == "whole"
