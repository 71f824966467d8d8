"""Semantics 1.11: supervisors."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
from supervised import close, desk, eventually, gone, kid, orderly, spec, states, stubborn, up
from support import DEADLINE, in_node, is_, reason_of, run_node, scaled, spin, tagged, take, until

import transom
from transom import (
    CallError,
    ChildExists,
    ChildRunning,
    ChildSpec,
    Crash,
    DuplicateChild,
    NoChild,
    Pid,
    StartError,
    Stop,
    Supervisor,
    SupervisorRef,
    Task,
    is_alive,
    kill,
    monitor,
    send,
    trap_exit,
)

STRATEGIES = ("one_for_one", "one_for_all", "rest_for_one")
RESTARTS = ("permanent", "transient", "temporary")
REASONS = ("normal", "shutdown", ("shutdown", "why"), "killed", "crash", ("odd", 1))
CLEAN = ("normal", "shutdown", ("shutdown", "why"))


# -- the restart matrix -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("restart", RESTARTS)
def test_restart_matrix(strategy: str, restart: str) -> None:
    """permanent always; transient unless clean, and then kept as stopped; temporary never, and forgotten. one_for_all:
    the rest is stopped in reverse, then all start in order; rest_for_one: only later ones."""
    for reason, position in itertools.product(REASONS, range(3)):
        run_node(matrix_cell, strategy, restart, reason, position)


async def matrix_cell(strategy: str, restart: str, reason: Any, position: int) -> None:
    names = ["a", "b", "c"]
    children = [spec(name, orderly) for name in names]
    children[position] = spec(names[position], orderly, restart=restart)
    ref, before = await desk(children, strategy=strategy)
    ended = names[position]
    send(before[ended], ("end", reason))

    if restart == "permanent" or (restart == "transient" and reason not in CLEAN):
        group = {"one_for_one": [ended], "one_for_all": names, "rest_for_one": names[position:]}[strategy]
        # The others of the group are stopped from right to left, and then all started from left to right.
        for name in reversed(group):
            if name != ended:
                assert await take(tagged("told")) == ("told", name, "shutdown")
        after = dict(before)
        for name in group:
            _, started, after[name] = await take(tagged("up"))
            assert started == name
            assert after[name] != before[name]
        # No call is answered while it restarts, so this sees the end of it.
        assert await states(ref) == after
    else:
        after = {name: pid for name, pid in before.items() if name != ended}
        if restart == "transient":
            after = {name: after.get(name) for name in names}
        await eventually(lambda: states(ref), after)
    await close(ref)
    told = [(await take(tagged("told")))[1] for pid in after.values() if pid is not None]
    assert told == [name for name in reversed(names) if after.get(name) is not None]


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
@in_node()
async def test_siblings_in_a_group(strategy: str) -> None:
    """Temporary siblings are forgotten even in one_for_all and rest_for_one; stopped ones start with the group
    (observed on OTP 25)."""
    ref, before = await desk(
        [spec("a"), spec("t", restart="temporary"), spec("s", restart="transient"), spec("z")], strategy=strategy
    )
    await ref.terminate_child("s")
    assert (await states(ref))["s"] is None
    send(before["a"], ("end", "crash"))
    after = {name: await up(name) for name in ("a", "s", "z")}
    assert await states(ref) == after
    await close(ref)


# -- start and stop ---------------------------------------------------------------------------------------------------


@in_node()
async def test_start_left_to_right_and_stop_right_to_left() -> None:
    """Start left to right; stop right to left, one by one. which_children lists newest first."""
    names = list(range(20))
    trap_exit(True)
    ref = await Supervisor.start_link(children=[spec(name, orderly) for name in names])
    assert [(await take(tagged("up")))[1] for _ in names] == names
    assert [id for id, _, _ in await ref.which_children()] == names[::-1]
    await close(ref)
    assert [(await take(tagged("told")))[1] for _ in names] == names[::-1]


@in_node()
async def test_a_failing_child_rolls_back_those_before_it() -> None:
    """A failing one rolls back the started ones in reverse and start_link gives (shutdown, (failed_to_start_child, Id,
    R)). No Exit is left (OTP 26+)."""

    def broken() -> Pid:
        raise Stop("no luck")

    for trapping in (True, False):
        trap_exit(trapping)
        children = [spec("a", orderly), spec("b", orderly), ChildSpec(id="c", start=broken), spec("never")]
        with pytest.raises(StartError) as caught:
            await Supervisor.start_link(children=children)
        assert caught.value.reason == ("shutdown", ("failed_to_start_child", "c", "no luck"))
        assert [(await take(tagged("up")))[1] for _ in "ab"] == ["a", "b"]
        assert [await take(tagged("told")) for _ in "ab"] == [("told", "b", "shutdown"), ("told", "a", "shutdown")]
        assert set(transom.processes()) == {transom.current_pid()}


@in_node()
async def test_each_way_a_child_can_fail_to_start() -> None:
    """The reason of the failed start is the child's, whatever way it failed."""

    async def fails_later() -> Pid:
        await transom.sleep(0)
        raise KeyError("later")

    def crashes() -> Pid:
        raise ValueError("now")

    def gives_nonsense() -> Any:
        return 42

    async def is_taken() -> Pid:
        raise transom.AlreadyStarted("desk", transom.current_pid())

    for start, kind in ((fails_later, KeyError), (crashes, ValueError), (gives_nonsense, TypeError)):
        with pytest.raises(StartError) as caught:
            await Supervisor.start_link(children=[ChildSpec(id=1, start=start)])
        assert isinstance(caught.value.reason[1][2], Crash)
        assert isinstance(caught.value.reason[1][2].exception, kind)
    with pytest.raises(StartError) as caught:
        await Supervisor.start_link(children=[ChildSpec(id=1, start=is_taken)])
    assert caught.value.reason[1][2][0] == "already_started"


