from benchmarks import side
from benchmarks.transom_side import call, latency, lifecycle, memory, mesh, messages, supervision

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
        "latency": latency.latency,
        "bytes": memory.idle_bytes,
        "million": memory.million,
        "idle": memory.idle_cpu,
    }
)
