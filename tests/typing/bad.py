"""Uses that both type checkers must refuse: each line marked with ``# E``, and no other. Never run."""

import transom
from transom import Crash, Down, Exit, Pid, Ref, SpawnOptions, statem


async def body(number: int) -> None: ...


async def value() -> int:
    return 1


def the_node() -> None:
    text: str = transom.run(value)  # E
    transom.run(1)  # E
    transom.stop("soon")  # E
    print(text)


def spawning() -> None:
    transom.spawn(body)  # E
    transom.spawn(body, "one")  # E
    transom.spawn(body(1))  # E
    transom.spawn_link(body, 1, 2)  # E
    transom.spawn_monitor(body, number="x")  # E
    SpawnOptions(True)  # E
    SpawnOptions(link=1)  # E
    SpawnOptions(colour="red")  # E
    SpawnOptions(priority="urgent")  # E
    transom.set_priority("urgent")  # E


async def messages(pid: Pid) -> None:
    transom.send(1, "x")  # E
    transom.send(pid)  # E
    pid.send()  # E
    await transom.receive(timeout="1")  # E
    transom.sleep()  # E
    transom.receive(1)  # E


async def signals(pid: Pid, ref: Ref) -> None:
    transom.link("name")  # E
    transom.kill(ref)  # E
    transom.exit(pid)  # E
    transom.demonitor(pid)  # E
    transom.demonitor(ref, True)  # E
    transom.trap_exit("yes")  # E
    transom.monitor(pid, alias="reply")  # E
    transom.alias(mode="demonitor")  # E


def names_and_timers(pid: Pid) -> None:
    transom.register(pid, "name")  # E
    transom.whereis("n").send(1)  # E
    transom.cancel_timer(1)  # E
    transom.send_after("1", pid, "m")  # E


def records(down: Down, exited: Exit, crash: Crash) -> None:
    down.reason = "x"  # E
    exited.sender = down.pid  # E
    print(crash.text)  # E


class Counter(transom.Agent):
    @transom.method
    def add(self, k: int) -> int:
        return k


async def agents(c: Counter) -> None:
    await c.add("2")  # E
    await c.add()  # E
    c.add.cast(k="x")  # E
    c.add.options(limit=1)  # E
    text: str = await c.add(1)  # E
    c.add(1).send().missing()  # E
    print(text)


class Door(transom.StateMachine):
    @transom.method
    def push(self, digit: str) -> bool:
        raise NotImplementedError

    @statem.state
    def locked(self, event: statem.Event) -> statem.Transition:
        statem.keep_state("postpone")  # E
        statem.state_timeout("soon")  # E
        statem.next_event("enter")  # E
        statem.reply(event.content.x, 1).missing()  # E
        return "locked"  # E


async def machines(door: Door) -> None:
    await door.push(1)  # E
    text: str = await door.push("1")  # E
    door.push.cast()  # E
    print(text)
