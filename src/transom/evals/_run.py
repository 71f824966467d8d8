"""Running suites on tasks.

A runner process traps exits and starts a task for each try of a case, so many at once (Task.async_stream). A task is a
plain function, for its checks may block on HTTP; a subject that is a coroutine function gets a process of its own. A
task that crashes or is out of time is killed with what is linked to it, and comes as a failure of its case.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from transom import _core, _runtime
from transom._operation import Operation, Receive, of_steps
from transom._task import Task
from transom._values import Crash
from transom.evals._endpoint import WAITS
from transom.evals._rate import RateLimit
from transom.evals._redact import redacted, redacted_value
from transom.evals._report import CaseResult, Report, Try
from transom.evals._values import ATTEMPT, Case, Output, Verdict

if TYPE_CHECKING:
    from transom.evals._suite import Suite

type OnResult = Callable[[CaseResult], None] | None


def run(suite: Suite, cases: list[Case], on_result: OnResult, *, inside: bool) -> Report:
    """The report of these cases."""
    runner = Runner(suite, cases, on_result)
    if not inside and not _core._is_running():
        _runtime.run(runner.main, max_threads=max(_runtime.MAX_THREADS_DEFAULT, 2 * suite.concurrency + 16))
    else:
        _monitored(runner).result()
    if runner.error is not None:
        raise runner.error
    return runner.report()


def _monitored(runner: Runner) -> Operation[None]:
    async def steps(receive: Receive) -> None:
        pid, ref = _core.spawn_monitor(runner.main)
        try:
            down = await receive(ref)
        except BaseException:
            _core.kill(pid)
            raise
        if down.reason != "normal" and runner.error is None:
            runner.error = RuntimeError(f"the process that ran suite {runner.suite.name!r} ended: {down.reason!r}")

    return of_steps(steps)


class Runner:
    """One run of a suite. Its tasks share it: they are closures of it, and each writes its own slots only."""

    def __init__(self, suite: Suite, cases: list[Case], on_result: OnResult) -> None:
        self.suite = suite
        self.cases = cases
        self.on_result = on_result
        self.error: BaseException | None = None
        self._rate = None if suite.per_minute is None else RateLimit(suite.per_minute)
        self._tries: list[list[Try | None]] = [[None] * suite.repeats for _ in cases]
        self._missing = [suite.repeats] * len(cases)
        self._seconds = 0.0

    def report(self) -> Report:
        results = tuple(self._result(index) for index in range(len(self.cases)))
        return Report(self.suite.name, results, self.suite.pass_rate, self._seconds)

    async def main(self) -> None:
        _core.set_label(f"suite {self.suite.name}")
        _core.trap_exit(True)
        begin = time.monotonic()
        try:
            await self._stream()
        except Exception as error:
            self.error = error
        self._seconds = time.monotonic() - begin

    async def _stream(self) -> None:
        numbers = [(index, attempt) for attempt in range(self.suite.repeats) for index in range(len(self.cases))]

        def body(number: tuple[int, int]) -> tuple[int, int, Try]:  # a function is not copied; a bound method's self is
            return self._body(number)

        outcomes = Task.async_stream(
            self._paced(numbers),
            body,
            max_concurrency=self.suite.concurrency,
            ordered=False,
            timeout=self.suite.timeout,
            on_timeout="kill_task",
            zip_input=True,
        )
        async for kind, value in outcomes:
            if kind == "ok":
                index, attempt, found = value
            else:
                (index, attempt), reason = value
                found = Try(
                    None, (), _why(reason, self.suite.timeout), self.suite.timeout if reason == "timeout" else 0.0
                )
            redact = self.suite.redact
            self._tries[index][attempt] = found if redact is None else redacted(found, redact)
            self._missing[index] -= 1
            if self._missing[index] == 0 and self.on_result is not None:
                self.on_result(self._result(index))

    async def _paced(self, numbers: list[tuple[int, int]]) -> Any:
        for number in numbers:
            if self._rate is not None and (seconds := self._rate.reserve()) > 0:
                await _core.sleep(seconds)
            yield number

    def _result(self, index: int) -> CaseResult:
        tries = tuple(found for found in self._tries[index] if found is not None)
        case = self.cases[index]
        redact = self.suite.redact
        given = case.input if redact is None else redacted_value(case.input, redact)
        return CaseResult(case.id, given, tries, self.suite.case_pass_rate)

    def _body(self, number: tuple[int, int]) -> tuple[int, int, Try]:
        """One try, in a task of its own: a plain function, which may block."""
        index, attempt = number
        case = self.cases[index]
        _core.set_label(f"case {case.id} of suite {self.suite.name}")
        ATTEMPT.set(attempt)
        WAITS.set(True)
        begin = time.monotonic()
        output: Output | None = None
        verdicts: list[Verdict] = []
        error: str | None = None
        try:
            output = case.output if case.output is not None else Output.of(_asked(self.suite.subject, case.input))
            for check in (*self.suite.checks, *case.checks):
                verdicts.append(check(output, case))
        except Exception as problem:
            error = f"{type(problem).__name__}: {problem}"
        return index, attempt, Try(output, tuple(verdicts), error, time.monotonic() - begin)


def _asked(subject: Any, input: Any) -> Any:
    """What the subject puts out. What a coroutine raises comes here and is no crash of its process."""
    later = subject
    if not (inspect.iscoroutinefunction(subject) or inspect.iscoroutinefunction(type(subject).__call__)):
        given = subject(input)
        if not inspect.iscoroutine(given):
            return given

        def later(_: Any) -> Any:  # such as lambda text: answer(text)
            return given

    async def asked() -> tuple[bool, Any]:  # a function is not copied; a callable object would be
        try:
            return True, await later(input)
        except Exception as problem:
            return False, problem

    good, value = Task.start(asked).result()
    if not good:
        raise value
    return value


def _why(reason: Any, seconds: float) -> str:
    if reason == "timeout":
        return f"not done within {seconds} s"
    if isinstance(reason, Crash):
        return f"crashed: {reason.summary()}"
    return f"its process ended: {reason!r}"
