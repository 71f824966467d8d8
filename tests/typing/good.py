"""Uses that both type checkers must accept, with the types they must find. Never run."""

from typing import Any, assert_type

import transom
import transom.sync
from transom import Crash, Down, Exit, Pid, Ref, SpawnOptions, Stop, Timer, statem


async def body(number: int, *, text: str = "") -> None:
    raise Stop(("shutdown", number, text))


async def value() -> int:
    return 1


def plain(number: int) -> str:
    return str(number)


def the_node() -> None:
    assert_type(transom.run(value), int)
    assert_type(transom.run(plain, 1, schedulers=1), str)
    transom.start(schedulers=2, name="node", max_processes=1000, max_threads=8)
    transom.stop()
    transom.stop(timeout=1.5)


def spawning() -> None:
    assert_type(transom.spawn(body, 1, text="x"), Pid)
    assert_type(transom.spawn(plain, 1), Pid)
    assert_type(transom.spawn_link(body, 1), Pid)
    assert_type(transom.spawn_monitor(body, 1), tuple[Pid, Ref])
    options = SpawnOptions(link=True, name="n", priority="low", trap_exit=True, pinned=True, label="l", max_heap=1)
    transom.spawn_opt(options, body, 1)
    transom.spawn(lambda: None)


async def messages(pid: Pid, ref: Ref) -> None:
    assert_type(transom.current_pid(), Pid)
    transom.send(pid, {"any": "thing"})
    transom.send("name", 1, priority=True)
    transom.send(ref, None)
    transom.send(("name", "node"), 1)
    assert_type(pid.send([1]), None)
    await transom.receive()
    await transom.receive(timeout=0)
    await transom.receive(int, ref, lambda message: message == 1, timeout=1)
    assert_type(await transom.receive(int), int)
    assert_type(await transom.receive(int, Exit, timeout=1), int | Exit)
    await transom.receive(int | str)
    transom.sync.receive(str, timeout=1.0)
    await transom.sleep(1)
    transom.sync.sleep(0.1)


async def signals(pid: Pid) -> None:
    ref = transom.monitor(pid)
    assert_type(ref, Ref)
    transom.monitor("name", alias="reply_demonitor", tag="T", priority=True)
    assert_type(transom.demonitor(ref, flush=True), bool)
    assert_type(transom.alias(mode="reply"), Ref)
    assert_type(transom.unalias(ref), bool)
    assert_type(transom.trap_exit(True), bool)
    assert_type(transom.make_ref(), Ref)
    transom.link(pid)
    transom.unlink(pid)
    transom.exit(pid, "shutdown")
    transom.kill(pid)
    match await transom.receive():
        case Exit(sender, reason):
            assert_type(sender, Pid)
            print(reason)
        case Down(ref, _, Crash() as crash):
            assert_type(crash.exception, BaseException)
            assert_type(crash.traceback, str)


def names_and_timers(pid: Pid) -> None:
    transom.register("n", pid)
    transom.unregister("n")
    assert_type(transom.whereis("n"), Pid | None)
    assert_type(transom.registered(), list[str])
    timer = transom.send_after(1, pid, "m")
    assert_type(timer, Timer)
    assert_type(transom.cancel_timer(timer), float | None)
    assert_type(transom.read_timer(timer), float | None)


def looking(pid: Pid) -> None:
    assert_type(transom.processes(), list[Pid])
    assert_type(transom.is_alive(pid), bool)
    if (info := transom.process_info(pid, "links", "status")) is not None:
        print(info["links"])
    assert_type(transom.reductions(), int)
    old: str = transom.set_priority("high")
    print(old)
    print(transom.node_info()["slots"], {pid: 1}, sorted([pid, pid]))


class Counter(transom.Agent):
    def init(self, start: int = 0) -> None:
        self.n = start

    @transom.method
    def add(self, k: int, *, times: int = 1) -> int:
        self.n += k * times
        return self.n

    @transom.method
    async def ask(self, question: str) -> list[str]:
        return [question]

    async def plain(self, question: str) -> str:
        return question


async def agents() -> None:
    c = await Counter.start_link(1)
    assert_type(c, Counter)
    assert_type(await c.add(2), int)
    assert_type(await c.add(2, times=3), int)
    assert_type(await c.ask("x"), list[str])
    assert_type(await c.plain("x"), str)
    assert_type(c.add(2).result(1.0), int)
    assert_type(await c.add(2).send(), int)
    assert_type(await c.add.options(timeout=60)(2), int)
    c.add.cast(2, times=2)
    assert_type(Counter.at("counter"), Counter)
    named = Counter.options(name="counter", timeout=1.0)
    assert_type(await named.start(1), Counter)
    assert_type(await Counter.start_monitor(), tuple[Counter, Ref])
    assert_type(Counter.start(1).result(), Counter)
    assert_type(Counter.child(1).options(id="c", restart="transient"), transom.ChildSpec)
    assert_type(transom.pid_of(c), Pid)
    assert_type(await transom.gather(c.add(1), c.add(2)), list[int])


class Rooms(transom.Supervisor):
    def init(self, rooms: int) -> None:
        self.rooms = rooms

    def children(self) -> list[transom.ChildSpec]:
        return [transom.Task.child(body, number).options(id=number) for number in range(self.rooms)]


async def supervising() -> None:
    rooms = await Rooms.start_link(2)
    assert_type(rooms, transom.SupervisorRef)
    assert_type(await rooms.count_children(), dict[str, int])


class Door(transom.StateMachine):
    state_enter = True

    def init(self, code: str) -> str:
        self.code = code
        return "locked"

    @transom.method
    def push(self, digit: str) -> bool:
        raise NotImplementedError

    @transom.method
    def length(self) -> int:
        return len(self.code)

    @statem.state
    def locked(self, event: statem.Event) -> statem.Transition | None:
        match event:
            case statem.Event("enter", old):
                print(old, self.current_state)
            case statem.Event("call", ("push", digit)) if digit == self.code:
                return statem.next_state(
                    self.open,
                    statem.reply(event, True),
                    statem.state_timeout(10, "lock"),
                    statem.event_timeout("cancel"),
                    statem.timeout("name", 1.5, absolute=True),
                    statem.next_event("internal", 1),
                    statem.next_event(event),
                    statem.hibernate(),
                )
            case statem.Event("call"):
                assert_type(event.from_, transom.From)
                return statem.keep_state(statem.postpone())
        return None

    @statem.state
    async def open(self, event: statem.Event) -> statem.Transition:
        if event.type == "cast":
            return statem.stop_and_reply("normal", statem.reply(event.from_, 1))
        return statem.repeat_state() if event.name == "name" else statem.stop()


async def machines() -> None:
    door = await Door.options(name="door").start_link("1")
    assert_type(door, Door)
    assert_type(await door.push("1"), bool)
    door.push.cast("1")
    assert_type(await door.length.options(timeout=1)(), int)
    state, data = await transom.sys.get_state(door)
    print(state, data["code"])
    assert_type(await transom.sys.get_state("door"), dict[str, Any])
    await transom.sys.replace_state(door, lambda both: ("open", both[1]))
    assert_type(Door.child("1"), transom.ChildSpec)
