"""Ports: sockets, their modes, frames, owners and ends."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import socket
import ssl
import stat
import subprocess
import threading
from collections.abc import Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import transom
from tests.support import DEADLINE, in_node, is_, reason_of, scaled, take, until
from transom import _loop_thread, ports
from transom.ports import Accepted, Closed, Data, Eof, Passive, PortClosed, PortError


@pytest.fixture(scope="module", autouse=True)
def loops_were_used() -> None:
    """What loops keep open once for the whole OS process is there."""

    async def main() -> None:
        await transom.aio(asyncio.sleep(0))

    transom.run(main)


@pytest.fixture(autouse=True, params=["uvloop", "asyncio"])
def kind_of_loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test runs on both: which one a node has depends on what is installed."""
    if request.param == "asyncio":
        monkeypatch.setattr(_loop_thread, "_new_loop", asyncio.new_event_loop)
    else:
        pytest.importorskip("uvloop")


@pytest.fixture(autouse=True)
def no_descriptor_is_left() -> Iterator[None]:
    """Each test ends with the descriptors it began with."""
    gc.collect()
    before = set(os.listdir("/proc/self/fd"))
    yield
    gc.collect()
    left = {fd: _target(fd) for fd in set(os.listdir("/proc/self/fd")) - before}
    assert not [target for target in left.values() if target.startswith(("socket:", "pipe:", "anon_inode:[pidfd]"))], (
        left
    )


