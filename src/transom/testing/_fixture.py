"""Fixtures that run in the test's process.

pytest runs fixtures before there is a node. A fixture made here gives pytest a note of what to run; the process of the
test runs it before its body, and its second half after it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(eq=False)
class Later:
    """What a fixture will be in the test's process."""

    fn: Callable[..., Any]
    kwargs: dict[str, Any]


def fixture(fn: Callable[..., Any]) -> Any:
    """Decorator: a pytest fixture, ``async def``, that runs in the process of the test which uses it.

    Args:
        fn: Coroutine function, or asynchronous generator function that yields once; what stands after its ``yield``
            runs in the test's process, too, when the test has returned or raised. It may ask for other fixtures.

    Returns:
        The fixture, of function scope; only tests of transom can use it.

    Raises:
        TypeError: fn is neither.
    """
    import pytest

    if not (inspect.iscoroutinefunction(fn) or inspect.isasyncgenfunction(fn)):
        raise TypeError(
            f"transom.testing.fixture takes an async def function, not {fn!r}; use pytest.fixture for others"
        )

    @functools.wraps(fn)
    def later(*args: Any, **kwargs: Any) -> Later:
        return Later(functools.partial(fn, *args), kwargs)  # args: self, of a fixture in a class

    # pytest would take it for an asynchronous fixture, for it looks through wrappers at what is wrapped.
    later.__signature__ = inspect.signature(fn)  # type: ignore[attr-defined]
    del later.__wrapped__
    return pytest.fixture(later)


def needed(kwargs: dict[str, Any]) -> bool:
    """Are there fixtures to be run in the process?"""
    return any(isinstance(value, Later) for value in kwargs.values())


async def call(body: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run the fixtures, then body, then what stands after the fixtures' yields."""
    if not needed(kwargs):
        return await body(*args, **kwargs)
    async with AsyncExitStack() as stack:
        made: dict[Later, Any] = {}
        ready = {name: await _made(value, made, stack) for name, value in kwargs.items()}
        value = body(*args, **ready)
        return await value if inspect.iscoroutine(value) else value


async def _made(value: Any, made: dict[Later, Any], stack: AsyncExitStack) -> Any:
    if not isinstance(value, Later):
        return value
    if value not in made:
        kwargs = {name: await _made(one, made, stack) for name, one in value.kwargs.items()}
        if inspect.isasyncgenfunction(value.fn.func):  # type: ignore[attr-defined]
            made[value] = await stack.enter_async_context(asynccontextmanager(value.fn)(**kwargs))
        else:
            made[value] = await value.fn(**kwargs)
    return made[value]
