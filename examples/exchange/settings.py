"""What one run of the demo looks like: one frozen record and its options."""

import argparse
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """Half of the sessions call, the other half answers."""

    sessions: int = 4000
    seconds: float = 7.0  # length of each measured part
    think: float = 0.2  # mean pause of a caller between two lines, in seconds
    lines: int = 5  # lines of one conversation
    crash_chance: float = 1 / 2000  # that an answerer crashes on a line
    patience: float = 5.0  # how long a caller waits for one reply
    hogs_of_a_kind: int = 2
    seed: int = 1
    plain: bool = False  # plain lines in place of the live view
    asyncio: bool = True  # run the same load on asyncio, too

    @property
    def answerers(self) -> int:
        return self.sessions // 2

    def pause(self, dice: random.Random) -> float:
        """What an agent spends waiting for its language model."""
        return dice.uniform(0.5, 1.5) * self.think


def parse(argv: Sequence[str]) -> Settings:
    """The settings that the command line asks for."""
    default = Settings()
    parser = argparse.ArgumentParser(prog="exchange", description="A telephone exchange of agents.")
    parser.add_argument("--sessions", type=int, default=default.sessions, help="how many agents (default %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=default.seconds, help="length of each measured part (default %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=default.seed, help="of the dice (default %(default)s)")
    parser.add_argument("--plain", action="store_true", help="plain lines, also on a terminal")
    parser.add_argument("--no-asyncio", action="store_true", help="leave out the comparison with asyncio")
    given = parser.parse_args(argv)
    if given.sessions < 2 or given.seconds <= 0:
        parser.error("--sessions must be 2 or more and --seconds more than 0")
    return Settings(
        sessions=given.sessions,
        seconds=given.seconds,
        seed=given.seed,
        plain=given.plain or not sys.stdout.isatty(),
        asyncio=not given.no_asyncio,
    )
