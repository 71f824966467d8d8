"""The loop's half of a port: who owns it, what is told to the owner, and its end.

Who touches what    Everything here belongs to the loop's thread, but for `owner`, `reason`, `active` and the figures,
                    which others may read, and the commands, to which anybody may add.
Commands            post() puts a command at the end and wakes the loop; ask() makes an operation (aio) that first
                    runs what was posted before. So the commands of one process act in order. Neither a lock nor a
                    flag: post() runs in finalisers, too, which may interrupt their own thread anywhere in post(),
                    and a process may be killed there.
The warden          A process that lives as long as the port, is its Pid, and monitors the owner. Whatever ends the owner
                    ends in a Down at the warden, which closes the port; whatever ends the warden does, too.
The end             shut(): the port is closed for its users at once. gone(): nothing of it is left in the system.
"""

from __future__ import annotations

import asyncio
import errno
import inspect
import logging
import os
import re
import ssl
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from transom import _core, _errors

if TYPE_CHECKING:
    from transom._loop_thread import LoopThread
    from transom._port import Port

_log = logging.getLogger("transom")

LINGER = 5.0  # seconds that what was sent may take to leave after an orderly end
RETRY = 0.01  # seconds until a full mailbox is tried again
COMMANDS = 1000  # that may wait to be run on the loop; who posts more waits
BURST = 500  # messages in a row before the loop turns to others
_OWNER, _CLOSED = "$port_owner", "$port_closed"
_SEVERAL = re.compile(r"Multiple exceptions: \[Errno (\d+)\]")  # asyncio, of a name with several addresses
_HIGH = 2  # priority of wardens: an owner's end is acted on though others are busy

type Active = bool | int  # False, True, or how many messages are still to come
type Reason = str | tuple[str, str]  # "closed", or name and text of an error


def reason_of(error: BaseException) -> tuple[str, str]:
    """Why a connection was lost, as users see it."""
    number: Any = getattr(error, "errno", None)
    text = getattr(error, "strerror", None) or str(error)
    if number is None and (found := _SEVERAL.match(text)):
        number = int(found[1])
    known = errno.errorcode.get(number or 0)
    if number is None or known is None or isinstance(error, ssl.SSLError):  # those have numbers of their own
        return type(error).__name__, text or type(error).__name__
    words = os.strerror(number)
    return known, text if words in text else f"{words} ({text})"


