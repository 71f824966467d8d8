"""The demo of transom: ``python -m examples.llm.demo``, or ``make demo``. Takes less than a minute.

See parts.py. It needs the `openai` package; where that could not be installed, the exchange is shown in its place.
"""

import importlib.util
import sys

import transom

from .settings import DEMO, parse, provider


def main() -> None:
    """The demo, or what can be shown in its place."""
    argv = sys.argv[1:]
    if importlib.util.find_spec("openai") is None:
        print("The package openai is not installed, so the telephone exchange is shown instead of the conversations.")
        from ..exchange import program, settings

        given = parse(argv, DEMO)
        wanted = ["--plain"] * given.plain + ["--no-asyncio"] * (not given.asyncio)
        transom.run(program.exchange, settings.parse(["--seconds", str(given.part), *wanted]))
    elif provider() is not None:
        print("OPENAI_BASE_URL and OPENAI_API_KEY are set: some conversations with that provider, and no load on it.")
        from .program import converse

        transom.run(converse, parse(argv))
    else:
        from .parts import demo

        transom.run(demo, parse(argv, DEMO))


if __name__ == "__main__":
    main()
