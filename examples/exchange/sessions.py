"""The sessions: one half answers calls, the other half makes them."""

import random
import time
from contextlib import suppress
from time import perf_counter

import transom
from transom import Down, NoProcess, Ref

from .asking import NoAnswer, ask
from .messages import Ask, Dial, Held, PlugIn, Say
from .meter import tell_meter
from .settings import Settings
from .switchboard import board_of


class Overworked(Exception):
    """An agent crashes on purpose."""


async def answerer(number: int, settings: Settings) -> None:
    """Answer every line that is said to *number*. Now and then, crash."""
    # Seeded by the clock as well: a restarted agent must not roll the same dice again.
    dice = random.Random(settings.seed + number + time.monotonic_ns())
    crash_chance = settings.crash_chance
    board = plug_in(number, settings)
    while True:
        match await transom.receive():
            case Ask(reply_to, Say(text)):
                if dice.random() < crash_chance:
                    raise Overworked(f"number {number} had enough of {text!r}")
                transom.send(reply_to, Say(f"I heard {text!r}"))
            case Down(ref) if ref == board:
                await transom.sleep(0.01)  # the switchboard crashed: give it time to come back
                board = plug_in(number, settings)


def plug_in(number: int, settings: Settings) -> Ref:
    """Tell the switchboard who answers *number*; the Ref watches the switchboard."""
    board = board_of(number, settings.boards)
    watch = transom.monitor(board)
    with suppress(NoProcess):  # it is being restarted: the monitor reports that
        transom.send(board, PlugIn(number, transom.current_pid()))
    return watch


async def caller(number: int, settings: Settings) -> None:
    """Hold one conversation after the other."""
    dice = random.Random(settings.seed - number)
    await transom.sleep(dice.random() * settings.think)  # do not all start at once
    while True:
        tell_meter(await converse(dice, settings))
        await transom.sleep(settings.pause(dice))


async def converse(dice: random.Random, settings: Settings) -> Held:
    """Dial somebody, say a few lines, tell what it was like."""
    number = dice.randrange(settings.answerers)
    delays: list[float] = []
    messages = 0
    started = perf_counter()
    try:
        other = await ask(board_of(number, settings.boards), Dial(number), settings.patience)
        messages += 2
        if other is None:
            return Held((), messages)  # nobody has the number just now
        for line in range(settings.lines):
            if line:
                await transom.sleep(settings.pause(dice))
            started = perf_counter()
            await ask(other, Say(f"line {line}"), settings.patience)
            delays.append(perf_counter() - started)
            messages += 2
    except NoAnswer:
        return Held(tuple(delays), messages + 2, told=perf_counter() - started)
    except TimeoutError:
        return Held(tuple(delays), messages + 1, late=1)
    return Held(tuple(delays), messages)
