from benchmarks import side
from benchmarks.peers.asyncio_peer import bridging, judging, latency, lifecycle, memory, messages, pauses, sockets

side.main(
    {
        "hop": messages.hop,
        "fanin": messages.fanin,
        "spawn": lifecycle.spawn_exit,
        "down": lifecycle.spawn_down,
        "timer": lifecycle.timer,
        "call": lifecycle.call,
        "sockets": sockets.echo,
        "aio-task": bridging.task,
        "aio-threadsafe": bridging.threadsafe,
        "evals-loop": judging.loop,
        "evals-gather": judging.gather,
        "latency": latency.latency,
        "bytes": memory.idle_bytes,
        "million": memory.million,
        "idle": memory.idle_cpu,
        "pauses": pauses.pauses,
        "rounds": pauses.rounds,
    }
)
