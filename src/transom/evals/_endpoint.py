"""Requests to endpoints compatible with OpenAI's, by httpx, which is wanted only when one is used.

The key is read from the environment for each request and stands in no attribute, no repr and no error.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import random
import time
from contextvars import ContextVar
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from transom import sync
from transom._aio import aio
from transom.evals._rate import RateLimit
from transom.evals._values import MissingExtra

type Reply = tuple[int, str | None, Any]

# Set in a process that is a plain function: it waits for requests instead of blocking its slot until that is noticed,
# which takes 10 ms of each.
WAITS: ContextVar[bool] = ContextVar("transom_evals_waits", default=False)

URL = "TRANSOM_JUDGE_URL"
MODEL = "TRANSOM_JUDGE_MODEL"
KEY = "TRANSOM_JUDGE_KEY"

TIMEOUT_SECONDS = 60.0
PAUSE_SECONDS = 0.5
LONGEST_PAUSE = 30.0  # of our own choice
LONGEST_WANTED = 300.0  # which an endpoint may ask for
SHOWN = 300  # characters of an error's text
TOO_LONG = 8 * 1024 * 1024
AGAIN = frozenset({408, 409, 429, 500, 502, 503, 504, 529})


class EndpointError(Exception):
    """An endpoint did not answer as it should.

    Attributes:
        status: The HTTP status, or None where there was no answer.
    """

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status


class Endpoint:
    """An HTTP API compatible with OpenAI's: chat completions and embeddings. Many threads may use it at once.

    Args:
        url: Its base, such as ``http://127.0.0.1:8080/v1``; ``/chat/completions`` and ``/embeddings`` are added to it.
            None: the environment's TRANSOM_JUDGE_URL.
        model: The model. None: the environment's TRANSOM_JUDGE_MODEL.
        key_variable: The environment variable that has the key; where it is not set, no key is sent.
        timeout: Seconds for each request, > 0.
        tries: How often a request is sent while the endpoint is busy or out of reach, at least 1. Between two it waits
            as long as the endpoint says (Retry-After, seconds or a date, five minutes at most), else 0.5 s and then
            twice as long each time, 30 s at most.
        rate: Requests a minute; None: no limit.

    Raises:
        ValueError: No URL or model, or an argument out of range.
        TypeError: A rate that is none.
        ImportError: ``transom[evals]``, which brings httpx, is not installed.
    """

    def __init__(
        self,
        url: str | None = None,
        model: str | None = None,
        *,
        key_variable: str = KEY,
        timeout: float = TIMEOUT_SECONDS,
        tries: int = 4,
        rate: RateLimit | float | None = None,
    ) -> None:
        address = url if url is not None else os.environ.get(URL, "")
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"Endpoint: url must be http:// or https://, not {address!r}; or set {URL}")
        if parts.username is not None or parts.password is not None or parts.query:
            raise ValueError(f"Endpoint: url must hold no credentials; set {key_variable} instead")
        self.url = address.rstrip("/")
        self.model = model if model is not None else os.environ.get(MODEL, "")
        if not self.model:
            raise ValueError(f"Endpoint: which model? Give model=, or set {MODEL}")
        if not 0 < timeout <= 86_400:
            raise ValueError(f"Endpoint: timeout must be seconds, > 0, not {timeout!r}")
        if type(tries) is not int or tries < 1:
            raise ValueError(f"Endpoint: tries must be an int of 1 or more, not {tries!r}")
        self.tries = tries
        if rate is not None and not isinstance(rate, int | float | RateLimit):
            raise TypeError(f"Endpoint: rate must be requests a minute or a RateLimit, not {rate!r}")
        self._key_variable = key_variable
        self._rate = RateLimit(rate) if isinstance(rate, int | float) else rate
        try:
            import httpx
        except ImportError:
            raise MissingExtra("an Endpoint needs the library httpx: pip install transom[evals]") from None
        self._http: Any = httpx
        self._timeout = timeout
        self._context = httpx.create_ssl_context()  # takes long to make; all clients share it
        self._free: list[Any] = []  # clients that nobody uses
        # The same of event loops; what is in a list only the thread of its loop touches.
        self._free_on: WeakKeyDictionary[asyncio.AbstractEventLoop, list[Any]] = WeakKeyDictionary()

    def __repr__(self) -> str:
        return f"Endpoint({self.url!r}, {self.model!r})"

    def close(self) -> None:
        """Close its idle connections, but those on event loops, which end with them."""
        while (client := _taken(self._free)) is not None:
            client.close()

    def chat(self, messages: list[dict[str, str]], **options: Any) -> str:
        """The text that the model answers to these messages. Blocks the calling thread.

        Args:
            messages: As the API takes them: ``role`` and ``content``.
            options: Further fields of the request, such as ``temperature``.

        Raises:
            EndpointError: No answer, or none as it should be.
        """
        body = {"model": self.model, "messages": messages, **options}
        answer = self._post("/chat/completions", body)
        try:
            text = answer["choices"][0]["message"]["content"]
        except (KeyError, IndexError, TypeError):
            text = None
        if not isinstance(text, str):
            raise EndpointError(f"{self.url}: the answer has no choices[0].message.content")
        return self._clean(text)

    def embed(self, texts: list[str]) -> list[list[float]]:
        """The embedding of each text. Blocks the calling thread.

        Raises:
            EndpointError: No answer, or none as it should be.
        """
        answer = self._post("/embeddings", {"model": self.model, "input": texts})
        try:
            rows = sorted(answer["data"], key=lambda row: row["index"])
            vectors = [[float(x) for x in row["embedding"]] for row in rows]
        except (KeyError, TypeError, ValueError):
            vectors = []
        if len(vectors) != len(texts) or not all(vector and all(map(math.isfinite, vector)) for vector in vectors):
            raise EndpointError(f"{self.url}: the answer has not one embedding for each of {len(texts)} texts")
        return vectors

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        for left in reversed(range(self.tries)):
            if self._rate is not None:
                _sleep(self._rate.reserve())
            try:
                if WAITS.get():
                    status, pause, value = aio(self._once_on_loop(path, body)).result()
                else:
                    status, pause, value = self._once(path, body)
            except self._http.LocalProtocolError:  # its text may quote headers
                raise EndpointError(f"{self.url}: the request cannot be sent as HTTP") from None
            except (self._http.HTTPError, self._http.InvalidURL) as error:
                if left == 0 or not isinstance(error, self._http.TransportError):
                    raise EndpointError(self._clean(f"{self.url}: {type(error).__name__}: {error}")) from None
                pause = None
            else:
                if status < 300:
                    return value
                if status not in AGAIN or left == 0:
                    raise EndpointError(f"{self.url}: status {status}: {value}", status)
            _pause(self.tries - left, pause)
        raise AssertionError("unreachable")

    def _once(self, path: str, body: dict[str, Any]) -> Reply:
        # A client for each request under way, with its one connection: one for all looks at every connection it has for
        # every request. list.pop and list.append are atomic.
        client = _taken(self._free) or self._http.Client(timeout=self._timeout, verify=self._context)
        try:
            with client.stream("POST", self.url + path, json=body, headers=self._headers()) as answer:
                data = bytearray()
                for piece in answer.iter_bytes():
                    self._add(data, piece)
        except BaseException:
            client.close()
            raise
        self._free.append(client)
        return self._read(answer, data)

    async def _once_on_loop(self, path: str, body: dict[str, Any]) -> Reply:
        """The same on the event loop, for a process that waits: it holds no slot, and killing it ends the request."""
        free = self._free_on.setdefault(asyncio.get_running_loop(), [])  # of one thread
        client = _taken(free) or self._http.AsyncClient(timeout=self._timeout, verify=self._context)
        try:
            async with client.stream("POST", self.url + path, json=body, headers=self._headers()) as answer:
                data = bytearray()
                async for piece in answer.aiter_bytes():
                    self._add(data, piece)
        except BaseException:
            await client.aclose()
            raise
        free.append(client)
        return self._read(answer, data)

    def _headers(self) -> dict[str, str]:
        key = self._key()
        if not (key.isascii() and key.isprintable()):
            raise EndpointError(f"{self._key_variable}: the key has characters that HTTP cannot carry; it is not sent")
        return {"authorization": f"Bearer {key}"} if key else {}

    def _key(self) -> str:
        """The key; a file's last line end, which is no part of it, taken off."""
        return os.environ.get(self._key_variable, "").strip()

    def _add(self, data: bytearray, piece: bytes) -> None:
        data += piece
        if len(data) > TOO_LONG:
            raise EndpointError(f"{self.url}: the answer is longer than {TOO_LONG:,} bytes")

    def _read(self, answer: Any, data: bytearray) -> Reply:
        """Status, Retry-After, and the value; of an error: the beginning of its text."""
        if answer.status_code >= 300:
            return (
                answer.status_code,
                answer.headers.get("retry-after"),
                self._clean(data.decode(errors="replace"))[:SHOWN],
            )
        try:
            return answer.status_code, None, json.loads(data)
        except (ValueError, RecursionError):
            raise EndpointError(f"{self.url}: the answer is no JSON") from None

    def _clean(self, text: str) -> str:
        """The text without the key, which an endpoint may have sent back."""
        key = self._key()
        return text.replace(key, "<redacted>") if key else text


def _pause(tried: int, wanted: str | None) -> None:
    asked = None if wanted is None else retry_after(wanted)
    own = PAUSE_SECONDS * 2 ** (tried - 1) * random.uniform(0.5, 1.5)
    _sleep(min(own, LONGEST_PAUSE) if asked is None else min(asked, LONGEST_WANTED))


def retry_after(text: str) -> float | None:
    """The seconds of a header Retry-After, which has seconds or a date. None: neither."""
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(text).replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _sleep(seconds: float) -> None:
    if WAITS.get():
        sync.sleep(seconds)
    else:
        time.sleep(seconds)


def _taken(free: list[Any]) -> Any:
    try:
        return free.pop()
    except IndexError:
        return None
