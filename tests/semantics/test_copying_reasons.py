"""What several processes are told of one end, and what is shown of a mailbox, is copied for each."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from support import in_node, take, until

import transom
from transom import (
    Agent,
    CallError,
    Down,
    Exit,
    Stop,
    monitor,
    process_info,
    receive,
    send,
    spawn,
    spawn_link,
    trap_exit,
)


async def ends_with(reason: Any) -> None:
    await receive()
    raise Stop(reason)


@in_node()
async def test_each_monitor_gets_a_reason_of_its_own() -> None:
    pid = spawn(ends_with, {"tried": []})
    refs = [monitor(pid) for _ in range(3)]
    send(pid, "go")
    downs: list[Down] = [await take(ref) for ref in refs]
    downs[0].reason["tried"].append(1)
    assert downs[0].reason == {"tried": [1]}
    assert downs[1].reason == downs[2].reason == {"tried": []}
    assert downs[1].reason["tried"] is not downs[2].reason["tried"]
    assert downs[0].reason is downs[0].reason


@in_node()
async def test_an_exit_and_a_down_do_not_share_their_reason() -> None:
    trap_exit(True)
    pid = spawn_link(ends_with, [1])
    ref = monitor(pid)
    send(pid, "go")
    down: Down = await take(ref)
    exited: Exit = await take(Exit)
    down.reason.append(2)
    assert exited.reason == [1] and down.reason == [1, 2]


@in_node()
async def test_matching_and_comparing_see_what_the_holder_sees() -> None:
    pid = spawn(ends_with, [1])
    ref = monitor(pid)
    send(pid, "go")
    down: Down = await take(ref)
    match down:
        case Down(reason=[1]):
            down.reason.append(2)
    assert down == Down(ref, pid, [1, 2]) and "[1, 2]" in repr(down)


class Ends(Agent):
    def end(self, reason: Any) -> None:
        raise Stop(reason)


@in_node()
async def test_a_failed_call_has_a_reason_of_its_own() -> None:
    ends = await Ends.start()
    ref = monitor(transom.pid_of(ends))
    with pytest.raises(CallError) as caught:
        await ends.end(["why"])
    caught.value.reason.append("mine")
    assert (await take(ref)).reason == ["why"]


@in_node()
async def test_what_is_shown_of_a_mailbox_is_a_copy() -> None:
    async def shows(boss: transom.Pid) -> None:
        await receive(lambda m: m == "go")
        send(boss, await receive(dict))

    pid = spawn(shows, transom.current_pid())
    send(pid, {"list": []})
    shown = process_info(pid, "messages")
    assert shown is not None
    shown["messages"][0]["list"].append("changed from outside")
    send(pid, "go")
    assert await take(dict) == {"list": []}


@in_node()
async def test_a_shared_message_is_shown_as_it_is() -> None:
    def generator() -> Any:
        yield 1

    held = generator()
    pid = spawn(ends_with, "normal")
    send(pid, transom.share(held))
    await until(lambda: not transom.is_alive(pid))
    me = transom.current_pid()
    send(me, transom.share(held))
    shown = process_info(me, "messages")
    assert shown == {"messages": [held]}
    assert await receive() is held


class Halting:
    """Its copying gives way to other threads, in the middle."""

    def __init__(self, parts: list[int]) -> None:
        self.parts = parts

    def __deepcopy__(self, memo: Any) -> Halting:
        time.sleep(0.001)
        return Halting(list(self.parts))


@in_node()
async def test_threads_that_look_at_one_record_see_one_reason() -> None:
    """A Down may reach several threads (a closure, share): the first copy is everybody's, and nothing is freed under them."""
    for _ in range(30):
        pid, ref = transom.spawn_monitor(ends_with, Halting([1]))
        send(pid, "go")
        down: Down = await take(ref)
        seen: list[Any] = []
        threads = [threading.Thread(target=lambda: seen.append(down.reason)) for _ in range(4)]  # noqa: B023
        for thread in threads:
            thread.start()
        while len(seen) < 4:
            assert "Halting" in repr(down)
            await transom.sleep(0)
        assert len({id(reason) for reason in seen}) == 1 and seen[0].parts == [1]
