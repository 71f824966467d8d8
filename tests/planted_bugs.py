"""Bugs of the classic kinds that ordinary runs seldom show. Each is a test that is wrong about what may happen first.

The schedule search must find them (tests/testing/test_search.py); `python -m benchmarks search` counts how soon, beside
running them again and again. They wait for milliseconds only, so that repetition is not at a disadvantage.
"""

from __future__ import annotations

from typing import Any

import transom

SHORT, LONG = 0.001, 0.002


class Account(transom.Agent):
    def init(self) -> None:
        self.balance = 0

    def get(self) -> int:
        return self.balance

    def put(self, balance: int) -> None:
        self.balance = balance


async def _deposits(account: Any) -> None:
    balance = await account.get()
    account.put.cast(balance + 1)


async def lost_update() -> None:
    """Between a call that reads and a cast that writes, another may write."""
    account = await Account.start_link()
    first = transom.spawn_monitor(_deposits, account)[1]
    for _ in range(20):
        await transom.sleep(0)  # by then the first is done, nearly always
    second = transom.spawn_monitor(_deposits, account)[1]
    for ref in (first, second):
        await transom.receive(ref)
    assert await account.get() == 2


def _adds(box: list[int], parent: transom.Pid) -> None:
    for _ in range(100):
        pass
    value = box[0]
    for _ in range(5):
        pass
    box[0] = value + 1
    transom.send(parent, "done")


async def shared_counter() -> None:
    """The same on an object that both got as share(): takes an interruption at the right place."""
    box = [0]
    for _ in range(2):
        transom.spawn_link(_adds, transom.share(box), transom.current_pid())
    for _ in range(2):
        await transom.receive(str)
    assert box[0] == 2


async def _dozes() -> None:
    await transom.sleep(SHORT)


async def monitor_after_death() -> None:
    """The reason of a death is lost when the monitor comes after it."""
    pid = transom.spawn(_dozes)
    await transom.sleep(SHORT)
    transom.monitor(pid)
    assert (await transom.receive(transom.Down)).reason == "normal"


async def _answers() -> None:
    while True:
        pid, question, delay = await transom.receive()
        await transom.sleep(delay)
        transom.send(pid, question)


async def late_reply() -> None:
    """An answer that comes after its timeout is taken for the next one."""
    server = transom.spawn_link(_answers)
    for question, delay in (("a", LONG), ("b", SHORT)):
        transom.send(server, (transom.current_pid(), question, delay))
        for _ in range(10):
            await transom.sleep(0)  # so the server's timer is the first, nearly always
        try:
            answer = await transom.receive(str, timeout=LONG)
        except TimeoutError:
            continue
        assert answer == question


class Cache(transom.Agent):
    def init(self) -> transom.ContinueWith:
        return transom.continue_with("load")

    def handle_continue(self, what: str) -> None:
        transom.register("cache", transom.current_pid())

    def get(self) -> int:
        return 1


class Page(transom.Agent):
    def init(self) -> None:
        for _ in range(3):
            transom.send(transom.current_pid(), "work before the first use")

    def handle_info(self, message: str) -> None:
        pass

    async def show(self) -> int:
        return int(await Cache.at("cache").get())


class Shop(transom.Supervisor):
    strategy = "one_for_one"

    def children(self) -> list[Any]:
        return [Cache.child(), Page.child().options(name="page")]


async def supervisor_start_race() -> None:
    """A child takes its name only after its start, and its sibling uses that."""
    await Shop.start_link()
    assert await Page.at("page").show() == 1


class Peer(transom.Agent):
    def init(self) -> None:
        self.other: Any = None

    def meet(self, other: Any) -> None:
        self.other = other

    async def ask(self, depth: int) -> int:
        return depth if depth == 0 else int(await self.other.ask(depth - 1))


async def _asks(peer: Any) -> None:
    assert await peer.ask(1) == 0


async def call_cycle() -> None:
    """Two agents that call each other wait for each other, if both are called at once."""
    one, two = await Peer.start_link(), await Peer.start_link()
    await one.meet(two)
    await two.meet(one)
    callers = [transom.spawn_monitor(_asks, peer) for peer in (one, two)]
    for _, ref in callers:
        assert (await transom.receive(ref)).reason == "normal"


async def _worker(leader: transom.Pid) -> None:
    transom.send(leader, "up")
    if await transom.receive(str) == "work":
        await transom.receive(int)


async def leaked_worker() -> None:
    """Who is told to work before it is told to stop is never told again, and stays."""
    me = transom.current_pid()
    worker = transom.spawn(_worker, me)
    await transom.receive(str)
    transom.spawn(_says, worker, "stop", me)
    for _ in range(20):
        await transom.sleep(0)
    transom.spawn(_says, worker, "work", me)
    for _ in range(2):
        await transom.receive()


async def _says(to: transom.Pid, word: str, parent: transom.Pid) -> None:
    transom.send(to, word)
    transom.send(parent, "said")


PLANTED = [
    lost_update, shared_counter, monitor_after_death, late_reply, supervisor_start_race, call_cycle, leaked_worker,
]  # fmt: skip
