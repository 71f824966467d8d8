"""The command ``transom``: run a program on a node, or tell what this installation is.

Exit status of ``transom run``: 0 when main returns, 1 when it crashes, 2 when
the program cannot be found or called, 130 after Ctrl-C. A program that raises
SystemExit chooses its own.
"""

import argparse
import atexit
import difflib
import importlib
import importlib.util
import inspect
import os
import platform
import sys
import sysconfig
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, NoReturn

import transom
from transom import _core

USAGE_ERROR = 2
INTERRUPTED = 130


class NotRunnable(Exception):
    """The target on the command line cannot be run; the text says why and what to do."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    options = _parser().parse_args(argv)
    if options.command == "info":
        print(_info())
        return 0
    try:
        if options.command == "eval":
            status = _eval(options)
        else:
            status = _run(options.target, options.args, schedulers=options.schedulers, name=options.name)
    except NotRunnable as problem:
        print(f"transom: {problem}", file=sys.stderr)
        status = USAGE_ERROR
    if argv is None and _core._left_behind():
        _leave_now(status)
    return status


def _leave_now(status: int) -> NoReturn:
    """End although a thread sits in native code: the interpreter's own way out would wait for it."""
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="transom", description="Processes, messages, links and monitors for Python.")
    parser.add_argument("--version", action="version", version=f"transom {transom.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")

    run = commands.add_parser(
        "run",
        help="run a program as the main process of a node",
        usage="transom run [--schedulers N] [--name NAME] TARGET [ARG ...]",
        epilog="Example: transom run examples.exchange:main --seconds 3",
    )
    run.add_argument(
        "--schedulers", type=_at_least_one, metavar="N", help="scheduler slots (default: one for each core)"
    )
    run.add_argument("--name", metavar="NAME", help="the name of the node")
    run.add_argument(
        "target", metavar="TARGET", help="module:function or path/to/file.py:function (default function: main)"
    )
    run.add_argument("args", nargs=argparse.REMAINDER, metavar="ARG", help="passed on to the function, as text")

    commands.add_parser("info", help="show the interpreter, the GIL and the cores")
    _add_eval(commands)
    return parser


def _add_eval(commands: Any) -> None:
    parser: argparse.ArgumentParser = commands.add_parser(
        "eval",
        help="run an evaluation suite",
        epilog="Example: transom eval shop.evals:suite --report report.html --report junit.xml",
    )
    parser.add_argument("target", metavar="TARGET", help="module:suite or path/to/file.py:suite (default name: suite)")
    parser.add_argument(
        "--report", action="append", default=[], metavar="FILE", help=".json, .xml (JUnit), .html or .txt; repeatable"
    )
    parser.add_argument("--tag", metavar="TAG", help="only cases with this tag")
    parser.add_argument("--limit", type=_at_least_one, metavar="N", help="only the first N cases")
    parser.add_argument("--concurrency", type=_at_least_one, metavar="N", help="cases at once")
    parser.add_argument("--repeats", type=_at_least_one, metavar="N", help="tries of each case")
    parser.add_argument("--pass-rate", type=float, metavar="R", help="share of cases that must pass, 0 to 1")
    answers = parser.add_mutually_exclusive_group()
    answers.add_argument("--record", metavar="FILE", help="keep the judge's answers in this file, and use those in it")
    answers.add_argument("--replay", metavar="FILE", help="take the judge's answers from this file and ask no model")
    parser.add_argument("--redact", action="store_true", help="reports without the texts that went in and came out")
    parser.add_argument("--quiet", action="store_true", help="no sign for each case")


