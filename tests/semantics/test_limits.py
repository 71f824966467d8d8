"""Memory limits (max_heap): the account, the end of who goes over it, and that nobody else notices."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from support import all_down, in_node, take, until

import transom
import transom.sync
from transom import SpawnOptions, current_pid, process_info, receive, send, spawn, spawn_opt

LIMIT = 4_000_000


def limited(fn: Callable[..., Any], *args: Any, max_heap: int = LIMIT, **options: Any) -> Any:
    return spawn_opt(SpawnOptions(max_heap=max_heap, monitor=True, **options), fn, *args)


def item(pid: transom.Pid, name: str) -> Any:
    found = process_info(pid, name)
    return None if found is None else found[name]


# -- who goes over it -------------------------------------------------------------------------------------------------


async def grows_a_list() -> None:
    rows = []
    while True:
        rows.append(bytearray(1_000))


async def grows_a_dict() -> None:
    table = {}
    n = 0
    while True:
        n += 1
        table[n] = [n] * 10


async def grows_an_attribute() -> None:
    class State:
        pass

    state = State()
    state.lines = []  # type: ignore[attr-defined]
    while True:
        state.lines.append("x" * 1_000 + str(len(state.lines)))  # type: ignore[attr-defined]


def grows_in_a_plain_function() -> None:
    def load() -> list[bytearray]:
        return [bytearray(1_000) for _ in range(10**9)]

    load()


def grows_inside_native_code() -> None:
    """Nothing in Python holds what list() is building."""
    list(bytearray(1_000) for _ in range(10**9))


async def grows_while_it_awaits() -> None:
    rows = []
    while True:
        rows.append(b"x" * 10_000 + bytes([len(rows) % 256]))
        await transom.sleep(0)


@pytest.mark.parametrize(
    "body",
    [
        grows_a_list,
        grows_a_dict,
        grows_an_attribute,
        grows_in_a_plain_function,
        grows_inside_native_code,
        grows_while_it_awaits,
    ],
)
def test_over_the_limit_it_ends_with_killed(body: Callable[..., Any], node: Callable[..., Any]) -> None:
    async def main() -> None:
        _, ref = limited(body)
        assert (await take(ref)).reason == "killed"

    node(main)


@in_node()
async def test_killed_is_raised_in_it_and_finally_runs() -> None:
    """Ended as by kill: its finally blocks run, what they send goes nowhere."""
    ran = []

    async def body() -> None:
        try:
            await grows_a_list()
        finally:
            ran.append(len(bytearray(3 * LIMIT)))  # exempt: it is dead

    _, ref = limited(body)
    assert (await take(ref)).reason == "killed"
    await until(lambda: ran == [3 * LIMIT])


@in_node()
async def test_links_fire_with_killed() -> None:
    transom.trap_exit(True)
    pid = spawn_opt(SpawnOptions(max_heap=LIMIT, link=True), grows_a_list)
    down = await take(transom.Exit)
    assert (down.sender, down.reason) == (pid, "killed")


@pytest.mark.parametrize("sync", [False, True])
def test_a_flooded_mailbox_counts(sync: bool, node: Callable[..., Any]) -> None:
    """Messages count, also while their receiver waits for another one."""

    async def waits_for_an_int() -> None:
        await receive(int)

    def waits_for_an_int_sync() -> None:
        transom.sync.receive(int)

    async def main() -> None:
        pid, ref = limited(waits_for_an_int_sync if sync else waits_for_an_int)
        sent = 0
        while transom.is_alive(pid):
            sent += 1
            send(pid, f"{sent}" * 2_000)
        assert (await take(ref)).reason == "killed"
        assert sent * 2_000 < 10 * LIMIT

    node(main)


@in_node()
async def test_a_large_argument_counts() -> None:
    async def body(text: bytearray) -> None:
        await receive()

    _, ref = limited(body, bytearray(2 * LIMIT))
    assert (await take(ref)).reason == "killed"


# -- who does not -----------------------------------------------------------------------------------------------------


@in_node()
async def test_garbage_is_not_held_against_it() -> None:
    """A process that allocates many times its limit and holds little of it lives, cycles included."""

    async def body() -> int:
        for n in range(20_000):
            rows: list[Any] = [bytearray(2_000)]
            if n % 4 == 0:
                rows.append(rows)
        return len(rows)

    _, ref = limited(body)
    assert (await take(ref)).reason == "normal"


@in_node(schedulers=2)
async def test_what_it_sends_away_is_not_held_against_it() -> None:
    """Copies belong to the receiver; the receiver's own are dropped when it drops them."""

    async def producer(consumer: transom.Pid) -> None:
        for _ in range(2_000):
            send(consumer, [bytearray(10_000)])
            await take("more".__eq__)

    async def consumer() -> None:
        maker = await take(transom.Pid)
        for _ in range(2_000):
            await take(list)
            send(maker, "more")

    taker, taker_ref = limited(consumer)
    maker, maker_ref = limited(producer, taker)
    send(taker, maker)
    assert (await take(maker_ref)).reason == "normal"
    assert (await take(taker_ref)).reason == "normal"


