"""The pytest plugin, on test files of its own."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from importlib.util import find_spec
from typing import Any

import pytest

import transom.testing  # noqa: F401  # before pytester, which forgets what was imported in its runs
import transom.testing._item  # noqa: F401

pytest_plugins = ["pytester"]

HEAD = """
import pytest, transom
from transom.testing import *
from transom.testing import fixture
"""


@pytest.fixture
def ran(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`ran(source, *args, passed=1, ...)` runs a test file and checks how many passed, failed and so on."""

    def run(source: str, *args: str, plugins: tuple[str, ...] = (), ini: str = "", **outcomes: int) -> Any:
        # Only the plugins the test is about: loading all that are installed takes longer than most tests here.
        monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        off = ["-p", "no:cacheprovider"]
        off += [text for name in ("_transom_pytest", *plugins) for text in ("-p", name)]
        pytester.makeini(f"[pytest]\ntransom_leak_seconds = 0.2\n{ini}")
        pytester.makepyfile(HEAD + source)
        result = pytester.runpytest_inprocess(*off, "--strict-markers", "-W", "ignore", *args)
        result.assert_outcomes(**outcomes)
        return result

    return run


def test_a_test_is_a_process(ran: Any) -> None:
    ran(
        """
        @pytest.mark.transom
        async def test_async():
            transom.send(transom.current_pid(), 1)
            assert await transom.receive(int) == 1

        @pytest.mark.transom
        def test_plain():
            transom.send(transom.current_pid(), 1)
            assert transom.sync.receive(int) == 1

        def test_the_fixture_decides_too(transom_node):
            assert transom.is_alive(transom.current_pid())

        def test_others_are_left_alone():
            with pytest.raises(transom.NotInProcess):
                transom.current_pid()

        class TestClass:
            pytestmark = pytest.mark.transom

            async def test_method(self):
                assert transom.is_alive(transom.current_pid())

        @pytest.mark.transom(schedulers=1)
        @pytest.mark.parametrize("n", [1, 2])
        async def test_parametrised(n, tmp_path):
            assert transom.node_info()["slots"] == 1 and tmp_path.exists()
        """.replace("\n        ", "\n"),
        passed=7,
    )


def test_failures_show_the_test(ran: Any) -> None:
    result = ran(
        """
@pytest.mark.transom
async def test_compares():
    got = {"a": 1}
    assert got == {"a": 2}

@pytest.mark.transom
async def test_skips():
    pytest.skip("not today")

@pytest.mark.transom
async def test_xfails():
    pytest.xfail("known")

@pytest.mark.transom(timeout=0.05)
async def test_waits_for_ever():
    await transom.receive()

@pytest.mark.transom
async def test_is_killed():
    transom.kill(transom.current_pid())
    await transom.receive()
""",
        failed=3,
        skipped=1,
        xfailed=1,
    )
    result.stdout.fnmatch_lines(["*assert {'a': 1} == {'a': 2}*"])
    text = result.stdout.str()
    assert "the test was not over after 0.05 s" in text and "waiting" in text
    assert "ended by an exit signal with reason 'killed'" in text
    assert "_run.py" not in text.split("test_compares")[1].split("test_waits")[0]


def test_leaks_fail_and_are_named(ran: Any) -> None:
    result = ran(
        """
async def waiter():
    transom.set_label("the forgotten")
    await transom.receive()

@pytest.mark.transom
async def test_leaks():
    transom.spawn(waiter)
    await transom.sleep(0)

@pytest.mark.transom
async def test_links():
    transom.spawn_link(waiter)

@pytest.mark.transom(allow_leaks=True)
async def test_may():
    transom.spawn(waiter)
""",
        failed=1,
        passed=2,
    )
    text = result.stdout.str()
    assert "a process of this test lives on after it" in text
    assert "'the forgotten'" in text and "waiter" in text and "spawned by <0." in text


