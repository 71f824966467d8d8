"""The command; see the package."""

from __future__ import annotations

import argparse
import json
from typing import Any

import transom
from examples.lineserver.server import Desk, Door
from transom import ports


async def ask(address: Any, *requests: dict[str, Any]) -> list[Any]:
    """What a client does: a line out, a line in."""
    async with await ports.connect(*address, packet="line", timeout=5) as conn:
        answers = []
        for request in requests:
            await conn.send(json.dumps(request).encode() + b"\n")
            answers.append(json.loads(await conn.recv(timeout=5)))
        return answers


async def demo(address: Any) -> None:
    """Some requests, good and bad."""
    for answer in await ask(
        address,
        {"id": 1, "method": "add", "params": ["tea", 2]},
        {"id": 2, "method": "add", "params": ["tea", 3]},
        {"id": 3, "method": "drop"},
        {"id": 4, "method": "add", "params": ["tea", "much"]},  # the ledger crashes, and is restarted
    ):
        print(answer)
    while transom.whereis("ledger") is None:
        await transom.sleep(0.01)
    print(await ask(address, {"id": 5, "method": "total", "params": ["tea"]}))


async def main(port: int, only_demo: bool) -> None:
    Desk.port = port
    await Desk.start_link()
    address = await Door.at("door").address()
    print(f"listening at {address[0]}:{address[1]}", flush=True)
    if only_demo:
        await demo(address)
    else:
        await transom.receive()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m examples.lineserver", description="a line server")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--demo", action="store_true")
    arguments = parser.parse_args()
    try:
        transom.run(main, arguments.port, arguments.demo)
    except KeyboardInterrupt:
        print("ended")