@in_node()
async def test_one_below_the_limit_lives() -> None:
    async def body() -> None:
        rows = [bytearray(1_000) for _ in range(LIMIT // 2_000)]
        await receive()
        assert rows

    pid, ref = limited(body)
    await until(lambda: (item(pid, "total_heap_size") or 0) > LIMIT // 3)
    send(pid, "go")
    assert (await take(ref)).reason == "normal"


# -- one huge request -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_",
    [lambda: bytearray(10**10), lambda: "x" * 10**9, lambda: [0] * 10**9, lambda: b"y" * (LIMIT + 1)],
    ids=["bytearray", "str", "list", "just above"],
)
def test_one_huge_request_is_refused_in_that_process_alone(
    request_: Callable[[], Any], node: Callable[..., Any]
) -> None:
    async def body(parent: transom.Pid) -> None:
        try:
            request_()
        except MemoryError:
            send(parent, "refused")
        await receive()  # it goes on

    async def neighbour(parent: transom.Pid) -> None:
        send(parent, len(bytearray(LIMIT * 3)))

    async def main() -> None:
        pid, ref = limited(body, current_pid())
        assert await take(str) == "refused"
        spawn(neighbour, current_pid())
        assert await take(int) == LIMIT * 3
        send(pid, "end")
        assert (await take(ref)).reason == "normal"

    node(main)


@in_node()
async def test_an_uncaught_refusal_is_a_crash_like_any_other() -> None:
    async def body() -> None:
        bytearray(10**10)

    _, ref = limited(body)
    reason = (await take(ref)).reason
    assert isinstance(reason, transom.Crash) and isinstance(reason.exception, MemoryError)


# -- the others -------------------------------------------------------------------------------------------------------


@in_node(schedulers=2)
async def test_a_hundred_neighbours_go_on_answering() -> None:
    """While one process after the other goes over its limit, everybody else answers every question."""
    me = current_pid()

    async def answers() -> None:
        while (question := await receive()) is not None:
            send(me, (question, current_pid()))

    neighbours = [spawn(answers) for _ in range(100)]
    for n in range(10):
        _, ref = limited(grows_a_list if n % 2 else grows_inside_native_code)
        for pid in neighbours:
            send(pid, n)
        assert {(await take(tuple))[1] for _ in neighbours} == set(neighbours)
        assert (await take(ref)).reason == "killed"
    for pid in neighbours:
        send(pid, None)


# -- the report -------------------------------------------------------------------------------------------------------


def test_the_report_names_the_biggest_holders(caplog: pytest.LogCaptureFixture, node: Callable[..., Any]) -> None:
    async def body() -> None:
        small = [b"z"] * 100
        rows_of_mine: list[Any] = []
        while small:
            rows_of_mine.append(bytearray(1_000))

    async def main() -> None:
        pid, ref = limited(body, label="the loader")
        send(pid, "waiting")
        assert (await take(ref)).reason == "killed"
        reports.extend(record for record in caplog.records if str(pid) in record.getMessage())

    reports: list[logging.LogRecord] = []
    node(main)
    (report,) = reports
    text = report.getMessage()
    assert report.name == "transom" and report.levelno == logging.ERROR
    assert "the loader" in text and f"max_heap of {LIMIT:,} bytes" in text
    first = text.split("biggest holders:\n")[1].split("\n")[0]
    assert "local rows_of_mine of" in first and "(list)" in first
    assert "bytearray" in text.split("by type:\n")[1].split("\n")[0]
    assert "mailbox (1 messages)" in text


# -- process_info -----------------------------------------------------------------------------------------------------


@in_node()
async def test_process_info_shows_account_and_limit() -> None:
    async def body() -> None:
        keep = bytearray(1_000_000)
        await receive()
        assert keep

    pid, ref = limited(body)
    await until(lambda: (item(pid, "total_heap_size") or 0) >= 1_000_000)
    assert item(pid, "max_heap_size") == LIMIT
    assert 1_000_000 <= item(pid, "total_heap_size") <= 1_200_000
    assert item(pid, "memory") >= 1_000_000 + item(pid, "native_memory")
    send(pid, "end")
    await all_down([ref])
    free = spawn(receive_once)
    assert item(free, "max_heap_size") is None
    assert item(free, "total_heap_size") is None
    send(free, "end")


async def receive_once() -> None:
    await receive()


@in_node()
async def test_native_memory_counts_envelopes_exactly() -> None:
    """Each waiting message is one envelope of 32 bytes, each link or monitor one record of 64."""

    async def body() -> None:
        await receive(int)

    pid = spawn(body)
    before = item(pid, "native_memory")
    for _ in range(10):
        send(pid, "waits")
    assert item(pid, "native_memory") == before + 320
    refs = [transom.monitor(pid) for _ in range(3)]
    assert item(pid, "native_memory") == before + 320 + 192
    send(pid, 1)
    await all_down(refs)


# -- options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [0, -1, 4095, 1 << 61])
def test_a_limit_out_of_range(bad: int) -> None:
    with pytest.raises(ValueError, match="max_heap must be between"):
        SpawnOptions(max_heap=bad)


@pytest.mark.parametrize("bad", [True, 1e6, "1M"])
def test_a_limit_of_the_wrong_type(bad: Any) -> None:
    with pytest.raises(TypeError, match="max_heap must be an int"):
        SpawnOptions(max_heap=bad)


def test_tracemalloc_and_limits_do_not_disturb_each_other(script: Callable[..., Any]) -> None:
    """Another tool may wrap the allocators before, during and after."""
    script(
        """
        import tracemalloc, transom
        from transom import SpawnOptions, receive, send, spawn_opt

        async def waits():
            await receive()

        async def hog():
            rows = []
            while True:
                rows.append(bytearray(1000))

        async def main():
            first, ref = spawn_opt(SpawnOptions(max_heap=1_000_000, monitor=True), waits)
            tracemalloc.start()
            send(first, 1)
            await receive(ref)
            for _ in range(3):
                _, ref = spawn_opt(SpawnOptions(max_heap=1_000_000, monitor=True), hog)
                assert (await receive(ref)).reason == "killed"
            assert tracemalloc.get_traced_memory()[0] > 0
            tracemalloc.stop()
            _, ref = spawn_opt(SpawnOptions(max_heap=1_000_000, monitor=True), hog)
            assert (await receive(ref)).reason == "killed"
            print("fine")

        import logging
        logging.disable()
        transom.run(main)
        """,
    )
