"""Processes that use ports are killed at each of their points: nothing of a port is left, and no loop hangs."""

from __future__ import annotations

import sys
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import transom
from tests.semantics.test_ports import loops_were_used, no_descriptor_is_left, open_ports
from tests.support import in_node, take, until
from transom import (
    _loop_thread,
    _port,
    _port_core,
    _port_file,
    _port_program,
    _port_socket,
    _port_stream,
    _port_udp,
    ports,
)

__all__ = ["loops_were_used", "no_descriptor_is_left"]  # the fixtures

PORTS = (_port, _port_core, _port_file, _port_program, _port_socket, _port_stream, _port_udp, _loop_thread)
TOOL = 3


def _codes(module: types.ModuleType) -> Iterator[types.CodeType]:
    todo = [value for value in vars(module).values() if getattr(value, "__module__", "").startswith("transom")]
    found = [value for made in todo if isinstance(made, type) for value in vars(made).values()]
    codes = [getattr(getattr(f, "fget", None) or f, "__code__", None) for f in (*todo, *found)]
    while codes:
        code = codes.pop()
        if isinstance(code, types.CodeType):
            yield code
            codes.extend(code.co_consts)


class Killer:
    """Kills a process at the n-th point of the code of ports where the interpreter looks for signals: the beginning of a
    function, the return from one in C, a jump backwards.
    """

    def __init__(self) -> None:
        self._victim: transom.Pid | None = None
        self._left = 0

    def arm(self, n: int) -> None:
        """The calling process is the victim."""
        self._victim, self._left = transom.current_pid(), n

    def disarm(self) -> bool:
        """Has it struck?"""
        victim, self._victim = self._victim, None
        return victim is None

    def _point(self, *_: Any) -> None:
        victim = self._victim
        try:
            if victim is None or transom.current_pid() != victim:
                return
        except transom.NotInProcess:
            return
        self._left -= 1
        if self._left == 0:
            self._victim = None
            transom.kill(victim)

    def _jump(self, _: Any, at: int, to: int) -> None:
        if to < at:
            self._point()

    def __enter__(self) -> Killer:
        events = sys.monitoring.events
        sys.monitoring.use_tool_id(TOOL, "killer")
        for event in (events.PY_START, events.PY_RESUME, events.C_RETURN):
            sys.monitoring.register_callback(TOOL, event, self._point)
        sys.monitoring.register_callback(TOOL, events.JUMP, self._jump)
        sys.monitoring.register_callback(TOOL, events.CALL, lambda *_: None)  # brings C_RETURN
        self._set(events.PY_START | events.PY_RESUME | events.CALL | events.JUMP)
        return self

    def __exit__(self, *_: object) -> None:
        self._set(0)
        sys.monitoring.free_tool_id(TOOL)

    def _set(self, events: int) -> None:
        for module in PORTS:
            for code in _codes(module):
                sys.monitoring.set_local_events(TOOL, code, events)


async def a_connection(address: Any, heir: transom.Pid, path: Path) -> None:
    conn = await ports.connect(*address, packet=1)
    await conn.send(b"x")
    await conn.set_active("once")
    await take(ports.Data)
    await conn.controlling_process(heir)


async def a_listener(address: Any, heir: transom.Pid, path: Path) -> None:
    listener = await ports.listen(active=1)
    async with await ports.connect(*listener.address):
        await take(ports.Accepted)
        await listener.controlling_process(heir)


async def a_program(address: Any, heir: transom.Pid, path: Path) -> None:
    program = await ports.open_program("cat")
    await program.send(b"x")
    await program.recv()
    await program.close(0)


async def a_file(address: Any, heir: transom.Pid, path: Path) -> None:
    async with await ports.open_file(path, "w") as file:
        await file.send(b"x")
        await file.flush()


async def a_udp_port(address: Any, heir: transom.Pid, path: Path) -> None:
    async with await ports.open_udp() as port:
        await port.send(b"x", port.address)
        await port.recv()


def plain(address: Any, heir: transom.Pid, path: Path) -> None:
    with ports.connect(*address, packet=1).result() as conn:
        conn.send(b"x").result()
        conn.recv().result()


async def _echo(listener: ports.Listener) -> None:
    while True:
        async with await listener.accept() as conn:
            try:
                await conn.send(await conn.recv())
            except ports.PortError:
                pass


async def _waits() -> None:
    await transom.receive()


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")  # killed in between
@pytest.mark.parametrize("body", [a_connection, a_listener, a_program, a_file, a_udp_port, plain])
@in_node()
async def test_killed_at_each_point_nothing_is_left(body: Callable[..., Any], tmp_path: Path) -> None:
    async with await ports.listen(packet=1) as listener:
        echo = transom.spawn(_echo, listener)
        with Killer() as killer:
            n, struck = 1, True
            while struck:
                before = len(transom.processes())
                heir = transom.spawn(_waits)

                async def victim(n: int = n, heir: transom.Pid = heir) -> None:
                    killer.arm(n)
                    await body(listener.address, heir, tmp_path / "file")

                def plain_victim(n: int = n, heir: transom.Pid = heir) -> None:
                    killer.arm(n)
                    body(listener.address, heir, tmp_path / "file")

                _, ref = transom.spawn_monitor(plain_victim if body is plain else victim)
                await take(ref)
                struck = killer.disarm()
                transom.kill(heir)
                await until(lambda: open_ports() == 1, f"after point {n} a port is left")
                await until(lambda before=before: len(transom.processes()) == before, f"after point {n} a process is left")
                n += 1
        assert n > 50
        transom.kill(echo)


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
def test_killed_at_each_point_of_the_first_use_of_a_loop_no_thread_is_left() -> None:
    def threads() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread.name.startswith("transom-io")]

    n, struck = 1, True
    while struck:
        with Killer() as killer:

            async def main(n: int = n, killer: Killer = killer) -> bool:
                async def victim() -> None:
                    killer.arm(n)
                    await ports.listen()

                _, ref = transom.spawn_monitor(victim)
                await take(ref)
                struck = killer.disarm()
                async with await ports.listen():  # the next one gets a loop
                    return struck

            struck = transom.run(main)
        assert not threads(), f"after point {n}"
        n += 1
    assert n > 50
