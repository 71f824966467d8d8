"""Ports: programs and files, and ports that hang."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

import transom
from tests.semantics.test_ports import kind_of_loop, loops_were_used, no_descriptor_is_left, open_ports, pair
from tests.support import DEADLINE, in_node, is_, reason_of, take, until
from transom import ports
from transom.ports import Closed, Data, ErrorData, ExitStatus, PortClosed, PortError
from transom.testing import faults

__all__ = ["kind_of_loop", "loops_were_used", "no_descriptor_is_left"]  # the fixtures


def is_running(pid: int) -> bool:
    """Is there such an OS process, and not only what is left of it?"""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


# -- programs ----------------------------------------------------------------------------------------------------------


@in_node()
async def test_output_then_status_then_closed() -> None:
    for _ in range(5):
        program = await ports.open_program(
            "sh", "-c", "echo out; echo err >&2; exit 7", stderr="messages", packet="line", active=True
        )
        got = [await take() for _ in range(4)]
        assert sorted(map(repr, got[:2])) == sorted(map(repr, [Data(program, b"out\n"), ErrorData(program, b"err\n")]))
        assert got[2:] == [ExitStatus(program, 7), Closed(program, "closed")]
        assert await program.wait() == 7


@in_node()
async def test_arguments_reach_the_program_as_they_are_without_a_shell() -> None:
    nasty = ["$HOME", "a b", "`id`", "*", "; exit 1", "äöü"]
    code = "import sys; sys.stdout.write('|'.join(sys.argv[1:]))"
    async with await ports.open_program(sys.executable, "-c", code, *nasty) as program:
        data = b"".join([part async for part in program])
        assert data.decode() == "|".join(nasty)
    with pytest.raises(PortError, match="no-such-program") as caught:
        await ports.open_program("no-such-program")
    assert caught.value.reason[0] == "ENOENT"
    with pytest.raises(PortError, match="nowhere"):
        await ports.open_program("true", cwd="/nowhere")


@in_node()
async def test_environment_directory_and_stderr(tmp_path: Path) -> None:
    script = "pwd; echo $WORD; echo mixed >&2"
    env = {"WORD": "magic", "PATH": os.environ["PATH"]}
    async with await ports.open_program(
        "sh", "-c", script, env=env, cwd=tmp_path, stderr="stdout", packet="line"
    ) as program:
        assert [line async for line in program] == [f"{tmp_path}\n".encode(), b"magic\n", b"mixed\n"]


@in_node()
async def test_shutdown_ends_its_input() -> None:
    async with await ports.open_program("wc", "-c") as program:
        for _ in range(100):
            await program.send(bytes(10_000))
        await program.shutdown()
        assert (await program.recv()).strip() == b"1000000"
        assert await program.wait(timeout=DEADLINE) == 0


@in_node()
async def test_frames_with_a_program() -> None:
    async with await ports.open_program("cat", packet=4) as cat:
        for size in (0, 1, 70_000, 5):
            await cat.send(bytes(size))
            assert await cat.recv(timeout=DEADLINE) == bytes(size)


@in_node()
async def test_an_endless_writer_is_held_back() -> None:
    async with await ports.open_program("yes") as yes:
        assert (await yes.recv()).startswith(b"y\n")
        await transom.sleep(0.05)
        before = yes.info()["received"]
        await transom.sleep(0.05)
        assert yes.info()["unread"] < 1 << 20
        assert yes.info()["received"] == before


@in_node()
async def test_a_program_that_is_ended_by_a_signal() -> None:
    program = await ports.open_program("sleep", "60", active=True)
    await program.signal(signal.SIGTERM)
    assert await take() == ExitStatus(program, -signal.SIGTERM)
    assert await take() == Closed(program, "closed")


STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"])
print(os.getpid(), child.pid, flush=True)
time.sleep(600)
"""


async def _pids(program: ports.Program) -> list[int]:
    return [int(pid) for pid in (await program.recv(timeout=DEADLINE)).split()]


