"""What the model may call."""

import json
import math
from collections.abc import Awaitable, Callable
from typing import Any

import transom

DESCRIPTIONS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather in a city, now.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    },
    {
        "type": "function",
        "function": {
            "name": "factorial",
            "description": "The product of all whole numbers from 1 to n.",
            "parameters": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
        },
    },
]


class Weather(transom.Agent):
    """A tool that keeps something: an agent of its own, which all sessions ask."""

    def init(self) -> None:
        self.asked = 0

    @transom.method
    def of(self, city: str) -> str:
        self.asked += 1
        return f"{city}: {self.asked % 30} degrees"


async def call(name: str, arguments: str) -> str:
    """Run the tool that the model names. If it is unknown or the arguments are nonsense, the session crashes."""
    return str(await TOOLS[name](**json.loads(arguments)))


async def weather(city: str) -> str:
    """A call to the agent."""
    found: str = await Weather.at("weather").of(city)
    return found


async def factorial(n: int) -> int:
    """Native code that takes any time and memory for the wrong n: in an OS process of its own."""
    product: int = await transom.isolated(math.factorial, n, timeout=10, memory=256 << 20)
    return product


TOOLS: dict[str, Callable[..., Awaitable[Any]]] = {"weather": weather, "factorial": factorial}
