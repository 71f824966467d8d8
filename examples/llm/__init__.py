"""Agents that talk to a language model: thousands of conversations at once, over real HTTP.

Run it with ``python -m examples.llm``. It starts a model to talk to (``python -m examples.llm.server``, an
OpenAI-compatible endpoint that streams, calls tools and misbehaves on demand), and a node with sessions, each of which
asks a question, runs the tools that the model wants, and ends with its answer. Some replies are broken: rate limits,
errors, malformed JSON, connections that are cut or never say anything more. Nothing in the sessions looks for that. They crash, and
their supervisor starts them again with growing delays, or gives them up by its policy.

With OPENAI_BASE_URL and OPENAI_API_KEY set the same program talks to a real provider (OPENAI_MODEL names the model).

What to read first: session.py, the happy path; then program.py, which has the policy.

    settings.py    what one run looks like
    session.py     one conversation: only what happens when all goes well
    tools.py       what the model may call: an agent, and a function in an OS process of its own
    program.py     the tree of processes, and who is restarted how
    desk.py        the agent that is told how conversations end
    meter.py       what all sessions count
    view.py        the live view
    endpoint.py    the server as a child of this program
    server.py      the server: aiohttp; raw.py: the same over a bare protocol, for load
    replies.py     what the model says, and its faults

``python -m examples.llm.demo`` (``make demo``) is the same under load, with the hogs and the kills, and asyncio beside it:

    demo.py        which parts there can be
    parts.py       the parts: no hogs, with hogs, the kills
    hogs.py        work that never gives way
    stuck.py       agents that do not want to die
    compare.py     starts beside_asyncio.py, the same on asyncio; report.py: the table
"""

from typing import Any


async def main(*argv: str) -> Any:
    """For ``transom run examples.llm:main [options]``."""
    from .program import converse
    from .settings import parse

    await converse(parse(argv))