@in_node()
async def test_a_child_that_is_not_needed() -> None:
    """A child returning ignore is kept as stopped unless temporary."""
    none: list[ChildSpec] = [
        ChildSpec(id="p", start=lambda: None),
        ChildSpec(id="t", start=lambda: None, restart="temporary"),
    ]
    ref, _ = await desk([])
    for child in none:
        assert await ref.start_child(child) is None
    assert await states(ref) == {"p": None}
    await close(ref)
    ref = await Supervisor.start_link(children=none)
    assert await states(ref) == {"p": None}
    await close(ref)


class Announcer(transom.Agent):
    """An agent that tells of its start."""

    def init(self, owner: Pid) -> None:
        send(owner, ("up", "a", transom.current_pid()))


@in_node()
@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_what_a_restart_of_a_permanent_child_may_come_to(strategy: Any) -> None:
    """one_for_one restarts such a child in a frame of its own, the others do not; both do the same."""
    me = transom.current_pid()
    agent = Announcer.child(me).start
    fails = ["operation", "pid", "unlinked", "fails", "fails", "awaitable", "operation", "none"]
    script = iter(fails)

    async def later() -> Any:
        return await agent()

    def start() -> Any:
        match next(script):
            case "operation":
                return agent()
            case "pid":
                return transom.spawn_link(kid, me, "a")
            case "unlinked":
                return transom.spawn(kid, me, "a")
            case "awaitable":
                return later()
            case "fails":
                raise ZeroDivisionError("on purpose")
        return None

    ref, pids = await desk([ChildSpec(id="a", start=start)], strategy=strategy, max_restarts=len(fails) - 1)
    pid = pids["a"]
    for _ in range(fails.index("none") - 1 - fails.count("fails")):
        assert await ref.get_child("a") is not None
        assert await states(ref) == {"a": pid}
        kill(pid)
        pid = await up("a")
    kill(pid)
    await eventually(lambda: states(ref), {"a": None})
    assert await ref.get_child("a") is None
    script = iter(["operation"])
    assert transom.pid_of(await ref.restart_child("a")) == await up("a")
    await close(ref)


@in_node()
@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_agents_with_and_without_named_arguments_are_restarted_with_them(strategy: Any) -> None:
    me = transom.current_pid()
    for child in (Announcer.child(me), Announcer.child(owner=me)):
        ref, pids = await desk([child.options(id="a")], strategy=strategy, max_restarts=3)
        pid = pids["a"]
        for _ in range(3):
            kill(pid)
            pid = await up("a")
            assert transom.pid_of(await ref.get_child("a")) == pid
        kill(pid)
        await gone(ref, reason="shutdown")


