from benchmarks import side
from benchmarks.peers.pykka_peer import actors

side.main(
    {
        "hop": actors.hop,
        "split": actors.pairs,
        "fanin": actors.fanin,
        "spawn": actors.spawn_exit,
        "call": actors.call,
        "agent-call": actors.agent_call,
        "bytes": actors.idle_bytes,
    }
)
