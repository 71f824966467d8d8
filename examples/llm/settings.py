"""What one run looks like: one frozen record and its options."""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

FAULTS = ("rate_limit=0.03", "error=0.02", "malformed=0.02", "hang_up=0.02", "stall=0.01", "slow=0.01")


@dataclass(frozen=True, slots=True)
class Settings:
    """Who is talked to is decided by the environment, see ``provider``."""

    sessions: int = 500
    tokens: int = 40  # of a reply of the model for demonstration, as the following
    seconds: float = 1.5
    faults: tuple[str, ...] = FAULTS
    seed: int = 1
    patience: float = 5.0  # seconds without a word from the model, then the session crashes
    attempts: int = 8  # restarts of a session, then it is given up
    first_delay: float = 0.5  # seconds before the first restart; doubles with each
    reset_after: float = 600.0  # seconds without a crash, then its earlier ones are forgotten
    limit: float = 120.0  # seconds for the whole run
    plain: bool = False  # plain lines in place of the live view
    again: bool = False  # a session that has its answer asks again, without end
    spread: float = 0.0  # seconds over which the sessions begin
    part: float = 5.0  # seconds of each measured part of the demo
    asyncio: bool = True  # the demo runs the same load on asyncio, too


# What leaves much of two cores to others: the client takes a quarter of a millisecond for a token, some for a request.
DEMO = Settings(sessions=150, tokens=6, seconds=3.0, spread=2.0, patience=6.0, attempts=20, reset_after=5.0, again=True)


def start_of(number: int, settings: Settings) -> float:
    """Seconds that a session waits before it begins: all at once would speak in chorus ever after."""
    return settings.spread * number / settings.sessions


@dataclass(frozen=True, slots=True)
class Provider:
    """Where the model is."""

    base_url: str
    model: str
    key: str

    def __repr__(self) -> str:
        return f"Provider({self.base_url}, {self.model})"  # never the key


def provider() -> Provider | None:
    """The provider that the environment names, or None."""
    url, key = os.environ.get("OPENAI_BASE_URL"), os.environ.get("OPENAI_API_KEY")
    return Provider(url, os.environ.get("OPENAI_MODEL", "gpt-4o-mini"), key) if url and key else None


def usual() -> Settings:
    """A real provider gets few sessions, and more time."""
    return Settings() if provider() is None else Settings(sessions=3, patience=60.0)


def parse(argv: Sequence[str], default: Settings | None = None) -> Settings:
    """The settings that the command line asks for."""
    default = default or usual()
    parser = argparse.ArgumentParser(prog="llm", description="Agents that talk to a language model.")
    parser.add_argument("--sessions", type=int, default=default.sessions, help="how many (default %(default)s)")
    parser.add_argument("--tokens", type=int, default=default.tokens, help="of a reply (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=default.seconds, help="that a reply takes")
    parser.add_argument("--fault", action="append", metavar="KIND=P", help=f"default {' '.join(FAULTS)}")
    parser.add_argument("--no-faults", action="store_true", help="all goes well")
    parser.add_argument("--seed", type=int, default=default.seed, help="of the faults (default %(default)s)")
    parser.add_argument("--patience", type=float, default=default.patience, help="seconds without a word")
    parser.add_argument("--attempts", type=int, default=default.attempts, help="restarts before a session is given up")
    parser.add_argument("--first-delay", type=float, default=default.first_delay, help="seconds, before a restart")
    parser.add_argument("--limit", type=float, default=default.limit, help="seconds for the whole run")
    parser.add_argument("--part", type=float, default=default.part, help="seconds, of each measured part of the demo")
    parser.add_argument("--no-asyncio", action="store_true", help="the demo leaves out the comparison with asyncio")
    parser.add_argument("--plain", action="store_true", help="plain lines, also on a terminal")
    given = parser.parse_args(argv)
    if given.sessions < 1:
        parser.error("--sessions must be 1 or more")
    return replace(
        default,
        sessions=given.sessions,
        tokens=given.tokens,
        seconds=given.seconds,
        faults=() if given.no_faults else tuple(given.fault or FAULTS),
        seed=given.seed,
        patience=given.patience,
        attempts=given.attempts,
        first_delay=given.first_delay,
        limit=given.limit,
        part=given.part,
        asyncio=not given.no_asyncio,
        plain=given.plain or not sys.stdout.isatty(),
    )
