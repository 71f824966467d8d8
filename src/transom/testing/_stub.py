"""Stub agents: they stand in for others and record what they are asked and told."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from transom import _core
from transom._agent import Agent
from transom._operation import Operation, Receive, of_steps
from transom._start import pid_of
from transom.testing import _context
from transom.testing._receive import fits

WAIT_SECONDS = 5.0
STEP_SECONDS = 0.002


@dataclass(frozen=True)
class Received:
    """One thing that a stub was asked or told.

    Attributes:
        kind: ``"call"`` or ``"message"``; a cast is a call that nobody waits for.
        method: The method called; None for other messages.
        args: Its positional arguments; of another message: that message alone.
        kwargs: Its keyword arguments.
        sender: The calling process; None for casts and other messages.
    """

    kind: Literal["call", "message"]
    method: str | None
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    sender: _core.Pid | None


class Stub:
    """A running stub. Give ``ref`` to the code under test.

    Attributes:
        ref: A reference of the class it stands in for; of a stub of no class, its Pid.
    """

    def __init__(self, ref: Any, received: list[Received]) -> None:
        self.ref = ref
        self._received = received

    def __repr__(self) -> str:
        return f"<stub {self.ref!r}: received {len(self._received)}>"

    @property
    def pid(self) -> _core.Pid:
        """Its process."""
        return pid_of(self.ref)

    @property
    def received(self) -> list[Received]:
        """Everything so far, oldest first."""
        return list(self._received)

    def calls(self, method: str) -> list[tuple[Any, ...]]:
        """The positional arguments of each call of this method so far, oldest first."""
        return [one.args for one in self.received if one.method == method]

    def assert_received(self, *pattern: Any, timeout: float = WAIT_SECONDS) -> Operation[Received]:
        """It is asked or told something like this, now or within some seconds.

        Args:
            pattern: The name of a method and then its positional arguments, as patterns for ``assert_receive``; the
                name alone: with any arguments. For other messages: None and a pattern for the message. Nothing:
                anything at all.
            timeout: Seconds to wait, >= 0.

        Returns:
            The oldest that fits.

        Raises:
            AssertionError: None did in time.
        """

        async def steps(receive: Receive) -> Received:
            waited = 0.0
            while True:
                for one in self.received:
                    if _like(pattern, one):
                        return one
                if waited >= timeout:
                    got = "".join(f"\n  {_shown(one)}" for one in self.received[:20]) or " nothing at all"
                    raise AssertionError(f"the stub {self.ref!r} received nothing like {pattern!r}; it received:{got}")
                try:
                    await receive(_core.make_ref(), timeout=STEP_SECONDS)
                except TimeoutError:
                    waited += STEP_SECONDS

        return of_steps(steps)


def _like(pattern: tuple[Any, ...], one: Received) -> bool:
    if not pattern:
        return True
    method, args = pattern[0], pattern[1:]
    return method == one.method and (not args or fits(tuple(args), one.args))


def _shown(one: Received) -> str:
    if one.kind == "message":
        return f"message {one.args[0]!r}"
    parts = [*map(repr, one.args), *(f"{key}={value!r}" for key, value in one.kwargs.items())]
    return f"{one.method}({', '.join(parts)})"


def start_stub(
    agent: type[Agent] | None = None,
    answers: Mapping[str, Any] | None = None,
    *,
    name: str | None = None,
) -> Operation[Stub]:
    """Start an agent that stands in for one of a class, linked to the test; it ends with it.

    Await it, or ask for its ``result()`` in a plain function.

    Args:
        agent: The class it stands in for: it has its methods, and runs none of them, nor its init. None: a stub of no
            class, which records messages.
        answers: What each method answers: a value; a function, called in the stub with the call's arguments, whose
            value (awaited when it is a coroutine) is the answer; or an exception, which ends the stub as a crash ends
            an agent. A method without an answer raises, so the test fails by a crash report.
        name: Register it under this name.

    Returns:
        A Stub.

    Raises:
        TypeError: The class has no such method.
        AlreadyStarted: The name is taken.

    Example:
        >>> import transom
        >>> from transom.testing import run_test, start_stub
        >>> class Weather(transom.Agent):
        ...     def ask(self, city): raise RuntimeError("costs money")
        >>> async def test():
        ...     stub = await start_stub(Weather, {"ask": "sunny"})
        ...     print(await stub.ref.ask("Rome"), stub.calls("ask"))
        >>> run_test(test)
        sunny [('Rome',)]
    """
    _context.current("start_stub")
    received: list[Received] = []
    kind = _stub_class(agent, dict(answers or {}), received)

    async def steps(receive: Receive) -> Stub:
        start = (
            kind.options(name=name, label=f"stub of {kind.__name__}")
            if name
            else kind.options(label=f"stub of {kind.__name__}")
        )
        ref = await start.start_link()._steps(receive)
        return Stub(ref if agent is not None else pid_of(ref), received)

    return of_steps(steps)


def _stub_class(agent: type[Agent] | None, answers: dict[str, Any], received: list[Received]) -> type[Agent]:
    base = agent if agent is not None else Agent
    methods = [key for key, value in vars(base._reference).items() if type(value) is _core._Method]
    for name in answers:
        if name not in methods:
            raise TypeError(
                f"start_stub(): {base.__qualname__} has no public method {name!r}; it has {', '.join(methods)}"
            )
    body: dict[str, Any] = {name: _method(base, name, answers, received) for name in methods}
    body |= {"__module__": base.__module__, "__qualname__": base.__qualname__}
    body["init"] = lambda self: None
    body["terminate"] = lambda self, reason: None
    body["format_status"] = lambda self, state: {"received": len(received)}

    def handle_info(self: Any, message: Any) -> None:
        received.append(Received("message", None, (message,), {}, None))

    body["handle_info"] = handle_info
    return types.new_class(base.__name__, (base,), exec_body=lambda namespace: namespace.update(body))


def _method(base: type[Agent], name: str, answers: dict[str, Any], received: list[Received]) -> Any:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        server = _core._server()
        call = None if server is None else server.call
        received.append(Received("call", name, args, kwargs, None if call is None else call._from))
        if name not in answers:
            raise NotImplementedError(f"{base.__qualname__}.{name} was called, and its stub has no answer for it")
        answer = answers[name]
        if isinstance(answer, BaseException) or (isinstance(answer, type) and issubclass(answer, BaseException)):
            raise answer
        return answer(*args, **kwargs) if callable(answer) and not isinstance(answer, _core._AgentRef) else answer

    method.__name__ = name
    return method


__all__ = ["Received", "Stub", "start_stub"]