@in_node()
async def test_stopping_takes_its_time_and_then_kills() -> None:
    """exit(child, shutdown), wait, then kill; child DOWN killed."""
    ref, pids = await desk([spec("a", stubborn, shutdown=0.05), spec("b", stubborn, shutdown="brutal_kill")])
    refs = {name: monitor(pid) for name, pid in pids.items()}
    await ref.terminate_child("a")
    assert await take(tagged("told")) == ("told", "a", "shutdown")
    assert await reason_of(refs["a"]) == "killed"
    await ref.terminate_child("b")
    assert await reason_of(refs["b"]) == "killed"  # and it was told nothing
    await close(ref)


@in_node()
async def test_infinity_waits() -> None:
    """infinity: as long as it takes."""
    ref, pids = await desk([spec("a", stubborn, shutdown="infinity")])
    me = transom.current_pid()

    async def terminate() -> None:
        await ref.terminate_child("a")
        send(me, ("terminated", is_alive(pids["a"])))

    transom.spawn(terminate)
    assert await take(tagged("told")) == ("told", "a", "shutdown")
    with pytest.raises(TimeoutError):
        await transom.receive(tagged("terminated"), timeout=0.05)
    send(pids["a"], ("end", "normal"))
    assert await take(tagged("terminated")) == ("terminated", False)
    await close(ref)


@in_node()
async def test_a_child_that_unlinked_itself_does_not_hang_the_supervisor() -> None:
    """A child that unlinked itself must not hang the supervisor (it monitors during shutdown)."""
    me = transom.current_pid()

    async def runaway(name: str) -> None:
        transom.unlink(transom.process_info(transom.current_pid(), "parent")["parent"])  # type: ignore[index]
        send(me, ("up", name, transom.current_pid()))
        await transom.receive(is_("go"))

    ref, pids = await desk([Task.child(runaway, name).options(id=name, restart="permanent") for name in "ab"])
    send(pids["a"], "go")
    await until(lambda: not is_alive(pids["a"]))
    await ref.terminate_child("a")  # it has ended unseen
    await ref.terminate_child("b")  # it lives, unlinked
    assert not is_alive(pids["b"])
    assert await states(ref) == {"a": None, "b": None}
    await close(ref)


@in_node()
async def test_a_start_function_that_forgets_the_link() -> None:
    """The supervisor links what a start function gives, so its end is seen."""
    ref, pids = await desk([ChildSpec(id="a", start=Unlinked(transom.current_pid()))])
    send(pids["a"], ("end", "crash"))
    again = await up("a")
    assert again != pids["a"]
    assert await states(ref) == {"a": again}
    await close(ref)


class Unlinked:
    """A start without a link."""

    def __init__(self, owner: Pid) -> None:
        self.owner = owner

    def __call__(self) -> Pid:
        return transom.spawn(kid, self.owner, "a")


@in_node()
async def test_the_parent_ends_and_the_children_stop_in_order() -> None:
    """A supervisor whose parent ends stops its children in reverse, each with "shutdown", and ends with the reason."""
    me = transom.current_pid()
    for reason in ("shutdown", ("odd", 1), "normal"):

        async def parent(reason: Any) -> None:
            # The supervisor is linked to this process, but its children tell the test.
            children = [Task.child(orderly, me, name).options(id=name, restart="permanent") for name in "abc"]
            ref = await Supervisor.start_link(children=children)
            send(me, ("desk", ref.pid))
            await transom.receive(is_("go"))
            raise Stop(reason)

        pid = transom.spawn(parent, reason)
        ref = monitor((await take(tagged("desk")))[1])
        pids = [await up(name) for name in "abc"]
        send(pid, "go")
        assert await reason_of(ref) == reason
        assert [(await take(tagged("told")))[1:] for _ in pids] == [(name, "shutdown") for name in "cba"]
        assert not any(map(is_alive, pids))


@in_node()
async def test_a_killed_supervisor_takes_its_children_along() -> None:
    """Chains carry "killed": the links end the children at once."""
    ref, pids = await desk([spec(name) for name in "abc"])
    refs = [monitor(pid) for pid in pids.values()]
    kill(ref.pid)
    assert [await reason_of(each) for each in refs] == ["killed"] * 3
    await gone(ref, reason="killed")


