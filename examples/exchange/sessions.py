"""The sessions: one half answers calls, the other half makes them."""

import random
import time
from time import perf_counter

import transom
from transom import CallError, CallTimeout, Registry

from .meter import Held, Meter
from .settings import Settings


class Overworked(Exception):
    """An agent crashes on purpose."""


class Answerer(transom.Agent):
    """Answers every line that is said to its number. Now and then, it crashes."""

    def init(self, number: int, settings: Settings) -> None:
        self.number = number
        self.crash_chance = settings.crash_chance
        # Seeded by the clock as well: a restarted agent must not roll the same dice again.
        self.dice = random.Random(settings.seed + number + time.monotonic_ns())
        Registry.at("numbers").register(number)

    @transom.method
    def say(self, text: str) -> str:
        if self.dice.random() < self.crash_chance:
            raise Overworked(f"number {self.number} had enough of {text!r}")
        return f"I heard {text!r}"


async def caller(number: int, settings: Settings) -> None:
    """Hold one conversation after the other."""
    dice = random.Random(settings.seed - number)
    numbers = Registry.at("numbers")
    await transom.sleep(dice.random() * settings.think)  # do not all start at once
    while True:
        pid = numbers.whereis(dice.randrange(settings.answerers))
        if pid is not None:
            Meter.at("meter").add.cast(await converse(Answerer.at(pid), dice, settings))
        await transom.sleep(settings.pause(dice))


async def converse(other: Answerer, dice: random.Random, settings: Settings) -> Held:
    """Say a few lines, tell what it was like."""
    delays: list[float] = []
    started = perf_counter()
    try:
        for line in range(settings.lines):
            if line:
                await transom.sleep(settings.pause(dice))
            started = perf_counter()
            await other.say.options(timeout=settings.patience)(f"line {line}")
            delays.append(perf_counter() - started)
    except CallTimeout:
        return Held(tuple(delays), late=1)
    except CallError:  # it crashed, or was dead already
        return Held(tuple(delays), told=perf_counter() - started)
    return Held(tuple(delays))
