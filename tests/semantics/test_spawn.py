"""Semantics 1.6: spawning, registration, process info."""

from __future__ import annotations

import random
import sys
import threading
from typing import Any

import pytest
from support import (
    all_down,
    apply,
    in_node,
    info,
    is_,
    nothing,
    reason_of,
    returns,
    scaled,
    spin,
    status_is,
    tagged,
    take,
    until,
    waits,
)

import transom
import transom.sync
from transom import (
    Down,
    Exit,
    NameTaken,
    NoProcess,
    Pid,
    Ref,
    SpawnOptions,
    alias,
    current_pid,
    is_alive,
    kill,
    link,
    monitor,
    process_info,
    processes,
    receive,
    register,
    registered,
    send,
    set_label,
    sleep,
    spawn,
    spawn_link,
    spawn_monitor,
    spawn_opt,
    trap_exit,
    unregister,
    whereis,
)

# -- spawning ---------------------------------------------------------------------------------------------------------


async def reports(owner: Pid, *args: Any, **kwargs: Any) -> None:
    send(owner, (args, kwargs))


def reports_plainly(owner: Pid, *args: Any, **kwargs: Any) -> None:
    send(owner, (args, kwargs))


@pytest.mark.parametrize("body", [reports, reports_plainly])
@in_node()
async def test_spawn_passes_arguments(body: Any) -> None:
    """spawn(fn, *args, **kwargs), for coroutine functions and plain functions."""
    me = current_pid()
    for start in (spawn, spawn_link, lambda *args, **kwargs: spawn_monitor(*args, **kwargs)[0]):
        pid = start(body, me, 1, "two", three=(3,))
        assert isinstance(pid, Pid) and pid != me
        assert await take(tuple) == ((1, "two"), {"three": (3,)})
    assert (await take(Down)).reason == "normal"


@pytest.mark.race
@in_node()
async def test_spawn_monitor_returns_pid_and_ref() -> None:
    """spawn_monitor -> (Pid, Ref): the DOWN of that ref comes, however fast the child ends."""
    for _ in range(scaled(5_000)):
        pid, ref = spawn_monitor(returns)
        assert isinstance(ref, Ref)
        assert await take() == Down(ref, pid, "normal")
    await nothing()


@in_node()
async def test_spawn_opt_link_and_monitor() -> None:
    """spawn_opt(link, monitor): a Pid, or a Pid and a Ref with monitor."""
    trap_exit(True)
    pid = spawn_opt(SpawnOptions(), returns)
    assert isinstance(pid, Pid)
    await until(lambda: not is_alive(pid))
    pid = spawn_opt(SpawnOptions(link=True), returns)
    assert await take() == Exit(pid, "normal")
    pid, ref = spawn_opt(SpawnOptions(monitor=True), returns)
    assert await take() == Down(ref, pid, "normal")
    pid, ref = spawn_opt(SpawnOptions(link=True, monitor=True), waits)
    assert current_pid() in info(pid, "links") and current_pid() in info(pid, "monitored_by")
    send(pid, "go")
    got = [await take(), await take()]
    assert Down(ref, pid, "normal") in got and Exit(pid, "normal") in got


@in_node()
async def test_spawn_opt_name_is_registered_before_the_child_runs() -> None:
    """spawn_opt(name): the child finds itself registered, and so does the parent when spawn_opt returns."""
    me = current_pid()

    async def body() -> None:
        send(me, whereis("worker") == current_pid())

    for _ in range(200):
        pid, ref = spawn_opt(SpawnOptions(name="worker", monitor=True), body)
        assert whereis("worker") in (pid, None)
        assert await take(bool) is True
        assert await reason_of(ref) == "normal"
        assert whereis("worker") is None