def _at_least_one(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return int(text)


# -- run --------------------------------------------------------------------------------------------------------------


def _run(target: str, args: list[str], **options: Any) -> int:
    sys.argv = [target, *args]
    function = _load(target)
    _check_call(function, target, args)
    given = {name: value for name, value in options.items() if value is not None}
    try:
        transom.run(function, *args, **given)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as crash:  # noqa: BLE001
        traceback.print_exception(type(crash), crash, _of_the_program(crash.__traceback__))
        return 1
    return 0


def _eval(options: argparse.Namespace) -> int:
    from transom.evals import _command, _values  # here: programs that are run do not pay for it

    try:
        return _command.run(options, _load_suite)
    except KeyboardInterrupt:
        return INTERRUPTED
    except (ValueError, OSError, _values.MissingExtra) as problem:
        raise NotRunnable(str(problem)) from problem


def _of_the_program(frames: TracebackType | None) -> TracebackType | None:
    """The traceback without our own frames at its head: the error is in the program."""
    home = str(Path(__file__).parent) + os.sep
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(home):
        frames = frames.tb_next
    return frames


def _load(target: str) -> Callable[..., Any]:
    """The function that *target* names."""
    function = _load_value(target, "function", inspect.isfunction)
    if not callable(function):
        raise NotRunnable(f"{target} is {type(function).__name__!r}, not a function.")
    return function  # type: ignore[no-any-return]


def _load_suite(target: str) -> Any:
    """The suite, or function that gives one, that *target* names."""
    from transom.evals import Suite

    return _load_value(target, "suite", lambda value: isinstance(value, Suite))


def _load_value(target: str, what: str, is_one: Callable[[Any], bool]) -> Any:
    """What *target* names: a function or a suite, as *what* says; the default name of a function is main."""
    default = "main" if what == "function" else what
    place, colon, name = target.rpartition(":")
    if not colon or os.sep in name or name.endswith(".py"):
        place, name = target, default
    if not place or not name:
        raise NotRunnable(f"{target!r} names no program. Write module:function or file.py:function.")
    is_file = place.endswith(".py") or os.sep in place
    module = _load_file(Path(place)) if is_file else _load_module(place)
    function: Any = module
    for part in name.split("."):
        function = _attribute(function, part, place, what, is_one)
    return function


def _load_file(path: Path) -> ModuleType:
    """Import a file, as ``python file.py`` would find its neighbours."""
    if not path.is_file():
        raise NotRunnable(f"there is no file {str(path)!r} in {os.getcwd()}.")
    sys.path.insert(0, str(path.resolve().parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise NotRunnable(f"{str(path)!r} is no Python file. Its name must end in .py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # so that dataclasses and copying find the module by its name
    spec.loader.exec_module(module)
    return module


def _load_module(name: str) -> ModuleType:
    """Import a module with the current directory on the path, as ``python -m`` has it."""
    sys.path.insert(0, os.getcwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as missing:
        # Only the module that was asked for: a failing import inside of it is the program's own crash.
        if missing.name is None or not (name == missing.name or name.startswith(missing.name + ".")):
            raise
        hint = f" There is a file: try {name}.py:main" if Path(f"{name}.py").is_file() else ""
        raise NotRunnable(
            f"no module named {missing.name!r}. Run from the directory that holds it ({os.getcwd()} was searched), "
            f"or name a file: transom run path/to/file.py:main.{hint}"
        ) from missing


def _attribute(owner: Any, name: str, place: str, what: str, is_one: Callable[[Any], bool]) -> Any:
    try:
        return getattr(owner, name)
    except AttributeError:
        known = [key for key, value in vars(owner).items() if is_one(value) and key[0] != "_"]
        close = difflib.get_close_matches(name, known, 1) or known[:5]
        hint = (
            f"Did you mean {place}:{close[0]}?" if len(close) == 1 else f"It has: {', '.join(close) or f'no {what}s'}."
        )
        raise NotRunnable(f"{place} has no {what} {name!r}. {hint}") from None


def _check_call(function: Callable[..., Any], target: str, args: list[str]) -> None:
    """Refuse arguments that the function does not take, before a node is started for it."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return  # some callables written in C do not tell
    try:
        signature.bind(*args)
    except TypeError as problem:
        raise NotRunnable(f"{target}{signature} cannot be called with {len(args)} arguments: {problem}.") from problem


# -- info -------------------------------------------------------------------------------------------------------------


def _info() -> str:
    """What this installation is, for a person and for a bug report."""
    free_threaded = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    gil_is_on = getattr(sys, "_is_gil_enabled", lambda: True)()
    facts = {
        "transom": f"{transom.__version__} ({Path(transom.__file__).parent})",
        "python": f"{platform.python_implementation()} {platform.python_version()} ({sys.executable})",
        "build": "free-threaded" if free_threaded else "with the GIL",
        "GIL": "on: only one process runs at a time" if gil_is_on else "off",
        "cores": f"{os.process_cpu_count()} usable of {os.cpu_count()}",
        "schedulers": "1 by default" if gil_is_on else f"{os.process_cpu_count()} by default",
        "system": platform.platform(),
    }
    width = max(map(len, facts))
    return "\n".join(f"{name.ljust(width)}  {fact}" for name, fact in facts.items())


if __name__ == "__main__":
    sys.exit(main())
