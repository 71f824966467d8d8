"""What the model for demonstration says to a request, and how it fails; nothing here knows HTTP connections.

A reply is a list of steps: each is due some time after the begin, and makes its bytes when it is due, because they carry the
time of sending (``sent``, nanoseconds of CLOCK_MONOTONIC), by which a client on the same machine can tell the delay.
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

WORDS: Final = (
    "the beam carries the house and the window above it lets letters through while nobody has to open the door ".split()
)
FAULTS: Final = ("rate_limit", "error", "malformed", "hang_up", "slow", "stall")
SLOW: Final = 5  # how many times longer a slow reply takes

type Step = bytes | None  # None: cut the connection
STALL: Final = b""  # say nothing more, and keep the connection


class BadRequest(Exception):
    """The client's mistake: answered with a status, as the provider does."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class Manners:
    """How the server behaves unless a request says otherwise.

    Attributes:
        tokens: How many a reply has (``x-tokens``).
        seconds: How long it takes (``x-seconds``).
        burst: How many tokens one write brings (``x-burst``; of ``--raw``), as providers do it under load.
        tool_calls: How often it calls a tool in a conversation that offers some (``x-tool-calls``).
        retry_after: What a refused client is told to wait.
        faults: Probability of each kind of fault; a request's ``x-fault``, or a model's name such as
            ``demo+malformed``, chooses one for certain.
        seed: Of the dice. What a user (the field ``user``) gets with its n-th request depends on nothing else.
    """

    tokens: int = 20
    seconds: float = 1.0
    tool_calls: int = 2
    retry_after: float = 1.0
    faults: Mapping[str, float] = field(default_factory=dict)
    seed: int = 1
    burst: int = 1


@dataclass(frozen=True, slots=True)
class Reply:
    """What is sent: a status and either a body, or the steps of a stream."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    steps: Sequence[Callable[[], Step]] = ()
    seconds: float = 0.0  # of the whole stream
    burst: int = 1  # steps in one write

    def due(self, step: int) -> float:
        """Seconds after the begin at which a step is to be sent."""
        return self.seconds * step / max(1, len(self.steps))


class Model:
    """Answers requests; keeps nothing of them but how many each user has made."""

    def __init__(self, manners: Manners) -> None:
        self.manners = manners
        self.requests = 0
        self.broken: Counter[str] = Counter()
        self._by_user: Counter[str] = Counter()

    def answer(self, body: bytes, headers: Mapping[str, str]) -> Reply:
        """The reply to a request for a chat completion. Header names are in lower case."""
        self.requests += 1
        try:
            request = parse(body, headers)
        except BadRequest as error:
            return failure(error.status, str(error))
        fault = self._fault(request, headers)
        if fault:
            self.broken[fault] += 1
        if fault == "rate_limit":
            wait = f"{self.manners.retry_after:g}"
            return failure(429, f"Rate limit reached. Try again in {wait} s.", {"retry-after": wait})
        if fault == "error":
            return failure(500, "The server had an error while processing your request.")
        return self._reply(request, headers, fault)

    def _fault(self, request: Mapping[str, Any], headers: Mapping[str, str]) -> str | None:
        chosen = headers.get("x-fault") or request["model"].partition("+")[2]
        if chosen:
            return chosen if chosen in FAULTS else None
        user = str(request.get("user", ""))
        self._by_user[user] += 1
        dice = random.Random(f"{self.manners.seed} {user} {self._by_user[user]}").random()
        for fault, chance in self.manners.faults.items():
            dice -= chance
            if dice < 0:
                return fault
        return None

    def _reply(self, request: Mapping[str, Any], headers: Mapping[str, str], fault: str | None) -> Reply:
        tokens = int(headers.get("x-tokens", self.manners.tokens))
        seconds = float(headers.get("x-seconds", self.manners.seconds))
        wanted = int(headers.get("x-tool-calls", self.manners.tool_calls))
        called = sum(message.get("role") == "tool" for message in request["messages"])
        tool = request["tools"][called % len(request["tools"])] if request.get("tools") and called < wanted else None
        identity = f"chatcmpl-{self.requests}"
        if not request.get("stream"):
            return Reply(body=whole(identity, request["model"], tokens, tool))
        steps = stream(identity, request["model"], tokens, tool)
        middle = len(steps) // 2
        broken: dict[str, Callable[[], Step]] = {
            "malformed": lambda: b'data: {"id": "chatcmpl-0", "choices": [{"ind\n\n',
            "hang_up": lambda: None,
            "stall": lambda: STALL,
        }
        if fault in broken:
            steps = [*steps[:middle], broken[fault], *([] if fault == "stall" else steps[middle:])]
        return Reply(
            headers={"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"},
            steps=steps,
            seconds=seconds * (SLOW if fault == "slow" else 1),
            burst=max(1, int(headers.get("x-burst", self.manners.burst))),
        )


def parse(body: bytes, headers: Mapping[str, str]) -> Mapping[str, Any]:
    """The request, checked as far as the reply depends on it."""
    if not headers.get("authorization", "").startswith("Bearer "):
        raise BadRequest(401, "You didn't provide an API key.")
    try:
        request = json.loads(body)
    except ValueError as error:
        raise BadRequest(400, f"We could not parse the JSON body of your request: {error}") from None
    if not isinstance(request, dict) or not isinstance(request.get("model"), str):
        raise BadRequest(400, "you must provide a model parameter")
    messages = request.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(message, dict) for message in messages):
        raise BadRequest(400, "'messages' must be a list of one message or more")
    return request


def failure(status: int, text: str, headers: Mapping[str, str] | None = None) -> Reply:
    """An error, in the provider's form."""
    body = json.dumps({"error": {"message": text, "type": "demo_error", "param": None, "code": None}}).encode()
    return Reply(status, {"content-type": "application/json", **(headers or {})}, body)


