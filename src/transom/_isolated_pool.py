"""The pool of OS processes for isolated calls, and the one thread that talks to them.

What it is      Port: a thread with epoll over the workers' sockets and their pidfds. It starts workers, gives them
                calls, takes replies as bytes (it never looks into them), kills, and reaps. Nobody else does.
Who does what   Wardens (_isolated.py) put commands into a deque and wake the thread through an eventfd, once for any
                number of commands. The thread answers by sending a message to the warden.
Workers         A fresh interpreter each (no fork of this program), in a session of its own. It is killed as a group.
                At most `size` live; one more than are busy is kept warm. A worker whose call is over is used again,
                unless the call was to be the only one; one that crashed or was killed is replaced.
Rejected        A thread for each worker (a wake-up each); SIGCHLD (belongs to the program); one worker process that
                forks (children of a process with threads); a process of the node as manager (one more that can die).
Source          OTP's ports (erlang:open_port/2), poolboy.
"""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from transom import _core, _errors
from transom._isolated_data import ERROR, HEAD_IN, HEAD_OUT, LAST, READY, VALUE

_log = logging.getLogger("transom")

OUTCOME = "$isolated"  # (OUTCOME, "reply", kind, bytes) or (OUTCOME, "gone", status) or (OUTCOME, "refused", text)
CHUNK = 1 << 18
FAILED_STARTS = 3  # in a row, then waiting calls are refused
CLOSE_SECONDS = 5.0
_BOOT = (
    "import json,sys; a=json.loads(sys.argv[1]); sys.path[:]=a[0];"
    "from transom._isolated_worker import main; sys.argv[1:]=[]; main(*a[1:])"
)


@dataclass(eq=False, slots=True)
class Job:
    """One call."""

    warden: _core.Pid
    data: bytes
    memory: int  # 0: no limit
    fresh: bool
    max_result: int
    worker: Worker | None = None
    over: bool = False


@dataclass(eq=False, slots=True)
class Worker:
    """One OS process; everything here belongs to the thread."""

    process: subprocess.Popen[bytes]
    socket: socket.socket
    pidfd: int
    memory: int | None = None  # the limit it has taken on; None: none yet
    job: Job | None = None
    ready: bool = False
    used: bool = False
    doomed: bool = False  # takes no more calls: killed, or it has ended
    inbox: bytearray = field(default_factory=bytearray)
    outbox: deque[memoryview] = field(default_factory=deque)


