"""The rules of restarting, by themselves."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from supervised import kid

from transom import Backoff, ChildSpec, Recovery, Task
from transom._restart import Progress, group_of, intensity, is_clean, wants_restart


@pytest.mark.parametrize(
    ("reason", "clean"),
    [
        ("normal", True),
        ("shutdown", True),
        (("shutdown", 1), True),
        (("shutdown",), False),
        (("shutdown", 1, 2), False),
        (["shutdown", 1], False),
        ("killed", False),
        ("noproc", False),
        (None, False),
        ((b"shutdown", 1), False),
    ],
)
def test_clean_reasons(reason: Any, clean: bool) -> None:
    assert is_clean(reason) is clean
    assert wants_restart("permanent", reason)
    assert wants_restart("transient", reason) is not clean
    assert not wants_restart("temporary", reason)


def test_groups() -> None:
    children = ["a", "b", "c"]
    for child in children:
        assert group_of("one_for_one", children, child) == [child]
        assert group_of("one_for_all", children, child) == children
    assert [group_of("rest_for_one", children, child) for child in children] == [children, ["b", "c"], ["c"]]


def test_intensity_against_a_plain_count(rng: random.Random) -> None:
    for _ in range(200):
        limit, seconds = rng.randrange(5), rng.uniform(0.1, 3)
        note, now, times = intensity(limit, seconds), 0.0, []
        for _ in range(50):
            now += rng.choice([0.0, rng.random()])
            times.append(now)
            recent = [t for t in times if t >= now - seconds]
            assert note(now) is (len(recent) <= limit)


def test_backoff_delays() -> None:
    backoff = Backoff(initial=0.5, factor=2, maximum=10, jitter=0)
    assert [backoff.delay(n) for n in range(1, 8)] == [0.5, 1, 2, 4, 8, 10, 10]
    assert backoff.delay(10**9) == 10
    jittered = Backoff(initial=8, jitter=0.25)
    assert jittered.delay(1, lambda: 0.0) == 8
    assert jittered.delay(1, lambda: 1.0) == 6
    assert all(6 <= jittered.delay(1) <= 8 for _ in range(1000))
    assert Backoff(initial=0, jitter=1).delay(5) == 0


@pytest.mark.parametrize(
    ("kind", "fields", "error", "text"),
    [
        (Backoff, {"initial": -1}, ValueError, "initial"),
        (Backoff, {"initial": "1"}, TypeError, "initial"),
        (Backoff, {"initial": 5, "maximum": 1}, ValueError, "maximum"),
        (Backoff, {"factor": 0.5}, ValueError, "factor"),
        (Backoff, {"factor": math.nan}, ValueError, "factor"),
        (Backoff, {"jitter": 1.5}, ValueError, "jitter"),
        (Backoff, {"jitter": True}, TypeError, "jitter"),
        (Recovery, {"backoff": 3}, TypeError, "backoff"),
        (Recovery, {"attempts": -1}, ValueError, "attempts"),
        (Recovery, {"attempts": 1.0}, TypeError, "attempts"),
        (Recovery, {"variants": [1]}, TypeError, "variants"),
        (Recovery, {"variants": (1,)}, TypeError, "variants"),
        (Recovery, {"fallback": 1, "attempts": 1}, TypeError, "fallback"),
        (Recovery, {"fallback": Task.child(kid)}, ValueError, "attempts"),
        (Recovery, {"reset_after": -1}, ValueError, "reset_after"),
        (Recovery, {"reset_after": "x"}, TypeError, "reset_after"),
    ],
)
def test_bad_fields_are_named(kind: Any, fields: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        kind(**fields)
    with pytest.raises(TypeError, match="recovery"):
        Task.child(kid).options(recovery=fields)


def starts(*names: str) -> tuple[ChildSpec, ...]:
    return tuple(Task.child(kid, name) for name in names)


def name_of(start: Any) -> str:
    return str(start.args[0])


def test_progress_of_a_recovery() -> None:
    """Delays grow, variants follow one another, then the fallback; a long life begins anew."""
    own, first, second, last = starts("own", "first", "second", "last")
    backoff = Backoff(initial=1, factor=2, jitter=0)
    recovery = Recovery(backoff=backoff, attempts=3, variants=(first, second), fallback=last, reset_after=10)
    spec = own.options(recovery=recovery)
    progress = Progress()
    assert name_of(progress.start_of(spec)) == "own"
    steps = []
    for now in (1.0, 2.0, 3.0):
        steps.append((progress.next_step(recovery, now), name_of(progress.start_of(spec))))
        progress.since = now
    assert steps == [(1.0, "first"), (2.0, "second"), (4.0, "second")]
    assert progress.next_step(recovery, 20.0) == 1.0  # it has lived longer than reset_after
    progress.since = 20.0
    assert [progress.next_step(recovery, 20.0) for _ in range(3)] == [2.0, 4.0, "fall_back"]
    assert name_of(progress.start_of(spec)) == "last"
    assert progress.next_step(recovery, 20.0) == "count"


def test_progress_without_a_fallback() -> None:
    recovery = Recovery(attempts=1)
    progress = Progress()
    assert [progress.next_step(recovery, 0.0) for _ in range(2)] == [0.0, "give_up"]
    assert Progress().next_step(None, 0.0) == "count"
