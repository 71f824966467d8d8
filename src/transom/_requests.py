"""Collections of calls under way: answers as they come, each with its label. OTP's request id collections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from transom import _core, _errors
from transom._call import _abandon
from transom._operation import in_process

if TYPE_CHECKING:
    from transom._core import Call


@dataclass(frozen=True, slots=True)
class Answer[R]:
    """What came of one call of a collection.

    Attributes:
        label: The label the call was given, by default its position.
        value: The answer, None when it failed.
        error: The CallError, or None.

    Example:
        >>> import transom
        >>> class Twice(transom.Agent):
        ...     def of(self, n): return 2 * n
        >>> async def main():
        ...     twice = await Twice.start_link()
        ...     return [a.result() async for a in transom.as_completed({"x": twice.of(1)}) if a.label == "x"]
        >>> transom.run(main)
        [2]

    Source: the labels of OTP's request id collections.
    """

    label: Any
    value: R | None
    error: _errors.CallError | None = None

    def result(self) -> R:
        """The value, or raise the error."""
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]


async def as_completed[R](
    calls: Mapping[Hashable, Call[R]] | Iterable[Call[R]], *, timeout: float | None = None
) -> AsyncIterator[Answer[R]]:
    """Make several calls at once and iterate over their answers as they come, each with its label.

    All are sent before the first answer is waited for. Other mail stays in the mailbox. When the loop is left early
    and the iterator closed, late answers never reach the mailbox.

    Args:
        calls: Calls not yet sent, or sent by this process; a mapping gives each a label, else it is the position.
        timeout: Seconds for all of them; None leaves it to nobody: the limits of the calls themselves do not count.

    Raises:
        TimeoutError: Some had not answered in time.

    Example:
        >>> import transom
        >>> class Wait(transom.Agent):
        ...     async def seconds(self, n): await transom.sleep(n); return n
        >>> async def main():
        ...     a, b = await Wait.start_link(), await Wait.start_link()
        ...     calls = {"slow": a.seconds(0.05), "quick": b.seconds(0)}
        ...     return [(answer.label, answer.value) async for answer in transom.as_completed(calls)]
        >>> transom.run(main)
        [('quick', 0), ('slow', 0.05)]

    Source: gen_server:reqids and receive_response/3.
    """
    labelled = dict(calls) if isinstance(calls, Mapping) else dict(enumerate(calls))
    for call in labelled.values():
        if not isinstance(call, _core.Call):
            raise TypeError(f"as_completed() takes calls to agents, not {type(call).__name__}")
    inside = in_process() and asyncio._get_running_loop() is None
    answers = _in_process(labelled, timeout) if inside else _in_asyncio(labelled, timeout)
    try:
        async for answer in answers:
            yield answer
    finally:
        await answers.aclose()  # type: ignore[attr-defined]


async def _in_process[R](calls: dict[Any, Call[R]], timeout: float | None) -> AsyncIterator[Answer[R]]:
    end = None if timeout is None else _core._monotonic() + timeout
    waiting: dict[Any, Call[R]] = {}
    refused: list[Answer[R]] = []
    try:
        for label, call in calls.items():
            try:
                waiting[label] = call if call._ref is not None else call.send()
            except _errors.CallError as error:
                refused.append(Answer(label, None, error))
        for answer in refused:
            yield answer
        while waiting:
            left = None if end is None else max(0.0, end - _core._monotonic())
            label = list(waiting)[await _core._first(tuple(waiting.values()), left)]
            yield await _taken(label, waiting.pop(label))
    finally:
        await _abandon(_core.receive, tuple(waiting.values()))


async def _taken[R](label: Any, call: Call[R]) -> Answer[R]:
    try:
        return Answer(label, await call)
    except _errors.CallError as error:
        return Answer(label, None, error)


async def _in_asyncio[R](calls: dict[Any, Call[R]], timeout: float | None) -> AsyncIterator[Answer[R]]:
    tasks = [asyncio.ensure_future(_taken(label, call)) for label, call in calls.items()]
    try:
        for done in asyncio.as_completed(tasks, timeout=timeout):
            yield await done
    finally:
        for task in tasks:
            task.cancel()
