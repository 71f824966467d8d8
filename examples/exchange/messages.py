"""Everything that is said in the exchange.

Frozen dataclasses of plain values are sent by reference; nothing is copied.
"""

from dataclasses import dataclass

from transom import Pid, Ref


@dataclass(frozen=True, slots=True)
class Ask:
    """A question. The answer goes to *reply_to*; see ``asking.ask``."""

    reply_to: Ref
    question: object


@dataclass(frozen=True, slots=True)
class Say:
    """One line of a conversation; answered with a line."""

    text: str


@dataclass(frozen=True, slots=True)
class Dial:
    """To a switchboard: who has this number? Answered with a Pid or None."""

    number: int


@dataclass(frozen=True, slots=True)
class PlugIn:
    """To a switchboard: *agent* answers calls for *number* from now on."""

    number: int
    agent: Pid


@dataclass(frozen=True, slots=True)
class PullThePlug:
    """To a switchboard: crash."""


@dataclass(frozen=True, slots=True)
class Held:
    """To the meter: what one conversation was like."""

    delays: tuple[float, ...]  # seconds from a line to its reply
    messages: int
    told: float | None = None  # seconds until the caller knew that the other had died
    late: int = 0  # replies that did not come in time


@dataclass(frozen=True, slots=True)
class Restarted:
    """To the meter: a supervisor has started a child again."""


@dataclass(frozen=True, slots=True)
class Part:
    """To the viewer: this part of the demo begins."""

    title: str


@dataclass(frozen=True, slots=True)
class TakeFigures:
    """To the meter: give the figures since this was last asked under *name*."""

    name: str


@dataclass(frozen=True, slots=True)
class Finish:
    """To the viewer: draw for the last time and end."""
