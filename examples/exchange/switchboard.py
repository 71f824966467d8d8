"""A switchboard knows who answers which number."""

import transom
from transom import Down, Pid, Ref

from .messages import Ask, Dial, PlugIn, PullThePlug


class PlugPulled(Exception):
    """The switchboard was told to crash."""


def board_of(number: int, boards: int) -> str:
    """The registered name of the switchboard that serves *number*."""
    return f"switchboard-{number % boards}"


async def switchboard() -> None:
    """Put callers through. A crash loses the table; the agents plug in again."""
    lines: dict[int, Pid] = {}
    numbers: dict[Ref, int] = {}
    while True:
        match await transom.receive():
            case Ask(reply_to, Dial(number)):
                transom.send(reply_to, lines.get(number))
            case PlugIn(number, agent):
                lines[number] = agent
                numbers[transom.monitor(agent)] = number
            case Down(ref, agent):
                number = numbers.pop(ref)
                if lines.get(number) == agent:
                    del lines[number]
            case PullThePlug():
                raise PlugPulled("somebody pulled the plug, on purpose")