@in_node()
async def test_exits_of_others_are_nothing_to_it() -> None:
    """The Exit of a process that is neither child nor parent is ignored."""
    ref, pids = await desk([spec("a")])

    async def stranger() -> None:
        transom.link(ref.pid)
        raise Stop("odd")

    for _ in range(10):
        _, down = transom.spawn_monitor(stranger)
        assert await reason_of(down) == "odd"
    helper = transom.spawn(stranger)
    await until(lambda: not is_alive(helper))
    send(ref.pid, "what is this?")
    assert await states(ref) == pids
    await close(ref)


# -- intensity --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [0, 1, 3])
@in_node()
async def test_more_than_max_restarts_end_it(limit: int) -> None:
    """MORE than intensity restarts inside the period: the supervisor stops all children and exits shutdown."""
    ref, pids = await desk([spec("a"), spec("other", orderly)], max_restarts=limit, max_seconds=1000)
    for _ in range(limit):
        send(pids["a"], ("end", "crash"))
        pids["a"] = await up("a")
    send(pids["a"], ("end", "crash"))
    await gone(ref, reason="shutdown")
    assert await take(tagged("told")) == ("told", "other", "shutdown")
    assert not is_alive(pids["other"])


@in_node()
async def test_the_defaults_are_three_in_five_seconds() -> None:
    """Elixir: 3 per 5 s."""
    assert (Supervisor.max_restarts, Supervisor.max_seconds) == (3, 5.0)
    assert (transom.DynamicSupervisor.max_restarts, transom.DynamicSupervisor.max_seconds) == (3, 5.0)


def fails_after_the_first(owner: Pid, tries: list[int], works: list[bool]) -> ChildSpec:
    """A child that cannot start again, unless works is filled."""

    def start() -> Pid:
        tries.append(1)
        if len(tries) > 1 and not works:
            raise StartError("not now")
        return transom.spawn_link(kid, owner, "a")

    return ChildSpec(id="a", start=start)


@in_node()
async def test_restarts_that_fail_count() -> None:
    """Failed restart attempts count too."""
    tries: list[int] = []
    ref, pids = await desk([fails_after_the_first(transom.current_pid(), tries, []), spec("b")], max_restarts=50)
    send(pids["a"], ("end", "crash"))
    await gone(ref, reason="shutdown")
    assert len(tries) == 51  # the first, and one for each restart allowed


@in_node()
async def test_calls_are_answered_between_restarts_that_fail() -> None:
    """They are retried asynchronously so the supervisor answers calls meanwhile (hanging_restart_loop*)."""
    tries: list[int] = []
    works: list[bool] = []
    child = fails_after_the_first(transom.current_pid(), tries, works)
    ref, pids = await desk([child, spec("b")], max_restarts=10**9)
    send(pids["a"], ("end", "crash"))
    await until(lambda: len(tries) > 1)
    for _ in range(20):
        before = len(tries)
        assert await states(ref) == {"a": "restarting", "b": pids["b"]}
        await until(lambda before=before: len(tries) > before)
    works.append(True)
    pids["a"] = await up("a")
    assert await states(ref) == pids
    await close(ref)


# -- the child API ----------------------------------------------------------------------------------------------------


