"""Tools of an MCP server for many agents: an agent on the event loop owns the session, a supervisor the agent.

The session of the `mcp` client must be opened and closed by one task; anything else ends in "Attempted to exit cancel
scope in a different task than it was entered in". An agent on the loop is one task for all of its life, however it ends. So
it owns the session, and every other agent just calls it. When the server crashes, or the agent is killed, the supervisor
starts both again.

    python -m examples.mcp_tools

    toolbox.py     the agent that owns the session; nothing in it looks for failures
    server.py      the MCP server, a program of its own
    program.py     researchers that use the tools, while the server crashes and the agent is killed
"""

from typing import Any


async def main(*argv: str) -> Any:
    """For ``transom run examples.mcp_tools:main [researchers]``."""
    from .program import research

    await research(*map(int, argv))
