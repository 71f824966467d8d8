"""Ports at their edges: hand-over at the worst moment, full mailboxes, input that is wrong, ends that nobody expects."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import transom
from tests.semantics.test_ports import kind_of_loop, loops_were_used, no_descriptor_is_left, open_ports, pair
from tests.semantics.test_ports_programs import is_running
from tests.support import DEADLINE, in_node, is_, reason_of, scaled, take, until
from transom import _port_core, _port_program, ports
from transom.ports import Accepted, Closed, Data, Passive, PortClosed, PortError
from transom.testing import faults

__all__ = ["kind_of_loop", "loops_were_used", "no_descriptor_is_left"]  # the fixtures

BUSY = ["reject", "wait"]


# -- given away --------------------------------------------------------------------------------------------------------


@in_node()
async def test_the_connections_of_accepted_messages_go_with_the_listener() -> None:
    async def heir(parent: transom.Pid) -> None:
        accepted = await take(Accepted)
        await accepted.connection.send(b"hello")
        transom.send(parent, accepted.port.owner == accepted.connection.owner == transom.current_pid())
        await take(is_("end"))

    listener = await ports.listen(active=1)
    async with await ports.connect(*listener.address) as client:
        await until(lambda: listener.info()["active"] is False)
        pid, ref = transom.spawn_monitor(heir, transom.current_pid())
        await listener.controlling_process(pid)
        assert await take(bool) is True
        assert await client.recv(timeout=DEADLINE) == b"hello"
        transom.send(pid, "end")
        await take(ref)


@in_node()
async def test_one_that_closed_before_it_was_given_away_is_the_new_owners_to_bury() -> None:
    async def heir(parent: transom.Pid) -> None:
        transom.send(parent, [await take(Data), await take(Closed)])

    async with pair() as (conn, raw):
        await conn.set_active(True)
        raw.sendall(b"last")
        raw.close()
        await until(lambda: conn.is_closed)
        await conn.controlling_process(transom.spawn(heir, transom.current_pid()))
        assert await take(list) == [Data(conn, b"last"), Closed(conn, "closed")]
        with pytest.raises(TimeoutError):
            await transom.receive(timeout=0)
        with pytest.raises(transom.NotOwner):
            await conn.controlling_process(transom.spawn(transom.sleep, 0))


class Hesitant(transom.Agent, loop=True):
    """Gives a port away, but for so many turns of the loop only."""

    async def init(self, address: Any) -> None:
        self.conn = await ports.connect(*address, packet=1, active=True)
        self.got: list[bytes] = []

    async def give(self, to: transom.Pid, turns: int) -> bool:
        giving = asyncio.ensure_future(self.conn.controlling_process(to)._run())
        for _ in range(turns):
            await asyncio.sleep(0)
        giving.cancel()
        await asyncio.wait([giving])
        return not giving.cancelled()

    async def handle_info(self, message: Any) -> None:
        match message:
            case Data(_, data):
                self.got.append(data)

    def so_far(self) -> list[bytes]:
        return self.got


@in_node()
async def test_giving_away_that_is_given_up_loses_nothing() -> None:
    async def heir() -> None:
        await transom.receive()

    kept = 0
    for turns in range(scaled(30)):
        async with await ports.listen() as listener:
            agent = await Hesitant.start(listener.address)
            async with await listener.accept(timeout=DEADLINE) as conn:
                to = transom.spawn(heir)
                await conn.send(b"\1a\1b")
                if not await agent.give(to, turns):
                    kept += 1
                    await conn.send(b"\1c")
                    end = time.monotonic() + DEADLINE
                    while len(got := await agent.so_far()) < 3:
                        assert time.monotonic() < end, f"after {turns} turns there is only {got}"
                        await transom.sleep(0.001)
                    assert got == [b"a", b"b", b"c"]
                for process in (to, agent):
                    transom.kill(process)
    assert kept


@in_node()
async def test_handed_on_twice_messages_keep_their_order() -> None:
    async with pair(packet=1) as (conn, raw):

        async def full(parent: transom.Pid) -> None:
            go = transom.alias()
            transom.send(parent, go)
            await transom.receive(is_("go"))
            await conn.controlling_process(parent)
            transom.send(parent, "given")

        options = transom.SpawnOptions(max_queue=2, on_full="reject")
        pid = transom.spawn_opt(options, full, transom.current_pid())
        go = await take(transom.Ref)
        await conn.set_active(True)
        raw.sendall(b"".join(bytes((1, i)) for i in range(10)))
        await until(lambda: conn.info()["received"] == 20)
        await conn.controlling_process(pid)
        await until(lambda: transom.process_info(pid, "message_queue_len") == {"message_queue_len": 2})
        transom.send(go, "go")
        await take(is_("given"))
        assert [(await take(Data)).data for _ in range(10)] == [bytes((i,)) for i in range(10)]


# -- mailboxes that are full -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("on_full", BUSY)
@in_node()
async def test_passive_is_told_when_the_mailbox_has_room_again(on_full: Any) -> None:
    async def owner(parent: transom.Pid, address: Any) -> None:
        conn = await ports.connect(*address, packet=1, active=2)
        go = transom.alias()
        transom.send(parent, go)
        await transom.receive(is_("go"))
        assert [type(await take()) for _ in range(3)] == [Data, Data, Passive]
        await conn.close()

    async with await ports.listen() as listener:
        options = transom.SpawnOptions(max_queue=2, on_full=on_full, monitor=True)
        pid, ref = transom.spawn_opt(options, owner, transom.current_pid(), listener.address)
        async with await listener.accept(timeout=DEADLINE) as conn:
            go = await take(transom.Ref)
            await conn.send(b"\1a\1b\1c")
            await until(lambda: transom.process_info(pid, "message_queue_len") == {"message_queue_len": 2})
            transom.send(go, "go")
            assert await reason_of(ref) == "normal"


@in_node()
async def test_a_connection_that_its_owner_had_no_room_for_has_one_process() -> None:
    async def owner(parent: transom.Pid) -> None:
        transom.send(parent, await ports.listen(active=True))
        await transom.receive(is_("end"))

    options = transom.SpawnOptions(max_queue=1, on_full="reject", monitor=True)
    pid, ref = transom.spawn_opt(options, owner, transom.current_pid())
    listener = await take(ports.Listener)
    transom.send(pid, "in the way")
    async with await ports.connect(*listener.address) as client:
        await until(lambda: any(core.warden for core in listener._core._ready))
        await listener._core.ask(listener._core.set_active, False)
        before = len(transom.processes())
        async with await listener.accept(timeout=DEADLINE) as conn:
            assert len(transom.processes()) == before
            await client.send(b"x")
            assert await conn.recv(timeout=DEADLINE) == b"x"
    transom.kill(pid)
    await take(ref)


# -- its process -------------------------------------------------------------------------------------------------------


@in_node()
async def test_the_owner_of_an_active_port_that_somebody_ends_is_told() -> None:
    async with pair() as (conn, _):
        await conn.set_active(True)
        transom.kill(conn)
        closed = await take(Closed)
        assert closed.port is conn and closed.reason[0] == "EPIPE"
        with pytest.raises(TimeoutError):
            await transom.receive(timeout=0.01)


@in_node()
async def test_who_asks_for_messages_of_a_port_that_is_being_ended_gets_closed_or_an_error() -> None:
    for _ in range(scaled(200)):
        async with pair() as (conn, _):
            transom.kill(conn)
            try:
                await conn.set_active("once")
            except PortClosed:
                continue
            assert isinstance(await take(), Closed)


class _Deadly:
    """The core as _port_core.py sees it: who has made a port's process is killed before it gets its Pid."""

    def __getattr__(self, name: str) -> Any:
        return getattr(transom._core, name)

    def _spawn_opt(self, *args: Any) -> Any:
        made = transom._core._spawn_opt(*args)
        transom.kill(transom.current_pid())
        return made


