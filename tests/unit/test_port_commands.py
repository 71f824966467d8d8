"""Commands of a port: posted from finalisers that interrupt the very thread that posts, at every instruction."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from transom._port_core import Core


class _Loop:
    """A loop thread's stand-in: keeps what it is to run."""

    index = 0

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []

    def call(self, fn: Callable[[], None]) -> bool:
        self.calls.append(fn)
        return True

    def run(self) -> None:
        while self.calls:
            self.calls.pop(0)()


class _Core(Core):
    def _handle(self) -> Any:
        return None


def _interrupted_at(instruction: int, interruption: Callable[[], None]) -> tuple[Callable[..., Any], list[bool]]:
    """A trace function that makes an interruption before that instruction of post() or _run_posted()."""
    left = [instruction]
    happened: list[bool] = []

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_code not in (Core.post.__code__, Core._run_posted.__code__):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            left[0] -= 1
            if left[0] == -1:
                sys.settrace(None)  # the interruption itself is not interrupted
                interruption()
                happened.append(True)
        return trace

    return trace, happened


def test_a_finaliser_may_post_at_any_instruction() -> None:
    points = 0
    while True:
        loop = _Loop()
        core = _Core(loop, "a port")  # type: ignore[arg-type]
        done: list[int] = []
        interruption = lambda core=core, done=done: core.post(done.append, 99)  # noqa: E731
        trace, happened = _interrupted_at(points, interruption)
        sys.settrace(trace)
        try:
            for number in range(3):
                core.post(done.append, number)
            loop.run()
        finally:
            sys.settrace(None)
        loop.run()
        if not happened:
            break
        assert sorted(done) == [0, 1, 2, 99], f"interrupted before instruction {points}"
        assert [number for number in done if number != 99] == [0, 1, 2]
        points += 1
    assert points > 50, "post() and _run_posted() were not interrupted"


def test_a_command_that_fails_takes_no_other_along(caplog: Any) -> None:
    loop = _Loop()
    core = _Core(loop, "a port")  # type: ignore[arg-type]
    done: list[int] = []
    core.post(done.remove, 7)
    core.post(done.append, 1)
    loop.run()
    assert done == [1]
    assert "a port: remove failed" in caplog.text