@pytest.mark.parametrize("way", ["kill", "busy", "crash", "normal", "give"])
@in_node()
async def test_the_whole_group_dies_with_the_owner(way: str) -> None:
    async def owner(parent: transom.Pid) -> None:
        program = await ports.open_program(sys.executable, "-c", STUBBORN, packet="line")
        transom.send(parent, await _pids(program))
        if way == "give":
            await program.controlling_process(transom.spawn(transom.sleep, 0))
        await transom.receive(is_("go"))
        while way == "busy":
            pass
        if way == "crash":
            raise RuntimeError("on purpose")

    pid, ref = transom.spawn_monitor(owner, transom.current_pid())
    pids = await take(list)
    transom.send(pid, "go")
    if way in ("kill", "busy"):
        transom.kill(pid)
    await take(ref)
    limit = 60 if way in ("normal", "give") else DEADLINE  # these linger first
    await until(lambda: not any(map(is_running, pids)), seconds=limit)
    await until(lambda: open_ports() == 0)


@in_node()
async def test_close_is_sigterm_then_sigkill() -> None:
    program = await ports.open_program("sh", "-c", "trap 'exit 0' TERM; echo on; while :; do sleep 0.01; done")
    await program.recv()
    pid = program.os_pid
    await program.close()
    assert not is_running(pid)
    program = await ports.open_program(sys.executable, "-c", STUBBORN, packet="line")
    pids = await _pids(program)
    await program.close(linger=0.05)
    await until(lambda: not any(map(is_running, pids)))
    await until(lambda: open_ports() == 0)


@in_node()
async def test_what_a_program_leaves_behind_is_killed_and_does_not_hold_its_end_up() -> None:
    script = "sleep 600 & echo $!; exit 0"
    program = await ports.open_program("sh", "-c", script, packet="line")
    (pid,) = await _pids(program)
    assert await program.wait(timeout=DEADLINE) == 0
    with pytest.raises(PortClosed):
        await program.recv(timeout=DEADLINE)
    await until(lambda: not is_running(pid))


@in_node()
async def test_programs_of_processes_killed_at_any_moment_leave_nothing() -> None:
    async def owner() -> None:
        program = await ports.open_program("cat")
        await program.send(b"x")
        await program.recv()
        await transom.receive()

    for round in range(30):
        pid, ref = transom.spawn_monitor(owner)
        await transom.sleep(round * 0.0005)
        transom.kill(pid)
        assert await reason_of(ref) == "killed"
    await until(lambda: open_ports() == 0)
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    assert "cat" not in [Path(f"/proc/{pid}/comm").read_text().strip() for pid in children.split()]


# -- files -------------------------------------------------------------------------------------------------------------


@in_node()
async def test_files_are_written_read_and_streamed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    async with await ports.open_file(path, "x") as file:
        for i in range(10_000):
            await file.send(b"%d\n" % i)
        await file.flush()
        assert path.stat().st_size == 48_890
        with pytest.raises(TimeoutError):
            await file.recv(timeout=0.01)
    assert path.stat().st_mode & 0o777 == 0o600
    async with await ports.open_file(path, "a") as file:
        await file.send(b"end")
    async with await ports.open_file(path, packet="line") as file:
        lines = [line async for line in file]
        assert lines == [b"%d\n" % i for i in range(10_000)] + [b"end"]
    async with await ports.open_file(path, packet="line", active=3) as file:
        assert [(await take(Data)).data for _ in range(3)] == [b"0\n", b"1\n", b"2\n"]
        assert isinstance(await take(), ports.Passive)
        assert file.info()["unread"] <= 2 * 65536
        with pytest.raises(PortClosed):
            await file.send(b"it is read")