@in_node()
async def test_an_opener_killed_before_it_knows_the_ports_process_leaves_none(monkeypatch: pytest.MonkeyPatch) -> None:
    async def opener() -> None:
        await ports.listen()

    before = len(transom.processes())
    with monkeypatch.context() as patch:
        patch.setattr(_port_core, "_core", _Deadly())
        _, ref = transom.spawn_monitor(opener)
        assert await reason_of(ref) == "killed"
    await until(lambda: len(transom.processes()) == before)


# -- what is sent ------------------------------------------------------------------------------------------------------


@in_node()
async def test_what_was_sent_before_a_shutdown_leaves_a_port_that_hung() -> None:
    async with pair() as (conn, raw):
        stuck = faults.hang(conn)
        await conn.send(b"all of it")
        await conn.shutdown()
        stuck.stop()
        assert raw.recv(100) == b"all of it"
        assert raw.recv(100) == b""


@in_node()
async def test_errors_of_sending_say_why(tmp_path: Path) -> None:
    async with pair() as (conn, _):
        await conn.shutdown()
        with pytest.raises(PortClosed, match="shutdown"):
            await conn.send(b"more")
    (tmp_path / "file").write_text("text")
    async with await ports.open_file(tmp_path / "file") as file:
        with pytest.raises(PortClosed, match="to be read"):
            await file.send(b"more")


