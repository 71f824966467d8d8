from benchmarks import side
from benchmarks.transom_side import (
    agents,
    call,
    copies,
    latency,
    lifecycle,
    memory,
    mesh,
    messages,
    pauses,
    supervision,
    tables,
)

side.main(
    {
        "hop": messages.hop,
        "pairs": messages.pairs,
        "fanin": messages.fanin,
        "mesh": mesh.mesh,
        "spawn": lifecycle.spawn_exit,
        "down": lifecycle.spawn_down,
        "restart": supervision.restart,
        "children": supervision.children,
        "timer": lifecycle.timer,
        "call": call.call,
        "copy": copies.copies,
        "agent-call": agents.call,
        "agent-memory": agents.idle_bytes,
        "latency": latency.latency,
        "bytes": memory.idle_bytes,
        "million": memory.million,
        "idle": memory.idle_cpu,
        "pauses": pauses.pauses,
        "rounds": pauses.rounds,
        "live": memory.live,
        "bytes-state": memory.state_bytes,
        "table": tables.one,
        "table-readers": tables.scaling,
        "broadcast": tables.fanout,
    }
)