@in_node()
async def test_spawn_opt_with_a_taken_name_starts_nothing() -> None:
    """register(name, pid): badarg if name taken; spawn_opt with such a name leaves no process."""
    pid = spawn_opt(SpawnOptions(name="worker"), waits)
    live = set(processes())
    spawned = transom.node_info()["spawned"]
    for options in (
        SpawnOptions(name="worker"),
        SpawnOptions(name="worker", link=True, monitor=True),
    ):
        with pytest.raises(NameTaken):
            spawn_opt(options, waits)
    assert set(processes()) == live
    assert transom.node_info()["spawned"] - transom.node_info()["exited"] == len(live)
    assert transom.node_info()["spawned"] >= spawned
    send(pid, "go")
    await until(lambda: not is_alive(pid))
    await nothing()


@in_node()
async def test_spawn_opt_label_priority_and_trap_exit_are_shown() -> None:
    """spawn_opt(priority, label, trap_exit): process_info shows them."""
    pid = spawn_opt(SpawnOptions(priority="low", label="clerk", trap_exit=True), waits)
    assert process_info(pid, "priority", "label", "trap_exit") == {
        "priority": "low",
        "label": "clerk",
        "trap_exit": True,
    }
    send(pid, "go")


@in_node(schedulers=2)
async def test_pinned_keeps_its_thread() -> None:
    """spawn_opt(pinned=True): the process stays on one OS thread over every await, so thread-locals keep their meaning."""

    async def body() -> None:
        mine = threading.get_ident()
        for n in range(300):
            if n % 3 == 0:
                await sleep(0.001)
            elif n % 3 == 1:
                send(current_pid(), n)
                await take()
            else:
                spin(5_000)
            assert threading.get_ident() == mine

    async def noise() -> None:
        for _ in range(300):
            spin(3_000)
            await sleep(0)

    refs = [spawn_opt(SpawnOptions(pinned=True, monitor=True), body)[1] for _ in range(6)]
    refs += [spawn_monitor(noise)[1] for _ in range(6)]
    assert await all_down(refs) == ["normal"] * 12


@in_node()
async def test_a_plain_function_keeps_its_thread() -> None:
    """A plain `def` body is a process that borrows an OS thread while it runs: one and the same."""

    def body() -> None:
        mine = threading.get_ident()
        for n in range(100):
            send(current_pid(), n)
            assert transom.sync.receive() == n
            transom.sync.sleep(0.001)
            assert threading.get_ident() == mine

    refs = [spawn_monitor(body)[1] for _ in range(6)]
    assert await all_down(refs) == ["normal"] * 6


@in_node()
async def test_parent_and_initial_call() -> None:
    """process_info: parent, initial_call."""
    pid = spawn(waits)
    assert info(pid, "parent") == current_pid()
    assert "waits" in str(info(pid, "initial_call"))
    send(pid, "go")


@in_node()
async def test_spawn_wants_a_callable() -> None:
    """A bad argument is a named error, and nothing is started."""
    before = processes()
    for bad in (None, 7, "returns", [returns], returns()):
        with pytest.raises(TypeError):
            spawn(bad)  # type: ignore[arg-type]
        if hasattr(bad, "close"):
            bad.close()
    assert processes() == before


@in_node()
async def test_arguments_that_do_not_fit() -> None:
    """A body that cannot be called so: a coroutine function says so at spawn, where nothing is left behind; a plain function
    is called in its own process, which crashes."""
    with pytest.raises(TypeError):
        spawn_monitor(returns, 1, 2, 3)
    assert len(transom.processes()) == 1 and len(info(current_pid(), "monitors")) == 0

    def plain() -> None:
        pass

    _, ref = spawn_monitor(plain, 1, 2, 3)
    reason = await reason_of(ref)
    assert isinstance(reason, transom.Crash) and isinstance(reason.exception, TypeError)


@pytest.mark.race
@in_node()
async def test_many_processes_at_once() -> None:
    """Processes are cheap: tens of thousands live, each answers, each ends."""
    count = scaled(50_000)
    me = current_pid()

    async def body(n: int) -> None:
        await receive(is_("go"))
        send(me, n)

    pids = [spawn(body, n) for n in range(count)]
    assert len(set(pids)) == count
    assert len(processes()) == count + 1
    for pid in pids:
        send(pid, "go")
    assert sorted([await take(int) for _ in range(count)]) == list(range(count))
    await until(lambda: len(processes()) == 1)