@in_node()
async def test_the_child_api() -> None:
    """terminate_child ok | not_found; restart_child running | restarting | not_found; delete_child running;
    start_child already_present | already_started; count_children specs/active/supervisors/workers."""
    ref, pids = await desk([spec("a"), spec("t", restart="temporary")])
    assert await ref.count_children() == {"specs": 2, "active": 2, "supervisors": 0, "workers": 2}
    with pytest.raises(ChildExists) as exists:
        await ref.start_child(spec("a"))
    assert (exists.value.id, exists.value.state) == ("a", pids["a"])
    for operation in (ref.restart_child, ref.delete_child):
        with pytest.raises(ChildRunning) as running:
            await operation("a")
        assert (running.value.id, running.value.state) == ("a", pids["a"])
    for operation in (ref.restart_child, ref.delete_child, ref.terminate_child, ref.get_child, ref.get_spec):
        with pytest.raises(NoChild) as unknown:
            await operation("nobody")
        assert unknown.value.id == "nobody"
        with pytest.raises(TypeError):
            operation([])
    assert await ref.terminate_child("a") is None
    assert await ref.terminate_child("a") is None
    assert await ref.count_children() == {"specs": 2, "active": 1, "supervisors": 0, "workers": 2}
    with pytest.raises(ChildExists) as exists:
        await ref.start_child(spec("a"))
    assert exists.value.state is None
    assert await ref.get_child("a") is None
    again = await ref.restart_child("a")
    assert again == await up("a") == await ref.get_child("a")
    await ref.terminate_child("a")
    await ref.delete_child("a")
    await ref.terminate_child("t")  # temporary: its spec goes, too
    assert await states(ref) == {}
    assert await ref.start_child(spec("n")) == await up("n")
    assert (await ref.get_spec("n")).id == "n"
    await close(ref)
    for operation in (ref.which_children, ref.count_children):
        with pytest.raises(CallError) as dead:
            await operation()
        assert dead.value.reason == "noproc"


@in_node()
async def test_restart_child_that_fails() -> None:
    """A child that cannot start again stays stopped; one that cannot start at all is not kept."""
    flag = {"works": True}
    me = transom.current_pid()

    def start() -> Pid:
        if not flag["works"]:
            raise StartError("not now")
        return transom.spawn_link(kid, me, "a")

    ref, _ = await desk([ChildSpec(id="a", start=start)])
    await ref.terminate_child("a")
    flag["works"] = False
    with pytest.raises(StartError) as failed:
        await ref.restart_child("a")
    assert failed.value.reason == "not now"
    assert await states(ref) == {"a": None}
    await ref.delete_child("a")
    with pytest.raises(StartError):
        await ref.start_child(ChildSpec(id="a", start=start))
    assert await states(ref) == {}
    await close(ref)


@in_node()
async def test_bad_specifications_name_the_field() -> None:
    """Invalid child specifications name the field; duplicate ids are a named error."""
    with pytest.raises(StartError, match="two children have the id 'a'") as twice:
        await Supervisor.start_link(children=[spec("a"), spec("a")])
    assert isinstance(twice.value.__cause__, DuplicateChild)
    for options, text in (
        ({"strategy": "one_for_none"}, "strategy must be one of"),
        ({"auto_shutdown": "sometimes"}, "auto_shutdown must be one of"),
        ({"max_restarts": -1}, "max_restarts must be at least 0"),
        ({"max_restarts": 1.5}, "max_restarts must be an int"),
        ({"max_seconds": 0}, "max_seconds must be > 0"),
        ({"max_seconds": "5"}, "max_seconds must be seconds"),
        ({"children": [42]}, "children must be ChildSpecs"),
        ({"children": spec("a")}, "children must be a list"),
        ({"children": [spec("a", restart="transient", significant=True)]}, "significant needs a supervisor"),
        ({"colour": "red"}, "colour"),
    ):
        with pytest.raises(StartError, match=text):
            await Supervisor.start_link(**options)
    ref, _ = await desk([])
    with pytest.raises(ValueError, match="significant"):
        await ref.start_child(spec("a", restart="transient", significant=True))
    with pytest.raises(TypeError, match="takes a ChildSpec"):
        ref.start_child("a")  # type: ignore[arg-type]
    await close(ref)
    assert transom.process_info(transom.current_pid(), "messages") == {"messages": []}


# -- auto_shutdown ----------------------------------------------------------------------------------------------------


@in_node()
async def test_auto_shutdown_any() -> None:
    """any_significant: transient (normal end) or temporary (any end) significant children end it with shutdown."""
    for restart, how in (("transient", "normal"), ("temporary", "crash"), ("temporary", "normal")):
        ref, pids = await desk(
            [spec("s", restart=restart, significant=True), spec("x", restart="temporary"), spec("o", orderly)],
            auto_shutdown="any_significant",
        )
        send(pids["x"], ("end", "normal"))  # not significant
        await eventually(
            lambda ref=ref: ref.count_children(), {"specs": 2, "active": 2, "supervisors": 0, "workers": 2}
        )
        send(pids["s"], ("end", how))
        await gone(ref, reason="shutdown")
        assert await take(tagged("told")) == ("told", "o", "shutdown")