def _target(fd: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except FileNotFoundError:
        return ""


def open_ports() -> int:
    return sum(len(thread.ports) for thread in _loop_thread.running())


@asynccontextmanager
async def pair(**options: Any) -> Any:
    """A port and a plain socket at its other end."""
    async with await ports.listen(**options) as listener:
        with socket.create_connection(listener.address) as raw:
            raw.settimeout(DEADLINE)
            async with await listener.accept(timeout=DEADLINE) as conn:
                yield conn, raw


def receive_all(raw: socket.socket) -> bytes:
    """What comes until the end. Blocks: for plain functions."""
    data = b""
    while chunk := raw.recv(65536):
        data += chunk
    return data


# -- passive -----------------------------------------------------------------------------------------------------------


@in_node()
async def test_recv_gives_what_is_there_or_so_many_bytes() -> None:
    async with pair() as (conn, raw):
        raw.sendall(b"abcdefgh")
        assert await conn.recv(3) == b"abc"
        assert await conn.recv() == b"defgh"
        with pytest.raises(TimeoutError, match="recv"):
            await conn.recv(timeout=0.01)
        raw.sendall(b"12")
        with pytest.raises(TimeoutError):
            await conn.recv(3, timeout=0.05)
        raw.sendall(b"3")
        assert await conn.recv(3) == b"123"  # a time-out loses nothing


@in_node()
async def test_the_end_comes_after_the_data() -> None:
    async with pair() as (conn, raw):
        raw.sendall(b"last")
        raw.close()
        with pytest.raises(PortClosed):
            await conn.recv(10)
        assert await conn.recv() == b"last"
        with pytest.raises(PortClosed) as caught:
            await conn.recv()
        assert caught.value.reason == "closed"
        with pytest.raises(PortClosed):
            await conn.send(b"x")


@in_node()
async def test_a_reset_is_told_with_its_name() -> None:
    async with pair() as (conn, raw):
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        raw.close()
        with pytest.raises(PortClosed, match="127.0.0.1") as caught:
            await conn.recv(timeout=DEADLINE)
        assert caught.value.reason[0] == "ECONNRESET" and caught.value.errno is not None


@in_node()
async def test_a_passive_port_holds_the_other_side_back() -> None:
    async with pair() as (conn, raw):
        raw.setblocking(False)
        sent = 0
        for _ in range(100):
            try:
                while True:
                    sent += raw.send(bytes(65536))
            except BlockingIOError:
                await transom.sleep(0.001)
        assert conn.info()["unread"] < 1 << 20
        got = 0
        while got < sent:
            got += len(await conn.recv(timeout=DEADLINE))
        assert got == sent


@in_node()
async def test_send_waits_for_room() -> None:
    async with pair() as (conn, raw):
        with pytest.raises(TimeoutError, match="drain"):
            for _ in range(10_000):
                await conn.send(bytes(65536), timeout=0.1)
        given = conn.info()["sent"] + conn.info()["unsent"]
        assert given < 1 << 25
        reader: list[int] = []
        thread = threading.Thread(target=lambda: reader.append(len(receive_all(raw))))
        thread.start()
        await conn.flush(timeout=DEADLINE)
        await conn.close()
        await until(lambda: reader == [given])
        thread.join()


@in_node()
async def test_errors_name_host_port_and_path(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        with pytest.raises(PortError, match=f"127.0.0.1:{port}.*refused") as caught:
            await ports.connect("127.0.0.1", port)
        assert caught.value.reason[0] == "ECONNREFUSED"
    with pytest.raises(PortError, match="nowhere.*No such file"):
        await ports.connect(path=str(tmp_path / "nowhere"))
    async with await ports.listen() as listener:
        with pytest.raises(PortError, match=f"{listener.address[1]}.*in use"):
            await ports.listen(listener.address[1])
    for wrong in ({"packet": 3}, {"packet": True}, {"max_frame": 0}, {"active": "twice"}, {"active": 0}):
        with pytest.raises(ValueError):
            ports.listen(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="port"):
        ports.connect("127.0.0.1", 70_000)


# -- active ------------------------------------------------------------------------------------------------------------


@in_node()
async def test_active_once_is_one_message_each() -> None:
    async with pair(packet="line") as (conn, raw):
        raw.sendall(b"1\n2\n3")
        for line in (b"1\n", b"2\n"):
            await conn.set_active("once")
            assert await take(Data) == Data(conn, line)
            with pytest.raises(TimeoutError):
                await transom.receive(timeout=0.01)
        raw.close()
        await conn.set_active("once")
        assert await take(Data) == Data(conn, b"3")
        await conn.set_active("once")
        assert await take(Closed) == Closed(conn, "closed")
        assert conn.is_closed


@in_node()
async def test_active_n_ends_with_passive() -> None:
    async with pair(packet=1) as (conn, raw):
        await conn.set_active(2)
        await conn.set_active(2)
        await until(lambda: conn.info()["active"] == 4)
        raw.sendall(b"".join(bytes((1, i)) for i in range(10)))
        assert [(await take(Data)).data for _ in range(4)] == [bytes((i,)) for i in range(4)]
        assert await take() == Passive(conn)
        assert conn.info()["active"] is False
        assert await conn.recv() == bytes((4,))


@in_node()
async def test_an_active_port_refuses_recv_and_false_stops_it() -> None:
    async with pair(packet=1) as (conn, raw):
        await conn.set_active(True)
        with pytest.raises(RuntimeError, match="active"):
            await conn.recv()
        raw.sendall(b"\1a")
        assert await take(Data) == Data(conn, b"a")
        await conn.set_active(False)
        raw.sendall(b"\1b")
        assert await conn.recv() == b"b"


@in_node()
async def test_once_holds_an_endless_sender_back() -> None:
    async with pair() as (conn, raw):
        raw.setblocking(False)
        await conn.set_active("once")
        sent = 0
        for _ in range(100):
            try:
                while True:
                    sent += raw.send(bytes(65536))
            except BlockingIOError:
                await transom.sleep(0.001)
        first = await take(Data)
        assert len(first.data) + conn.info()["unread"] < 1 << 20


@pytest.mark.parametrize("on_full", ["reject", "wait"])
@in_node()
async def test_a_full_mailbox_holds_an_active_port_back_and_the_loop_goes_on(on_full: Any) -> None:
    async def owner(parent: transom.Pid, address: Any) -> None:
        conn = await ports.connect(*address, packet=1, active=True)
        go = transom.alias()  # what comes through it is let in when the mailbox is full
        transom.send(parent, go)
        await transom.receive(is_("go"))
        for i in range(200):
            assert (await take(Data)).data == bytes((i,))
        transom.send(parent, "all")
        await conn.close()

    async with await ports.listen() as listener:
        options = transom.SpawnOptions(max_queue=5, on_full=on_full, monitor=True)
        pid, ref = transom.spawn_opt(options, owner, transom.current_pid(), listener.address)
        conn = await listener.accept(timeout=DEADLINE)
        go = await take(transom.Ref)
        await conn.send(b"".join(bytes((1, i)) for i in range(200)))
        await until(lambda: transom.process_info(pid, "message_queue_len") == {"message_queue_len": 5})
        assert await transom.aio(asyncio.sleep(0, "alive"), timeout=DEADLINE) == "alive"
        transom.send(go, "go")
        await take(is_("all"))
        assert await reason_of(ref) == "normal"
        await conn.close()


# -- frames ------------------------------------------------------------------------------------------------------------


FRAMES = [b"", b"a", b"bc" * 50, b"", b"d" * 200]


@pytest.mark.parametrize("head", [1, 2, 4])
@in_node()
async def test_frames_are_whole_wherever_the_stream_is_cut(head: Any) -> None:
    stream = b"".join(len(frame).to_bytes(head, "big") + frame for frame in FRAMES)
    async with pair(packet=head) as (conn, raw):
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(stream), 7):
            raw.sendall(stream[:at])
            await transom.sleep(0)
            raw.sendall(stream[at:])
            assert [await conn.recv() for _ in FRAMES] == FRAMES
        for frame in FRAMES:
            await conn.send(bytearray(frame))
        await conn.flush()
        got = b""
        while len(got) < len(stream):
            got += raw.recv(65536)
        assert got == stream


@in_node()
async def test_hostile_lengths_keep_nothing() -> None:
    async with pair(packet=4, max_frame=1000) as (conn, raw):
        raw.sendall(b"\0\0\0\2ok" + (1 << 31).to_bytes(4, "big") + bytes(100))
        assert await conn.recv() == b"ok"
        with pytest.raises(PortClosed, match="max_frame=1000") as caught:
            await conn.recv()
        assert caught.value.reason[0] == "EMSGSIZE"
        assert conn.is_closed and conn.info()["unread"] == 0
    async with pair(packet="line", max_frame=10, active=False) as (conn, raw):
        await conn.set_active(True)
        raw.sendall(b"123456789\n" + b"x" * 11)
        assert await take() == Data(conn, b"123456789\n")
        closed = await take()
        assert isinstance(closed, Closed) and closed.reason[0] == "EMSGSIZE"


@in_node()
async def test_an_end_within_a_frame_is_told() -> None:
    async with pair(packet=2) as (conn, raw):
        raw.sendall(b"\0\5abc")
        raw.close()
        with pytest.raises(PortClosed, match="within a frame") as caught:
            await conn.recv(timeout=DEADLINE)
        assert caught.value.reason[0] == "EPROTO"
    async with pair(packet=1) as (conn, _):
        with pytest.raises(ValueError, match="256 bytes"):
            await conn.send(bytes(256))
        with pytest.raises(TypeError, match="encode"):
            conn.send("text")


# -- owners ------------------------------------------------------------------------------------------------------------


@in_node()
async def test_others_get_not_owner() -> None:
    async with pair() as (conn, raw):
        owner = transom.current_pid()

        async def other() -> None:
            for use in (conn.send(b"x"), conn.recv(), conn.close(), conn.set_active(True)):
                with pytest.raises(transom.NotOwner, match=f"belongs to {owner}"):
                    await use

        _, ref = transom.spawn_monitor(other)
        assert await reason_of(ref) == "normal"
        raw.sendall(b"mine")
        assert await conn.recv() == b"mine"


async def waiting_forever(address: Any) -> None:
    conn = await ports.connect(*address)
    await conn.recv()


async def listening_for_messages(address: Any) -> None:
    await ports.connect(*address, active=True)
    await transom.receive()


async def busy(address: Any) -> None:
    await ports.connect(*address)
    while True:
        pass


async def sending(address: Any) -> None:
    conn = await ports.connect(*address)
    while True:
        await conn.send(bytes(65536))


def plain(address: Any) -> None:
    conn = ports.connect(*address).result()
    conn.recv().result()


@pytest.mark.parametrize("body", [waiting_forever, listening_for_messages, busy, sending, plain])
@in_node()
async def test_a_killed_owner_takes_the_port_along(body: Any) -> None:
    async with await ports.listen() as listener:
        pid, ref = transom.spawn_monitor(body, listener.address)
        conn = await listener.accept(timeout=DEADLINE)
        await transom.sleep(0.01)
        transom.kill(pid)
        assert await reason_of(ref) == "killed"
        with pytest.raises(PortClosed):
            while True:
                await conn.recv(timeout=DEADLINE)
        await until(lambda: open_ports() == 1 + (not conn.is_closed))
        await conn.close()


@in_node()
async def test_what_an_owner_sent_before_it_ended_arrives() -> None:
    async def owner(address: Any) -> None:
        conn = await ports.connect(*address)
        for _ in range(10):
            await conn.send(bytes(10_000))

    async with await ports.listen() as listener:
        transom.spawn(owner, listener.address)
        async with await listener.accept(timeout=DEADLINE) as conn:
            assert len(await conn.recv(100_000, timeout=DEADLINE)) == 100_000
            with pytest.raises(PortClosed):
                await conn.recv(timeout=DEADLINE)


@in_node()
async def test_a_port_can_be_monitored_and_ended_like_a_process() -> None:
    async with pair() as (conn, raw):
        ref = transom.monitor(conn)
        await conn.close()
        assert await reason_of(ref) == "normal"
        await conn.close()
    async with pair() as (conn, raw):
        await conn.set_active(True)
        transom.kill(conn)
        assert (await take(Closed)).reason[0] == "EPIPE"
        assert conn.is_closed
        assert raw.recv(1) == b""


@in_node()
async def test_a_port_that_is_ended_before_its_process_has_run_closes() -> None:
    async with await ports.listen() as listener:
        for _ in range(scaled(100)):
            conn = await ports.connect(*listener.address)
            transom.kill(conn)
            await until(lambda conn=conn: conn.is_closed)


def _write_bit_by_bit(raw: socket.socket, data: bytes) -> None:
    for at in range(0, len(data), 3):
        raw.sendall(data[at : at + 3])


@in_node()
async def test_controlling_process_takes_the_messages_along() -> None:
    async def heir(parent: transom.Pid, count: int) -> None:
        got = [(await take(Data)).data for _ in range(count)]
        transom.send(parent, got)
        await take(Closed)

    count = 50
    frames = b"".join(b"\0\2" + i.to_bytes(2, "big") for i in range(count))
    for round in range(scaled(40)):
        async with pair(packet=2) as (conn, raw):
            pid, ref = transom.spawn_monitor(heir, transom.current_pid(), count)
            writer = threading.Thread(target=_write_bit_by_bit, args=(raw, frames))
            await conn.set_active(True)
            writer.start()
            for _ in range(round):
                await transom.sleep(0)
            await conn.controlling_process(pid)
            assert conn.owner == pid
            with pytest.raises(transom.NotOwner):
                await conn.set_active(False)
            assert await take(list) == [i.to_bytes(2, "big") for i in range(count)]
            writer.join()
            raw.close()
            assert await reason_of(ref) == "normal"


@in_node()
async def test_given_to_the_dead_it_closes() -> None:
    async with pair() as (conn, raw):
        pid, ref = transom.spawn_monitor(asyncio.sleep, 0)
        await take(ref)
        await conn.controlling_process(pid)
        await until(lambda: conn.is_closed)
        assert raw.recv(1) == b""


def test_a_port_needs_a_process() -> None:
    with pytest.raises(transom.NotInProcess):
        ports.listen().result()


# -- ends --------------------------------------------------------------------------------------------------------------


@in_node()
async def test_half_close_both_ways() -> None:
    async with pair(half_close=True) as (conn, raw):
        await conn.set_active(True)
        raw.sendall(b"question")
        raw.shutdown(socket.SHUT_WR)
        assert (await take(Data)).data == b"question"
        assert await take() == Eof(conn)
        await conn.send(b"answer")
        await conn.shutdown()
        with pytest.raises(PortClosed):
            await conn.send(b"more")
        assert receive_all(raw) == b"answer"
    async with pair(half_close=True) as (conn, raw):
        raw.shutdown(socket.SHUT_WR)
        with pytest.raises(PortClosed):
            await conn.recv(timeout=DEADLINE)
        await conn.send(b"still")
        await conn.close()
        assert receive_all(raw) == b"still"
    async with pair() as (conn, raw):
        await conn.send(b"bye")
        await conn.shutdown()
        assert receive_all(raw) == b"bye"
        raw.sendall(b"heard")
        assert await conn.recv() == b"heard"


@in_node()
async def test_close_lets_leave_what_was_sent_but_not_for_ever() -> None:
    async with pair() as (conn, raw):
        await conn.send(bytes(50_000))
        await conn.close()
        assert len(receive_all(raw)) == 50_000
    async with pair() as (conn, _):
        with pytest.raises(TimeoutError):
            while True:
                await conn.send(bytes(1 << 20), timeout=0.01)
        await conn.close(linger=0.05)
        await until(lambda: open_ports() == 1)


# -- listeners ---------------------------------------------------------------------------------------------------------


@in_node()
async def test_many_accept_at_one_listener() -> None:
    async def acceptor(listener: ports.Listener, parent: transom.Pid) -> None:
        async with await listener.accept(timeout=DEADLINE) as conn:
            await conn.send(await conn.recv(timeout=DEADLINE))
            transom.send(parent, "served")

    async with await ports.listen() as listener:
        for _ in range(20):
            transom.spawn(acceptor, listener, transom.current_pid())
        clients = [await ports.connect(*listener.address) for _ in range(20)]
        for i, client in enumerate(clients):
            await client.send(bytes((i,)))
        assert [await client.recv(timeout=DEADLINE) for client in clients] == [bytes((i,)) for i in range(20)]
        for client in clients:
            await take(is_("served"))
            await client.close()


@in_node()
async def test_an_active_listener_brings_connections() -> None:
    async with await ports.listen(active=2) as listener:
        clients = [await ports.connect(*listener.address) for _ in range(3)]
        accepted = [await take(Accepted), await take(Accepted)]
        assert await take() == Passive(listener)
        third = await listener.accept(timeout=DEADLINE)
        for port in (*[message.connection for message in accepted], third, *clients):
            assert port.owner == transom.current_pid()
            await port.close()


@in_node()
async def test_a_listener_closes_with_its_owner_and_acceptors_are_told() -> None:
    async def owner(parent: transom.Pid) -> None:
        transom.send(parent, await ports.listen())
        await transom.receive()

    pid, _ = transom.spawn_monitor(owner, transom.current_pid())
    listener = await take(ports.Listener)

    async def acceptor() -> None:
        with pytest.raises(PortClosed, match="owner"):
            await listener.accept()

    _, ref = transom.spawn_monitor(acceptor)
    await until(lambda: listener.info()["accepting"] == 1)
    transom.kill(pid)
    assert await reason_of(ref) == "normal"
    await take(transom.Down)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(listener.address)


@in_node()
async def test_accept_in_time_or_not_at_all() -> None:
    async with await ports.listen() as listener:
        with pytest.raises(TimeoutError, match="accept"):
            await listener.accept(timeout=0.01)
        async with await ports.connect(*listener.address), await listener.accept(timeout=DEADLINE):
            pass


@in_node()
async def test_unix_sockets_are_the_owners_alone(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    async with await ports.listen(path=path) as listener:
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        async with await ports.connect(path=path) as client, await listener.accept(timeout=DEADLINE) as conn:
            await client.send(b"hello")
            assert await conn.recv() == b"hello"
        with pytest.raises(PortError, match="in use"):
            await ports.listen(path=path)
    assert not os.path.exists(path)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(path)
    async with await ports.listen(path=path):
        pass
    Path(path).write_text("no socket")
    with pytest.raises(PortError, match="in use"):
        await ports.listen(path=path)


# -- places ------------------------------------------------------------------------------------------------------------


@in_node()
def test_plain_functions_ask_for_results() -> None:
    with ports.listen(packet="line").result() as listener, ports.connect(*listener.address).result() as client:
        with listener.accept().result(DEADLINE) as conn:
            client.send(b"one\ntwo\n").result()
            assert conn.recv().result() == b"one\n"
            conn.set_active("once").result()
            assert transom.sync.receive(Data, timeout=DEADLINE).data == b"two\n"
            with pytest.raises(TimeoutError):
                conn.recv().result(0.01)


class Echo(transom.Agent):
    async def init(self, address: Any) -> None:
        self.conn = await ports.connect(*address, packet="line", active="once")
        self.lines: list[bytes] = []

    async def handle_info(self, message: Any) -> None:
        match message:
            case Data(port, data):
                self.lines.append(data)
                await port.send(data.upper())
                await port.set_active("once")
            case Closed():
                raise transom.Stop("normal")


class LoopEcho(Echo, loop=True):
    pass


@pytest.mark.parametrize("kind", [Echo, LoopEcho])
@in_node()
async def test_agents_get_messages(kind: Any) -> None:
    async with await ports.listen() as listener:
        agent = await kind.start(listener.address)
        ref = transom.monitor(agent)
        async with await listener.accept(timeout=DEADLINE) as conn:
            await conn.send(b"a\nb\n")
            assert await conn.recv(4, timeout=DEADLINE) == b"A\nB\n"
        assert await reason_of(ref) == "normal"


class Giver(transom.Agent, loop=True):
    async def init(self) -> None:
        self.listener = await ports.listen(packet="line")

    def address(self) -> Any:
        return self.listener.address

    async def take_one(self, to: transom.Pid) -> None:
        conn = await self.listener.accept(timeout=DEADLINE)
        await conn.set_active(True)
        await conn.controlling_process(to)


@in_node()
async def test_agents_on_the_loop_accept_and_give_away() -> None:
    giver = await Giver.start_link()
    async with await ports.connect(*(await giver.address())) as client:
        await client.send(b"hello\n")
        await giver.take_one(transom.current_pid())
        data = await take(Data)
        assert data.data == b"hello\n" and data.port.owner == transom.current_pid()
        await data.port.close()
    ref = transom.monitor(giver)
    transom.unlink(giver)
    transom.kill(giver)
    await take(ref)
    await until(lambda: open_ports() == 0)


@in_node(io_threads=2)
async def test_ports_on_another_loop() -> None:
    async with await ports.listen(loop=1) as listener, await ports.connect(*listener.address, loop=0) as client:
        async with await listener.accept(timeout=DEADLINE) as conn:
            await client.send(b"across")
            assert await conn.recv() == b"across"


def test_deterministic_runs_wait_for_ports_with_the_real_clock() -> None:
    async def answer(address: Any) -> None:
        async with await ports.connect(*address, packet=1) as conn:
            await conn.send(b"hello")

    async def main() -> bytes:
        async with await ports.listen(packet=1) as listener:
            transom.spawn(answer, listener.address)
            async with await listener.accept() as conn:
                return await conn.recv()

    assert transom.run(main, deterministic=3) == b"hello"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    key, cert = str(folder / "key.pem"), str(folder / "cert.pem")
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    )
    subprocess.run([*command.split(), "-keyout", key, "-out", cert], check=True, capture_output=True)
    return key, cert


def test_tls(certificate: tuple[str, str]) -> None:
    key, cert = certificate
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cafile=cert)
    server.load_cert_chain(cert, key)

    async def main() -> None:
        async with await ports.listen(ssl=server, packet=4) as listener:
            port = listener.address[1]

            async def greet() -> None:
                async with await ports.connect(
                    "127.0.0.1", port, ssl=client, server_hostname="localhost", packet=4
                ) as conn:
                    for size in (1, 200_000):
                        await conn.send(bytes(size))
                        assert await conn.recv(timeout=DEADLINE) == bytes(size)
                    with pytest.raises(PortError, match="TLS"):
                        await conn.shutdown()

            with socket.create_connection(listener.address) as liar:  # its handshake holds nobody up
                liar.sendall(b"no TLS")
                _, ref = transom.spawn_monitor(greet)
                async with await listener.accept(timeout=DEADLINE) as conn:
                    for _ in range(2):
                        await conn.send(await conn.recv(timeout=DEADLINE))
                    assert await reason_of(ref) == "normal"
                    with pytest.raises(PortClosed):
                        await conn.recv(timeout=DEADLINE)
            transom.spawn_link(accepts, listener)
            with pytest.raises(PortError, match="(?i)certificate"):
                await ports.connect("127.0.0.1", port, ssl=ssl.create_default_context(), server_hostname="localhost")

    async def accepts(listener: ports.Listener) -> None:
        with pytest.raises(PortClosed):
            await listener.accept()

    transom.run(main)


@in_node()
async def test_udp() -> None:
    async with await ports.open_udp() as here, await ports.open_udp(peer=here.address) as there:
        await there.send(b"one")
        assert await here.recv(timeout=DEADLINE) == (b"one", there.address)
        await here.set_active("once")
        await there.send(b"two")
        assert await take() == ports.Datagram(here, b"two", there.address)
        with pytest.raises(TimeoutError):
            await here.recv(timeout=0.01)
        with pytest.raises(ValueError, match="datagram"):
            here.send(bytes(70_000), there.address)
        with pytest.raises(ValueError, match="where"):
            await here.send(b"nowhere")
        for _ in range(3000):
            await there.send(b"x")
        await until(lambda: here.info()["received_count"] + 0 >= 100)
        assert len(here._core._queue) <= 1024


def test_a_node_that_stops_closes_its_ports() -> None:
    async def main() -> Any:
        listener = await ports.listen()
        await ports.connect(*listener.address)
        await ports.open_program("sleep", "60")
        return listener.address

    address = transom.run(main)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
