"""The tree of the exchange: who starts, watches and restarts whom."""

from collections.abc import Iterator

import transom
from transom import ChildSpec, Registry, Task

from .meter import Meter
from .sessions import Answerer, caller
from .settings import Settings
from .view import View

PAIRS = 250  # answerers at one desk, and as many callers


class Desk(transom.Supervisor):
    """Some hundred sessions. Crashes are part of their job, so it puts up with many."""

    max_restarts = 2 * PAIRS

    def init(self, first: int, settings: Settings) -> None:
        self.numbers = range(first, min(first + PAIRS, settings.answerers))
        self.settings = settings

    def children(self) -> Iterator[ChildSpec]:
        for number in self.numbers:
            yield Answerer.child(number, self.settings).options(id=("answerer", number))
            yield Task.child(caller, number, self.settings).options(id=("caller", number), restart="permanent")


class Exchange(transom.Supervisor):
    """The top: the book of numbers, which outlives all sessions, the meter, the view and the desks."""

    def init(self, settings: Settings) -> None:
        self.settings = settings
        Registry("numbers")

    def children(self) -> Iterator[ChildSpec]:
        yield Meter.child().options(name="meter")
        yield View.options(name="view", trap_exit=True).child(self.settings.plain)
        for first in range(0, self.settings.answerers, PAIRS):
            yield Desk.child(first, self.settings).options(id=("desk", first))
