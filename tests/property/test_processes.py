"""A state machine: random operations on a few processes against a small Python model of the semantics.

The machine runs inside of a node, as its main process (a plain function): each rule is a command to one of the workers, or an
act of main, and is done at the same time on the model. After each rule everything must settle to what the model says: who
is alive, why the dead ended, who is linked to whom, who holds which name, and what each worker has found in its mailbox.

Within one rule signals may cross, so the model compares mailboxes as multisets per rule; the order of what one sender sends is
what tests/semantics is for.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)
from support import run_node

import transom
import transom.sync
from transom import Down, Exit, Pid, Ref, Stop, current_pid, send, spawn_monitor

REASONS = st.sampled_from(["normal", "shutdown", ("shutdown", 1), "boom", ("why", 2), "killed"])
ENDS = st.sampled_from(["normal", "shutdown", "boom", ("why", 2), "kill"])
NAMES = st.sampled_from(["alpha", "beta", "gamma"])
PATIENCE = 10.0

# -- the system: workers that do what they are told -------------------------------------------------------------------


async def worker(owner: Pid) -> None:
    """Carry out commands of the owner and tell it the result; report every other message."""
    refs: dict[int, Ref] = {}
    while True:
        match await transom.receive():
            case ("command", n, operation, *args):
                try:
                    result = await carry_out(operation, args, refs)
                except (transom.TransomError, ValueError) as error:
                    result = ("raised", type(error).__name__)
                send(owner, ("result", n, result))
            case message:
                send(owner, ("got", current_pid(), plain(message, refs)))


async def carry_out(operation: str, args: list[Any], refs: dict[int, Ref]) -> Any:
    match operation, args:
        case "monitor", [number, target]:
            refs[number] = transom.monitor(target)
        case "demonitor", [number, flush]:
            return transom.demonitor(refs[number], flush=flush)
        case "alias", [number, mode]:
            refs[number] = transom.alias(mode=mode)
            return refs[number]
        case "unalias", [number]:
            return transom.unalias(refs[number])
        case "stop", [reason]:
            raise Stop(reason)
        case "spawn_link", [owner]:
            return transom.spawn_link(worker, owner)
        case _:
            result = getattr(transom, operation)(*args)
            return result if isinstance(result, bool) else None
    return None


def plain(message: Any, refs: dict[int, Ref]) -> Any:
    """A message with the model's numbers in the place of refs."""
    if isinstance(message, Down):
        number = next((n for n, ref in refs.items() if ref == message.ref), None)
        return ("Down", number, message.pid if isinstance(message.pid, Pid) else message.pid[0], message.reason)
    if isinstance(message, Exit):
        return ("Exit", message.sender, message.reason)
    return message


# -- the model --------------------------------------------------------------------------------------------------------


@dataclass
class Modelled:
    pid: Pid
    traps: bool = False
    alive: bool = True
    reason: Any = None
    name: str | None = None
    links: set[Pid] = field(default_factory=set)
    # monitor number -> what it watches, as long as it is active
    monitors: dict[int, Pid] = field(default_factory=dict)
    # the name used for a monitor, which its Down carries
    monitor_names: dict[int, str] = field(default_factory=dict)
    aliases: dict[int, str] = field(default_factory=dict)
    mailbox: Counter[Any] = field(default_factory=Counter)


class Model:
    def __init__(self) -> None:
        self.all: dict[Pid, Modelled] = {}
        self.names: dict[str, Pid] = {}

    def exit_signal(self, sender: Pid, target: Pid, reason: Any, *, linked: bool = False) -> None:
        """The table of semantics 1.2."""
        it = self.all.get(target)
        if it is None or not it.alive:
            return
        if linked and sender not in it.links:
            return
        it.links.discard(sender) if linked else None
        if reason == "kill" and not linked:
            self.end(it, "killed")
        elif it.traps:
            it.mailbox["Exit", sender, reason] += 1
        elif reason != "normal" or sender == target:
            self.end(it, reason)

    def end(self, it: Modelled, reason: Any) -> None:
        it.alive, it.reason = False, reason
        if it.name is not None:
            del self.names[it.name]
            it.name = None
        links, it.links, it.monitors, it.aliases = it.links, set(), {}, {}
        for watcher in self.all.values():
            for number, target in list(watcher.monitors.items()):
                if target == it.pid:
                    del watcher.monitors[number]
                    watcher.mailbox["Down", number, watcher.monitor_names.get(number, it.pid), reason] += 1
        for peer in links:
            self.exit_signal(it.pid, peer, reason, linked=True)


