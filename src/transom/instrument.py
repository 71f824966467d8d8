"""What counts as agent code: code whose calls and loop turns use up reductions.

By default everything outside the standard library and site-packages. Agent code is preempted after 4,000
reductions when others wait; library code is preempted too, but later (its slot is taken after 10 ms).
"""

from __future__ import annotations

from types import ModuleType

from transom import _instrument


def include(what: ModuleType | str) -> None:
    """Count reductions in a module that would not count, such as your own library in site-packages.

    Args:
        what: A module, the name of an imported module, or a path to a file or folder. A package stands for
            all its modules, also those imported later.

    Raises:
        ValueError: what is neither an imported module nor an existing path.

    Example:
        >>> import json, transom
        >>> transom.instrument.include(json)
        >>> transom.instrument.exclude(json)

    Callable from any thread, also before a node runs; does not block.

    Source: none in OTP, where all code is counted.
    """
    _instrument.change(what, True)


def exclude(what: ModuleType | str) -> None:
    """Stop counting in a module: its code runs at full speed and is preempted as library code is.

    Args:
        what: As for ``include``.

    Raises:
        ValueError: what is neither an imported module nor an existing path.

    Callable from any thread, also before a node runs; does not block.

    Example:
        >>> import transom, transom.instrument
        >>> transom.instrument.exclude("json.decoder")

    Source: none in OTP, where all code is counted.
    """
    _instrument.change(what, False)
