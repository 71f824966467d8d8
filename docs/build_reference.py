"""Write docs/reference/api.md from the docstrings of the installed package.

python docs/build_reference.py            write the page
python docs/build_reference.py --check    exit status 1 when the page is not up to date
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

PAGE = Path(__file__).parent / "reference" / "api.md"
MODULES = ("transom", "transom.sync", "transom.instrument", "transom.proc_lib")
HEAD = "<!-- Written by docs/build_reference.py from the docstrings. Change those, then run it. -->\n\n# Reference\n"

# The order of the page. What is public and not named here comes last, so nothing gets lost.
SECTIONS = {
    "The node": "run start stop node_info gc_info",
    "Processes": "spawn spawn_link spawn_monitor spawn_opt SpawnOptions current_pid processes is_alive process_info "
    "set_priority set_label reductions Pid",
    "Messages": "send receive share move alias unalias make_ref Ref",
    "Exit signals": "exit kill link unlink trap_exit Exit Stop Killed Crash",
    "Monitors": "monitor demonitor Down",
    "Names": "register unregister whereis registered",
    "Supervisors": "Supervisor SupervisorRef DynamicSupervisor DynamicSupervisorRef PartitionSupervisor "
    "PartitionSupervisorRef ChildSpec Recovery Backoff",
    "Tasks": "Task TaskStream TaskSupervisor TaskSupervisorRef",
    "Other OS processes": "isolated isolated_info",
    "Timers": "sleep send_after cancel_timer read_timer Timer",
}


def main() -> int:
    text = page()
    if "--check" in sys.argv[1:]:
        if PAGE.exists() and PAGE.read_text() == text:
            return 0
        print(f"{PAGE} is not up to date: run python docs/build_reference.py", file=sys.stderr)
        return 1
    PAGE.write_text(text)
    return 0


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for name in MODULES:
        module = importlib.import_module(name)
        parts.append(f"## `{name}`\n\n{summary_of(module) if name == 'transom' else doc_of(module)}\n")
        parts.extend(sections(module) if name == "transom" else [entry(n, getattr(module, n)) for n in public(module)])
    return "\n".join(parts)


def public(module: ModuleType) -> list[str]:
    """The names that a module offers: its own, not what it imports from elsewhere."""
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isroutine(value) or inspect.isclass(value))
        and str(value.__module__).split(".")[0] == "transom"
    ]


def sections(module: ModuleType) -> list[str]:
    """The names of ``transom`` by subject."""
    left = public(module)
    groups = {title: [name for name in names.split() if name in left] for title, names in SECTIONS.items()}
    named = {name for names in groups.values() for name in names}
    rest = [name for name in left if name not in named]
    groups["Errors"] = [name for name in rest if is_error(getattr(module, name))]
    groups["More"] = [name for name in rest if not is_error(getattr(module, name))]
    parts = []
    for title, names in groups.items():
        if names:
            parts.append(f"### {title}\n")
            parts.extend(entry(name, getattr(module, name)) for name in names)
    return parts


def is_error(value: Any) -> bool:
    return inspect.isclass(value) and issubclass(value, BaseException)


def entry(name: str, value: Any) -> str:
    """One name: its signature and its docstring, and the methods of a class."""
    parts = [f"#### `{name}{signature_of(value)}`\n\n{doc_of(value)}\n"]
    if inspect.isclass(value) and not is_error(value):
        for key, member in vars(value).items():
            has_doc = bool(inspect.getdoc(member))
            if has_doc and not key.startswith("_") and (inspect.isroutine(member) or inspect.isdatadescriptor(member)):
                call = signature_of(member) if inspect.isroutine(member) else ""
                parts.append(f"- `{key}{call}`: {' '.join(doc_of(member).split())}")
        parts.append("")
    return "\n".join(parts).rstrip() + "\n"


def signature_of(value: Any) -> str:
    """The signature as text; nothing for what has none to tell."""
    if is_error(value):
        return ""
    try:
        text = str(inspect.signature(value))
    except (TypeError, ValueError):
        return ""
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
            out.append(re.sub(r"^(Source|Raises|Items): ", r"**\1**: ", line))
        elif section == "Example":
            out.append(line)
        elif re.match(r" {4}\S", line):
            out.append(
                re.sub(r"^ {4}(\w+|\(.*?\)|[A-Z]\w+):", r"- `\1`:", line) if ":" in line else "- " + line.strip()
            )
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
