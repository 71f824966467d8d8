"""An MCP server over its standard input and output: weather, and a tool that takes the whole server with it."""

import os

from mcp.server.fastmcp import FastMCP


def weather(city: str) -> str:
    """The weather in a city, now."""
    if not city.isalpha():
        raise ValueError(f"there is no city {city!r}")
    return f"{city}: {len(city) * 3} degrees"


def whoami() -> int:
    """The process id of this server."""
    return os.getpid()


def crash() -> None:
    """What a bug in native code does."""
    os._exit(1)


if __name__ == "__main__":
    server = FastMCP("demo", log_level="WARNING")
    for tool in (weather, whoami, crash):
        server.add_tool(tool)
    server.run()