class Core:
    """What all ports have; subclasses move bytes."""

    def __init__(self, thread: LoopThread, what: str) -> None:
        self.thread = thread
        self.what = what
        self.owner: _core.Pid | None = None
        self.warden: _core.Pid | None = None
        self.port: Port = self._handle()
        self.active: Active = False
        self.reason: Reason | None = None  # why it is closed
        self.ending: Reason | None = None  # why there will be no more; told when all before it has been
        self.once = False  # active "once": its end is not told
        self.hung = False
        self.hung_hits = 0
        self.hang_in: int | None = None  # so many pieces still pass
        self.received = self.sent = self.received_count = self.sent_count = 0
        self._first: deque[Any] = deque()  # messages that come before all else: handed on, or told to a full mailbox
        self._before: Active | None = None  # while it is given away: how it was
        self._untold = False  # it was ended when it was passive
        self._gone = False
        self._waiting_gone: list[asyncio.Future[None]] = []
        self._retry: asyncio.Handle | None = None
        self._commands: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()  # added by anybody, taken by the loop

    def __deepcopy__(self, memo: Any) -> Core:
        return self

    # -- for subclasses to say

    def _handle(self) -> Port:
        raise NotImplementedError

    def flow(self) -> None:
        """Read, or stop reading, as is right now."""

    def step(self) -> bool:
        """Active: tell the owner one more thing, if there is one. False: there is none, or no room."""
        return False

    def exhausted(self) -> bool:
        """Is nothing left that came before the end?"""
        return True

    def wake(self) -> None:
        """Something changed that a waiting operation waits for."""

    def release(self, linger: float) -> None:
        """Give back what the system lent, and call gone() then; so many seconds for what was sent to leave."""
        self.gone()

    def held_up(self) -> None:
        """It is hung no more: let what waited to leave go."""

    # -- commands, any thread

    def is_behind(self) -> bool:
        """Has the loop so much to do that who posts has to wait for it?"""
        return len(self._commands) >= COMMANDS

    def post(self, command: Callable[..., Any], *args: Any) -> None:
        """Run command(*args) on the loop soon, after what was posted before. Lost when the loop has ended."""
        self._commands.append((command, args))
        self.thread.call(self._run_posted)

    def ask(self, command: Callable[..., Any], *args: Any, timeout: float | None = None) -> _core.Aio[Any]:
        """An operation: run or await command(*args) on the loop, after what was posted before."""
        return _core.Aio(lambda: self._ordered(command, args, timeout), None, self.thread.index, 2)

    async def _ordered(self, command: Callable[..., Any], args: tuple[Any, ...], timeout: float | None) -> Any:
        if asyncio.get_running_loop() is not self.thread.loop:  # an agent on another loop asks
            there = self._ordered(command, args, timeout)
            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(there, self.thread.loop))
        self._run_posted()
        result = command(*args)
        if inspect.isawaitable(result):
            limit = asyncio.timeout(timeout)
            try:
                async with limit:
                    result = await result
            except TimeoutError:
                if limit.expired():
                    raise TimeoutError(f"{self.what}: {command.__name__}() not done within {timeout} seconds") from None
                raise
        return result

    def _run_posted(self) -> None:
        for _ in range(len(self._commands)):  # those added from now on have their own turn
            command, args = self._commands.popleft()
            try:
                command(*args)
            except Exception:  # one of ours that is wrong; those after it act all the same
                _log.exception("%s: %s failed", self.what, command.__name__)

    # -- the owner

    def adopt(self, owner: _core.Pid) -> None:
        """It becomes a port of this process. Any thread, before anybody else knows it."""
        if self.warden is not None:  # a listener could not tell its owner of it, and somebody else accepts it now
            self.give(self.owner, owner, [])
            return
        self.owner = owner
        self.warden = _core._spawn_opt(
            False, False, None, _HIGH, False, False, self.what, 0, 0, 0, _warden, _core.share(_Guard(self)), owner
        )

    def stop_active(self) -> None:
        """It is about to be given away: tell nothing until give()."""
        if self._before is None:
            self._before = "once" if self.once else self.active  # type: ignore[assignment]
        self.active = self.once = False

    def give(self, old: _core.Pid | None, new: _core.Pid, messages: list[Any]) -> None:
        """It becomes another process's, with the messages of it that the old one had. The new one gets them when it
        owns the port already, so it can use it at once. To the old one itself: it is not given away after all.
        """
        if self.owner != old or self.warden is None:
            return
        if new != old:
            self.owner = new
            self._send(self.warden, (_OWNER, new))
        self._first.extendleft(reversed(messages))
        active, self._before = self._before, None
        if active is None:
            self.pump()
        else:
            self.set_active(active)

    def owner_down(self, owner: _core.Pid, reason: Any) -> None:
        """The warden: this owner has ended."""
        if self.owner == owner:
            orderly = reason in ("normal", "shutdown") or (isinstance(reason, tuple) and reason[:1] == ("shutdown",))
            self.shut(("EOWNERDEAD", f"its owner {owner} ended"), LINGER if orderly else 0)

    # -- what is told

    def set_active(self, mode: Any) -> None:
        """Tell the owner: False, True, "once", or so many more."""
        if self.reason is not None:
            self._tell_end(mode is not False)
            self.pump()
            return
        if mode == "once" and mode is not True:
            self.active, self.once = 1, True
        elif mode is True or mode is False:
            self.active, self.once = mode, False
        else:
            self.active = mode + (self.active if type(self.active) is int and not self.once else 0)
            self.once = False
        self.pump()

    def tell(self, message: Any) -> bool:
        """Send it to the owner. False: its mailbox is full; pump() will be called again."""
        if self.owner is None or self._send(self.owner, message):
            return True
        if self._retry is None:
            self._retry = self.thread.loop.call_later(RETRY, self._again)
        return False

    def _again(self) -> None:
        self._retry = None
        self.pump()

    @staticmethod
    def _send(to: _core.Pid, message: Any) -> bool:
        try:
            _core.send(to, _core.share(message))
        except _errors.QueueFull:
            return False
        except _errors.NotRunning:
            pass  # the node has stopped: nobody waits for it
        return True

    def pump(self) -> None:
        """Tell the owner what there is to tell, a burst at a time."""
        while self._first and self._retry is None:
            if self.tell(self._first[0]):
                self._first.popleft()
        if self.hung or self.reason is not None:
            return
        left = BURST
        while self.active and left and self._retry is None:
            if not self.step():
                break
            left -= 1
            self._count()
            if self.hung or self.reason is not None:
                return
        if self.active and not left and self._retry is None:
            self._retry = self.thread.loop.call_soon(self._again)
        if self.ending is not None and self._retry is None and self.exhausted():
            self._conclude()
        self.wake()
        if self.reason is None:
            self.flow()

    def _conclude(self) -> None:
        """All has been told but the end."""
        from transom._port import Closed

        assert self.ending is not None
        if self.active:
            self.reason = self.ending  # before it is told: who is told sees a closed port
            if self.tell(Closed(self.port, self.ending)):
                self._finish(LINGER)
            else:
                self.reason = None

    def _count(self) -> None:
        from transom._port import Passive

        if type(self.active) is int and self.active is not True:
            self.active -= 1
            if self.active == 0:
                once, self.once, self.active = self.once, False, False
                if not once and not self.tell(Passive(self.port)):
                    self._first.append(Passive(self.port))

    def fail(self, reason: Reason) -> None:
        """No more will come."""
        if self.ending is None:
            self.ending = reason
        self.pump()

    def piece(self) -> None:
        """Something comes or goes: does it hang from now on?"""
        if self.hang_in is not None and not self.hung:
            if self.hang_in == 0:
                self.hung, self.hang_in = True, None
            else:
                self.hang_in -= 1
        self.hung_hits += self.hung

    def hang(self, skip: int) -> None:
        """For tests, any thread: after so many pieces nothing comes and nothing goes."""
        if skip == 0:
            self.hung = True
        else:
            self.hang_in = skip
        self.post(self._flow_if_open)

    def _flow_if_open(self) -> None:
        if self.reason is None:
            self.flow()

    def unhang(self) -> None:
        """It goes on."""
        self.hung, self.hang_in = False, None
        if self.reason is None:
            self.held_up()
            self.pump()

    # -- the end

    async def begin(self) -> None:
        """Open it; the first thing that happens on the loop."""
        try:
            if self.reason is not None:
                raise self.closed_error()
            await self.open()
        except _errors.PortError as error:
            self.shut(error.reason)
            raise
        except OSError as error:
            self.shut(reason_of(error))
            name, text = reason_of(error)
            if error.filename is not None and str(error.filename) not in self.what:
                text = f"{text}: {error.filename}"
            number = getattr(errno, name, None)
            raise _errors.PortError(f"{self.what} could not be opened: {text}", (name, text), number) from error
        except BaseException as error:
            self.shut(reason_of(error))
            raise

    async def open(self) -> None:
        """For subclasses: do what may take time or fail."""

    def opened(self) -> None:
        """It holds something of the system from now on."""
        self.thread.ports.add(self)

    def shut(self, reason: Reason, linger: float = 0) -> None:
        """Close it; what was sent may take so many seconds to leave."""
        if self.reason is not None:
            return
        self.reason = reason
        self._finish(linger)

    def _finish(self, linger: float) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        try:
            self.wake()
            self.release(linger)
        finally:
            if self.warden is not None:
                self._send(self.warden, _CLOSED)

    def ended(self) -> None:
        """Its process was ended, as by exit(port, ...). The owner has not asked for that, so it is told."""
        if self.reason is None:
            told = self.active is not False
            self._untold = True
            self.shut(("EPIPE", "its process was ended"))
            self._tell_end(told)
            self.pump()

    def _tell_end(self, now: bool) -> None:
        from transom._port import Closed

        if self._untold and now:
            self._untold = False
            self._first.append(Closed(self.port, self.reason or "closed"))

    def gone(self) -> None:
        """Nothing of it is left."""
        self._gone = True
        self.thread.ports.discard(self)
        for future in self._waiting_gone:
            if not future.done():
                future.set_result(None)

    async def close(self, linger: float) -> None:
        """Close it, and wait until nothing of it is left; at most `linger` seconds for what was sent."""
        self.shut("closed", linger)
        if not self._gone:
            future = self.thread.loop.create_future()
            self._waiting_gone.append(future)
            await asyncio.wait([future], timeout=linger)
            if not self._gone:
                self.release(0)

    def closed_error(self) -> _errors.PortClosed:
        """What its users get."""
        reason = self.reason or self.ending or "closed"
        if isinstance(reason, str):
            return _errors.PortClosed(f"{self.what} is closed", reason)
        return _errors.PortClosed(f"{self.what} is closed: {reason[1]}", reason, getattr(errno, reason[0], None))

    def info(self) -> dict[str, Any]:
        """Figures."""
        return {
            "what": self.what,
            "owner": self.owner,
            "active": "once" if self.once else self.active,
            "closed": self.reason,
            "received": self.received,
            "sent": self.sent,
            "received_count": self.received_count,
            "sent_count": self.sent_count,
        }


class _Guard:
    """What only a warden holds: goes with it, also when it is killed before its first turn, and takes the port along."""

    __slots__ = ("core",)

    def __init__(self, core: Core) -> None:
        self.core = core

    def __del__(self) -> None:
        if hasattr(self, "core"):  # else its maker was killed before it was made
            self.core.post(self.core.ended)


async def _warden(guard: _Guard, owner: _core.Pid) -> None:
    """The port as other processes see it."""
    core = guard.core
    core.warden = _core.current_pid()  # who made us may have been killed before it could note that
    ref = _core.monitor(owner)
    try:
        while True:
            message = await _core.receive()
            if isinstance(message, _core.Down) and message.ref == ref:
                core.post(core.owner_down, owner, message.reason)
            elif message == _CLOSED:
                return
            elif isinstance(message, tuple) and len(message) == 2 and message[0] == _OWNER:
                _core.demonitor(ref, flush=True)
                owner = message[1]
                ref = _core.monitor(owner)
    finally:
        core.post(core.ended)
