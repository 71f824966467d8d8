"""A storm: workers that spawn, send, link, monitor, kill and end at random, on all schedulers, for a bounded time.

    python storm.py SEED SECONDS SCHEDULERS

What it asserts, phase by phase:

nothing lost, nothing doubled
    Every message carries its sender and a number that counts what that sender sent to that receiver. A receiver accepts
    from each sender 0, 1, 2, ... without gap or repetition; at the end of a phase each survivor must have received all that
    each sender wrote into its ledger (a sender killed in between may have written one more than it sent). Each monitor and
    each link of the observers, which are never killed, gives exactly one Down or Exit; so does each monitor of a worker
    unless it was cancelled in time. Each timer delivers once unless it was cancelled in time.
no process leaked
    When the workers have been ended, main and the observers are all that is left, and spawned == exited + live.
memory back to the start
    Resident memory after the last phase is what it was after the second, give or take.

Violations are collected in a list that all processes share on purpose (closures are not messages).
"""

from __future__ import annotations

import faulthandler
import gc
import logging
import os
import random
import sys
import time
from typing import Any

from support import until

import transom
import transom.sync
from transom import (
    Crash,
    Down,
    Exit,
    NoProcess,
    Pid,
    ProcessLimit,
    Ref,
    SpawnOptions,
    Stop,
    current_pid,
    demonitor,
    exit,
    is_alive,
    kill,
    link,
    monitor,
    receive,
    send,
    send_after,
    sleep,
    spawn,
    spawn_link,
    spawn_opt,
    trap_exit,
    unlink,
)

POPULATION = 300
PLAIN = 12  # of them plain functions, which keep an OS thread each
NAMES = [f"name-{n}" for n in range(12)]
REASONS: list[Any] = ["normal", "shutdown", "boom", ("shutdown", 1), ("why", 7), "kill"]
PHASES = 6


