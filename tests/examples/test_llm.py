"""The endpoint for demonstration, its faults, and the sessions that survive them."""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
ENDPOINTS = [
    pytest.param("--raw", id="raw"),
    pytest.param(
        "",
        id="aiohttp",
        marks=pytest.mark.skipif(importlib.util.find_spec("aiohttp") is None, reason="no aiohttp"),
    ),
]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}},
        },
    }
]
BODY = {"model": "demo", "messages": [{"role": "user", "content": "hello"}], "stream": True}
KEY = {"authorization": "Bearer k"}


@contextlib.contextmanager
def serving(kind: str, *options: str) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """A server; at the end its counts are in the list."""
    command = [
        sys.executable,
        "-m",
        "examples.llm.server",
        "--tokens=6",
        "--seconds=0.05",
        *options,
        *filter(None, [kind]),
    ]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert server.stdin is not None and server.stdout is not None
    counts: list[dict[str, Any]] = []
    with server:
        try:
            yield json.loads(server.stdout.readline())["port"], counts
        finally:
            server.stdin.close()
        told = json.loads(server.stdout.readline())
        counts.append({name: told[name] for name in ("requests", "broken")})
    assert server.returncode == 0


def post(port: int, body: Any, headers: dict[str, str] = KEY) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    text = body if isinstance(body, bytes) else json.dumps(body)
    connection.request("POST", "/v1/chat/completions", text, headers)
    return connection.getresponse()


def events(response: http.client.HTTPResponse) -> list[Any]:
    """The events of a stream; the last one as text."""
    parts = response.read().decode().split("\n\n")
    assert parts[-2:] == ["data: [DONE]", ""], parts[-2:]
    return [json.loads(part.removeprefix("data: ")) for part in parts[:-2]]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ENDPOINTS)
def test_streams_and_tool_calls(kind: str) -> None:
    with serving(kind) as (port, counts):
        chunks = events(post(port, BODY))
        deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
        assert len([delta for delta in deltas if delta.get("content")]) == 6
        assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
        sent = [chunk["sent"] for chunk in chunks]
        assert sent == sorted(sent)

        chunks = events(post(port, {**BODY, "tools": TOOLS}))
        calls = [part for chunk in chunks for part in chunk["choices"][0]["delta"].get("tool_calls", [])]
        assert calls[0]["function"]["name"] == "weather" and calls[0]["id"]
        arguments = "".join(part["function"].get("arguments", "") for part in calls)
        assert json.loads(arguments) == {"city": "Oslo", "days": 6}
        assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"

        answered = [*BODY["messages"], *[{"role": "tool", "tool_call_id": "x", "content": "y"}] * 2]  # type: ignore[misc]
        assert (
            events(post(port, {**BODY, "tools": TOOLS, "messages": answered}))[-1]["choices"][0]["finish_reason"]
            == "stop"
        )

        whole = json.loads(post(port, {**BODY, "stream": False}, {**KEY, "x-tokens": "3"}).read())
        assert whole["choices"][0]["message"]["content"].count(" ") == 2
    assert counts == [{"requests": 4, "broken": {}}]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ENDPOINTS)
def test_faults_on_demand(kind: str) -> None:
    with serving(kind, "--retry-after=0.25") as (port, counts):
        limited = post(port, BODY, {**KEY, "x-fault": "rate_limit"})
        assert (limited.status, limited.headers["retry-after"]) == (429, "0.25")
        assert "Rate limit" in json.loads(limited.read())["error"]["message"]
        assert post(port, {**BODY, "model": "demo+error"}).status == 500
        parts = post(port, {**BODY, "model": "demo+malformed"}).read().decode().split("\n\n")
        broken = 0
        for part in parts[:-2]:
            try:
                json.loads(part.removeprefix("data: "))
            except ValueError:
                broken += 1
        assert broken == 1 and len(parts) > 6
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            post(port, {**BODY, "model": "demo+hang_up"}).read()
        stalled = post(port, {**BODY, "model": "demo+stall"})
        assert stalled.read(20)  # it begins, and the rest never comes: not waited for
        stalled.close()
        assert len(events(post(port, {**BODY, "model": "demo+slow"}))) == 8
        assert post(port, BODY, {}).status == 401
        assert post(port, b"{").status == 400
        assert post(port, {"model": "demo", "messages": []}).status == 400
    kinds = ("rate_limit", "error", "malformed", "hang_up", "stall", "slow")
    assert counts == [{"requests": 9, "broken": dict.fromkeys(kinds, 1)}]


def test_faults_by_chance_depend_on_the_user_alone() -> None:
    sys.path.insert(0, str(ROOT))
    try:
        from examples.llm.replies import Manners, Model
    finally:
        sys.path.remove(str(ROOT))

    def statuses(users: list[str]) -> dict[str, list[int]]:
        model = Model(Manners(faults={"rate_limit": 0.3, "error": 0.2}, seed=7))
        found: dict[str, list[int]] = {}
        for user in users:
            reply = model.answer(json.dumps({**BODY, "user": user}).encode(), KEY)
            found.setdefault(user, []).append(reply.status)
        return found

    one = statuses(["a"] * 200 + ["b"] * 200)
    assert one == statuses(["a", "b"] * 200)
    every = one["a"] + one["b"]
    assert 60 < every.count(429) < 180 and 30 < every.count(500) < 130


@pytest.mark.slow
def test_tokens_in_bursts() -> None:
    """Fewer writes, the same events in the same order; a fault in the middle comes when it is its turn."""
    with serving("--raw") as (port, counts):
        whole, burst = ([chunk["choices"] for chunk in events(post(port, BODY, {**KEY, "x-burst": n}))] for n in "14")
        assert burst == whole
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            post(port, {**BODY, "model": "demo+hang_up"}, {**KEY, "x-burst": "4"}).read()
    assert counts == [{"requests": 3, "broken": {"hang_up": 1}}]


def run(*options: str) -> str:
    command = [sys.executable, "-m", "examples.llm", "--plain", "--tokens=5", "--seconds=0.05", "--limit=50", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=55, cwd=ROOT, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout


needs_clients = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("openai", "aiohttp")), reason="needs openai and aiohttp"
)


@needs_clients
@pytest.mark.slow
def test_sessions_survive_all_faults() -> None:
    faults = [f"--fault={kind}=0.04" for kind in ("rate_limit", "error", "malformed", "hang_up", "slow")]
    text = run("--sessions=10", *faults, "--fault=stall=0.02", "--first-delay=0.02", "--patience=1", "--attempts=100")
    assert "answered 10, given up 0, still open 0" in text
    broken = json.loads(text.rpartition("own count: ")[2])["broken"]
    assert sum(broken.values()) > 3
    assert "no-secret" not in text and "factorial of six" not in text


@needs_clients
@pytest.mark.slow
def test_what_cannot_be_made_to_work_is_given_up() -> None:
    text = run("--sessions=4", "--fault=error=1", "--first-delay=0.01", "--attempts=2")
    assert "answered 0, given up 4, still open 0; 12 crashes" in text
