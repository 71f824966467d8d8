"""One conversation, when all goes well. There is no other case here: what goes wrong ends the session."""

from functools import cache
from typing import Any

import openai

import transom
from transom import aio

from . import meter, tools
from .desk import Desk
from .settings import Provider, Settings, start_of

QUESTION = "What is the weather in Oslo, and what is the factorial of six?"


@cache
def client_of(provider: Provider) -> openai.AsyncOpenAI:
    """One client for all sessions. It does not retry: that is the supervisor's job."""
    limits = type(openai.DEFAULT_CONNECTION_LIMITS)(max_connections=None, max_keepalive_connections=None)
    return openai.AsyncOpenAI(
        base_url=provider.base_url,
        api_key=provider.key,
        max_retries=0,
        http_client=openai.DefaultAsyncHttpxClient(limits=limits),
    )


class Session(transom.Agent):
    """Asks the model, runs the tools it wants, and tells the desk when it has its answer."""

    def init(self, number: int, provider: Provider, settings: Settings) -> None:
        self.number = number
        self.provider = provider
        self.settings = settings
        self.messages: list[dict[str, Any]] = []
        meter.counts.add(meter.STARTS, 1)
        transom.continue_with(start_of(number, settings))

    async def handle_continue(self, value: Any) -> None:
        await transom.sleep(value)
        self.messages = [{"role": "user", "content": QUESTION}]
        answer = await self._hear()
        while answer.get("tool_calls"):
            self.messages.append(answer)
            for call in answer["tool_calls"]:
                result = await tools.call(call["function"]["name"], call["function"]["arguments"])
                meter.counts.add(meter.MESSAGES, 2)
                self.messages.append({"role": "tool", "tool_call_id": call["id"], "content": result})
            answer = await self._hear()
        Desk.at("desk").answered.cast(self.number, answer["content"], self.settings.again)
        meter.counts.add(meter.MESSAGES, 1)
        if self.settings.again:
            transom.continue_with(0.0)
        else:
            transom.stop_after("normal")

    async def _hear(self) -> dict[str, Any]:
        """The model's next message, as it streams in."""
        answer: dict[str, Any] = {"role": "assistant", "content": ""}
        async for chunk in aio(self._stream(), timeout=self.settings.patience):
            for choice in chunk.choices:
                if choice.delta.content:
                    answer["content"] += choice.delta.content
                    meter.heard(getattr(chunk, "sent", None))
                for part in choice.delta.tool_calls or ():
                    add_to(answer.setdefault("tool_calls", []), part)
        return answer

    async def _stream(self) -> Any:
        return await client_of(self.provider).chat.completions.create(
            model=self.provider.model,
            messages=self.messages,  # type: ignore[arg-type, unused-ignore]
            tools=tools.DESCRIPTIONS,  # type: ignore[arg-type, unused-ignore]
            stream=True,
            user=f"session {self.number}",
        )

    def format_status(self, state: Any) -> Any:
        """What crash reports show: no prompt, no answer, no key."""
        return {"session": self.number, "messages": len(self.messages)}


def add_to(calls: list[dict[str, Any]], part: Any) -> None:
    """Put a piece of a tool call to those before it."""
    while len(calls) <= part.index:
        calls.append({"id": "", "type": "function", "function": {"name": "", "arguments": ""}})
    call = calls[part.index]
    call["id"] += part.id or ""
    call["function"]["name"] += part.function.name or ""
    call["function"]["arguments"] += part.function.arguments or ""