class Storm:
    """What the processes of one phase share."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.population: list[Pid | None] = [None] * POPULATION
        self.observers: list[Pid] = []
        self.ledgers: dict[Pid, dict[Pid, int]] = {}
        self.counts: dict[Pid, dict[Pid, int]] = {}
        self.violations: list[str] = []
        self.frozen = False
        self.started = 0

    def violated(self, text: str) -> None:
        self.violations.append(f"{current_pid()}: {text}")


class Worker:
    """The random life of one process. `step` does something and says how long to wait for a message then."""

    def __init__(self, storm: Storm, seed: int, place: int) -> None:
        self.storm = storm
        self.rng = random.Random(seed)
        self.place = place
        self.me = current_pid()
        self.sent: dict[Pid, int] = {}
        self.received: dict[Pid, int] = {}
        self.refs: dict[Ref, Pid] = {}
        self.timers: dict[int, transom.Timer] = {}
        self.cancelled: set[int] = set()
        self.timer_count = 0
        self.links: set[Pid] = set()
        storm.ledgers[self.me] = self.sent
        storm.counts[self.me] = self.received

    def peer(self) -> Pid:
        return self.rng.choice(self.storm.population) or self.me

    def step(self) -> float:
        if self.storm.frozen:
            return 0.05
        kind = self.rng.randrange(100)
        if kind < 45:
            for _ in range(self.rng.randrange(1, 8)):
                self.send_to(self.peer())
        elif kind < 51:
            self.tie(self.peer())
        elif kind < 55:
            unlink(self.peer())
        elif kind < 62:
            peer = self.peer()
            self.refs[monitor(peer)] = peer
        elif kind < 66 and self.refs:
            self.cancel_monitor(self.rng.choice(list(self.refs)))
        elif kind < 69:
            exit(self.peer(), self.rng.choice(REASONS))
        elif kind < 71:
            kill(self.peer())
        elif kind < 77:
            plant(self.storm, self.rng.randrange(POPULATION), self.rng)
        elif kind < 80:
            trap_exit(self.rng.random() < 0.5)
        elif kind < 84:
            self.set_timer()
        elif kind < 87 and self.timers:
            self.stop_timer(self.rng.choice(list(self.timers)))
        elif kind < 89:
            self.register()
        elif kind < 93:
            for _ in range(self.rng.randrange(6_000)):
                pass
        elif kind < 94:
            transom.process_info(self.peer(), "status", "links", "monitors", "message_queue_len", "current_function")
        elif kind < 95 and self.rng.random() < 0.2:
            time.sleep(0.015)
        elif kind < 97:
            raise self.end()
        return self.rng.choice((0, 0, 0, 0.0005, 0.003))

    def send_to(self, peer: Pid) -> None:
        if peer == self.me:
            return
        n = self.sent.get(peer, 0)
        self.sent[peer] = n + 1
        send(peer, ("message", self.me, n) if n % 3 else ["message", self.me, n])

    def tie(self, peer: Pid) -> None:
        try:
            link(peer)
        except NoProcess:
            if is_alive(peer):
                self.storm.violated(f"link said that {peer} is dead")

    def cancel_monitor(self, ref: Ref) -> None:
        flush = self.rng.random() < 0.5
        in_time = demonitor(ref, flush=flush)
        if in_time or flush:
            del self.refs[ref]

    def set_timer(self) -> None:
        self.timer_count += 1
        n = self.timer_count
        self.timers[n] = send_after(self.rng.random() * 0.004, self.me, ("timer", n))

    def stop_timer(self, n: int) -> None:
        if transom.cancel_timer(self.timers[n]) is not None:
            del self.timers[n]
            self.cancelled.add(n)

    def register(self) -> None:
        name = self.rng.choice(NAMES)
        try:
            if self.rng.random() < 0.5:
                transom.register(name, self.peer())
            else:
                transom.unregister(name)
        except (NoProcess, ValueError):
            pass
        try:
            send(self.rng.choice(NAMES), ("by name",))
        except NoProcess:
            pass

    def end(self) -> BaseException:
        return self.rng.choice([Stop("normal"), Stop("boom"), Stop(("why", 1)), ValueError("crash"), Stop("shutdown")])

    def take(self, message: Any) -> None:
        match message:
            case Down(ref, pid, _):
                if self.refs.pop(ref, None) != pid:
                    self.storm.violated(f"Down of {pid} came twice, or after demonitor")
            case Exit():
                pass
            case ("message", sender, n) | ["message", sender, n]:
                expected = self.received.get(sender, 0)
                if n != expected:
                    self.storm.violated(f"from {sender}: number {n} where {expected} was due")
                self.received[sender] = n + 1
            case ("timer", n):
                if self.timers.pop(n, None) is None:
                    self.storm.violated(f"timer {n} fired twice, or after its cancellation")
            case ("by name",):
                pass
            case ("settled?", owner):
                send(
                    owner,
                    ("settled", self.me, not self.timers and not any(not is_alive(pid) for pid in self.refs.values())),
                )
            case _:
                self.storm.violated(f"unknown message {message!r}")


def plant(storm: Storm, place: int, rng: random.Random) -> None:
    """Start a worker in this place of the population, watched by the observers, if the one there is dead or unlucky."""
    old = storm.population[place]
    if old is not None and is_alive(old) and rng.random() < 0.7:
        return
    body = plain_worker if place < PLAIN else worker
    seed = rng.getrandbits(48)
    how = rng.randrange(4)
    try:
        if how == 0:
            pid = spawn(body, storm_of(storm), seed, place)
        elif how == 1:
            pid = spawn_link(body, storm_of(storm), seed, place)
        elif how == 2:
            options = SpawnOptions(
                priority=rng.choice(("low", "normal", "normal", "high")), trap_exit=rng.random() < 0.5
            )
            pid = spawn_opt(options, body, storm_of(storm), seed, place)
        else:
            pid = spawn_opt(SpawnOptions(pinned=place % 50 == 13), body, storm_of(storm), seed, place)
    except ProcessLimit:
        return
    storm.started += 1  # approximate: for the report
    storm.population[place] = pid
    observer = rng.choice(storm.observers)
    send(observer, (rng.choice(("watch", "tie")), pid))
    if old is not None:
        kill(old)


def storm_of(storm: Storm) -> Any:
    """The storm goes by reference: a function is not copied."""
    return lambda: storm


async def worker(shared: Any, seed: int, place: int) -> None:
    me = Worker(shared(), seed, place)
    while True:
        timeout = me.step()
        try:
            while True:
                me.take(await receive(timeout=timeout))
                timeout = 0 if me.rng.random() < 0.9 else timeout
        except TimeoutError:
            pass


def plain_worker(shared: Any, seed: int, place: int) -> None:
    me = Worker(shared(), seed, place)
    while True:
        timeout = me.step()
        try:
            while True:
                me.take(transom.sync.receive(timeout=timeout))
                timeout = 0 if me.rng.random() < 0.9 else timeout
        except TimeoutError:
            pass


async def observer(shared: Any) -> None:
    """Watch and link workers; each gives exactly one Down or Exit."""
    storm: Storm = shared()
    trap_exit(True)
    watched: dict[Ref, Pid] = {}
    tied: set[Pid] = set()
    ended = 0
    while True:
        match await receive():
            case ("watch", pid):
                watched[monitor(pid)] = pid
            case ("tie", pid):
                tied.add(pid)
                link(pid)
            case Down(ref, pid, reason):
                ended += 1
                if watched.pop(ref, None) != pid or not right_reason(reason):
                    storm.violated(f"observer: Down of {pid}, {reason!r}")
            case Exit(pid, reason):
                ended += 1
                if pid not in tied or not right_reason(reason):
                    # A worker may also aim an exit signal at an observer? None knows one.
                    storm.violated(f"observer: Exit of {pid}, {reason!r}")
                tied.discard(pid)
            case ("all ended?", owner):
                send(owner, ("all ended", current_pid(), not watched and not tied, ended))


def right_reason(reason: Any) -> bool:
    if isinstance(reason, Crash):
        return isinstance(reason.exception, ValueError) and reason.exception.args == ("crash",)
    return reason in ("normal", "shutdown", "boom", ("shutdown", 1), ("why", 7), ("why", 1), "killed", "noproc")


async def asks_until(pids: list[Pid], question: str, answer: str, what: str) -> list[tuple[Any, ...]]:
    """Ask all until each says yes."""
    answers: list[tuple[Any, ...]] = []
    end = time.monotonic() + 20
    while pids:
        assert time.monotonic() < end, f"{what}: never so for {pids[:10]}"
        for pid in pids:
            send(pid, (question, current_pid()))
        again = []
        for _ in pids:
            got = await receive(lambda m: isinstance(m, tuple) and m[0] == answer, timeout=20)
            if got[2]:
                answers.append(got)
            else:
                again.append(got[1])
        pids = again
        if pids:
            await sleep(0.005)
    return answers


async def phase(seed: int, seconds: float) -> dict[str, int]:
    storm = Storm(seed)
    me = current_pid()
    storm.observers = [spawn(observer, storm_of(storm)) for _ in range(3)]
    own = {me, *storm.observers}
    end = time.monotonic() + seconds
    while time.monotonic() < end and not storm.violations:
        for place in range(POPULATION):
            pid = storm.population[place]
            if pid is None or not is_alive(pid):
                plant(storm, place, storm.rng)
        # Linked workers may have taken a signal to main.
        await sleep(0.002)
        while True:
            try:
                message = await receive(timeout=0)
            except TimeoutError:
                break
            assert isinstance(message, Exit), message
    storm.frozen = True
    # The first answer of a worker comes after its last act. When all have answered, all is sent; by the second answer all
    # is received.
    alive: set[Pid] = set()
    while new := set(transom.processes()) - own - alive:
        alive |= await settle(new)
    alive = await settle(alive)
    # Nothing lost: what each survivor received is what each sender wrote down.
    for receiver in alive:
        for sender, ledger in storm.ledgers.items():
            sent, received = ledger.get(receiver, 0), storm.counts[receiver].get(sender, 0)
            if received != sent and not (sender not in alive and received == sent - 1):
                storm.violated(f"{sender} sent {sent} messages to {receiver}, which received {received}")
    for pid in transom.processes():
        if pid not in own:
            kill(pid)
    await until(lambda: set(transom.processes()) == own, lambda: f"left: {transom.processes()[:10]}")
    ended = await asks_until(storm.observers, "all ended?", "all ended", "one Down or Exit for each")
    for pid in storm.observers:
        kill(pid)
    await until(lambda: balance() and transom.processes() == [me], lambda: f"books: {transom.node_info()}")
    await until(lambda: not transom.node_info()["occupied"], lambda: f"threads: {transom.node_info()['occupied']}")
    while transom.process_info(me, "message_queue_len")["message_queue_len"]:
        assert isinstance(await receive(), Exit)
    assert not storm.violations, "\n".join(storm.violations[:20])
    return {
        "workers": storm.started,
        "messages": sum(sum(ledger.values()) for ledger in storm.ledgers.values()),
        "seen to end": sum(answer[3] for answer in ended),
    }


async def settle(pids: set[Pid]) -> set[Pid]:
    """Ask workers until each has answered that its timers and monitors are settled, or is dead; those that answered."""
    refs = {monitor(pid): pid for pid in pids}
    answered: set[Pid] = set()
    waiting = set(pids)
    for pid in waiting:
        send(pid, ("settled?", current_pid()))
    end = time.monotonic() + 20
    while waiting:
        assert time.monotonic() < end, f"monitors or timers never settled: {sorted(waiting)[:10]}"
        message = await receive(Down, lambda m: isinstance(m, tuple) and m[0] == "settled", timeout=20)
        if isinstance(message, Down):
            waiting.discard(refs[message.ref])
        elif message[2]:
            waiting.discard(message[1])
            answered.add(message[1])
        elif message[1] in waiting:
            send_after(0.005, message[1], ("settled?", current_pid()))
    for ref in refs:
        demonitor(ref, flush=True)
    return answered


def balance() -> bool:
    node = transom.node_info()
    return bool(node["spawned"] == node["exited"] + len(transom.processes()))


def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def main(seed: int, seconds: float) -> None:
    trap_exit(True)
    rng = random.Random(seed)
    sizes = []
    for n in range(PHASES):
        result = await phase(rng.getrandbits(48), seconds / PHASES)
        gc.collect()
        sizes.append(resident())
        print(f"phase {n}: {result}, resident {sizes[-1] / 1e6:.1f} MB", flush=True)
    # The first phases fill pools and caches; from then on nothing may pile up.
    assert sizes[-1] < 1.15 * max(sizes[1:3]) + 16e6, sizes


if __name__ == "__main__":
    faulthandler.enable()
    logging.getLogger("transom").setLevel(logging.CRITICAL)
    gc.disable()
    transom.run(main, int(sys.argv[1]), float(sys.argv[2]), schedulers=int(sys.argv[3]))
    print("storm is over")