@pytest.mark.race
@in_node()
async def test_pids_are_not_used_again_soon() -> None:
    """A pid names one process: that of a dead one is not alive again, though its slot is used again."""
    seen: set[Pid] = set()
    for _ in range(scaled(20_000)):
        pid, ref = spawn_monitor(returns)
        assert pid not in seen
        seen.add(pid)
        assert await reason_of(ref) == "normal"
    pid = spawn(waits)
    assert pid not in seen
    assert not any(is_alive(dead) for dead in seen)
    for dead in seen:
        send(dead, "go")
        transom.exit(dead, "kill")
    assert is_alive(pid)
    send(pid, "go")


# -- registration -----------------------------------------------------------------------------------------------------


@in_node()
async def test_register_and_whereis() -> None:
    """One name per pid, one pid per name."""
    me = current_pid()
    assert whereis("clerk") is None
    register("clerk", me)
    assert whereis("clerk") == me
    assert registered() == ["clerk"]
    assert info(me, "registered_name") == "clerk"
    send("clerk", "hello")
    assert await take() == "hello"
    unregister("clerk")
    assert whereis("clerk") is None
    assert registered() == []
    assert not info(me, "registered_name")
    register("desk", me)
    unregister("desk")


@in_node()
async def test_register_refuses_a_taken_name() -> None:
    """register(name, pid): badarg if name taken."""
    other = spawn(waits)
    register("clerk", other)
    with pytest.raises(NameTaken, match="clerk"):
        register("clerk", current_pid())
    with pytest.raises(NameTaken):
        register("clerk", other)
    assert whereis("clerk") == other
    send(other, "go")


@in_node()
async def test_register_refuses_a_dead_process() -> None:
    """register(name, pid): badarg if pid dead."""
    dead, ref = spawn_monitor(returns)
    await reason_of(ref)
    with pytest.raises(NoProcess):
        register("clerk", dead)
    assert whereis("clerk") is None and registered() == []


@in_node()
async def test_register_refuses_a_second_name() -> None:
    """register(name, pid): badarg if pid already has ANY name."""
    me = current_pid()
    register("clerk", me)
    with pytest.raises(ValueError, match="name"):
        register("desk", me)
    assert registered() == ["clerk"] and whereis("desk") is None
    unregister("clerk")


@pytest.mark.parametrize("name", [None, 7, b"clerk", ("a", "b")])
@in_node()
async def test_register_wants_a_word(name: Any) -> None:
    """register(name, pid): badarg if name is undefined."""
    with pytest.raises(TypeError):
        register(name, current_pid())
    assert registered() == []


@in_node()
async def test_unregister_of_an_unknown_name() -> None:
    """unregister of an unknown name raises badarg."""
    with pytest.raises((NoProcess, ValueError)):
        unregister("nobody-here")


@in_node()
async def test_any_process_may_register_and_unregister_another() -> None:
    """register(name, pid) and unregister(name) are not tied to the process that calls them."""
    pid = spawn(waits)

    async def does() -> None:
        register("clerk", pid)

    async def undoes() -> None:
        unregister("clerk")

    await apply(does)
    assert whereis("clerk") == pid
    await apply(undoes)
    assert whereis("clerk") is None
    send(pid, "go")


@pytest.mark.race
@in_node()
async def test_the_name_goes_at_death() -> None:
    """auto-removed at death before DOWN: the next process takes it at once."""
    for n in range(scaled(3_000)):
        pid, ref = spawn_monitor(waits)
        register("clerk", pid)
        if n % 2:
            kill(pid)
        else:
            send("clerk", "go")
        assert await reason_of(ref) == ("killed" if n % 2 else "normal")
        assert whereis("clerk") is None


