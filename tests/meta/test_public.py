"""The public names: each is listed here, documented, shows as transom's own, and agrees with its stub."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType

import transom
import transom.sync
from transom import _core  # type: ignore[attr-defined, unused-ignore]

# Adding a name is a decision (a promise to keep it); so is taking one away.
# fmt: off
PUBLIC = {
    "Agent", "Aio", "AlreadyRunning", "AlreadyStarted", "Answer", "Backoff", "Call", "CallError", "CallTimeout",
    "ChildExists", "ChildRunning", "ChildSpec", "Continuation", "Crash", "Down", "DuplicateChild",
    "DynamicSupervisor", "DynamicSupervisorRef", "Exit", "Exited", "ForkedError", "From", "Groups", "Killed",
    "NameTaken", "NoChild", "NoProcess", "NoTable", "NotInProcess", "NotOwner", "NotRunning", "PartitionSupervisor",
    "PartitionSupervisorRef", "Pid", "PortClosed", "PortError", "ProcessLimit", "PubSub", "QueueFull", "Recovery", "Ref", "Registry", "SpawnOptions",
    "StartError", "StateMachine", "Stop", "Supervisor", "SupervisorRef", "Table", "TableAccess", "TableTransfer", "Task",
    "TaskError",
    "TaskStream", "TaskSupervisor", "TaskSupervisorRef", "Timer", "TooManyChildren", "TransomError", "Via", "aio", "alias",
    "as_completed", "cancel_timer", "continue_with", "counters", "current_pid", "defer", "demonitor",
    "detect_call_cycles", "exit", "gather", "gc_info", "hibernate", "idle_timeout", "in_process", "instrument",
    "io_info", "is_alive", "isolated", "isolated_info", "kill",
    "link", "make_ref", "method", "monitor", "move", "node_info", "offload", "persistent_term", "pid_of", "ports", "proc_lib",
    "process_info", "processes", "read_timer", "receive", "reductions", "register", "registered", "run", "send",
    "send_after", "set_label", "set_priority", "set_redaction", "share", "sleep", "spawn", "spawn_link",
    "spawn_monitor", "spawn_opt", "start", "statem", "stop", "stop_after", "sync", "sys", "trap_exit", "unalias", "unlink",
    "unregister", "whereis",
}
# fmt: on
# Packages that are imported by themselves only; when another test has, transom has them as attributes.
APART = {"evals", "testing"}


def public_names(module: ModuleType) -> set[str]:
    # pytest rewrites the asserts of what has a plugin, and leaves names such as "@py_builtins".
    return {name for name in vars(module) if not name.startswith("_") and name.isidentifier()}


def stub_names(stub: str) -> set[str]:
    """The names that a stub defines on its top level; what it only imports is not among them."""
    names: set[str] = set()
    for node in ast.parse(stub).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return names


def test_the_list_of_public_names() -> None:
    assert public_names(transom) - APART == PUBLIC


def test_import_star_leaves_the_standard_sys_alone() -> None:
    names: dict[str, object] = {}
    exec("import sys\nfrom transom import *", names)
    assert names["sys"] is sys and transom.sys is not sys
    assert set(transom.__all__) == PUBLIC - {"sys"}  # type: ignore[attr-defined, unused-ignore]
    assert names["send"] is transom.send


def test_every_public_name_is_documented_and_ours() -> None:
    for name in sorted(PUBLIC):
        thing = getattr(transom, name)
        assert inspect.getdoc(thing), f"transom.{name} has no docstring"
        if not isinstance(thing, ModuleType):
            assert getattr(thing, "__module__", "transom").split(".")[0] == "transom", f"{name}: {thing.__module__}"


def test_the_stub_names_what_the_core_has() -> None:
    spec = importlib.util.find_spec("transom")
    assert spec is not None and spec.origin is not None
    stub = stub_names((Path(spec.origin).parent / "_core.pyi").read_text())
    core = {name for name in vars(_core) if not name.startswith("__")}
    # Private names may stay out of the stub; stubtest (make typing) compares signatures.
    assert public_names(_core) - stub == set(), "missing in _core.pyi"
    private_or_protocol = {name for name in stub if name.startswith("_")}
    assert stub - core - private_or_protocol == set(), "in _core.pyi, but not in the extension"


def test_violations_are_found() -> None:
    stub = "import os\nclass A: ...\ndef f() -> int: ...\nx: int\n"
    assert stub_names(stub) == {"A", "f", "x"}