class Port:
    """The thread and its workers. Made by the first isolated call of a node, closed by stop()."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.counts = {"calls": 0, "crashed": 0, "killed": 0, "spawned": 0}
        self._commands: deque[tuple[str, Any]] = deque()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._woken = False
        self._lock = threading.Lock()  # of the three above
        self._epoll = select.epoll()
        self._epoll.register(self._wake, select.EPOLLIN)
        self._fds: dict[int, Worker] = {}
        self._workers: list[Worker] = []
        self._waiting: dict[Job, None] = {}  # in order; any of them may be given up
        self._under_way: set[Job] = (
            set()
        )  # from submit until its outcome is sent or nobody wants it; each step is atomic
        self._failed = 0
        self._open = True
        self._thread = threading.Thread(target=self._main, name="transom-isolated", daemon=True)
        self._thread.start()

    # -- from any thread

    def submit(self, job: Job) -> None:
        """Run it when a worker is free; the outcome is sent to its warden, if it is not cancelled before."""
        self._under_way.add(job)
        if not self._command("submit", job):
            self._under_way.discard(job)

    def cancel(self, job: Job) -> None:
        """Nobody wants the outcome any more: kill its worker if it is still at it."""
        self._command("cancel", job)

    def close(self) -> None:
        """Kill all workers, and wait until they are reaped and the thread has ended."""
        self._command("close", None)
        self._thread.join(CLOSE_SECONDS)
        if self._thread.is_alive():
            _log.warning("stop: a worker of isolated() sits in the kernel and could not be reaped")

    def info(self) -> dict[str, Any]:
        """Figures, see isolated_info."""
        workers = list(self._workers)
        return {
            "size": self.size,
            "workers": len(workers),
            "busy": sum(worker.job is not None for worker in workers),
            "waiting": len(self._waiting),
            **self.counts,
            "pids": [worker.process.pid for worker in workers],
        }

    def is_busy(self) -> bool:
        """Is any call under way, or waiting?"""
        return bool(self._under_way)

    def _command(self, what: str, job: Job | None) -> bool:
        """False: the thread has ended."""
        with self._lock:
            if self._wake < 0:
                return False
            self._commands.append((what, job))
            if not self._woken:
                self._woken = True
                os.eventfd_write(self._wake, 1)
            return True

    # -- in the thread

    def _main(self) -> None:
        try:
            while self._open or self._workers:
                for fd, events in self._epoll.poll():
                    self._turn(fd, events)
        except BaseException:
            _log.exception("the thread of isolated() ended")
            self._open = False
            for worker in self._workers:
                self._kill(worker)
            raise
        finally:
            self._epoll.close()
            with self._lock:
                os.close(self._wake)
                self._wake = -1

    def _turn(self, fd: int, events: int) -> None:
        if fd == self._wake:
            with self._lock:
                os.eventfd_read(self._wake)
                self._woken = False
                commands, self._commands = self._commands, deque()
            for what, job in commands:
                getattr(self, "_do_" + what)(job)
            return
        worker = self._fds.get(fd)
        if worker is None:
            return  # it went earlier in this round
        if fd == worker.pidfd:
            self._read(worker)
            self._gone(worker)
            return
        if events & select.EPOLLOUT:
            self._write(worker)
        if events & ~select.EPOLLOUT:
            self._read(worker)

    def _do_submit(self, job: Job) -> None:
        if not self._open:
            self._tell(job, "refused", "the node is stopping")
            return
        self.counts["calls"] += 1
        self._waiting[job] = None
        self._assign()

    def _do_cancel(self, job: Job) -> None:
        if job.over:
            return
        job.over = True
        self._under_way.discard(job)
        if job.worker is not None:
            self.counts["killed"] += 1
            self._kill(job.worker)
        else:
            del self._waiting[job]

    def _do_close(self, _: Any) -> None:
        self._open = False
        for worker in self._workers:
            self._kill(worker)
        self._refuse_all("the node is stopping")

    # -- calls and workers

    def _assign(self) -> None:
        """Give waiting calls to free workers, oldest first, and see that there are enough workers."""
        free = [worker for worker in self._workers if worker.ready and worker.job is None and not worker.doomed]
        pairs = []
        for job in self._waiting:
            if not free:
                break
            worker = next((worker for worker in free if _suits(worker, job)), None)
            if worker is not None:
                free.remove(worker)
                pairs.append((worker, job))
        for worker, job in pairs:
            del self._waiting[job]
            self._give(worker, job)
        self._provide()

    def _give(self, worker: Worker, job: Job) -> None:
        worker.job, job.worker = job, worker
        worker.used = True
        if job.memory:
            worker.memory = job.memory
        head = HEAD_IN.pack(len(job.data), job.memory)
        worker.outbox.extend((memoryview(head), memoryview(job.data)))
        job.data = b""
        self._write(worker)

    def _provide(self) -> None:
        if not self._open:
            return
        idle = [worker for worker in self._workers if worker.job is None and not worker.doomed]
        coming = sum(not worker.ready for worker in idle)
        busy = sum(worker.job is not None for worker in self._workers)
        suited = len(self._waiting) - coming
        wanted = max(suited, 0) if self._waiting else (1 if busy and not idle else 0)
        room = self.size - len(self._workers)
        if suited > 0 and room <= 0:  # all places are taken, some perhaps by workers no waiting call can use
            for worker in idle[:suited]:
                if worker.ready:
                    self._kill(worker)
        for _ in range(min(wanted, room)):
            if not self._spawn():
                break

    def _spawn(self) -> bool:
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                arguments = json.dumps([sys.path, theirs.fileno(), os.getpid(), *_main_module()])
                process = subprocess.Popen(
                    [sys.executable, "-c", _BOOT, arguments],
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                    # The interpreter's allocator would reserve a GiB of address space, which then is no limit.
                    env={**os.environ, "MIMALLOC_ARENA_RESERVE": "0"},
                )
        except (OSError, ValueError) as error:
            ours.close()
            self._cannot_start(f"{error}")
            return False
        ours.setblocking(False)
        worker = Worker(process, ours, os.pidfd_open(process.pid))
        self.counts["spawned"] += 1
        self._workers.append(worker)
        for fd in (ours.fileno(), worker.pidfd):
            self._fds[fd] = worker
            self._epoll.register(fd, select.EPOLLIN)
        return True

    def _cannot_start(self, why: str) -> None:
        self._failed += 1
        if self._failed >= FAILED_STARTS:
            self._failed = 0
            self._refuse_all(f"no worker could be started: {why}")

    def _refuse_all(self, why: str) -> None:
        waiting, self._waiting = self._waiting, {}
        for job in waiting:
            self._tell(job, "refused", why)

    def _kill(self, worker: Worker) -> None:
        worker.doomed = True
        try:
            os.killpg(worker.process.pid, signal.SIGKILL)  # not reaped yet, so the number is still its own
        except ProcessLookupError:
            pass  # it has not got as far as its own group, or has ended
        worker.process.kill()

    def _gone(self, worker: Worker) -> None:
        """It has ended: reap it and tell whoever waits for it."""
        status = worker.process.wait()
        try:
            os.killpg(worker.process.pid, signal.SIGKILL)  # what it started and left behind
        except (ProcessLookupError, PermissionError):
            pass
        self._forget(worker.socket.fileno())
        self._forget(worker.pidfd)
        worker.socket.close()
        os.close(worker.pidfd)
        self._workers.remove(worker)
        job = worker.job
        if job is not None and not job.over:
            self.counts["crashed"] += 1
            self._tell(job, "gone", status)
        if not worker.ready and self._open:
            self._cannot_start(f"it ended with status {status}")
        self._assign()

    def _forget(self, fd: int) -> None:
        if self._fds.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def _tell(self, job: Job, *outcome: Any) -> None:
        job.over = True
        try:
            _core.send(job.warden, (OUTCOME, *outcome))
        except _errors.TransomError:
            pass  # the node has stopped
        finally:
            self._under_way.discard(job)

    # -- bytes

    def _write(self, worker: Worker) -> None:
        try:
            while worker.outbox:
                sent = worker.socket.send(worker.outbox[0])
                rest = worker.outbox[0][sent:]
                if rest:
                    worker.outbox[0] = rest
                else:
                    worker.outbox.popleft()
        except BlockingIOError:
            pass
        except OSError:  # its end is closed; the pidfd tells the rest
            worker.outbox.clear()
        if worker.socket.fileno() in self._fds:
            self._epoll.modify(worker.socket.fileno(), select.EPOLLIN | (select.EPOLLOUT if worker.outbox else 0))

    def _read(self, worker: Worker) -> None:
        """Take what is there, and not for ever: other workers want their turn."""
        for _ in range(64):
            try:
                data = worker.socket.recv(CHUNK)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._forget(worker.socket.fileno())
                self._kill(worker)  # it closed its end: nothing more can come of it
                return
            worker.inbox += data
            if not self._frame(worker):
                return

    def _frame(self, worker: Worker) -> bool:
        """Act on a whole frame. False: the worker has broken the rules and dies."""
        if len(worker.inbox) < HEAD_OUT.size:
            return True
        length, kind = HEAD_OUT.unpack_from(worker.inbox)
        job = worker.job
        limit = job.max_result if job is not None and worker.ready else 0
        size = HEAD_OUT.size + length
        if length > limit or len(worker.inbox) > size or (job is None and worker.ready) or worker.doomed:
            self._broken(
                worker, f"a result of {length} bytes, over max_result={limit}" if job and length > limit else ""
            )
            return False
        if len(worker.inbox) < size:
            return True
        data = bytes(memoryview(worker.inbox)[HEAD_OUT.size :])
        worker.inbox = bytearray()
        if not worker.ready:
            worker.ready = kind == READY
            self._failed = 0
            self._assign()
            return True
        if job is None or kind not in (VALUE, ERROR, LAST):
            self._broken(worker, "")
            return False
        worker.job = None
        if kind == LAST or job.fresh:
            self._kill(worker)
        if not job.over:
            self._tell(job, "reply", kind, data)
        self._assign()
        return True

    def _broken(self, worker: Worker, why: str) -> None:
        job = worker.job
        if job is not None and not job.over:
            self._tell(job, "refused", why or "the worker wrote what is no reply")
        self._kill(worker)


def _suits(worker: Worker, job: Job) -> bool:
    """May this free worker take the call?"""
    if job.fresh and worker.used:
        return False
    return not worker.used or worker.memory in (None, job.memory) and (job.memory != 0 or worker.memory is None)


def _main_module() -> tuple[str | None, str | None]:
    """How a worker finds the program's main module: its name, or its path."""
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return spec.name, None
    path = getattr(main, "__file__", None)
    return None, os.path.abspath(path) if path else None


# -- the port of the node ----------------------------------------------------------------------------------------------

_lock = threading.Lock()
_port: Port | None = None
_size = 2


def configure(size: int) -> None:
    """Called by start."""
    global _size
    _size = size


def port() -> Port:
    """The node's port; its thread begins with the first call."""
    global _port
    with _lock:
        if _port is None:
            _port = Port(_size)
        return _port


def current() -> Port | None:
    """The node's port, if there is one."""
    return _port


def is_busy() -> bool:
    """Is any call under way, or waiting?"""
    port = _port
    return port is not None and port.is_busy()


def close() -> None:
    """Called by stop, when all processes have ended."""
    global _port
    with _lock:
        closing, _port = _port, None
    if closing is not None:
        closing.close()