@in_node()
async def test_file_errors_are_told(tmp_path: Path) -> None:
    with pytest.raises(PortError, match="absent.*No such file"):
        await ports.open_file(tmp_path / "absent")
    with pytest.raises(PortError, match="no regular file"):
        await ports.open_file("/dev/zero")
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(PortError, match="no regular file"):
        await ports.open_file(tmp_path / "fifo")
    (tmp_path / "kept").write_text("kept")
    with pytest.raises(PortError, match="exists"):
        await ports.open_file(tmp_path / "kept", "x")
    with pytest.raises(ValueError, match="mode"):
        ports.open_file("x", "rw")  # type: ignore[arg-type]


@in_node()
async def test_a_full_disk_is_told(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    file = await ports.open_file(tmp_path / "big", "w")
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
    try:
        with pytest.raises(PortClosed, match="too large") as caught:
            await file.send(bytes(1 << 18))
            await file.flush(timeout=DEADLINE)
        assert caught.value.reason[0] == "EFBIG"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    await file.close()


@in_node()
async def test_a_file_closes_with_its_owner(tmp_path: Path) -> None:
    async def owner() -> None:
        file = await ports.open_file(tmp_path / "file", "w")
        await file.send(b"all of it")

    _, ref = transom.spawn_monitor(owner)
    await take(ref)
    await until(lambda: open_ports() == 0)
    assert (tmp_path / "file").read_bytes() == b"all of it"


# -- ports that hang ---------------------------------------------------------------------------------------------------


@in_node()
async def test_a_port_that_hangs_keeps_everything_until_it_is_released() -> None:
    async with pair(packet="line") as (conn, raw):
        await conn.set_active(True)
        stuck = faults.hang(conn)
        raw.sendall(b"1\n2\n")
        await conn.send(b"answer")
        raw.settimeout(0.05)
        with pytest.raises(TimeoutError):
            raw.recv(1)
        with pytest.raises(TimeoutError):
            await transom.receive(timeout=0.02)
        assert not conn.is_closed
        stuck.stop()
        assert [(await take(Data)).data for _ in range(2)] == [b"1\n", b"2\n"]
        raw.settimeout(DEADLINE)
        assert raw.recv(10) == b"answer"
        assert stuck.hits >= 1


@in_node()
async def test_a_hang_after_some_pieces_for_a_time_and_the_end_is_held_up_too() -> None:
    async with pair(packet="line") as (conn, raw):
        faults.hang(conn, skip=1, seconds=0.1)
        raw.sendall(b"1\n")
        assert await conn.recv(timeout=DEADLINE) == b"1\n"
        began = time.monotonic()
        raw.sendall(b"2\n")
        raw.close()
        assert await conn.recv(timeout=DEADLINE) == b"2\n"
        with pytest.raises(PortClosed):
            await conn.recv(timeout=DEADLINE)
        assert time.monotonic() - began > 0.09  # the loop's clock may be a little behind


@in_node()
async def test_a_listener_and_a_program_hang() -> None:
    async with await ports.listen() as listener:
        stuck = faults.hang(listener)
        async with await ports.connect(*listener.address):
            with pytest.raises(TimeoutError):
                await listener.accept(timeout=0.02)
            stuck.stop()
            await (await listener.accept(timeout=DEADLINE)).close()
    program = await ports.open_program("echo", "hi", active=True)
    stuck = faults.hang(program)
    await transom.sleep(0.05)
    stuck.stop()
    got = [await take() for _ in range(3)]
    assert got == [Data(program, b"hi\n"), ExitStatus(program, 0), Closed(program, "closed")]


@in_node()
async def test_the_owner_of_a_hanging_port_can_close_it_and_its_death_does() -> None:
    async with pair() as (conn, _):
        faults.hang(conn)
        await conn.send(b"never")
        await conn.close(linger=0.05)
        await until(lambda: open_ports() == 1)


def test_the_seed_decides_whether_it_hangs() -> None:
    async def main() -> bool:
        async with await ports.listen() as listener:
            faults.hang(listener, chance=0.5)
            await listener._core.ask(lambda: None)
            return bool(listener._core.hung)

    assert {transom.run(main, deterministic=seed) for seed in range(30)} == {True, False}
    with pytest.raises(RuntimeError, match="deterministic"):
        transom.run(main)
