"""Which code counts reductions, and the switches of sys.monitoring.

Agent code is what is neither in the standard library nor in site-packages nor transom itself; ``include``
and ``exclude`` change that for a module or a file. A code object is looked at when it is first called, and
all modules loaded so far when a node starts: switching events on stops the world for a moment, so it is
better done before there is a world.
"""

from __future__ import annotations

import functools
import inspect
import os
import site
import sys
import sysconfig
import threading
from types import CodeType, FunctionType, ModuleType

from transom import _core

_monitoring = sys.monitoring
_EVENTS = _monitoring.events.PY_START | _monitoring.events.JUMP
_BODY_EVENTS = _EVENTS | _monitoring.events.PY_RETURN  # what a body held is searched for cycles when it returns
_HOME = os.path.dirname(os.path.abspath(__file__)) + os.sep

_lock = threading.Lock()
_tool: int | None = None  # under _lock; set once
_active = False  # events are on; changed by start and stop, one at a time
_done: set[str] = set()  # modules instrumented; under _lock
_pending: list[CodeType] = []  # agent code whose events wait for a good moment; append and pop are atomic
_included: set[str] = set()  # paths; under _lock
_excluded: set[str] = set()


def _library_prefixes() -> tuple[str, ...]:
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    paths = {path for name in names if (path := sysconfig.get_paths().get(name))}
    paths.update(site.getsitepackages())
    paths.add(site.getusersitepackages())
    paths.update(os.path.realpath(path) for path in tuple(paths))
    return tuple(path.rstrip(os.sep) + os.sep for path in paths)


_LIBRARY = _library_prefixes()


def is_agent_file(filename: str) -> bool:
    """Does code of this file count reductions?"""
    if _within(filename, _excluded):
        return False
    if _within(filename, _included):
        return True
    if filename == "<string>":  # made by exec, mostly in libraries; but python -c runs agents, too
        return sys.argv[:1] == ["-c"]
    return not filename.startswith(("<frozen ", _HOME, *_LIBRARY))


def _within(filename: str, paths: set[str]) -> bool:
    return bool(paths) and (filename in paths or any(filename.startswith(p) for p in paths if p.endswith(os.sep)))


def discover(code: CodeType, later: bool) -> bool:
    """Called by the core at the first call of a code object: is it agent code?

    later: a thread sits in native code, and switching events on would wait for it with the world stopped.
    The calls of the code count at once, its loops from the next housekeeping on.
    """
    if not is_agent_file(code.co_filename):
        return False
    if later:
        _pending.append(code)
    else:
        _watch(code, True)
    return True


def catch_up() -> None:
    """Watch what discover put off. Called by the monitor thread."""
    while _pending:
        _watch(_pending.pop(), True)


def _watch(code: CodeType, agent: bool) -> None:
    """Switch counting on or off for code and all code nested in it."""
    if _tool is None:
        return
    events = _BODY_EVENTS if code.co_flags & inspect.CO_COROUTINE else _EVENTS
    _monitoring.set_local_events(_tool, code, events if agent else 0)
    _core._known_set(code, agent)
    for const in code.co_consts:
        if isinstance(const, CodeType):
            _watch(const, agent)


def _watch_module(module: ModuleType, agent: bool) -> None:
    seen: set[int] = set()
    for value in tuple(vars(module).values()):
        _watch_value(value, agent, module.__name__, seen)


def _watch_value(value: object, agent: bool, module: str, seen: set[int]) -> None:
    """Functions, and what classes keep them in. Looks at exact types only: anything else may run code when asked.

    seen: ids of the classes looked at; classes may have each other as attributes.
    """
    kind = type(value)
    found: list[object] = []
    if kind is FunctionType:
        found = [value, vars(value).get("__wrapped__")]
    elif kind in (staticmethod, classmethod):
        found = [value.__func__]  # type: ignore[attr-defined]
    elif kind is property:
        found = [value.fget, value.fset, value.fdel]  # type: ignore[attr-defined]
    elif kind in (functools.cached_property, functools.partial):
        found = [value.func]  # type: ignore[attr-defined]
    elif isinstance(value, type) and value.__dict__.get("__module__") == module:
        if id(value) not in seen:
            seen.add(id(value))
            for member in tuple(value.__dict__.values()):
                _watch_value(member, agent, module, seen)
    for fn in found:
        if type(fn) is not FunctionType or is_agent_file(fn.__code__.co_filename) != agent:
            continue
        if agent and _core._left_behind():
            _pending.append(fn.__code__)
        else:
            _watch(fn.__code__, agent)


def activate() -> None:
    """Claim a tool id (once) and watch all code from now on. Called on the starting thread."""
    global _tool, _active
    with _lock:
        if _tool is None:
            _tool = _claim()
        for name, module in tuple(sys.modules.items()):
            path = getattr(module, "__file__", None)
            if name not in _done and isinstance(path, str):
                _done.add(name)
                if is_agent_file(path):
                    _watch_module(module, True)
        if not _active:  # else an earlier node left a thread behind, for which this would wait
            _monitoring.set_events(_tool, _monitoring.events.PY_START)
        _active = True


def _claim() -> int:
    for tool in (4, 3, 5):
        if _monitoring.get_tool(tool) is None:
            _monitoring.use_tool_id(tool, "transom")
            _monitoring.register_callback(tool, _monitoring.events.PY_START, _core._on_start)
            _monitoring.register_callback(tool, _monitoring.events.JUMP, _core._on_jump)
            _monitoring.register_callback(tool, _monitoring.events.PY_RETURN, _core._on_return)
            return tool
    owners = ", ".join(f"{tool}: {_monitoring.get_tool(tool)}" for tool in (3, 4, 5))
    raise RuntimeError(f"transom needs one of the sys.monitoring tool ids 3, 4 and 5, but all are taken ({owners})")


def deactivate() -> None:
    """Stop looking at new code; what is known goes on counting, at 10 ns an event."""
    global _active
    _active = False
    if _tool is not None:
        _monitoring.set_events(_tool, 0)


def demand(on: bool) -> None:
    """Watch library code as well, or no longer. Called by the monitor thread."""
    if _tool is None:
        return
    _monitoring.set_events(_tool, _EVENTS if on else _monitoring.events.PY_START)
    if on:
        _monitoring.restart_events()


def change(what: ModuleType | str, agent: bool) -> None:
    """Make a module, a file or a folder count (agent) or not; see ``transom.instrument``."""
    path = _path_of(what)
    with _lock:
        (_included if agent else _excluded).add(path)
        (_excluded if agent else _included).discard(path)
        for module in tuple(sys.modules.values()):
            file = getattr(module, "__file__", None)
            if isinstance(file, str) and _within(file, {path}):
                _watch_module(module, agent)


def _path_of(what: ModuleType | str) -> str:
    module = sys.modules.get(what) if isinstance(what, str) else what
    if isinstance(module, ModuleType):
        file = getattr(module, "__file__", None)
        if not isinstance(file, str):
            raise ValueError(f"{module.__name__} is not Python code: it has no __file__")
        return os.path.dirname(file) + os.sep if os.path.basename(file) == "__init__.py" else file
    if isinstance(what, str) and os.path.exists(what):
        path = os.path.abspath(what)
        return path + os.sep if os.path.isdir(path) else path
    raise ValueError(f"{what!r} is neither an imported module nor a file or folder")