# -- the machine ------------------------------------------------------------------------------------------------------


class Processes(RuleBasedStateMachine):
    workers = Bundle("workers")
    monitors = Bundle("monitors")
    aliases = Bundle("aliases")

    def __init__(self) -> None:
        super().__init__()
        self.me = current_pid()
        self.model = Model()
        self.refs: dict[Ref, Pid] = {}
        self.count = 0
        self.got: dict[Pid, Counter[Any]] = {}
        self.ended: dict[Pid, Any] = {}

    # what the rules are made of

    def number(self) -> int:
        self.count += 1
        return self.count

    def listen(self, until: Any, what: str) -> None:
        """Take what the workers tell until a condition holds."""
        end = time.monotonic() + PATIENCE
        while not until():
            left = end - time.monotonic()
            assert left > 0, f"never: {what}"
            try:
                message = transom.sync.receive(timeout=min(left, 0.02))
            except TimeoutError:
                continue
            match message:
                case ("got", pid, content):
                    self.got[pid][content] += 1
                case ("result", n, result):
                    self.results[n] = result
                case Down(ref, pid, reason):
                    assert self.refs.pop(ref) == pid, "a Down came twice"
                    self.ended[pid] = reason
                case other:
                    raise AssertionError(other)

    def command(self, pid: Pid, operation: str, *args: Any) -> Any:
        """Let a worker do something; its result, or "gone" when the model says that it ends of it."""
        n = self.number()
        self.results: dict[int, Any] = {}
        send(pid, ("command", n, operation, *args))
        self.listen(lambda: n in self.results or pid in self.ended, f"an answer of {pid} to {operation}")
        return self.results.get(n, "gone")

    def settled(self) -> None:
        """The system is what the model says, at the latest after a while; and nothing more has come."""
        model = self.model

        def agreed() -> bool:
            return all(
                (it.pid in self.ended) != it.alive and (not it.alive or self.got[it.pid] == it.mailbox)
                for it in model.all.values()
            )

        try:
            self.listen(agreed, "agreement")
        except AssertionError as error:
            raise AssertionError(self.differences()) from error
        for it in model.all.values():
            if it.alive:
                info = transom.process_info(it.pid, "links", "monitors", "monitored_by", "trap_exit", "registered_name")
                assert info is not None
                assert set(info["links"]) == it.links and len(info["links"]) == len(it.links), self.differences()
                assert len(info["monitors"]) == len(it.monitors)
                watchers = [w.pid for w in model.all.values() for target in w.monitors.values() if target == it.pid]
                assert sorted(info["monitored_by"]) == sorted([self.me, *watchers])
                assert info["trap_exit"] is it.traps
                assert (info["registered_name"] or None) == it.name
            else:
                assert self.ended[it.pid] == it.reason, self.differences()
                assert not transom.is_alive(it.pid) and transom.process_info(it.pid) is None
        assert sorted(transom.registered()) == sorted(model.names)
        assert {name: transom.whereis(name) for name in model.names} == model.names
        alive = [it.pid for it in model.all.values() if it.alive]
        assert set(alive) <= set(transom.processes())
        # One more round through every mailbox: whatever the rule caused has been handled by now.
        for it in model.all.values():
            if it.alive:
                assert self.command(it.pid, "is_alive", it.pid) is True
                assert self.got[it.pid] == it.mailbox, self.differences()

    def differences(self) -> str:
        lines = []
        for it in self.model.all.values():
            seen = self.ended.get(it.pid, "alive")
            lines.append(f"{it.pid}: model {'alive' if it.alive else it.reason}, seen {seen}")
            for content, count in (it.mailbox - self.got[it.pid]).items() if it.alive else ():
                lines.append(f"    missing {count} of {content}")
            for content, count in (self.got[it.pid] - it.mailbox).items() if it.alive else ():
                lines.append(f"    too many: {count} of {content}")
        return "\n".join(lines)

    def known(self, pid: Pid, ref: Ref | None = None) -> Pid:
        self.got[pid] = Counter()
        self.refs[ref or transom.monitor(pid)] = pid
        self.model.all[pid] = Modelled(pid)
        return pid

    def living(self, *pids: Pid) -> bool:
        return all(self.model.all[pid].alive for pid in pids)

    # the rules

    @rule(target=workers)
    def spawn(self) -> Pid:
        pid, ref = spawn_monitor(worker, self.me)
        self.known(pid, ref)
        self.settled()
        return pid

    @rule(target=workers, parent=workers)
    def spawn_link(self, parent: Pid) -> Any:
        if not self.living(parent):
            return multiple()
        n = self.number()
        self.results = {}
        send(parent, ("command", n, "spawn_link", self.me))
        self.listen(lambda: n in self.results, "a child")
        pid = self.results[n]
        self.known(pid)
        self.model.all[parent].links.add(pid)
        self.model.all[pid].links.add(parent)
        self.settled()
        return pid

    @rule(pid=workers, flag=st.booleans())
    def trap_exit(self, pid: Pid, flag: bool) -> None:
        it = self.model.all[pid]
        if it.alive:
            assert self.command(pid, "trap_exit", flag) is it.traps
            it.traps = flag
            self.settled()

    @rule(pid=workers, peer=workers)
    def link(self, pid: Pid, peer: Pid) -> None:
        it, other = self.model.all[pid], self.model.all[peer]
        if not it.alive:
            return
        result = self.command(pid, "link", peer)
        if other.alive:
            assert result is None
            if pid != peer:
                it.links.add(peer)
                other.links.add(pid)
        elif it.traps:
            assert result is None
            it.mailbox["Exit", peer, "noproc"] += 1
        else:
            assert result == ("raised", "NoProcess")
        self.settled()

    @rule(pid=workers, peer=workers)
    def unlink(self, pid: Pid, peer: Pid) -> None:
        if self.living(pid):
            assert self.command(pid, "unlink", peer) is None
            self.model.all[pid].links.discard(peer)
            self.model.all[peer].links.discard(pid)
            self.settled()

    @rule(target=monitors, pid=workers, peer=workers)
    def monitor(self, pid: Pid, peer: Pid) -> Any:
        it, other = self.model.all[pid], self.model.all[peer]
        if not it.alive:
            return multiple()
        number = self.number()
        assert self.command(pid, "monitor", number, peer) is None
        if not other.alive:
            it.mailbox["Down", number, peer, "noproc"] += 1
        elif pid != peer:
            it.monitors[number] = peer
        self.settled()
        return (pid, number)

    @rule(target=monitors, pid=workers, name=NAMES)
    def monitor_name(self, pid: Pid, name: str) -> Any:
        it = self.model.all[pid]
        if not it.alive:
            return multiple()
        number = self.number()
        assert self.command(pid, "monitor", number, name) is None
        peer = self.model.names.get(name)
        it.monitor_names[number] = name
        if peer is None:
            it.mailbox["Down", number, name, "noproc"] += 1
        elif peer != pid:
            it.monitors[number] = peer
        self.settled()
        return (pid, number)

    @rule(monitor=consumes(monitors), flush=st.booleans())
    def demonitor(self, monitor: tuple[Pid, int], flush: bool) -> None:
        pid, number = monitor
        it = self.model.all[pid]
        if it.alive:
            result = self.command(pid, "demonitor", number, flush)
            if it.monitors.pop(number, None) is not None:
                assert result is True
            # A monitor on itself is not in the model's books; either answer is right for it.
            elif any(content[:2] == ("Down", number) for content in it.mailbox):
                assert result is False
            self.settled()

    @rule(sender=workers, pid=workers, reason=REASONS)
    def exit(self, sender: Pid, pid: Pid, reason: Any) -> None:
        if self.living(sender):
            self.command(sender, "exit", pid, reason)
            self.model.exit_signal(sender, pid, reason)
            self.settled()

    @rule(sender=workers, pid=workers)
    def kill(self, sender: Pid, pid: Pid) -> None:
        if self.living(sender):
            self.command(sender, "kill", pid)
            self.model.exit_signal(sender, pid, "kill")
            self.settled()

    @rule(pid=workers, reason=ENDS)
    def stop(self, pid: Pid, reason: Any) -> None:
        it = self.model.all[pid]
        if it.alive:
            self.command(pid, "stop", reason)
            self.model.end(it, reason)
            self.settled()

    @rule(pid=workers, peer=workers, name=NAMES)
    def register(self, pid: Pid, peer: Pid, name: str) -> None:
        it, other = self.model.all[pid], self.model.all[peer]
        if not it.alive:
            return
        result = self.command(pid, "register", name, peer)
        if name in self.model.names or (other.alive and other.name is not None):
            assert result[0] == "raised"
        elif not other.alive:
            assert result == ("raised", "NoProcess")
        else:
            assert result is None
            other.name = name
            self.model.names[name] = peer
        self.settled()

    @rule(pid=workers, name=NAMES)
    def unregister(self, pid: Pid, name: str) -> None:
        if self.living(pid):
            result = self.command(pid, "unregister", name)
            if name in self.model.names:
                assert result is None
                self.model.all[self.model.names.pop(name)].name = None
            else:
                assert result[0] == "raised"
            self.settled()

    @rule(pid=workers, peer=workers)
    def send(self, pid: Pid, peer: Pid) -> None:
        if self.living(pid):
            message = ("message", self.number())
            assert self.command(pid, "send", peer, message) is None
            self.model.all[peer].mailbox[message] += 1
            self.settled()

    @rule(pid=workers, name=NAMES)
    def send_name(self, pid: Pid, name: str) -> None:
        if self.living(pid):
            message = ("message", self.number())
            result = self.command(pid, "send", name, message)
            if name in self.model.names:
                assert result is None
                self.model.all[self.model.names[name]].mailbox[message] += 1
            else:
                assert result == ("raised", "NoProcess")
            self.settled()

    @rule(target=aliases, pid=workers, mode=st.sampled_from(["explicit_unalias", "reply"]))
    def alias(self, pid: Pid, mode: str) -> Any:
        if not self.living(pid):
            return multiple()
        number, n = self.number(), self.number()
        self.results = {}
        send(pid, ("command", n, "alias", number, mode))
        self.listen(lambda: n in self.results, "an alias")
        self.model.all[pid].aliases[number] = mode
        return (pid, number, self.results[n])

    @rule(pid=workers, alias=aliases)
    def send_alias(self, pid: Pid, alias: tuple[Pid, int, Ref]) -> None:
        owner, number, ref = alias
        if self.living(pid):
            message = ("message", self.number())
            assert self.command(pid, "send", ref, message) is None
            it = self.model.all[owner]
            if number in it.aliases:
                it.mailbox[message] += 1
                if it.aliases[number] == "reply":
                    del it.aliases[number]
            self.settled()

    @rule(alias=consumes(aliases))
    def unalias(self, alias: tuple[Pid, int, Ref]) -> None:
        owner, number, _ = alias
        if self.living(owner):
            assert self.command(owner, "unalias", number) is (number in self.model.all[owner].aliases)
            self.model.all[owner].aliases.pop(number, None)
            self.settled()

    @rule(crowd=st.lists(workers, min_size=2, max_size=5))
    @precondition(lambda self: self.model.all)
    def kill_all_of(self, crowd: list[Pid]) -> None:
        """Main kills several at once: whichever dies of a link first, all of them end killed."""
        for pid in crowd:
            transom.kill(pid)
        # A trapping survivor may hear of the crowd in any order, and each of the crowd dies before or after it hears of the
        # others; as all of them are killed, the reasons are the same either way.
        for pid in crowd:
            self.model.exit_signal(self.me, pid, "kill")
        self.settled()

    def teardown(self) -> None:
        for it in self.model.all.values():
            transom.kill(it.pid)
            it.alive = False
        self.listen(lambda: set(self.ended) == set(self.model.all), "the end of all")
        # What they said before they died.
        while transom.process_info(self.me, "message_queue_len") != {"message_queue_len": 0}:
            self.listen_once()

    def listen_once(self) -> None:
        message = transom.sync.receive(timeout=PATIENCE)
        assert isinstance(message, tuple) and message[0] in ("got", "result"), message


@pytest.mark.timeout(120)
@pytest.mark.parametrize("schedulers", [1, 2])
def test_processes_follow_the_model(schedulers: int) -> None:
    """Processes, links, monitors, aliases, exit signals and names against the model above."""

    def main() -> None:
        run_state_machine_as_test(
            Processes,
            settings=settings(
                max_examples=100,
                stateful_step_count=40,
                deadline=None,
                # The explain phase wants sys.monitoring for itself.
                phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
                suppress_health_check=list(HealthCheck),
                database=None,
                print_blob=True,
            ),
        )

    run_node(main, schedulers=schedulers)
