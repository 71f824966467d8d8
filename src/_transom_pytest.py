"""pytest's way into transom.testing.

pytest loads this in every run of everybody who has transom installed, so it stands beside the package and not in it:
nothing of transom is imported before a test asks for a node.
"""

from __future__ import annotations

import inspect
from collections.abc import Generator
from typing import Any

import pytest

MARKER = (
    "transom(*, schedulers, timeout, leak_seconds, allow_leaks, allow_crashes, deterministic, schedules, strategy, "
    "max_preemptions): "
    "run the test as a process of a fresh node"
)
OTHERS = ("asyncio", "anyio", "trio", "tornado_test", "twisted")  # markers of those who run async tests, too


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("transom", "tests as processes of transom")
    group.addoption(
        "--transom-mode",
        choices=("strict", "auto"),
        default=None,
        help="strict: tests with the marker transom or the fixture transom_node; auto: all async tests nobody else claims",
    )
    group.addoption(
        "--transom-seed",
        default=None,
        metavar="SEED",
        help="run each test of transom once, deterministically, by this seed, or by a schedule as a failed test prints it",
    )
    group.addoption(
        "--transom-schedules",
        type=int,
        default=None,
        metavar="N",
        help="so many schedules for each test that has the marker transom(schedules=...), in place of its own number",
    )
    parser.addini("transom_mode", "strict (default) or auto; see --transom-mode", default="strict")
    parser.addini("transom_timeout", "seconds a test of transom may take (default 60)", default="60")
    parser.addini("transom_leak_seconds", "seconds processes get to end after their test (default 2)", default="2")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER)
    if mode_of(config) not in ("strict", "auto"):
        raise pytest.UsageError(f"transom_mode must be strict or auto, not {mode_of(config)!r}")


def mode_of(config: pytest.Config) -> str:
    return str(config.getoption("--transom-mode", None) or config.getini("transom_mode"))


class TransomFunction(pytest.Function):
    """A test that runs as a process."""

    def runtest(self) -> None:
        from transom.testing import _item

        _item.run(self, super().runtest)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_pycollect_makeitem(collector: pytest.Collector) -> Generator[None, Any, Any]:
    """Outermost, so that what other plugins made of a test is seen: marked tests are ours, others only in auto mode."""
    found = yield
    if found is None:
        return None
    items = found if isinstance(found, list) else [found]
    made = [_taken(item) if isinstance(item, pytest.Function) else item for item in items]
    return made if isinstance(found, list) else made[0]


def _taken(item: pytest.Function) -> pytest.Function:
    if item.parent is None or not _is_ours(item):
        return item
    taken = TransomFunction.from_parent(
        item.parent,
        name=item.name,
        callspec=getattr(item, "callspec", None),
        callobj=item.obj,
        fixtureinfo=item._fixtureinfo,
        keywords=item.keywords,
        originalname=item.originalname,
    )
    taken.own_markers = [mark for mark in item.own_markers if mark.name != "asyncio"]
    return taken


def _is_ours(item: pytest.Function) -> bool:
    if item.get_closest_marker("transom") is not None or "transom_node" in item.fixturenames:
        return True
    return (
        mode_of(item.config) == "auto"
        and type(item) is pytest.Function
        and inspect.iscoroutinefunction(_function(item))
        and "anyio_backend" not in item.fixturenames
        and not any(item.get_closest_marker(name) for name in OTHERS)
    )


def _function(item: pytest.Function) -> Any:
    """The function as written, without Hypothesis around it."""
    given = getattr(item.obj, "hypothesis", None)
    return item.obj if given is None else given.inner_test


@pytest.fixture
def transom_node(request: pytest.FixtureRequest) -> Any:
    """Makes the test a process of a fresh node, as the marker ``transom`` does; a transom.testing.Node to set it up."""
    from transom.testing import _item

    return _item.node_of(request.node)
