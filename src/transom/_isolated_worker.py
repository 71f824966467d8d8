"""The OS process at the other end of an isolated call: read a call, run it, write the reply.

It believes its parent and unpickles what comes from it; the parent does not believe it (_isolated_data.py).
"""

from __future__ import annotations

import ctypes
import importlib
import io
import os
import pickle
import resource
import runpy
import signal
import socket
import sys
import types
from typing import Any

from transom import _isolated_data
from transom._isolated_data import ERROR, HEAD_IN, HEAD_OUT, LAST, READY, VALUE

MAIN = "__transom_main__"  # what the program's main module is called here, so that it does not run as a program
_PR_SET_PDEATHSIG = 1


def main(fd: int, parent: int, main_name: str | None, main_path: str | None) -> None:
    """Serve until the parent closes its end."""
    _live_no_longer_than(parent)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.set_inheritable(fd, False)
    connection = socket.socket(fileno=fd)
    stream = connection.makefile("rb")
    _send(connection, READY, b"")
    limited = False
    while head := stream.read(HEAD_IN.size):
        length, memory = HEAD_IN.unpack(head)
        if memory and not limited:
            limited = True
            _limit(memory)
        kind, reply = _run(stream, length, main_name, main_path)
        _send(connection, kind, reply)
        if kind == LAST:
            os._exit(0)  # what is left of its memory is not enough for another call
        del reply


def _live_no_longer_than(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)


def _limit(memory: int) -> None:
    with open("/proc/self/statm", encoding="ascii") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    limit = used + memory
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _send(connection: socket.socket, kind: int, data: bytes) -> None:
    connection.sendall(HEAD_OUT.pack(len(data), kind))
    connection.sendall(data)


def _run(stream: io.BufferedReader, length: int, main_name: str | None, main_path: str | None) -> tuple[int, bytes]:
    try:
        fn, args, kwargs = _Call(io.BytesIO(stream.read(length)), main_name, main_path).load()
        if isinstance(fn, str):
            fn = _named(fn)
        return VALUE, _isolated_data.encode(fn(*args, **kwargs))
    except BaseException as error:
        out_of_memory = isinstance(error, MemoryError)
        return LAST if out_of_memory else ERROR, _isolated_data.encode_exception(error)


def _named(name: str) -> Any:
    module, _, path = name.partition(":")
    found: Any = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    return found


class _Call(pickle.Unpickler):
    """Finds what is defined in the program's main module, too; which is imported when it is first needed."""

    def __init__(self, file: io.BytesIO, main_name: str | None, main_path: str | None) -> None:
        super().__init__(file)
        self._name, self._path = main_name, main_path

    def find_class(self, module: str, name: str) -> Any:
        if module == "__main__" and MAIN not in sys.modules:
            self._import_main()
        return super().find_class(module, name)

    def _import_main(self) -> None:
        _isolated_data.importing_main = True
        try:
            if self._name is not None:
                found = runpy.run_module(self._name, run_name=MAIN, alter_sys=True)
            elif self._path is not None:
                found = runpy.run_path(self._path, run_name=MAIN)
            else:
                raise LookupError("what an interactive session defines is unknown in another OS process; use a module")
        finally:
            _isolated_data.importing_main = False
        program = types.ModuleType(MAIN)
        program.__dict__.update(found)
        sys.modules["__main__"] = sys.modules[MAIN] = program
