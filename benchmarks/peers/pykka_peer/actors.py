"""The scenarios that threads as actors can play."""

from __future__ import annotations

import gc
from queue import SimpleQueue
from time import perf_counter_ns, sleep
from typing import Any

from pykka import ActorRef, ActorRegistry, ThreadingActor

from benchmarks.side import Params, Result, emit_and_leave, rss_bytes

Ref = ActorRef[Any]


class Pong(ThreadingActor):
    def on_receive(self, message: Any) -> None:
        who, n = message
        who.tell((self.actor_ref, n))


class Ping(ThreadingActor):
    def __init__(self, boss: SimpleQueue[str], peer: Ref, count: int) -> None:
        super().__init__()
        self.boss, self.peer, self.left = boss, peer, count

    def on_receive(self, message: Any) -> None:
        if self.left == 0:
            self.boss.put("done")
            return
        self.left -= 1
        self.peer.tell((self.actor_ref, self.left))


def play(count: int, round_trips: int) -> int:
    boss: SimpleQueue[str] = SimpleQueue()
    players = [Ping.start(boss, Pong.start(), round_trips) for _ in range(count)]
    start = perf_counter_ns()
    for player in players:
        player.tell("go")
    for _ in players:
        boss.get()
    took = perf_counter_ns() - start
    ActorRegistry.stop_all()
    return took


def play_warm(count: int, hops: int) -> Result:
    round_trips = hops // 2 // count
    play(count, max(1, round_trips // 10))
    return {"ns": play(count, round_trips) / (2 * round_trips * count)}


def hop(params: Params) -> Result:
    return play_warm(1, params.int("n"))


def pairs(params: Params) -> Result:
    return play_warm(params.int("pairs"), params.int("n"))


class Consumer(ThreadingActor):
    def __init__(self, boss: SimpleQueue[int], count: int) -> None:
        super().__init__()
        self.boss, self.left, self.total = boss, count, 0

    def on_receive(self, message: Any) -> None:
        _who, n = message
        self.total += n
        self.left -= 1
        if self.left == 0:
            self.boss.put(self.total)


class Producer(ThreadingActor):
    def on_receive(self, message: Any) -> None:
        sink, count = message
        for n in range(count):
            sink.tell((self.actor_ref, n))


def gather(producers: int, each: int) -> int:
    boss: SimpleQueue[int] = SimpleQueue()
    sink = Consumer.start(boss, producers * each)
    sources = [Producer.start() for _ in range(producers)]
    start = perf_counter_ns()
    for source in sources:
        source.tell((sink, each))
    assert boss.get() == producers * (each * (each - 1) // 2)
    took = perf_counter_ns() - start
    ActorRegistry.stop_all()
    return took


def fanin(params: Params) -> Result:
    each = params.int("n") // 4
    gather(4, max(1, each // 10))
    return {"ns": gather(4, each) / (each * 4)}


class Nothing(ThreadingActor):
    def on_receive(self, message: Any) -> Any:
        return message


def spawn_exit(params: Params) -> Result:
    """A pykka actor ends when it is stopped; waiting for the stop is its news of the end."""
    count = params.int("n")
    start = perf_counter_ns()
    for _ in range(count):
        Nothing.start().stop()
    return {"ns": (perf_counter_ns() - start) / count}


def call(params: Params) -> Result:
    server, count = Nothing.start(), params.int("n")
    for n in range(count // 10):
        server.ask(("call", n))
    start = perf_counter_ns()
    for n in range(count):
        server.ask(("call", n))
    took = perf_counter_ns() - start
    ActorRegistry.stop_all()
    return {"ns": took / count}


class Counter(ThreadingActor):
    def __init__(self) -> None:
        super().__init__()
        self.n = 0

    def add(self, k: int) -> int:
        self.n += k
        return self.n


def agent_call(params: Params) -> Result:
    """A method through Pykka's proxy, which answers with a future."""
    counter: Any = Counter.start().proxy()
    count = params.int("n")
    for _ in range(count // 10):
        counter.add(1).get()
    start = perf_counter_ns()
    for _ in range(count):
        counter.add(1).get()
    took = perf_counter_ns() - start
    ActorRegistry.stop_all()
    return {"ns": took / count}


def idle_bytes(params: Params) -> Result:
    count = params.int("n")
    keep = [Nothing.start() for _ in range(50)]
    sleep(0.2)
    gc.collect()
    before = rss_bytes()
    keep += [Nothing.start() for _ in range(count)]
    sleep(0.5)
    gc.collect()
    emit_and_leave({"bytes": (rss_bytes() - before) / count})
    raise AssertionError("emit_and_leave leaves the process")