# -- the streams -------------------------------------------------------------------------------------------------------


def stream(identity: str, model: str, tokens: int, tool: Mapping[str, Any] | None) -> list[Callable[[], Step]]:
    """A step for each token, then the tool call or the end."""
    head = json.dumps({"id": identity, "object": "chat.completion.chunk", "created": 0, "model": model})[:-1]

    def chunk(delta: Mapping[str, Any], finish: str | None = None) -> Callable[[], Step]:
        choices = json.dumps([{"index": 0, "delta": delta, "finish_reason": finish}])
        text = f'data: {head}, "choices": {choices}, "sent": '.encode()
        return lambda: b"%b%d}\n\n" % (text, time.monotonic_ns())

    steps = [chunk({"role": "assistant", "content": ""})]
    steps += [_word(head, number) for number in range(tokens)]
    if tool is not None:
        name, arguments = tool["function"]["name"], json.dumps(sample(tool["function"].get("parameters", {})))
        half = len(arguments) // 2
        first = {"index": 0, "id": f"call_{identity}", "type": "function", "function": {"name": name, "arguments": ""}}
        steps.append(chunk({"tool_calls": [first]}))
        for part in (arguments[:half], arguments[half:]):
            steps.append(chunk({"tool_calls": [{"index": 0, "function": {"arguments": part}}]}))
    steps.append(chunk({}, "stop" if tool is None else "tool_calls"))
    steps.append(lambda: b"data: [DONE]\n\n")
    return steps


def _word(head: str, number: int) -> Callable[[], Step]:
    """Short, because there are so many of them: a step of a token is one formatting of bytes."""
    word = WORDS[number % len(WORDS)]
    before = (
        f'data: {head}, "choices": [{{"index": 0, "delta": {{"content": "{word} "}}, "finish_reason": null}}], "sent": '
    ).encode()
    return lambda: b"%b%d}\n\n" % (before, time.monotonic_ns())


def whole(identity: str, model: str, tokens: int, tool: Mapping[str, Any] | None) -> bytes:
    """The same, not streamed."""
    text = " ".join(WORDS[number % len(WORDS)] for number in range(tokens))
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if tool is not None:
        arguments = json.dumps(sample(tool["function"].get("parameters", {})))
        call = {"name": tool["function"]["name"], "arguments": arguments}
        message["tool_calls"] = [{"id": f"call_{identity}", "type": "function", "function": call}]
    choice = {"index": 0, "message": message, "finish_reason": "stop" if tool is None else "tool_calls"}
    reply = {"id": identity, "object": "chat.completion", "created": 0, "model": model, "choices": [choice]}
    return json.dumps(reply).encode()


def sample(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments that fit a tool's JSON schema, one level deep."""
    made = {"string": "Oslo", "integer": 6, "number": 1.5, "boolean": True, "array": [], "object": {}}
    return {
        name: wanted.get("enum", [made.get(wanted.get("type", "string"))])[0]
        for name, wanted in schema.get("properties", {}).items()
    }
