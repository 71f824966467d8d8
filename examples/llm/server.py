"""An OpenAI-compatible endpoint for demonstration and tests: ``python -m examples.llm.server``.

Serves ``POST /v1/chat/completions`` on the loopback address until its standard input is closed, so it never outlives the
program that started it. Prints one line of JSON, ``{"port": ...}``, when it is ready, and its counts when it ends.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import resource
import sys
from collections.abc import Sequence
from typing import Any

from .replies import FAULTS, STALL, Manners, Model, Reply

PATH = "/v1/chat/completions"


def main(argv: Sequence[str]) -> None:
    """Serve until standard input ends."""
    options = parse(argv)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    faults = dict(options.fault or ())
    manners = Manners(options.tokens, options.seconds, options.tool_calls, options.retry_after, faults, options.seed)
    serve = serve_raw if options.raw or importlib.util.find_spec("aiohttp") is None else serve_aiohttp
    model = Model(manners)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        more = runner.run(serve(model, options.port))
    print(json.dumps({"requests": model.requests, "broken": model.broken, **more}), flush=True)


def loop_factory() -> Any:
    """uvloop's, where it is installed."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The options of the command line."""
    usual = Manners()
    parser = argparse.ArgumentParser(prog="examples.llm.server", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: any that is free")
    parser.add_argument("--tokens", type=int, default=usual.tokens, help="of a reply (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=usual.seconds, help="that a reply takes (default %(default)s)")
    parser.add_argument("--tool-calls", type=int, default=usual.tool_calls, help="of a conversation")
    parser.add_argument("--retry-after", type=float, default=usual.retry_after, help="seconds, of a rate limit")
    parser.add_argument(
        "--fault", type=fault, action="append", metavar="KIND=P", help=f"probability of one of {', '.join(FAULTS)}"
    )
    parser.add_argument("--seed", type=int, default=usual.seed, help="of the faults")
    parser.add_argument("--raw", action="store_true", help="a bare protocol instead of aiohttp: for load")
    return parser.parse_args(argv)


def fault(text: str) -> tuple[str, float]:
    """``malformed=0.01``"""
    kind, _, chance = text.partition("=")
    if kind not in FAULTS:
        raise argparse.ArgumentTypeError(f"there is no fault {kind!r}; there are {', '.join(FAULTS)}")
    return kind, float(chance)


async def until_stdin_ends() -> None:
    """Return when whoever started this closes our standard input, or is gone."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.read(4096):
        pass


async def serve_raw(model: Model, port: int) -> dict[str, float]:
    """With raw.py."""
    from .raw import Connection, Ticker

    ticker = Ticker()
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(model, ticker), "127.0.0.1", port, backlog=4096
    )
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await until_stdin_ends()
    return {"late_p99_ms": ticker.late_p99_ms()}


async def serve_aiohttp(model: Model, port: int) -> dict[str, float]:
    """With aiohttp."""
    from aiohttp import web

    async def complete(request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        reply = model.answer(await request.read(), headers)
        if not reply.steps:
            return web.Response(status=reply.status, headers=dict(reply.headers), body=reply.body)
        response = web.StreamResponse(headers=dict(reply.headers))
        await response.prepare(request)
        try:
            await send(reply, response, request)
        except ConnectionError:
            pass  # the client has left
        return response

    async def send(reply: Reply, response: web.StreamResponse, request: web.Request) -> None:
        loop = asyncio.get_running_loop()
        begin = loop.time()
        for number, step in enumerate(reply.steps):
            await asyncio.sleep(begin + reply.due(number) - loop.time())
            data = step()
            if data is None:
                if request.transport is not None:
                    request.transport.abort()
                return
            if data is STALL:
                await asyncio.Event().wait()  # until the client leaves, which cancels this
            await response.write(data)

    application = web.Application()
    application.router.add_post(PATH, complete)
    runner = web.AppRunner(application, access_log=None, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, backlog=4096, shutdown_timeout=0.1)
    await site.start()
    print(json.dumps({"port": runner.addresses[0][1]}), flush=True)
    await until_stdin_ends()
    await runner.cleanup()
    return {}


if __name__ == "__main__":
    main(sys.argv[1:])
