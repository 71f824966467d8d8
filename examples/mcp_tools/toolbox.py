"""The agent that owns the session of an MCP server."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

import transom

# -W: a warning of one of its dependencies says nothing to anybody here.
SERVER = StdioServerParameters(
    command=sys.executable, args=["-W", "ignore", str(Path(__file__).with_name("server.py"))], env=dict(os.environ)
)


class ToolError(Exception):
    """The tool says that it failed. This is an answer; the session goes on."""


class Toolbox(transom.Agent, loop=True):
    """Starts the server, and calls its tools for everybody, many at a time.

    What goes wrong in a call's task, or in the session itself, ends the group, so the lifespan, so the agent: all who
    wait for an answer are told, the server goes, and the supervisor starts both again.
    """

    async def lifespan(self) -> AsyncIterator[None]:
        async with (
            stdio_client(SERVER) as (read, write),
            ClientSession(read, write) as self.session,
            asyncio.TaskGroup() as self.calls,
        ):
            await self.session.initialize()
            yield

    @transom.method
    async def tools(self) -> list[str]:
        """The names of the tools."""
        return [tool.name for tool in (await self.session.list_tools()).tools]

    @transom.method
    def call(self, name: str, arguments: Mapping[str, Any]) -> tuple[bool, str]:
        """Did it fail, and its text. Other calls need not wait for this one."""
        self.calls.create_task(self._call(transom.defer(), name, arguments))
        return False, ""  # nobody sees this: the call is answered later

    async def _call(self, caller: transom.From, name: str, arguments: Mapping[str, Any]) -> None:
        result = await self.session.call_tool(name, dict(arguments))
        text = "".join(part.text for part in result.content if part.type == "text")
        caller.reply((result.isError, text))


async def use(name: str, /, **arguments: Any) -> str:
    """Call a tool of the toolbox; for any agent.

    Raises:
        ToolError: The tool says so.
        CallError: There is no answer: the server, or the toolbox, has gone meanwhile.
    """
    failed, text = await Toolbox.at("toolbox").call.options(timeout=30)(name, arguments)
    if failed:
        raise ToolError(text)
    return text
