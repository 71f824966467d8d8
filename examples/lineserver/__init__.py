"""A line server: JSON-RPC over TCP, one agent for each connection, all under a supervisor.

    python -m examples.lineserver                  serve at 127.0.0.1, a free port; Ctrl-C ends it
    python -m examples.lineserver --port 4040      at this port
    python -m examples.lineserver --demo           also talk to it a little, and end

    Desk (one_for_one)
    ├── Ledger        what all connections share; its state is lost when it crashes, and nobody else's is
    ├── Connections   a dynamic supervisor: one Connection for each client, temporary
    └── Door          owns the listener; accepts, starts a Connection and gives it the port

Try it by hand, with any program that speaks lines:

    echo '{"id": 1, "method": "add", "params": ["tea", 2]}' | nc -N 127.0.0.1 4040
"""
