"""The meter adds up what the sessions report."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import transom
from transom import Registry

from .figures import Figures, Tally


@dataclass(frozen=True, slots=True)
class Held:
    """What one conversation was like. Frozen and of plain values, so it is sent without a copy."""

    delays: tuple[float, ...]  # seconds from a line to its reply
    told: float | None = None  # seconds until the caller knew that the other had died
    late: int = 0  # replies that did not come in time


class Meter(transom.Agent):
    """One tally for everyone who asks: the view and the program do not disturb each other."""

    def init(self) -> None:
        self.tallies: defaultdict[str, Tally] = defaultdict(Tally)
        self.known: set[int] = set()
        Registry.at("numbers").listen()

    @transom.method
    def add(self, held: Held) -> None:
        for tally in self.tallies.values():
            tally.delays.extend(held.delays)
            tally.messages += 2 * len(held.delays)
            tally.late += held.late
            if held.told is not None:
                tally.told.append(held.told)

    @transom.method
    def take(self, name: str) -> Figures:
        """The figures since this was last asked under *name*."""
        figures = self.tallies[name].figures()
        self.tallies[name] = Tally()
        return figures

    def handle_info(self, message: Any) -> None:
        """News of the registry: whoever registers a second time has crashed and come back."""
        match message:
            case (_, "register", number, _) if number in self.known:
                for tally in self.tallies.values():
                    tally.restarts += 1
            case (_, "register", number, _):
                self.known.add(number)
