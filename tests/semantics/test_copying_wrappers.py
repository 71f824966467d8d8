"""share() and move(): parts of a message that are not copied."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from support import in_node, nothing, take

from transom import Exit, current_pid, exit, move, send, send_after, share, spawn_monitor, trap_exit


async def through(message: Any) -> Any:
    send(current_pid(), message)
    return await take()


@dataclass
class Job:
    lock: Any
    items: list[Any]


@in_node()
async def test_share_goes_by_reference() -> None:
    """share(x): the sender vouches; the receiver gets x itself, the wrapper does not survive."""
    lock, items = threading.Lock(), [1]
    assert await through(share(lock)) is lock
    assert await through(share(items)) is items
    received = await through([share(items), {"k": (share(lock), items)}, Job(share(lock), [share(items)])])
    assert received[0] is items and received[1]["k"][0] is lock
    assert received[1]["k"][1] == items and received[1]["k"][1] is not items, "shared where it says so"
    assert received[2].lock is lock and received[2].items[0] is items
    assert await through({share(lock)}) == {lock}
    assert await through(share(share(lock))) is lock


@in_node()
async def test_share_everywhere() -> None:
    """Arguments of spawn, timers and exit reasons, too."""
    trap_exit(True)
    me, lock = current_pid(), threading.Lock()

    async def child(a: Any, *, b: Any) -> None:
        send(me, (a is lock, b[0] is lock))

    _, ref = spawn_monitor(child, share(lock), b=[share(lock)])
    assert await take(tuple) == (True, True)
    assert (await take(ref)).reason == "normal"
    send_after(0, me, share(lock))
    assert await take() is lock
    exit(me, ("why", share(lock)))
    assert (await take(Exit)).reason[1] is lock


MOVABLE: list[tuple[Callable[[], Any], Any]] = [
    (lambda: bytearray(b"x" * 1000), bytearray()),
    (lambda: bytearray(b"short"), bytearray()),
    (lambda: bytearray(), bytearray()),
    (lambda: [1, [2], "three"], []),
    (lambda: {"a": [1], 2: "b"}, {}),
    (lambda: {1, "two"}, set()),
]


@pytest.mark.parametrize(("make", "empty"), MOVABLE, ids=lambda value: "" if callable(value) else type(value).__name__)
@in_node()
async def test_move_hands_over(make: Callable[[], Any], empty: Any) -> None:
    """move(x): ownership passes without a copy; the sender's object is left empty and usable."""
    thing, same = make(), make()
    received = await through({"k": (1, [move(thing)])})
    received = received["k"][1][0]
    assert received == same and type(received) is type(same) and received is not thing
    assert thing == empty
    if isinstance(thing, bytearray):
        thing += b"anew"
        received += b"more"
        assert thing == b"anew" and received == same + b"more"
    inner = [1]
    if isinstance(thing, list):
        thing.append(inner)
        assert (await through(move(thing)))[0] is inner, "items go as they are"


@in_node()
async def test_a_mark_is_good_for_one_message() -> None:
    """A moved thing cannot be moved again by the same mark; twice in one message it is one object."""
    thing = bytearray(b"frame")
    mark = move(thing)
    first, second = await through((mark, mark))
    assert first is second and first == b"frame"
    assert "moved" in repr(mark)
    with pytest.raises(ValueError, match="moved already"):
        send(current_pid(), mark)
    thing = bytearray(b"again")
    one, two = await through([move(thing), thing])
    assert one is two and one == b"again" and thing == b""
    one, two = await through([thing := bytearray(b"later"), move(thing)])
    assert one is two and one == b"later"
    await nothing()


@in_node()
async def test_what_cannot_be_moved() -> None:
    """Only what can be emptied is moved; anything in use is a clear error."""

    class MyList(list[Any]):
        pass

    for thing in ((1,), "text", MyList(), object(), 7, b"bytes", threading.Lock()):
        with pytest.raises(TypeError, match=r"move\(\) takes .* not "):
            move(thing)
    used = bytearray(b"used")
    with memoryview(used), pytest.raises(BufferError, match="in use"):
        move(used)
    mark = move(used)
    with memoryview(used):
        with pytest.raises(BufferError, match="in use"):
            send(current_pid(), [1, mark])
        assert used == b"used"
    assert await through(mark) == b"used" and used == b""
    await nothing()


@in_node()
async def test_move_of_numpy_arrays() -> None:
    """The receiver's new array takes over the memory; the sender's has no elements and cannot be written."""
    numpy = pytest.importorskip("numpy")
    made = numpy.arange(12.0).reshape(3, 4).copy()
    address, view, exported = made.__array_interface__["data"][0], made[1], memoryview(made)
    received = await through({"frame": move(made)})
    received = received["frame"]
    assert received.__array_interface__["data"][0] == address, "the memory itself"
    assert received.shape == (3, 4) and received.flags.owndata and received.flags.writeable
    assert received[2, 3] == 11.0
    assert made.size == 0 and made.dtype == received.dtype
    with pytest.raises(IndexError):
        made[0]
    with pytest.raises(ValueError, match="read-only"):
        made += 1
    # Views made before keep the memory alive, whoever goes first.
    del received
    assert view[3] == 7.0 and exported[0, 1] == 1.0
    del made, exported
    assert view[3] == 7.0
    for bad in (view, numpy.arange(6).reshape(2, 3), numpy.ma.array([1])):
        with pytest.raises(TypeError, match=r"move\(\)"):
            move(bad)
    for kind in ("i4", "complex128", "U5", "M8[s]", [("a", "i4"), ("b", "f8")]):
        made = numpy.zeros((2, 5), dtype=kind)
        received = await through(move(made))
        assert received.dtype == numpy.dtype(kind) and received.shape == (2, 5) and made.size == 0
    fortran = numpy.asfortranarray(numpy.arange(6).reshape(2, 3)).copy(order="F")
    received = await through(move(fortran))
    assert received.flags.f_contiguous and received[1, 2] == 5


@in_node()
async def test_move_many_arrays() -> None:
    """Memory handed to and fro a thousand times, in different sizes."""
    numpy = pytest.importorskip("numpy")
    for n in range(1000):
        made = numpy.full(n % 70, n)
        received = await through(move(await through(move(made))))
        assert (received == n).all() and len(received) == n % 70


@in_node()
async def test_move_in_spawn_arguments() -> None:
    """Arguments of spawn follow the same rules."""
    me, frame = current_pid(), bytearray(b"frame")

    async def child(mine: bytearray) -> None:
        mine += b"!"
        send(me, mine)

    _, ref = spawn_monitor(child, move(frame))
    assert await take(bytearray) == b"frame!" and frame == b""
    assert (await take(ref)).reason == "normal"