@pytest.mark.race
@in_node()
async def test_one_of_many_gets_a_name(rng: random.Random) -> None:
    """One pid per name, whoever asks at the same time."""
    me = current_pid()

    async def wants(turns: int) -> None:
        await receive(is_("go"))
        spin(turns)
        try:
            register("clerk", current_pid())
        except NameTaken:
            send(me, ("refused", current_pid()))
            return
        send(me, ("got it", current_pid()))
        await receive(is_("end"))

    for _ in range(scaled(500)):
        started = [spawn_monitor(wants, rng.randrange(100)) for _ in range(4)]
        for pid, _ in started:
            send(pid, "go")
        answers = [await take(tuple) for _ in started]
        winner = [pid for word, pid in answers if word == "got it"]
        assert len(winner) == 1
        assert whereis("clerk") == winner[0]
        send(winner[0], "end")
        assert await all_down([ref for _, ref in started]) == ["normal"] * 4
        assert whereis("clerk") is None


# -- process info -----------------------------------------------------------------------------------------------------

ITEMS = [
    "status",
    "message_queue_len",
    "links",
    "monitors",
    "monitored_by",
    "trap_exit",
    "priority",
    "reductions",
    "registered_name",
    "label",
    "parent",
    "initial_call",
    "current_function",
    "messages",
    "memory",
    "thread",
]


@in_node()
async def test_every_item_of_process_info() -> None:
    """process_info: each item can be asked for alone, and all together in one snapshot."""
    pid = spawn(waits)
    await status_is(pid, "waiting")
    for item in ITEMS:
        answer = process_info(pid, item)
        assert answer is not None and list(answer) == [item]
    answer = process_info(pid, *ITEMS)
    assert answer is not None and set(answer) == set(ITEMS)
    assert answer["status"] == "waiting"
    assert answer["message_queue_len"] == 0
    assert (
        len(answer["links"]) == len(answer["monitors"]) == len(answer["monitored_by"]) == len(answer["messages"]) == 0
    )
    assert answer["trap_exit"] is False
    assert answer["priority"] == "normal"
    assert answer["reductions"] >= 0
    assert not answer["registered_name"] and not answer["label"]
    assert answer["parent"] == current_pid()
    assert answer["memory"] > 0
    assert answer["thread"] is None
    send(pid, "go")


@in_node()
async def test_default_items_of_process_info() -> None:
    """process_info(P): a default set of cheap items."""
    answer = process_info(current_pid())
    assert answer is not None
    assert {"status", "message_queue_len", "links", "trap_exit", "priority", "reductions", "current_function"} <= set(
        answer
    )
    assert answer["status"] == "running"


@in_node()
async def test_process_info_of_the_dead_and_of_unknown_items() -> None:
    """Dead -> undefined."""
    dead, ref = spawn_monitor(returns)
    await reason_of(ref)
    assert process_info(dead) is None
    for item in ITEMS:
        assert process_info(dead, item) is None
    with pytest.raises(ValueError, match="no-such-item"):
        process_info(current_pid(), "no-such-item")
    with pytest.raises(TypeError):
        process_info("clerk")  # type: ignore[arg-type]


@in_node(schedulers=2)
async def test_status_of_process_info() -> None:
    """status in running|runnable|waiting|...: seen from outside."""

    async def hog() -> None:
        while True:
            pass

    waiting = spawn(waits)
    await status_is(waiting, "waiting")
    hogs = [spawn(hog) for _ in range(4)]
    for wanted in ("runnable",) if sys._is_gil_enabled() else ("running", "runnable"):
        await until(lambda wanted=wanted: wanted in [info(pid, "status") for pid in hogs])
    for pid in [*hogs, waiting]:
        kill(pid)
    assert info(current_pid(), "status") == "running"


