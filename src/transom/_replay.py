"""Deterministic runs: run(main, deterministic=seed). What decides is in ext/proc/tsm_det.h."""

from __future__ import annotations

import random
import re
import struct

from transom import _core, _errors, _outside, persistent_term

RECORDS = 20_000
TAIL = 30
UNLIMITED = 0xFFFFFFFF
SIGNALS = (
    "message", "timeout", "drop", "call", "exit", "exit of a link", "link", "unlink", "unlink ack",
    "monitor", "demonitor", "DOWN", "ready", "not ready", "info",
)  # fmt: skip
EVENTS = (
    "schedule", "preempt", "spawn", "dead", "timer fires", "clock jumps", "lost message", "FAULT: drop", "FAULT: delay",
)  # fmt: skip


class Deadlock(_errors.TransomError):
    """In a deterministic run every process waits for a message, and no timer is set."""


class TooLong(_errors.TransomError):
    """A deterministic run was not over when the real clock said so."""


WAITING = ("label", "registered_name", "initial_call", "current_function", "message_queue_len")


def who_waits() -> str:
    """What a Deadlock tells. The run goes on no more."""
    _core._replay_close()
    lines = ["every process waits for a message, no timer is set, and no thread outside is about to send:"]
    for pid in sorted(_core.processes()):
        info = _core.process_info(pid, *WAITING)
        if info is not None:
            name = info["label"] or info["registered_name"]
            at = info["current_function"] or info["initial_call"]
            count = info["message_queue_len"]
            lines.append(f"  {pid}{f' {name!r}' if name else ''} at {at}, {count} messages in its mailbox")
    if others := _outside.bystanders():
        lines.append(f"(threads that were there before the run are not waited for: {', '.join(others)})")
    return "\n".join(lines)


def parse(what: int | str) -> tuple[int | None, list[int]]:
    """A seed or the text of a schedule, as (seed or None, choices)."""
    if type(what) is int:
        if not 0 <= what < 1 << 64:
            raise ValueError(f"deterministic must be a seed from 0 to 2**64 - 1, not {what}")
        return what, []
    if not isinstance(what, str):
        raise TypeError(f"deterministic must be a seed (int) or a schedule (str), not {type(what).__name__}")
    if what.isdecimal():
        return parse(int(what))
    if not re.fullmatch(r"s(\d+(x\d+)?(\.\d+(x\d+)?)*)?", what):
        raise ValueError(f"deterministic: {what!r} is neither a seed nor a schedule such as 's0x12.3.1'")
    choices: list[int] = []
    for part in what[1:].split(".") if len(what) > 1 else []:
        value, _, times = part.partition("x")
        if int(value) > 0xFFFF or int(times or 1) + len(choices) > 10_000_000:
            raise ValueError(f"deterministic: {part!r} in the schedule is out of range")
        choices += [int(value)] * int(times or 1)
    return None, choices


def text_of(choices: list[int]) -> str:
    """A schedule as short text; zeros at the end say nothing."""
    end = len(choices)
    while end and choices[end - 1] == 0:
        end -= 1
    parts: list[str] = []
    at = 0
    while at < end:
        stop = at
        while stop < end and choices[stop] == choices[at]:
            stop += 1
        parts.append(f"{choices[at]}x{stop - at}" if stop - at > 1 else str(choices[at]))
        at = stop
    return "s" + ".".join(parts)


def _line(record: tuple[int, int, int, int, str], start: int, names: dict[int, str]) -> str:
    at, kind, sender, to, text = record
    label = SIGNALS[kind] if kind < len(SIGNALS) else EVENTS[kind - 32]
    who = " -> ".join(names.setdefault(pid, f"P{len(names) + 1}") for pid in (sender, to) if pid)
    return f"{(at - start) / 1e9:12.6f}  {label:<14} {who}{'  ' + text if text else ''}"


class Replay:
    """One deterministic run: before it, what decides; after it, what happened.

    Attributes:
        what: The seed or the schedule given.
        choices: After the run: [(ways that were open, the one taken, where to interrupt and not who runs, fingerprint of
            the state, 0 where it is unknown)].
        reductions: After the run: of all processes.
        picks: After the run: how often a process was given its turn.
        lost: After the run: messages sent to the dead.
        spoiled: After the run: why it may not be repeatable, or "".
    """

    def __init__(
        self,
        what: int | str,
        *,
        preemptions: int = UNLIMITED,
        records: int = RECORDS,
        demotions: int = 0,
        steps: int = 0,
    ) -> None:
        self.what = what
        self.seed, self.script = parse(what)
        self.preemptions = preemptions
        self.records = records
        self.demotions, self.steps = demotions, steps  # priority-based: how many, within how many reductions
        self.choices: list[tuple[int, int, int, int]] = []
        self.picks = self.lost = self.reductions = 0
        self.spoiled = ""
        self._lines: list[str] | None = None

    def begin(self) -> None:
        """Before the node starts."""
        self._random = random.getstate()
        script = struct.pack(f"={len(self.script)}H", *self.script)
        empty = _core._table_count() == 1 and not persistent_term.items()
        seeded = self.seed is not None
        _core._replay_begin(
            self.seed or 0, seeded, script, self.preemptions, self.records, empty, self.demotions, self.steps
        )
        _outside.begin()
        random.seed(self.seed or 0)

    def end(self) -> None:
        """After the node has stopped."""
        self.picks, taken, foreign, self.lost, waited, self.reductions = _core._replay_state()
        self.choices = _core._replay_choices()
        self._records = _core._replay_records()
        _core._replay_end()
        random.setstate(self._random)
        if taken:
            self.spoiled = f"{taken} times a process sat in native code for 2 s"
        elif foreign > 1:
            self.spoiled = f"{foreign - 1} wake-ups came from other threads"
        elif waited:
            self.spoiled = "time went with the real clock while other threads were at work"

    @property
    def schedule(self) -> str:
        """After the run: text that replays it without the seed."""
        return text_of([choice[1] for choice in self.choices])

    def trace(self, last: int | None = None) -> list[str]:
        """After the run: signals and turns in order, one a line; processes are named in order of appearance."""
        if self._lines is None:
            _, records = self._records
            names: dict[int, str] = {}
            start = records[0][0] if records else 0
            self._lines = [_line(record, start, names) for record in records]
        return self._lines if last is None else self._lines[-last:]

    def note(self) -> str:
        """What is put under the error of a failed run."""
        head = f"deterministic run, seed {self.what}" if self.seed is not None else f"deterministic run {self.what}"
        spoiled = f"; it may not be repeatable: {self.spoiled}" if self.spoiled else ""
        tail = self.trace(TAIL)
        count = self._records[0]
        return "\n".join([f"{head}: {count} events{spoiled}; the last {len(tail)}:", *tail])
