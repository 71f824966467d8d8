"""The agent that is told how conversations end."""

import transom


class Desk(transom.Agent):
    """Counts answers and those that were given up, and answers ``all_ended`` when none is open."""

    def init(self, sessions: int) -> None:
        self.open = set(range(sessions))
        self.answers = 0
        self.given_up: list[int] = []
        self.waiting: list[transom.From] = []

    @transom.method
    def answered(self, number: int, text: str, goes_on: bool) -> None:
        if number in self.open:
            self.answers += 1
            if not goes_on:
                self._closed(number)

    @transom.method
    def gave_up(self, number: int) -> None:
        if number in self.open:
            self.given_up.append(number)
            self._closed(number)

    @transom.method
    def counts(self) -> tuple[int, int, int]:
        """How many were answered, given up, and are open."""
        return self.answers, len(self.given_up), len(self.open)

    @transom.method
    def all_ended(self) -> None:
        """Returns when no session is open."""
        if self.open:
            self.waiting.append(transom.defer())

    def _closed(self, number: int) -> None:
        self.open.discard(number)
        if not self.open:
            for caller in self.waiting:
                caller.reply(None)
            self.waiting.clear()
