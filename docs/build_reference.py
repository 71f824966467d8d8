"""Write the pages of docs/reference from the docstrings of the installed package.

python docs/build_reference.py            write the pages
python docs/build_reference.py --check    exit status 1 when one is not up to date

api.md is the index; the other pages it names are one for each subject. command.md is written by hand.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
import textwrap
from pathlib import Path
from types import ModuleType
from typing import Any

FOLDER = Path(__file__).parent / "reference"
HEAD = "<!-- Written by docs/build_reference.py from the docstrings. Change those, then run it. -->\n\n"

# The pages and the order of what is on them. What is public and not named here comes onto the last one, so nothing
# gets lost; errors have a page, too.
SUBJECTS = {
    "node": ("The node", "run start stop node_info gc_info set_redaction detect_call_cycles"),
    "processes": (
        "Processes",
        "spawn spawn_link spawn_monitor spawn_opt SpawnOptions current_pid processes is_alive process_info "
        "set_priority set_label reductions register unregister whereis registered sleep Pid",
    ),
    "messages": (
        "Messages and timers",
        "send receive share move alias unalias make_ref Ref send_after cancel_timer read_timer Timer",
    ),
    "signals": (
        "Links, monitors, exit signals",
        "link unlink trap_exit Exit monitor demonitor Down exit kill Stop Killed Crash",
    ),
    "agents": (
        "Agents and calls",
        "Agent Call gather as_completed Answer defer From stop_after continue_with idle_timeout hibernate pid_of method",
    ),
    "state_machines": ("State machines", "StateMachine"),
    "supervisors": (
        "Supervisors",
        "Supervisor SupervisorRef DynamicSupervisor DynamicSupervisorRef PartitionSupervisor "
        "PartitionSupervisorRef ChildSpec Recovery Backoff",
    ),
    "tasks": ("Tasks", "Task TaskStream TaskSupervisor TaskSupervisorRef"),
    "directories": ("Registries, groups, topics", "Registry Via Groups PubSub"),
    "asyncio": ("Event loops", "aio Aio io_info in_process offload"),
    "isolated": ("Other OS processes", "isolated isolated_info"),
    "tables": ("Tables", "Table Continuation TableTransfer"),
}
MODULES = ("ports", "sync", "sys", "proc_lib", "statem", "testing", "evals", "instrument", "counters", "persistent_term")


def main() -> int:
    pages = {FOLDER / f"{name}.md": HEAD + text for name, text in all_pages().items()}
    if "--check" in sys.argv[1:]:
        stale = [path.name for path, text in pages.items() if not path.exists() or path.read_text() != text]
        if stale:
            print(f"not up to date: {', '.join(stale)}: run python docs/build_reference.py", file=sys.stderr)
        return 1 if stale else 0
    for path, text in pages.items():
        path.write_text(text)
    return 0


def all_pages() -> dict[str, str]:
    """The text of each page by its name."""
    transom = importlib.import_module("transom")
    index = [f"# Reference\n\n{summary_of(transom)} All of this is importable from `transom`.\n"]
    pages = {}
    for name, (title, names) in subjects(transom).items():
        pages[name] = page(title, "", transom, names)
        index.append(f"**[{title}]({name}.md)**: {links(name, names)}\n")
    for name in MODULES:
        module = importlib.import_module(f"transom.{name}")
        pages[name] = page(f"`transom.{name}`", doc_of(module) + "\n", module, public(module))
        index.append(f"**[`transom.{name}`]({name}.md)**: {links(name, public(module))}\n")
    return {"api": "\n".join(index), **pages}


def page(title: str, text: str, module: ModuleType, names: list[str]) -> str:
    parts = [f"# {title}\n", *([text] if text else []), *(entry(name, getattr(module, name)) for name in names)]
    return "\n".join(parts)


def links(page: str, names: list[str]) -> str:
    anchors: list[str] = []
    for name in names:
        again = sum(anchor.split("-")[0] == name.lower() for anchor in anchors)  # Exit and exit
        anchors.append(f"{name.lower()}-{again}" if again else name.lower())
    return " · ".join(f"[`{name}`]({page}.md#{anchor})" for name, anchor in zip(names, anchors, strict=True))


def public(module: ModuleType) -> list[str]:
    """The names that a module offers: its own, not what it imports from elsewhere."""
    found = []
    for name, value in vars(module).items():
        if name.startswith("_") or not (inspect.isroutine(value) or inspect.isclass(value)):
            continue
        ours = str(value.__module__).split(".")[0] == "transom"
        if ours and (module.__name__ == "transom" or value.__module__ == module.__name__ or not inspect.isclass(value)):
            found.append(name)
    return found


def subjects(module: ModuleType) -> dict[str, tuple[str, list[str]]]:
    """The names of ``transom`` by page."""
    left = public(module)
    found = {
        page: (title, [name for name in names.split() if name in left]) for page, (title, names) in SUBJECTS.items()
    }
    named = {name for _, names in found.values() for name in names}
    rest = [name for name in left if name not in named]
    found["errors"] = ("Errors", [name for name in rest if is_error(getattr(module, name))])
    found["more"] = ("More", [name for name in rest if not is_error(getattr(module, name))])
    return {page: entry for page, entry in found.items() if entry[1]}


def is_error(value: Any) -> bool:
    return inspect.isclass(value) and issubclass(value, BaseException)


def entry(name: str, value: Any) -> str:
    """One name: its signature and its docstring, and the methods of a class."""
    # The heading is the bare name, for the links of the index.
    # Errors are caught and agents started; their constructors are no news.
    call = "" if is_error(value) or name == "Agent" else f"```\n{name}{signature_of(value)}\n```\n\n"
    parts = [f"## {name}\n\n{call}{doc_of(value)}\n"]
    if inspect.isclass(value) and not is_error(value):
        for key, member in members(value).items():
            call = signature_of(getattr(value, key)) if inspect.isroutine(member) else ""
            parts.append(f"#### `{name}.{key}{call}`\n\n{doc_of(member)}\n")
    return "\n".join(parts)


def members(cls: type) -> dict[str, Any]:
    """The public methods and attributes of a class with a docstring; also those of bases that are not public."""
    found: dict[str, Any] = {}
    for base in cls.__mro__:
        if base is cls or (base.__module__.startswith("transom.") and issubclass(cls, base)):
            for key, member in vars(base).items():
                shown = inspect.isroutine(member) or inspect.isdatadescriptor(member)
                if shown and not key.startswith("_") and inspect.getdoc(member):
                    found.setdefault(key, member)
    return found


def signature_of(value: Any) -> str:
    """The signature as text; nothing for what has none to tell."""
    if is_error(value):
        return ""
    try:
        text = str(inspect.signature(value))
    except (TypeError, ValueError):
        return ""
    text = re.sub(r"<\S+ object at 0x\w+>", "...", text)  # a default that stands for none
    return re.sub(r"(: |-> )'([^']*)'", r"\1\2", text)  # annotations that are kept as text


def summary_of(module: ModuleType) -> str:
    """The first paragraph: what follows it is for those who read the source."""
    return (inspect.getdoc(module) or "").split("\n\n")[0]


def doc_of(value: Any) -> str:
    """The docstring as Markdown: its headings bold, their items a list, examples in a block."""
    out: list[str] = []
    section = ""
    for line in (inspect.getdoc(value) or "").replace("``", "`").splitlines():
        if match := re.fullmatch(r"(Args|Returns|Raises|Attributes|Items|Example):", line):
            section = match[1]
            out.append(f"**{section}**\n")
        elif not section or (line and not line.startswith(" ")):
            close(out, section)
            section = ""
            out.append(re.sub(r"^(Source|Raises|Returns|Items): ", r"**\1**: ", line))
        elif section == "Example":
            out.append(line)
        elif section in ("Returns", "Items"):
            out.append(line.strip())
        elif match := re.match(r" {4}(\*{0,2}\w+(?:, \w+)*|\(.*?\)): (.*)", line):
            out.append(f"- `{match[1]}`: {match[2]}")
        elif re.match(r" {4}\S", line):
            out.append("- " + line.strip())
        else:
            out.append("  " + line.strip() if line.strip() else "")
    close(out, section)
    return blocks("\n".join(out).strip())


def close(out: list[str], section: str) -> None:
    """A list ends with an empty line."""
    if section and out and out[-1]:
        out.append("")


def blocks(text: str) -> str:
    """Put indented text after an empty line, and interpreter sessions, into code blocks."""
    done: list[str] = []
    for part in re.split(r"\n\n+", text):
        lines = part.splitlines()
        if lines and all(line.startswith("    ") or not line for line in lines):
            kind = "pycon" if ">>>" in part else ""
            part = f"```{kind}\n{textwrap.dedent(part)}\n```"
        done.append(part)
    return "\n\n".join(done)


if __name__ == "__main__":
    sys.exit(main())
