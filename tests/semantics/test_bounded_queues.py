"""Bounded queues: max_queue and on_full, one test for each sentence of SpawnOptions."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from support import all_down, in_node, info, is_, take, until

import transom
from transom import (
    QueueFull,
    SpawnOptions,
    current_pid,
    kill,
    process_info,
    receive,
    send,
    send_after,
    spawn,
    spawn_monitor,
    spawn_opt,
)


def bounded(on_full: Any, fn: Any, *args: Any, max_queue: int = 3, **options: Any) -> Any:
    return spawn_opt(SpawnOptions(max_queue=max_queue, on_full=on_full, monitor=True, **options), fn, *args)


async def ends_on_go() -> None:
    """Receives nothing but "go", so that everything else stays in its queue."""
    await receive(is_("go"))


async def forwards(owner: transom.Pid) -> None:
    """After "start", every message to the owner, until "go"."""
    await receive(is_("start"))
    while (message := await receive()) != "go":
        send(owner, ("got", message))


async def sends(to: transom.Pid, *values: Any) -> None:
    for value in values:
        send(to, value)


# -- drop -------------------------------------------------------------------------------------------------------------


@in_node()
async def test_drop_keeps_the_oldest_and_counts_the_rest() -> None:
    pid, ref = bounded("drop", ends_on_go)
    for n in range(10):
        send(pid, n)
    assert process_info(pid, "messages", "dropped", "max_queue") == {
        "messages": [0, 1, 2],
        "dropped": 7,
        "max_queue": 3,
    }
    kill(pid)
    await all_down([ref])


@in_node()
async def test_a_received_message_makes_room() -> None:
    pid, ref = bounded("drop", forwards, current_pid())
    send(pid, "start")
    for n in range(100):
        send(pid, n)
        assert await take(tuple) == ("got", n)
    assert info(pid, "dropped") == 0
    send(pid, "go")
    await all_down([ref])


@in_node()
async def test_messages_in_the_inbox_count_like_those_in_the_mailbox() -> None:
    """A receiver that is not running has not looked at its inbox; the bound holds all the same."""
    pid, ref = bounded("drop", ends_on_go, max_queue=5)
    for n in range(50):
        send(pid, n)
    assert info(pid, "message_queue_len") == 5
    kill(pid)
    await all_down([ref])


# -- reject -----------------------------------------------------------------------------------------------------------


@in_node()
async def test_reject_raises_at_the_sender() -> None:
    pid, ref = bounded("reject", ends_on_go)
    for n in range(3):
        send(pid, n)
    with pytest.raises(QueueFull, match="3 messages waiting") as caught:
        pid.send(3)
    assert caught.value.pid == pid
    assert caught.value.max_queue == 3
    assert info(pid, "messages") == [0, 1, 2]
    kill(pid)
    await all_down([ref])
    send(pid, "to the dead: no error")


@in_node()
async def test_a_timer_cannot_be_told_and_is_dropped() -> None:
    pid, ref = bounded("reject", ends_on_go, max_queue=1)
    send(pid, "fills it")
    send_after(0.0, pid, "late")
    await until(lambda: info(pid, "dropped") == 1)
    kill(pid)
    await all_down([ref])


# -- kill -------------------------------------------------------------------------------------------------------------


def test_kill_ends_the_receiver_and_is_reported(caplog: pytest.LogCaptureFixture, node: Any) -> None:
    async def main() -> None:
        pid, ref = bounded("kill", ends_on_go, label="slow one")
        for n in range(4):
            send(pid, n)
        assert (await take(ref)).reason == "killed"
        await until(lambda: any(str(pid) in record.getMessage() for record in caplog.records))
        (report,) = [record for record in caplog.records if str(pid) in record.getMessage()]
        assert "slow one" in report.getMessage() and "max_queue" in report.getMessage()

    node(main)


@in_node()
async def test_kill_spares_one_that_is_just_full() -> None:
    pid, ref = bounded("kill", ends_on_go)
    for n in range(3):
        send(pid, n)
    assert info(pid, "message_queue_len") == 3
    kill(pid)
    await all_down([ref])


# -- wait -------------------------------------------------------------------------------------------------------------


@in_node()
async def test_wait_holds_the_sender_up_and_loses_nothing() -> None:
    pid, ref = bounded("wait", forwards, current_pid())
    sender, sender_ref = spawn_monitor(sends, pid, *range(20))
    await until(lambda: info(pid, "message_queue_len") == 3 and info(sender, "status") == "blocked")
    transom.send_after(0.0, pid, "start")  # a timer's message is let in
    assert [(await take(tuple))[1] for _ in range(20)] == list(range(20))
    await all_down([sender_ref])
    send(pid, "go")
    await all_down([ref])


@in_node()
async def test_a_receiver_that_dies_lets_its_senders_go() -> None:
    pid, ref = bounded("wait", ends_on_go)
    senders = [spawn_monitor(sends, pid, *range(5)) for _ in range(5)]
    await until(lambda: all(info(sender, "status") == "blocked" for sender, _ in senders))
    kill(pid)
    assert await all_down([ref for _, ref in senders]) == ["normal"] * 5
    await all_down([ref])


@in_node()
async def test_a_sender_that_is_killed_while_it_waits_sends_nothing() -> None:
    pid, ref = bounded("wait", forwards, current_pid(), max_queue=1)
    send(pid, "fills it")
    sender, sender_ref = spawn_monitor(sends, pid, "from the dead")
    await until(lambda: info(sender, "status") == "blocked")
    kill(sender)
    await all_down([sender_ref])
    transom.send_after(0.0, pid, "start")
    assert await take(tuple) == ("got", "fills it")
    send(pid, "after")
    assert await take(tuple) == ("got", "after")
    send(pid, "go")
    await all_down([ref])


@in_node()
async def test_sending_to_itself_raises_instead_of_waiting_for_itself() -> None:
    async def body(owner: transom.Pid) -> None:
        for n in range(3):
            send(current_pid(), n)
        try:
            send(current_pid(), 3)
        except QueueFull as error:
            send(owner, str(error))

    _, ref = bounded("wait", body, current_pid())
    assert "wait for itself" in await take(str)
    await all_down([ref])


@pytest.mark.parametrize("size", [2, 3, 5])
def test_a_ring_of_waiting_senders_is_refused(size: int, node: Any) -> None:
    """At least one of them gets QueueFull, and receives; then the others go on, too."""

    async def body(owner: transom.Pid) -> None:
        following = await receive(transom.Pid)
        refused = 0
        for n in range(3):
            try:
                send(following, n)
            except QueueFull:
                refused += 1
                send(owner, "refused")
                await receive(int)
                while True:
                    try:
                        send(following, n)
                        break
                    except QueueFull:
                        await receive(int)
        send(owner, "done")
        while await receive() != "go":
            pass

    async def main() -> None:
        members = [bounded("wait", body, current_pid(), max_queue=2) for _ in range(size)]
        pids = [pid for pid, _ in members]
        for pid, following in zip(pids, [*pids[1:], pids[0]], strict=True):
            send_after(0.0, pid, following)  # let in, also when the ring has begun to turn
        words = []
        while words.count("done") < size:
            words.append(await take(str))
        for pid in pids:
            send_after(0.0, pid, "go")
        await all_down([ref for _, ref in members])

    for _ in range(10):
        node(main)


@in_node()
async def test_a_foreign_thread_waits_too() -> None:
    pid, ref = bounded("wait", forwards, current_pid())
    sent = []

    def feed() -> None:
        for n in range(10):
            send(pid, n)
            sent.append(n)

    thread = threading.Thread(target=feed)
    thread.start()
    await until(lambda: len(sent) == 3)
    transom.send_after(0.0, pid, "start")
    assert [(await take(tuple))[1] for _ in range(10)] == list(range(10))
    thread.join()
    send(pid, "go")
    await all_down([ref])


def test_at_the_thread_cap_the_sender_is_refused(node: Any) -> None:
    async def tries(pid: transom.Pid, owner: transom.Pid) -> None:
        try:
            send(pid, "x")
        except QueueFull as error:
            send(owner, str(error))

    async def main() -> None:
        pid, ref = bounded("wait", ends_on_go, max_queue=1)
        send(pid, "fills it")
        for _ in range(3):
            spawn(tries, pid, current_pid())
        assert "max_threads" in await take(str)
        assert "max_threads" in await take(str)
        kill(pid)
        await all_down([ref])

    node(main, max_threads=1)


# -- what is never limited ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("on_full", ["drop", "reject", "kill", "wait"])
def test_other_signals_are_never_limited(on_full: str, node: Any) -> None:
    async def body(owner: transom.Pid) -> None:
        transom.trap_exit(True)
        ref = transom.monitor(owner, alias="explicit_unalias")
        send(owner, ref)
        await receive(is_("reply"))
        assert (await receive(transom.Exit)).reason == "told"

    async def main() -> None:
        pid, ref = bounded(on_full, body, current_pid(), max_queue=1)
        alias = await take(transom.Ref)
        send(pid, "fills it")
        refs = [transom.monitor(pid) for _ in range(10)]
        transom.exit(pid, "told")
        send(alias, "reply")  # it asked for this one
        assert set(await all_down([ref, *refs])) == {"normal"}

    node(main)


# -- options ----------------------------------------------------------------------------------------------------------


def test_bad_options() -> None:
    with pytest.raises(ValueError, match="max_queue must be between"):
        SpawnOptions(max_queue=0)
    with pytest.raises(TypeError, match="max_queue must be an int"):
        SpawnOptions(max_queue=1.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="on_full must be one of"):
        SpawnOptions(max_queue=1, on_full="explode")  # type: ignore[arg-type]