@in_node()
async def test_a_program_that_closes_its_input_holds_no_sender_up() -> None:
    async with await ports.open_program("sh", "-c", "read line; exec <&-; echo closed; sleep 600") as program:
        with pytest.raises(PortClosed, match="closed its input") as caught:
            await program.send(b"line\n" + bytes(1 << 20))
            for _ in range(100):
                await program.send(bytes(1 << 16), timeout=DEADLINE)
        assert caught.value.reason[0] == "EPIPE"
        with pytest.raises(PortClosed, match="closed its input"):
            await program.flush(timeout=DEADLINE)
        assert await program.recv(timeout=DEADLINE) == b"closed\n"
        await program.close(linger=0)


@in_node()
async def test_a_sender_that_is_faster_than_the_loop_waits_for_it() -> None:
    async with await ports.open_udp() as here, await ports.open_udp() as there, pair() as (conn, raw):
        most = 0
        for _ in range(20_000):
            await here.send(bytes(1000), there.address)
            most = max(most, len(here._core._commands))
        assert most * 1000 <= 1 << 20
        most = 0
        for i in range(20_000):
            await conn.send(b"")
            await conn.set_active(False if i % 2 else 7)
            most = max(most, len(conn._core._commands))
        assert most <= 2000


# -- programs ----------------------------------------------------------------------------------------------------------


@in_node()
async def test_what_a_program_wrote_waits_for_an_owner_that_takes_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_port_program, "GRACE", 0.02)
    big = "import fcntl, sys; fcntl.fcntl(1, 1031, 1 << 20); sys.stdout.buffer.write(bytes(700_000))"
    async with await ports.open_program(sys.executable, "-c", big) as program:
        assert await program.wait(timeout=DEADLINE) == 0
        await transom.sleep(0.2)
        data = b"".join([part async for part in program])
        assert len(data) == 700_000
    # Not so what somebody writes who has left its session.
    daemon = "(setsid sh -c 'echo mine; exec sleep 600' &) ; sleep 0.2; echo end"
    program = await ports.open_program("sh", "-c", f"{daemon}; echo $$", packet="line")
    assert [line async for line in program][:2] == [b"mine\n", b"end\n"]
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cmdline").read_bytes() == b"sleep\x00600\x00" and (entry / "stat").read_text().split()[3] == "1":
                os.kill(int(entry.name), signal.SIGKILL)
        except OSError:
            continue


SLOW_TO_END = """
import signal, sys, time
def end(*_):
    time.sleep(0.3)
    sys.exit(3)
signal.signal(signal.SIGTERM, end)
print("on", flush=True)
time.sleep(600)
"""


@in_node()
async def test_close_lingers_as_long_as_it_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from transom import _port_stream

    monkeypatch.setattr(_port_stream, "LINGER", 0.05)
    program = await ports.open_program(sys.executable, "-c", SLOW_TO_END)
    await program.recv(timeout=DEADLINE)
    await program.close(linger=DEADLINE)
    assert program.info()["status"] == 3
    for wrong in (-1, None, "5", float("nan"), True):
        with pytest.raises(ValueError, match="linger"):
            program.close(wrong)  # type: ignore[arg-type]


@in_node()
async def test_a_signal_for_a_program_that_has_ended_reaps_nothing() -> None:
    program = await ports.open_program("sleep", "600")
    core = program._core

    def late() -> Any:
        os.kill(core._popen.pid, signal.SIGKILL)
        os.waitid(os.P_PID, core._popen.pid, os.WEXITED | os.WNOWAIT)
        core.signal(signal.SIGTERM)  # the loop has not heard of its end yet
        return core._popen.returncode

    assert await core.ask(late) is None
    assert await program.wait(timeout=DEADLINE) == -signal.SIGKILL
    await program.close()
    with pytest.raises(ValueError, match="number"):
        program.signal(4711)


