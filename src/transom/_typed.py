"""For type checkers: methods of agents with the types of their calls.

A reference shows the methods of an agent as calls. Python's type system cannot turn ``def add(self, k: int) -> int``
into that by itself; the decorator ``method`` can. It changes nothing at run time.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Concatenate, Protocol, Self, overload

if TYPE_CHECKING:
    from transom._core import Call

    class Method[**P, R](Protocol):
        """A public method, seen on a reference."""

        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Call[R]: ...
        def cast(self, *args: P.args, **kwargs: P.kwargs) -> None: ...
        def options(self, *, timeout: float | None = ...) -> Method[P, R]: ...

    class _Descriptor[**P, R]:
        @overload
        def __get__(self, instance: None, owner: type[Any]) -> Self: ...
        @overload
        def __get__(self, instance: object, owner: type[Any]) -> Method[P, R]: ...
        def __get__(self, instance: object, owner: type[Any]) -> Any:
            """See method."""

    @overload
    def method[**P, R](function: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]], /) -> _Descriptor[P, R]: ...
    @overload
    def method[**P, R](function: Callable[Concatenate[Any, P], R], /) -> _Descriptor[P, R]: ...
    def method(function: Any, /) -> Any:
        """See below."""

else:

    def method(function):
        """Give type checkers the types of a public method's calls; changes nothing at run time.

        With it ``await ref.add(2)`` has the type that add returns, and wrong arguments are found. Without it, the
        checker takes ``ref.add(2)`` for the plain method. Within the agent, call a private method instead of a
        decorated one, as the checker takes that for a call, too.

        Example:
            >>> import transom
            >>> class Counter(transom.Agent):
            ...     n = 0
            ...     @transom.method
            ...     def add(self, k: int) -> int:
            ...         self.n += k
            ...         return self.n

        Source: none in OTP.
        """
        return function
