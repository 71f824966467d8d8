"""Ask a process and wait for its answer, or learn at once that it has died."""

from contextlib import suppress
from typing import Any

import transom
from transom import Down, NoProcess, Pid

from .messages import Ask


class NoAnswer(Exception):
    """The asked process ended, and *reason* says why it did."""

    def __init__(self, reason: object) -> None:
        super().__init__(reason)
        self.reason = reason


async def ask(whom: Pid | str, question: object, timeout: float = 5.0) -> Any:
    """The answer of *whom*. Raises NoAnswer when it dies, TimeoutError when it is late.

    The monitor and the address for the reply are one reference. The first
    reply, the Down or the demonitor ends both, so nothing is left behind and a
    late reply never reaches the mailbox.
    """
    ref = transom.monitor(whom, alias="reply_demonitor")
    with suppress(NoProcess):  # nobody has that name: the monitor says so, too
        transom.send(whom, Ask(ref, question))
    try:
        answer = await transom.receive(ref, timeout=timeout)
    except TimeoutError:
        transom.demonitor(ref, flush=True)
        raise
    if isinstance(answer, Down):
        raise NoAnswer(answer.reason)
    return answer
