"""The meter adds up what the sessions report."""

from collections import defaultdict
from contextlib import suppress

import transom
from transom import NoProcess

from .figures import Tally
from .messages import Ask, Held, Restarted, TakeFigures


async def meter() -> None:
    """One tally for everyone who asks: the view and the program do not disturb each other."""
    tallies: defaultdict[str, Tally] = defaultdict(Tally)
    while True:
        match await transom.receive():
            case Held(delays, messages, told, late):
                for tally in tallies.values():
                    tally.delays.extend(delays)
                    tally.messages += messages
                    tally.late += late
                    if told is not None:
                        tally.told.append(told)
            case Restarted():
                for tally in tallies.values():
                    tally.crashes += 1
            case Ask(reply_to, TakeFigures(name)):
                transom.send(reply_to, tallies[name].figures())
                tallies[name] = Tally()


def tell_meter(report: Held | Restarted) -> None:
    """Report to the meter, wherever it is."""
    with suppress(NoProcess):  # it is being restarted, or the exchange is closing
        transom.send("meter", report)
