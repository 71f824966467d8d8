"""What one writes by hand to have outputs judged: a loop; gather behind a semaphore."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from time import perf_counter_ns
from typing import Any

from benchmarks.judge_endpoint import judge_endpoint
from benchmarks.side import Params, Result

INSTRUCTIONS = 'Judge the output by the criterion. Answer {"score": 0 to 1, "reason": "why"}.'


def body(n: int) -> dict[str, Any]:
    material = json.dumps({"criterion": "It addresses the input.", "input": f"question {n}", "output": f"answer {n}"})
    messages = [{"role": "system", "content": INSTRUCTIONS}, {"role": "user", "content": material}]
    return {"model": "m", "messages": messages, "temperature": 0}


def verdict(answer: Any) -> tuple[bool, str]:
    said = json.loads(answer["choices"][0]["message"]["content"])
    return said["score"] >= 0.8, said["reason"]


def loop(params: Params) -> Result:
    import httpx

    count = params.int("cases")
    with judge_endpoint() as url, httpx.Client() as client:
        start = perf_counter_ns()
        found = [verdict(client.post(f"{url}/chat/completions", json=body(n)).json()) for n in range(count)]
        took = perf_counter_ns() - start
    assert all(passed for passed, _ in found)
    return {"ms": took / count / 1e6}


async def gathered(url: str, count: int, flight: int, clients: int) -> float:
    """So many clients, used in turn: one looks at all its connections for each request."""
    import httpx

    places = asyncio.Semaphore(flight)
    context = httpx.create_ssl_context()
    limits = httpx.Limits(max_connections=256, max_keepalive_connections=64)
    async with AsyncExitStack() as stack:
        made = [httpx.AsyncClient(limits=limits, verify=context) for _ in range(clients)]
        free = [await stack.enter_async_context(client) for client in made]

        async def one(n: int) -> tuple[bool, str]:
            async with places:
                client = free.pop() if clients > 1 else free[0]
                answer = (await client.post(f"{url}/chat/completions", json=body(n))).json()
                if clients > 1:
                    free.append(client)
                return verdict(answer)

        start = perf_counter_ns()
        found = await asyncio.gather(*(one(n) for n in range(count)))
        took = perf_counter_ns() - start
    assert all(passed for passed, _ in found)
    return took / count / 1e6


def gather(params: Params) -> Result:
    with judge_endpoint() as url:
        count, flight = params.int("cases"), params.int("flight")
        clients = 1 if params.text("clients") == "one" else flight
        return {"ms": asyncio.run(gathered(url, count, flight, clients))}
