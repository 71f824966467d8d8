"""The helpers of the suite can fail: a test that leaves something behind is not green."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import support
from support import run_node, until, waits

from transom import current_pid, kill, send, spawn


def test_run_node_refuses_a_message_left_behind(node: Callable[..., Any]) -> None:
    """The end of every test: an empty mailbox."""

    async def main() -> None:
        send(current_pid(), "left behind")

    with pytest.raises(AssertionError, match="left behind"):
        node(main)


def test_run_node_refuses_a_process_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of every test: no process but main."""
    monkeypatch.setattr(support, "DEADLINE", 0.2)

    async def main() -> None:
        spawn(waits)

    with pytest.raises(AssertionError, match="spawned"):
        run_node(main)


def test_run_node_works_for_plain_functions() -> None:
    """main may be a plain function."""

    def main(n: int) -> int:
        pid = spawn(waits)
        kill(pid)
        return n + 1

    assert run_node(main, 1) == 2


def test_until_gives_up() -> None:
    """Nothing waits for ever."""

    async def main() -> None:
        await until(lambda: False, "the impossible", seconds=0.05)

    with pytest.raises(AssertionError, match="the impossible"):
        run_node(main)


def test_a_crashing_child_interpreter_is_a_failed_test(script: Callable[..., Any]) -> None:
    """A crash of the interpreter is a failed test with a trace, a hang as well."""
    with pytest.raises(AssertionError, match="Fatal Python error: Segmentation fault"):
        script("import faulthandler; faulthandler._sigsegv()")
    with pytest.raises(AssertionError, match="(?s)still running.*Fatal Python error: Aborted.*child.py"):
        script("import time; time.sleep(60)", timeout=1)
    with pytest.raises(AssertionError, match="exit status 3"):
        script("raise SystemExit(3)")
