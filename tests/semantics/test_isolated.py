"""isolated(): what is promised of functions in other OS processes."""

from __future__ import annotations

import asyncio
import importlib.util
import math
import os
import pickle
import random
import signal
import struct
from pathlib import Path
from typing import Any

import pytest
import untrusted
from support import in_node, reason_of, scaled, take, until, until_sync

import transom

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs Linux")


async def failure(*args: Any, **options: Any) -> transom.CallError:
    with pytest.raises(transom.CallError) as caught:
        await transom.isolated(*args, **options)
    return caught.value


def exists(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def children() -> set[int]:
    """This program's children, zombies included."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == os.getpid():
                    found.add(int(entry.name))
            except OSError:
                pass
    return found


def pids_in(path: Path) -> list[int]:
    return [int(word) for word in path.read_text().split()] if path.exists() else []


# -- crashes -----------------------------------------------------------------------------------------------------------


@in_node()
async def test_a_crash_names_its_signal_and_the_next_call_works() -> None:
    error = await failure(untrusted.segfault)
    assert error.reason == ("signal", "SIGSEGV")
    assert "segfault()" in str(error) and "SIGSEGV" in str(error)
    assert (await failure(untrusted.end_by, int(signal.SIGABRT))).reason == ("signal", "SIGABRT")
    assert (await failure(untrusted.leave, 3)).reason == ("exit", 3)
    assert (await failure(untrusted.leave, 0)).reason == ("exit", 0)
    assert await transom.isolated(math.factorial, 5) == 120
    info = transom.isolated_info()
    assert (info["calls"], info["crashed"], info["killed"]) == (5, 4, 0)


@in_node()
async def test_an_owner_that_does_not_catch_it_ends_with_it() -> None:
    async def owner() -> None:
        await transom.isolated(untrusted.segfault)

    _, ref = transom.spawn_monitor(owner)
    reason = await reason_of(ref)
    assert isinstance(reason, transom.Crash)
    assert isinstance(reason.exception, transom.CallError)
    assert "SIGSEGV" in str(reason.exception)


@in_node()
async def test_exceptions_come_with_their_traceback_as_text() -> None:
    error = await failure(untrusted.fail, "x")
    assert isinstance(error.reason, transom.Crash)
    assert error.reason.exception.args == ("no", "x")
    assert type(error.reason.exception) is ValueError and error.__cause__ is error.reason.exception
    assert "untrusted.py" in error.reason.traceback and "_isolated_worker" not in error.reason.traceback
    assert "untrusted.py" in str(error)
    # A class of the program's own only when it was named.
    assert "Odd(7, 'seven')" in repr((await failure(untrusted.fail, "own")).reason)
    own = await failure(untrusted.fail, "own", returns=(untrusted.Odd,))
    assert isinstance(own.reason.exception, untrusted.Odd) and own.reason.exception.args == (7, "seven")


# -- killing -----------------------------------------------------------------------------------------------------------


@in_node()
async def test_a_call_that_takes_too_long_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    await transom.isolated(len, "")  # a worker is there: the time is the function's own
    with pytest.raises(transom.CallTimeout, match=r"spin\(\): not done within 1.5 s") as caught:
        await transom.isolated(untrusted.spin, str(path), timeout=1.5)
    assert caught.value.reason == "timeout"
    for pid in pids_in(path):
        await until(lambda pid=pid: not exists(pid))
    await until(lambda: transom.isolated_info()["killed"] == 1)
    assert await transom.isolated(len, "four") == 4


@in_node()
async def test_killing_the_owner_kills_its_worker_and_what_that_has_started(tmp_path: Path) -> None:
    path = tmp_path / "pids"

    async def owner() -> None:
        await transom.isolated(untrusted.spin_with_child, str(path), timeout=None)

    pid, ref = transom.spawn_monitor(owner)
    await until(lambda: len(pids_in(path)) == 2)
    worker, grandchild = pids_in(path)
    assert exists(worker) and exists(grandchild)
    transom.kill(pid)
    assert await reason_of(ref) == "killed"
    await until(lambda: not exists(worker) and not exists(grandchild))


@in_node()
async def test_killing_a_plain_owner_or_an_agent_kills_the_worker(tmp_path: Path) -> None:
    class Tool(transom.Agent):
        def run(self, path: str) -> None:
            transom.isolated(untrusted.spin, path, timeout=None).result()

    def plain(path: str) -> None:
        transom.isolated(untrusted.spin, path, timeout=None).result()

    agent = await Tool.start()
    agent.run.cast(str(tmp_path / "a"))
    pids = [transom.pid_of(agent), transom.spawn(plain, str(tmp_path / "b"))]
    for path, pid in zip("ab", pids, strict=True):
        (worker,) = await until(lambda path=path: pids_in(tmp_path / path))
        transom.kill(pid)
        await until(lambda worker=worker: not exists(worker))


@in_node(isolated_workers=2)
async def test_a_call_that_waits_can_be_given_up(tmp_path: Path) -> None:
    """Timeouts and kills of calls that no worker has yet leave the others alone."""
    paths = [tmp_path / "0", tmp_path / "1"]

    async def owner(path: str) -> None:
        await transom.isolated(untrusted.spin, path, timeout=None)

    owners = [transom.spawn(owner, str(path)) for path in paths]
    await until(lambda: all(pids_in(path) for path in paths))
    with pytest.raises(transom.CallTimeout):
        await transom.isolated(len, "x", timeout=0.05)
    late = transom.spawn(owner, str(tmp_path / "never"))
    await until(lambda: transom.isolated_info()["waiting"] == 1)
    transom.kill(late)
    await until(lambda: transom.isolated_info()["waiting"] == 0)
    assert all(exists(pids_in(path)[0]) for path in paths)
    assert transom.isolated_info()["killed"] == 0
    for pid in owners:
        transom.kill(pid)
    assert await transom.isolated(len, "x") == 1
    assert not (tmp_path / "never").exists()


@in_node()
def test_result_with_a_timeout_gives_the_call_up(tmp_path: Path) -> None:
    transom.isolated(len, "").result()
    with pytest.raises(TimeoutError):
        transom.isolated(untrusted.spin, timeout=None).result(0.2)
    until_sync(lambda: transom.isolated_info()["killed"] == 1)


@pytest.mark.slow
@in_node(isolated_workers=3)
async def test_kills_at_any_moment_leave_no_worker_busy(rng: random.Random) -> None:
    async def owner() -> None:
        await transom.isolated(math.factorial, 2000, timeout=None)

    await transom.isolated(len, "")
    for _ in range(scaled(30)):
        owners = [transom.spawn_monitor(owner) for _ in range(4)]
        await transom.sleep(rng.choice([0, 0.0002, 0.0005, 0.001]))
        for pid, _ in owners:
            transom.kill(pid)
        for _, ref in owners:
            assert await reason_of(ref) in ("killed", "normal", "noproc")
    await until(lambda: transom.isolated_info()["busy"] == 0 and transom.isolated_info()["waiting"] == 0)
    assert await transom.isolated(len, "four") == 4


# -- memory and data ---------------------------------------------------------------------------------------------------


@in_node()
async def test_memory_is_limited() -> None:
    error = await failure(untrusted.eat_memory, memory=100 << 20)
    assert error.reason == transom.Crash(MemoryError())
    # What is within the limit goes; and the next call has a whole worker.
    assert len(await transom.isolated(untrusted.give, b"x" * (10 << 20), memory=100 << 20)) == 10 << 20


@in_node()
async def test_values_of_all_kinds_come_back() -> None:
    value = {"a": [1, -(1 << 70), 2.5, None, True], (1, b"b"): {3, frozenset("x")}, "text": "\u00e9\ud800", "c": 1j}
    assert await transom.isolated(untrusted.give, value) == value
    big = bytes(range(256)) * (1 << 16)
    assert await transom.isolated(untrusted.give, big) == big
    many = list(range(200_000))
    assert await transom.isolated(untrusted.give, many) == many
    assert await transom.isolated("os.path:join", "a", "b") == "a/b"
    assert await transom.isolated(sorted, [2, 1], reverse=True) == [2, 1]


@in_node()
async def test_classes_in_results_have_to_be_named() -> None:
    wanted = [untrusted.Point(1, untrusted.Colour.RED)]
    assert await transom.isolated(untrusted.points, returns=(untrusted.Point, untrusted.Colour)) == wanted
    with pytest.raises(TypeError, match=r"name the class: isolated\(\.\.\., returns=\(Colour,\)\)"):
        await transom.isolated(untrusted.points, returns=(untrusted.Point,))
    error = await failure(untrusted.not_data)
    assert "a builtins.object cannot be in the result" in str(error)


@pytest.mark.skipif(importlib.util.find_spec("numpy") is None, reason="no numpy")
@in_node()
async def test_numpy_arrays_come_back() -> None:
    array, number = await transom.isolated(untrusted.arrays)
    assert array.dtype == "f4" and array.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert number == 5 and number.dtype == "i8"
    array += 1  # it is the owner's own


@in_node()
async def test_a_result_that_is_too_large() -> None:
    error = await failure(untrusted.give, b"x" * 2000, max_result=1000)
    assert error.reason[0] == "refused" and "max_result=1000" in error.reason[1]
    assert await transom.isolated(untrusted.give, b"x" * 900, max_result=1000) == b"x" * 900


@in_node()
async def test_what_cannot_be_copied_is_named() -> None:
    with pytest.raises(TypeError, match=r"argument 2 of give\(\), a Unpicklable, .*this one stays here"):
        transom.isolated(untrusted.give, 1, untrusted.Unpicklable())
    with pytest.raises(TypeError, match=r"argument 'value' of give\(\), a Unpicklable"):
        transom.isolated(untrusted.give, value=untrusted.Unpicklable())
    with pytest.raises(TypeError, match="the function of .*lambda.*at the top level of a module"):
        transom.isolated(lambda: 1)

    async def coroutine() -> None: ...

    for wrong in (coroutine, 5):
        with pytest.raises(TypeError, match="takes a plain function"):
            transom.isolated(wrong)  # type: ignore[arg-type]
    for options in ({"timeout": 0}, {"timeout": "1"}, {"memory": 0}, {"max_result": -1}):
        with pytest.raises(ValueError, match=f"isolated.*{next(iter(options))}"):
            transom.isolated(len, "", **options)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="returns"):
        transom.isolated(len, "", returns=[int])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="package.module:function"):
        transom.isolated("len")
    assert transom.isolated_info() == {}


# -- trust -------------------------------------------------------------------------------------------------------------


class Planted:
    def __reduce__(self) -> Any:
        return os.mkdir, (os.environ["PLANTED"],)


@in_node()
async def test_a_reply_is_never_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANTED", str(tmp_path / "planted"))
    data = pickle.dumps(Planted())
    for end in (False, True):
        raw = struct.pack("<QB", len(data), 1) + data
        assert (await failure(untrusted.write_raw, raw, end, fresh=True)).reason[0] == "refused"
    assert not (tmp_path / "planted").exists()


@in_node()
async def test_a_worker_that_breaks_the_protocol_dies() -> None:
    for raw in (
        struct.pack("<QB", 1 << 60, 1),  # a length it does not mean
        struct.pack("<QB", 1, 1) + b"NN",  # more than the reply
        struct.pack("<QB", 1, 9) + b"N",  # an unknown kind
    ):
        assert (await failure(untrusted.write_raw, raw, False)).reason[0] == "refused"
    # A reply that ends half-way.
    assert (await failure(untrusted.write_raw, b"\x05\0\0", True)).reason == ("exit", 0)
    assert await transom.isolated(len, "four") == 4


# -- the pool ----------------------------------------------------------------------------------------------------------


@in_node(isolated_workers=2)
async def test_workers_are_warm_and_few() -> None:
    async def owner(main: transom.Pid) -> None:
        transom.send(main, await transom.isolated(untrusted.count_calls))

    for _ in range(20):
        transom.spawn(owner, transom.current_pid())
    seen = [await take(tuple) for _ in range(20)]
    assert len({pid for pid, _ in seen}) <= 2
    assert max(count for _, count in seen) >= 10, "workers were not used again"
    info = transom.isolated_info()
    assert info["size"] == 2 and info["workers"] <= 2 and info["spawned"] <= 2 and info["crashed"] == 0


@in_node(isolated_workers=2)
async def test_many_calls_at_once_and_half_of_them_given_up() -> None:
    async def owner(main: transom.Pid, number: int) -> None:
        transom.send(main, await transom.isolated(abs, -number, timeout=None))

    count = scaled(400)
    owners = [transom.spawn(owner, transom.current_pid(), number) for number in range(count)]
    for pid in owners[1::2]:
        transom.kill(pid)
    wanted = set(range(0, count, 2))
    while wanted:
        wanted.discard(await take(int))
    await until(lambda: transom.isolated_info()["waiting"] == 0 and transom.isolated_info()["busy"] == 0)
    while transom.process_info(transom.current_pid(), "message_queue_len")["message_queue_len"]:  # type: ignore[index]
        await take(int)  # those that were killed too late


@in_node(isolated_workers=2)
async def test_fresh_workers_have_run_nothing() -> None:
    for _ in range(3):
        await transom.isolated(untrusted.count_calls)
        pid, count = await transom.isolated(untrusted.count_calls, fresh=True)
        assert count == 1
        await until(lambda pid=pid: not exists(pid))


@in_node(isolated_workers=1)
async def test_limits_of_different_sizes_share_the_places() -> None:
    for memory in (100 << 20, 200 << 20, None, 100 << 20):
        assert await transom.isolated(len, "four", memory=memory) == 4


@in_node()
async def test_a_worker_has_nothing_of_ours_open() -> None:
    held, other = os.pipe()
    try:
        os.set_inheritable(held, True)
        names = await transom.isolated(untrusted.descriptors)
        assert names.count("socket") == 1 and names.count("pipe") <= 2 and "anon_inode" not in names, names
        assert os.readlink(f"/proc/self/fd/{held}") not in names
    finally:
        os.close(held)
        os.close(other)


def open_files() -> list[str]:
    found = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{fd}"))
        except OSError:
            pass
    return sorted(found)


def test_a_node_leaves_no_process_and_no_file_behind(tmp_path: Path) -> None:
    async def main(round: int) -> None:
        async def busy(path: str) -> None:
            await transom.isolated(untrusted.spin, path, timeout=None)

        path = tmp_path / f"busy{round}"
        transom.spawn(busy, str(path))
        assert (await failure(untrusted.segfault)).reason == ("signal", "SIGSEGV")
        await until(lambda: pids_in(path))
        # The node stops with this one at work.

    transom.run(main, 0, isolated_workers=2)
    before, zombies = open_files(), children()
    for round in (1, 2):
        transom.run(main, round, isolated_workers=2)
    assert open_files() == before
    assert children() <= zombies
    for round in range(3):
        assert not any(map(exists, pids_in(tmp_path / f"busy{round}")))


@pytest.mark.slow
def test_workers_end_with_a_program_that_is_killed(script: Any, tmp_path: Path) -> None:
    path = tmp_path / "pid"
    script(
        f"""
        import os, signal, sys, time, transom
        import untrusted

        async def busy():
            await transom.isolated(untrusted.spin, {str(path)!r}, timeout=None)

        async def main():
            transom.spawn(busy)
            while not os.path.exists({str(path)!r}):
                await transom.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)

        transom.run(main)
        """,
        returncode=-signal.SIGKILL,
    )
    (worker,) = pids_in(path)
    until_sync(lambda: not exists(worker))


@pytest.mark.slow
def test_functions_of_the_main_module_are_found(script: Any) -> None:
    done = script(
        """
        import transom

        print("imported as", __name__)

        def double(n):
            return 2 * n

        async def main():
            return await transom.isolated(double, 21)

        if __name__ == "__main__":
            print(transom.run(main))
        """
    )
    assert "42" in done.stdout


@pytest.mark.slow
def test_a_program_is_not_started_again_by_its_workers(script: Any) -> None:
    done = script(
        """
        import transom

        def double(n):
            return 2 * n

        async def main():
            try:
                await transom.isolated(double, 21)
            except transom.CallError as error:
                print(error)

        transom.run(main)  # no if __name__ == "__main__"
        """
    )
    assert "put its start under if __name__ == '__main__'" in done.stdout


def test_callers_that_are_no_process() -> None:
    async def program() -> int:
        value: int = await transom.isolated(len, "four")
        return value

    transom.start()
    try:
        assert transom.isolated(len, "four").result() == 4
        assert asyncio.run(program()) == 4
    finally:
        transom.stop()
    with pytest.raises(transom.NotRunning):
        transom.isolated(len, "four").result()


@pytest.mark.parametrize("wrong", [0, 1025, "2"])
def test_the_size_of_the_pool_is_checked(wrong: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="isolated_workers"):
        transom.start(isolated_workers=wrong)
