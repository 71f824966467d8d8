"""The model for demonstration as a child of this program; it ends when its standard input is closed."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from .settings import Provider, Settings


@contextmanager
def endpoint(settings: Settings) -> Iterator[Provider]:
    """Start the server, and stop it at the end."""
    options = [f"--fault={fault}" for fault in settings.faults]
    options += [f"--tokens={settings.tokens}", f"--seconds={settings.seconds}", f"--seed={settings.seed}"]
    options += ["--raw"] * settings.again
    server = subprocess.Popen(
        [sys.executable, "-m", "examples.llm.server", *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdin is not None and server.stdout is not None
    with server:
        try:
            port = json.loads(server.stdout.readline())["port"]
            yield Provider(f"http://127.0.0.1:{port}/v1", "demo", "no-secret")
        finally:
            server.stdin.close()
            print("the server's own count:", server.stdout.read().strip(), flush=True)
