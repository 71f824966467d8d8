"""Which code counts reductions, and the switches of sys.monitoring.

Agent code is what is neither in the standard library nor in site-packages nor transom itself; ``include``
and ``exclude`` change that for a module or a file. The events are on for all code while a node runs. Code is judged at its
first event; where library code has one it is switched off, one place at a time. So code that is new stops no world:
starting a node does, and watching library code on demand.
"""

from __future__ import annotations

import os
import site
import sys
import sysconfig
import threading
from types import CodeType, ModuleType

from transom import _core

_monitoring = sys.monitoring
_EVENTS = _monitoring.events.PY_START | _monitoring.events.JUMP | _monitoring.events.PY_RETURN
_HOME = os.path.dirname(os.path.abspath(__file__)) + os.sep

_lock = threading.Lock()
_tool: int | None = None  # under _lock; set once
_active = False  # events are on; changed by start and stop, one at a time
_included: set[str] = set()  # paths; replaced under _lock, never changed
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


def discover(code: CodeType) -> bool:
    """Called by the core at the first event of a code object: is it agent code?"""
    return is_agent_file(code.co_filename)


def activate() -> None:
    """Claim a tool id (once) and watch all code from now on. Called on the starting thread."""
    global _tool, _active
    if threading.current_thread() is threading.main_thread():
        _core._main_thread()
    with _lock:
        if _tool is None:
            _tool = _claim()
        if not _active:  # else an earlier node left a thread behind, for which this would wait
            _monitoring.set_events(_tool, _EVENTS)
            if _core._restart_due():
                restart()
        _active = True


def _claim() -> int:
    for tool in (4, 3, 5):
        if _monitoring.get_tool(tool) is None:
            _monitoring.use_tool_id(tool, "transom")
            _monitoring.register_callback(tool, _monitoring.events.PY_START, _core._on_code)
            _monitoring.register_callback(tool, _monitoring.events.JUMP, _core._on_code)
            _monitoring.register_callback(tool, _monitoring.events.PY_RETURN, _core._on_return)
            return tool
    owners = ", ".join(f"{tool}: {_monitoring.get_tool(tool)}" for tool in (3, 4, 5))
    raise RuntimeError(f"transom needs one of the sys.monitoring tool ids 3, 4 and 5, but all are taken ({owners})")


def deactivate() -> None:
    """Count nothing until the next node starts. What is known about code stays known."""
    global _active
    _active = False
    if _tool is not None:
        _monitoring.set_events(_tool, 0)


def restart() -> None:
    """Ask again where events were switched off. Stops the world; called by the monitor thread."""
    _monitoring.restart_events()


def change(what: ModuleType | str, agent: bool) -> None:
    """Make a module, a file or a folder count (agent) or not; see ``transom.instrument``."""
    global _included, _excluded
    path = _path_of(what)
    with _lock:
        if agent:
            _included, _excluded = _included | {path}, _excluded - {path}
        else:
            _included, _excluded = _included - {path}, _excluded | {path}
        if _core._judge_anew():
            restart()


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