def test_crash_reports_fail_unless_expected(ran: Any) -> None:
    result = ran(
        """
import time

async def careless(kind=KeyError):
    raise kind("careless")

@pytest.mark.transom
async def test_unexpected():
    transom.spawn(careless)

@pytest.mark.transom
async def test_awaited():
    transom.spawn(careless)
    assert (await assert_crash(KeyError)).exception.args == ("careless",)

@pytest.mark.transom
def test_awaited_in_a_plain_function():
    transom.spawn(careless)
    assert "careless" in assert_crash("careless").result().text

@pytest.mark.transom
async def test_one_too_many():
    transom.spawn(careless)
    await assert_crash(KeyError)
    transom.spawn(careless)

@pytest.mark.transom
async def test_allowed():
    allow_crashes(LookupError)
    transom.spawn(careless)

@pytest.mark.transom(allow_crashes=(LookupError, ValueError))
async def test_allowed_by_the_marker():
    transom.spawn(careless, ValueError)

@pytest.mark.transom
async def test_allowed_another():
    allow_crashes(LookupError)
    transom.spawn(careless, ValueError)

@pytest.mark.transom
async def test_none_came():
    await assert_crash(timeout=0.01)

@pytest.mark.transom
async def test_linked():
    transom.spawn_link(careless)
    await transom.receive()
""",
        failed=5,
        passed=4,
    )
    text = result.stdout.str()
    assert "a crash report that the test does not expect" in text and "KeyError: 'careless'" in text
    assert "ended by the crash of a process linked to it" in text
    assert "no crash report of BaseException within 0.01 s" in text


def test_supervised_processes_and_fixtures(ran: Any) -> None:
    ran(
        """
seen = []

class Counter(transom.Agent):
    def init(self, n=0):
        self.n = n
        transom.trap_exit(True)
    def add(self, k):
        self.n += k
        return self.n
    def terminate(self, reason):
        seen.append(reason)

@fixture
async def counter(base):
    yield await start_supervised(Counter, base)
    seen.append("after")

@fixture
async def doubled(counter):
    return 2 * await counter.add(0)

@pytest.fixture
def base():
    return 20

@pytest.mark.transom
async def test_one(counter, doubled):
    assert await counter.add(1) == 21 and doubled == 40
    other = await start_supervised(Counter.child(1), id="other")
    assert await other.add(1) == 2
    with pytest.raises(transom.ChildExists):
        await start_supervised(Counter)
    await stop_supervised(Counter)
    assert (await start_supervised(Counter)).add(1).send() is not None
    with pytest.raises(TypeError, match="start_supervised"):
        await start_supervised(42)

def test_both_were_stopped():
    assert seen == ["shutdown", "after", "shutdown", "shutdown"]

@pytest.mark.transom
def test_plain(counter):
    assert counter.add(1).result() == 21
    assert start_supervised(Counter, 5, id=2).result().add(0).result() == 5

@pytest.mark.transom
async def test_restarted(counter):
    transom.register("kept", counter)
    transom.kill(counter)
    await assert_down(counter, ...)

class TestIn:
    @fixture
    async def own(self, counter):
        return await counter.add(1)

    @pytest.mark.transom
    async def test_method(self, own):
        assert own == 21
""",
        passed=5,
    )


def test_hypothesis_runs_each_example_in_a_node(ran: Any) -> None:
    ran(
        """
from hypothesis import given, settings, strategies as st

@pytest.mark.transom(schedulers=1)
@settings(max_examples=10, database=None, deadline=None)
@given(st.integers())
async def test_given(n):
    transom.send(transom.current_pid(), n)
    assert await transom.receive() == n
""",
        passed=1,
    )


ASYNC = """
import asyncio

async def test_plain():
    assert transom.is_alive(transom.current_pid())

@pytest.mark.transom
async def test_marked():
    assert transom.is_alive(transom.current_pid())
"""


def test_auto_mode_takes_what_nobody_claims(ran: Any) -> None:
    ran(ASYNC, "--transom-mode=auto", passed=2)
    ran(ASYNC, ini="transom_mode = auto", passed=2)
    ran(ASYNC, ini="transom_mode = strict", passed=1, failed=1)


BESIDE = """
import asyncio

@pytest.mark.transom
async def test_ours():
    assert transom.is_alive(transom.current_pid())

@pytest.mark.asyncio
async def test_theirs():
    await asyncio.sleep(0)
    with pytest.raises(transom.NotInProcess):
        transom.current_pid()

@pytest.mark.anyio
async def test_anyios():
    await asyncio.sleep(0)

@pytest.fixture
def anyio_backend():
    return "asyncio"
"""