@in_node()
async def test_a_program_that_is_cut_off_while_its_input_closes_tells_its_end_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    program = await ports.open_program("sleep", "600")

    def cut() -> None:
        program._core.transport.close()
        program._core.transport.abort()

    await program._core.ask(cut)
    await program.wait(timeout=DEADLINE)
    await program.close()
    assert not caplog.records


@in_node()
async def test_a_program_that_no_descriptor_is_left_for_does_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    pids: list[int] = []

    def none_left(pid: int) -> int:
        pids.append(pid)
        raise OSError(24, os.strerror(24))

    with monkeypatch.context() as patch:
        patch.setattr(os, "pidfd_open", none_left)
        with pytest.raises(PortError, match="open files") as caught:
            await ports.open_program("sleep", "600")
        assert caught.value.reason[0] == "EMFILE"
    await until(lambda: not is_running(pids[0]))
    assert open_ports() == 0


# -- input that is wrong -----------------------------------------------------------------------------------------------


@in_node()
async def test_what_is_no_address_is_refused_and_never_means_everybody() -> None:
    for host in (None, "", 5):
        for open in (ports.listen, ports.open_udp):
            with pytest.raises(ValueError, match="host"):
                open(host=host)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="host"):
            ports.connect(host, 80)  # type: ignore[arg-type]
    for port in ("80", 80.0, True, -1, 65_536, None):
        for open in (ports.listen, ports.open_udp):
            with pytest.raises(ValueError, match="port"):
                open(port)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="port"):
            ports.connect("127.0.0.1", port)  # type: ignore[arg-type]
    for path in ("", "\0abstract"):  # anybody could connect to those
        with pytest.raises(ValueError, match="path"):
            ports.listen(path=path)
    with pytest.raises(ValueError, match="backlog"):
        ports.listen(backlog="many")  # type: ignore[arg-type]


@in_node()
async def test_unix_sockets_take_paths(tmp_path: Path) -> None:
    async with await ports.listen(path=tmp_path / "socket") as listener:
        async with await ports.connect(path=tmp_path / "socket"), await listener.accept(timeout=DEADLINE):
            assert listener.address == str(tmp_path / "socket")


@in_node()
async def test_udp_refuses_what_is_no_address_and_lives_on() -> None:
    async with await ports.open_udp() as here, await ports.open_udp() as there:
        for to in (("localhost", 80), ("127.0.0.1", 99_999), ("127.0.0.1", 0), ("127.0.0.1", "80"), "x", 5, ("::1", 80)):
            with pytest.raises(ValueError):
                await here.send(b"x", to)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="datagram"):
            here.send(b"", there.address)
        biggest = bytes(65_507)
        await here.send(biggest, there.address)
        assert await there.recv(timeout=DEADLINE) == (biggest, here.address)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as raw:
            raw.bind(("127.0.0.1", 0))
            raw.sendto(b"", there.address)
            assert await there.recv(timeout=DEADLINE) == (b"", raw.getsockname())


@in_node()
async def test_udp_keeps_no_more_than_so_much_while_it_hangs() -> None:
    async with await ports.open_udp() as here, await ports.open_udp() as there:
        stuck = faults.hang(here)
        for _ in range(3000):
            await here.send(b"x", there.address)
        await here._core.ask(here._core.catch_up)
        assert len(here._core._held) == 1024 and here.info()["dropped"] == 3000 - 1024
        stuck.stop()


def test_names_of_errors_are_the_systems_whatever_the_loop_says() -> None:
    import ssl

    several = "Multiple exceptions: [Errno 111] Connect call failed ('::1', 9), [Errno 111] Connect call failed (...)"
    for error in (OSError(111, "Connect call failed ('127.0.0.1', 9)"), OSError(several)):
        name, text = _port_core.reason_of(error)
        assert name == "ECONNREFUSED" and "Connection refused" in text and "Connect call" in text
    assert _port_core.reason_of(OSError(111, "Connection refused")) == ("ECONNREFUSED", "Connection refused")
    assert _port_core.reason_of(ssl.SSLError(1, "bad"))[0] == "SSLError"  # 1 is not EPERM here
    assert _port_core.reason_of(socket.gaierror(-2, "Name or service not known"))[0] == "gaierror"