@in_node()
async def test_auto_shutdown_all() -> None:
    """all_significant: when the last one has ended. A restart does not count, nor does terminate_child."""
    ref, pids = await desk(
        [spec(name, restart="transient", significant=True) for name in "abc"], auto_shutdown="all_significant"
    )
    send(pids["a"], ("end", "crash"))
    pids["a"] = await up("a")
    send(pids["a"], ("end", "normal"))
    await ref.terminate_child("b")
    assert is_alive(ref.pid)
    send(pids["c"], ("end", ("shutdown", 1)))
    await gone(ref, reason="shutdown")


# -- as a class, nested, from outside ---------------------------------------------------------------------------------


class Desk(Supervisor):
    strategy = "one_for_all"
    max_restarts = 7

    def init(self, owner: Pid, names: str) -> None:
        self.owner = owner
        self.names = names

    def children(self) -> list[ChildSpec]:
        return [Task.child(kid, self.owner, n).options(id=n, restart="permanent") for n in self.names]


@in_node()
async def test_as_data() -> None:
    trap_exit(True)
    specs = [Task.child(kid, transom.current_pid(), name).options(id=name) for name in ("a", "b")]
    desk = await Supervisor.start_link(specs, strategy="one_for_all")
    assert sorted([(await take(tagged("up")))[1] for _ in specs]) == ["a", "b"]
    assert [id for id, _, _ in await desk.which_children()] == ["b", "a"]
    await close(desk)


@in_node()
async def test_as_a_class() -> None:
    trap_exit(True)
    me = transom.current_pid()
    ref = await Desk.options(name="desk").start_link(me, "ab")
    assert isinstance(ref, SupervisorRef)
    assert transom.whereis("desk") == ref.pid == Desk.at("desk").pid
    before = {name: await up(name) for name in "ab"}
    assert await states(Desk.at("desk")) == before
    with pytest.raises(transom.AlreadyStarted) as taken:
        await Desk.options(name="desk").start_link(me, "cd")
    assert taken.value.pid == ref.pid
    send(before["a"], ("end", "crash"))
    after = {name: await up(name) for name in "ab"}
    assert await states(ref) == after
    await close(ref)
    with pytest.raises(CallError):
        await Desk.at("desk").which_children()
    with pytest.raises(transom.NoProcess):
        _ = Desk.at("desk").pid


@in_node()
async def test_a_tree() -> None:
    """A supervisor below a supervisor: kind, shutdown infinity; its giving up is a crash for the one above."""
    trap_exit(True)
    me = transom.current_pid()
    child = Desk.child(me, "ab")
    assert (child.kind, child.shutdown, child.restart) == ("supervisor", "infinity", "permanent")
    below = child.options(name="below", id="below")
    top = await Supervisor.start_link(children=[below, spec("w")])
    assert await top.count_children() == {"specs": 2, "active": 2, "supervisors": 1, "workers": 1}
    first = Desk.at("below").pid
    for _ in range(8):  # one more than its max_restarts
        await up("b")
        send(await up("a"), ("end", "crash"))
    pids = {name: await up(name) for name in "ab"}
    await eventually(lambda: states(Desk.at("below")), pids)
    assert Desk.at("below").pid != first
    assert (await states(top))["below"] == Desk.at("below").pid
    await up("w")
    await close(top)
    assert not any(map(is_alive, pids.values()))


def test_from_a_plain_thread_and_from_asyncio() -> None:
    """The child API is awaitable in asyncio programs, and has result() in plain threads."""
    import asyncio

    async def idle() -> None:
        await transom.receive()

    child = Task.child(idle).options(restart="permanent")
    transom.start(schedulers=2)
    try:
        ref = Supervisor.start(children=[child.options(id=1)]).result(DEADLINE)
        assert [id for id, _, _ in ref.which_children().result(DEADLINE)] == [1]
        with pytest.raises(NoChild):
            ref.terminate_child("nobody").result(DEADLINE)

        async def program() -> int:
            await ref.start_child(child.options(id=2))
            return (await ref.count_children())["active"]

        assert asyncio.run(program()) == 2
        ref.stop().result(DEADLINE)
        assert not is_alive(ref.pid)
    finally:
        transom.stop()


