"""numpy data of a process with a limit comes from an arena of its own, counted and given back."""

from __future__ import annotations

from typing import Any

import pytest
from support import all_down, in_node, info, take, until

import transom
from transom import SpawnOptions, current_pid, receive, send, spawn_opt

np = pytest.importorskip("numpy")

LIMIT = 5_000_000


def limited(fn: Any, *args: Any) -> Any:
    return spawn_opt(SpawnOptions(max_heap=LIMIT, monitor=True), fn, *args)


@in_node()
async def test_arrays_are_counted_exactly_and_given_back() -> None:
    async def body(owner: transom.Pid) -> None:
        arrays = [np.zeros(100_000), np.zeros(10), np.ones(1_000)]
        send(owner, "made")
        await receive()
        del arrays[0]
        send(owner, "dropped")
        await receive()

    pid, ref = limited(body, current_pid())
    await take("made".__eq__)
    assert info(pid, "buffer_memory") == 8 * (100_000 + 10 + 1_000)
    assert info(pid, "total_heap_size") >= 8 * (100_000 + 10 + 1_000)
    send(pid, "go")
    await take("dropped".__eq__)
    # At once, unless the process has moved: then the thread that made the array gives it back.
    await until(lambda: info(pid, "buffer_memory") == 8 * (10 + 1_000))
    send(pid, "go")
    await all_down([ref])
    await until(lambda: transom.node_info()["buffers"] == 0)
    assert transom.node_info()["buffer_memory"] == 0


@in_node()
async def test_one_huge_array_is_refused_in_that_process_alone() -> None:
    async def body(owner: transom.Pid) -> None:
        with pytest.raises(MemoryError):
            np.zeros(10**9)
        send(owner, "refused")

    _, ref = limited(body, current_pid())
    await take("refused".__eq__)
    await all_down([ref])
    assert np.zeros(LIMIT).nbytes == 8 * LIMIT


@in_node()
async def test_many_small_arrays_end_it() -> None:
    async def body() -> None:
        rows = []
        while True:
            rows.append(np.zeros(1_000))

    _, ref = limited(body)
    assert (await take(ref)).reason == "killed"
    await until(lambda: transom.node_info()["buffer_memory"] == 0)


@in_node()
async def test_an_array_outlives_its_process() -> None:
    """What an exported buffer holds stays valid, and is given back with it."""
    exported: list[Any] = []

    async def body() -> None:
        exported.append(memoryview(np.arange(50_000)))

    _, ref = limited(body)
    await all_down([ref])
    view = exported.pop()
    assert transom.node_info()["buffer_memory"] >= view.nbytes
    assert np.asarray(view)[-1] == 49_999
    del view
    await until(lambda: transom.node_info()["buffer_memory"] == 0)


@in_node()
async def test_a_child_does_not_live_on_its_parents_memory() -> None:
    async def child(owner: transom.Pid) -> None:
        keep = np.zeros(10_000)
        send(owner, "made")
        await receive()
        assert keep.nbytes

    async def body(owner: transom.Pid) -> None:
        pid = transom.spawn(child, owner)
        await receive()
        send(pid, "end")

    pid, ref = limited(body, current_pid())
    await take("made".__eq__)
    assert info(pid, "buffer_memory") == 0
    send(pid, "end")
    await all_down([ref])