@in_node()
async def test_links_and_monitors_items() -> None:
    """process_info: links, monitors, monitored_by list what there is."""
    me = current_pid()
    pids = [spawn(waits) for _ in range(3)]
    link(pids[0])
    refs = [monitor(pids[1]), monitor(pids[1]), monitor(pids[2])]
    assert list(info(me, "links")) == [pids[0]]
    assert len(info(me, "monitors")) == 3
    assert list(info(pids[1], "monitored_by")) == [me, me]
    assert list(info(pids[2], "monitored_by")) == [me]
    for ref in refs:
        assert transom.demonitor(ref)
    assert len(info(me, "monitors")) == 0
    assert len(info(pids[1], "monitored_by")) == 0
    transom.unlink(pids[0])
    for pid in pids:
        send(pid, "go")


@in_node()
async def test_label_can_be_set() -> None:
    """process label, set by the process itself."""
    set_label("first")
    assert info(current_pid(), "label") == "first"
    set_label("second")
    assert info(current_pid(), "label") == "second"

    async def child() -> str | None:
        label: str | None = info(current_pid(), "label")
        return label

    assert not await apply(child)


@in_node()
async def test_reductions_grow_with_work() -> None:
    """reductions: one per call and per loop back edge of agent code, exactly counted; a waiting process costs nothing."""

    async def works(turns: int) -> int:
        before = transom.reductions()
        spin(turns)
        return transom.reductions() - before

    for turns in (1_000, 10_000, 100_000):
        spent = await apply(works, turns)
        assert turns <= spent <= turns + 50, (turns, spent)
    pid = spawn(waits)
    await status_is(pid, "waiting")
    first = info(pid, "reductions")
    await sleep(0.05)
    assert info(pid, "reductions") == first
    send(pid, "go")


@in_node()
async def test_current_function_names_where_it_is() -> None:
    """process_info: current_function of a waiting process."""
    pid = spawn(waits)
    await status_is(pid, "waiting")
    assert "waits" in str(info(pid, "current_function"))
    send(pid, "go")


@in_node()
async def test_memory_grows_with_the_mailbox() -> None:
    """process_info: memory counts what waits in the mailbox."""
    pid = spawn(waits)
    await status_is(pid, "waiting")
    first = info(pid, "memory")
    for n in range(1_000):
        send(pid, n)
    assert info(pid, "memory") > first
    send(pid, "go")


@in_node()
async def test_processes_lists_the_living() -> None:
    """processes() lists every live process once."""
    pids = [spawn(waits) for _ in range(100)]
    assert sorted(processes()) == sorted([*pids, current_pid()])
    for pid in pids[:50]:
        kill(pid)
    # A listing is no signal: the killed are there until they have heard of it.
    await until(lambda: sorted(processes()) == sorted([*pids[50:], current_pid()]))
    for pid in pids[50:]:
        send(pid, "go")


@pytest.mark.race
@in_node()
async def test_process_info_of_processes_in_every_state(rng: random.Random) -> None:
    """process_info: a list query is one atomic snapshot, also of a process that is running, ending or being killed."""
    me = current_pid()

    async def busy(seed: int) -> None:
        mine = random.Random(seed)
        trap_exit(True)
        peers: list[Pid] = []
        for _ in range(200):
            choice = mine.randrange(5)
            if choice == 0:
                peers.append(spawn_link(returns))
            elif choice == 1:
                monitor(me)
            elif choice == 2:
                send(current_pid(), ["list", {"of": "things"}])
            elif choice == 3:
                alias()
            else:
                spin(mine.randrange(500))
        while True:
            await receive(timeout=0)

    for _ in range(scaled(200)):
        pid, ref = spawn_monitor(busy, rng.getrandbits(32))
        for _ in range(20):
            answer = process_info(pid, *ITEMS)
            if answer is not None:
                assert set(answer) == set(ITEMS)
                assert answer["message_queue_len"] == len(answer["messages"])
        kill(pid)
        assert isinstance(await take(ref), Down)


@in_node()
async def test_tagged_helper_matches_only_its_tag() -> None:
    """Guards the helper the other files use."""
    assert tagged("a")(("a", 1)) and not tagged("a")(("b", 1)) and not tagged("a")("a")
