"""What a table, a registry or a topic held is given back. Each in an interpreter of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import run_script

SCRIPT = """
import transom
from support import all_down, take
from transom import *
from transom import _core, counters, persistent_term
import gc, os, sys  # after the star, which brings transom.sys

live = counters.Atomics(1)

class Value:
    def __init__(self):
        live.add(0, 1)
        self.more = [1, 2]
    def __deepcopy__(self, memo):
        return Value()
    def __del__(self):
        live.sub(0, 1)

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

async def tables():
    for kind in ("set", "ordered_set", "bag", "duplicate_bag"):
        t = Table(kind=kind, access="public", heir=current_pid(), heir_data=Value())
        t.set_heir(None)
        for n in range(200):
            t.insert((n, Value(), "text" * 100, [n]))
            t.insert((n, Value(), 2**80 + n))
            t.lookup(n)
        t.insert([((n, "list"), Value()) for n in range(100)])
        if kind in ("set", "ordered_set"):
            t.update_counter(5, (2, 2**70))
            t.update_element(6, (1, Value()))
            t.select_replace((7, ..., ...), lambda row: (*row, 1))
        t.select(where=lambda row: row[0] == 5)
        t.delete(1); t.take(2); t.delete_object((3, 4)); t.insert_new((4, Value()))
        if kind == "bag":
            t.delete_all()
        if kind == "set":
            t.drop()

async def owner():
    await tables()

async def processes():
    await all_down([spawn_monitor(owner)[1] for _ in range(2)])

async def member(registry):
    registry.register("k", Value())
    registry.register(("k", 2), {"a": [1]})
    Groups().join(("group", 1))
    Groups().monitor("group")
    PubSub().subscribe("a:*", Value())
    PubSub().broadcast("a:b", {"x": [1]})
    registry.listen()
    counters.Counters(100, write_concurrency=True).add(3, 1)

async def directories():
    registry = Registry("r", keys="duplicate")
    await all_down([spawn_monitor(member, registry)[1] for _ in range(50)])
    assert len(registry) == 0 and Groups().which() == [] and PubSub().subscribers("a:b") == []

async def directories_in_a_process():
    await all_down([spawn_monitor(directories)[1]])

async def main(once, rounds):
    '''The least growth of several stretches: a leak shows in each, what allocators keep does not.'''
    stretches = []
    for _ in range(5):
        before = resident()
        for _ in range(rounds):
            await once()
        gc.collect()
        stretches.append((resident() - before) / rounds)
    return min(stretches)

once, rounds = {"tables": (processes, 15), "directories": (directories_in_a_process, 30)}[sys.argv[1]]
grown = transom.run(main, once, rounds, schedulers=2)
tables = _core._table_count()
gc.collect()
assert tables == 1, f"{tables} tables are left beside that of persistent_term"
assert live.get(0) == 0, f"{live.get(0)} values are left"
assert grown < 16384, f"{grown:.0f} bytes a round"
print("fine")
"""


@pytest.mark.slow
@pytest.mark.parametrize("case", ["tables", "directories"])
def test_everything_is_given_back(case: str, tmp_path: Path) -> None:
    script = tmp_path / "leak.py"
    script.write_text(SCRIPT)
    assert "fine" in run_script(script, case).stdout