@pytest.mark.skipif(not (find_spec("pytest_asyncio") and find_spec("anyio")), reason="needs pytest-asyncio and anyio")
@pytest.mark.parametrize("mode", ["strict", "auto"])
@pytest.mark.parametrize("theirs", ["strict", "auto"])
def test_beside_asyncio_and_anyio(ran: Any, mode: str, theirs: str) -> None:
    args = [f"--transom-mode={mode}", f"--asyncio-mode={theirs}"]
    ran(BESIDE, *args, plugins=("pytest_asyncio.plugin", "anyio.pytest_plugin"), passed=3)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("xdist") is None, reason="needs pytest-xdist")
def test_parallel(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    pytester.makepyfile(
        HEAD
        + """
@pytest.mark.transom
@pytest.mark.parametrize("n", range(6))
async def test_n(n):
    assert transom.is_alive(transom.current_pid())
"""
    )
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    args = ["-p", "_transom_pytest", "-p", "xdist", "-n", "2", "-p", "no:cacheprovider"]
    pytester.runpytest_subprocess(*args).assert_outcomes(passed=6)


def test_it_is_loaded_where_transom_is_installed() -> None:
    (entry,) = importlib.metadata.entry_points(group="pytest11", name="transom")
    assert entry.value == "_transom_pytest" and hasattr(entry.load(), "pytest_configure")


def test_wrong_options_name_the_test(ran: Any) -> None:
    result = ran("@pytest.mark.transom(scheduler=1)\nasync def test_x(): pass\n", failed=1)
    assert "transom has no option 'scheduler'" in result.stdout.str()


def test_the_entry_point_imports_nothing_of_the_package() -> None:
    """It is loaded in every run of pytest of everybody who has transom installed."""
    check = (
        "import sys, pytest, _transom_pytest\n"
        "loaded = [name for name in sys.modules if name.split('.')[0] == 'transom']\n"
        "assert not loaded, loaded\n"
    )
    subprocess.run([sys.executable, "-c", check], check=True, timeout=50)


def test_a_deterministic_test_tells_its_seed_and_replays(ran: Any) -> None:
    source = """\
import random

@pytest.mark.transom(deterministic=True)
async def test_fails_by_seed():
    await transom.sleep(3600)
    assert random.random() is None
"""
    result = ran(source, failed=1)
    seed = next(line.rsplit("=")[-1] for line in result.outlines if "to run it again: --transom-seed=" in line)
    again = ran(source, f"--transom-seed={seed}", failed=1)

    def value(out: Any) -> str:
        return next(line for line in out.outlines if line.startswith("E") and "is None" in line)

    assert value(again) == value(result)


def test_a_test_runs_under_schedules_and_a_failing_one_replays(ran: Any) -> None:
    source = """\
async def says(to, word):
    transom.send(to, word)

@pytest.mark.transom(schedules=50, strategy="pct")
async def test_order():
    for word in ("a", "b"):
        transom.spawn_link(says, transom.current_pid(), word)
    assert await transom.receive(str) == "a"
    assert await transom.receive(str) == "b"

@pytest.mark.transom(schedules=5)
def test_plain():
    transom.send(transom.current_pid(), 1)
    assert transom.sync.receive(int) == 1
"""
    result = ran(source, passed=1, failed=1)
    schedule = next(line.rsplit("=")[-1] for line in result.outlines if line.startswith("schedule "))
    ran(source, f"--transom-seed={schedule}", "-k", "order", failed=1)
    ran(source, "--transom-schedules=1", "-k", "plain", passed=1)


def test_seeds_and_strategies_that_are_none_are_named(ran: Any) -> None:
    source = """\
@pytest.mark.transom(schedules=5, strategy="luck")
async def test_one():
    pass
"""
    ran(source, failed=1).stdout.fnmatch_lines(["*strategy must be one of*luck*"])
    result = ran(source, "--transom-seed=luck", failed=1)
    result.stdout.fnmatch_lines(["*--transom-seed: *luck*neither a seed nor a schedule*"])
