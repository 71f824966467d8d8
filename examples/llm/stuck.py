"""Agents to be killed: those of the exchange, and one that waits for a model that says nothing more."""

from typing import Any

from transom import aio

from ..exchange.stubborn import VICTIMS as SHOWN_BEFORE
from ..exchange.stubborn import Stubborn
from .session import QUESTION, client_of
from .settings import Provider

VICTIMS = {"hears a silent model": "hear", **SHOWN_BEFORE}


class Stuck(Stubborn):
    """Whoever calls one of its methods waits for ever."""

    def init(self, where: Provider) -> None:
        self.where = where

    async def hear(self) -> None:
        """Sit in a stream that stalls, with no time limit."""
        async for _ in aio(self._stream()):
            pass

    async def _stream(self) -> Any:
        return await client_of(self.where).chat.completions.create(
            model="demo+stall", messages=[{"role": "user", "content": QUESTION}], stream=True
        )