@in_node()
async def test_from_a_plain_process() -> None:
    ref, pids = await desk([spec("a")])
    me = transom.current_pid()

    def plain() -> None:
        send(me, ("children", ref.which_children().result()))

    transom.spawn(plain)
    assert (await take(tagged("children")))[1] == [("a", pids["a"], "worker")]
    await close(ref)


def test_reports(caplog: pytest.LogCaptureFixture) -> None:
    """Supervisor reports through logging: crashes, giving up; nothing for clean ends."""

    async def main() -> None:
        ref, pids = await desk([spec("a", restart="transient"), spec("b", restart="transient")], max_restarts=1)
        send(pids["b"], ("end", "normal"))
        send(pids["a"], ("end", "crash"))
        pids["a"] = await up("a")
        send(pids["a"], ("end", "crash"))
        await gone(ref, reason="shutdown")

    run_node(main)
    texts = [r.getMessage() for r in caplog.records if r.name == "transom" and r.getMessage().startswith("supervisor")]
    assert sum("child 'a'" in text and "it is restarted" in text for text in texts) == 1
    assert sum("gives up: more than 1 restarts within 5.0 s" in text for text in texts) == 1
    assert any("ZeroDivisionError: on purpose" in text for text in texts)
    assert not any("'b'" in text for text in texts)


# -- races ------------------------------------------------------------------------------------------------------------


@pytest.mark.race
@in_node()
async def test_terminate_child_races_with_its_crash(rng: random.Random) -> None:
    """After terminate_child the child is stopped, whichever came first, and stays so."""
    for _ in range(scaled(300)):
        ref, pids = await desk([spec("a")], max_restarts=5)
        spin(rng.randrange(300))
        send(pids["a"], ("end", "crash"))
        spin(rng.randrange(300))
        await ref.terminate_child("a")
        assert await states(ref) == {"a": None}
        await close(ref)
        # It was restarted before it was stopped, or not at all.
        ups = [m for m in transom.process_info(transom.current_pid(), "messages")["messages"] if tagged("up")(m)]  # type: ignore[index]
        assert len(ups) <= 1
        for m in ups:
            await take(is_(m))
            assert not is_alive(m[2])


@pytest.mark.race
@in_node()
async def test_the_parent_ends_while_children_crash(rng: random.Random) -> None:
    """Whatever happens at that moment, nothing is left alive."""
    me = transom.current_pid()

    async def parent(strategy: str) -> None:
        children = [Task.child(kid, me, n).options(id=n, restart="permanent") for n in range(4)]
        await Supervisor.start_link(children=children, strategy=strategy, max_restarts=100)
        await transom.receive(is_("go"))
        raise Stop("shutdown")

    for turn in range(scaled(150)):
        pid = transom.spawn(parent, STRATEGIES[turn % 3])
        pids = [await up(n) for n in range(4)]
        for victim in rng.sample(pids, rng.randrange(1, 4)):
            send(victim, ("end", "crash"))
            spin(rng.randrange(500))
        send(pid, "go")
        await until(lambda: set(transom.processes()) == {me})
        while True:
            try:
                await transom.receive(tagged("up"), timeout=0)
            except TimeoutError:
                break


@pytest.mark.race
@in_node()
async def test_a_child_is_killed_while_it_is_stopped(rng: random.Random) -> None:
    """A child that dies while being terminated."""
    me = transom.current_pid()
    for _ in range(scaled(200)):
        ref, pids = await desk([spec("a"), spec("b", orderly)])
        down = monitor(pids["b"])

        async def terminate(ref: SupervisorRef = ref) -> None:
            await ref.terminate_child("b")
            send(me, "terminated")

        transom.spawn(terminate)
        spin(rng.randrange(2000))
        kill(pids["b"])
        await take(is_("terminated"))
        assert await reason_of(down) in ("killed", "shutdown")
        state = await states(ref)
        assert state["a"] == pids["a"] and state["b"] is None
        await close(ref)
        while True:
            try:
                await transom.receive(tagged("told"), tagged("up"), timeout=0)
            except TimeoutError:
                break


def test_children_in_place_of_a_method() -> None:
    with pytest.raises(TypeError, match=r"Wrong\.children is a list, and has to be a method: def children"):
        type("Wrong", (Supervisor,), {"children": []})
