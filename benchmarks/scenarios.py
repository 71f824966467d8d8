"""Every comparison: which shape, who plays it, how much work, and what is promised.

`n` is the amount of work and is cut to a tenth by --quick. The amounts differ between sides so
that each measures for about a second; figures are per operation.
"""

from __future__ import annotations

from dataclasses import replace

from benchmarks.model import Claim, Entry, Metric, Scenario

CONTEXT_ROUNDS = 3


def transom(slots: int = 1, **params: int | str) -> Entry:
    return Entry(side="transom", label="transom", slots=slots, params=params)


def erlang(slots: int = 1, **params: int | str) -> Entry:
    return Entry(side="erlang", label="Erlang", slots=slots, params=params)


def peer(side: str, label: str, **params: int | str) -> Entry:
    return Entry(side=side, label=label, params=params, rounds=CONTEXT_ROUNDS)


def asyncio(**params: int | str) -> tuple[Entry, ...]:
    """Three entries: the same interpreter with the stock loop and uvloop, and a GIL build."""
    return (
        peer("asyncio", "asyncio", loop="stock", **params),
        peer("uvloop", "asyncio, uvloop", loop="uvloop", **params),
        peer("asyncio-gil", "asyncio, GIL build", loop="stock", **params),
    )


def ratio(limit: float) -> Claim:
    """A ratio of nanoseconds, at most `limit`."""
    return Claim(text="", entry="transom", over="Erlang", metric="ns", sense="at most", limit=limit)


NS = (Metric(key="ns", label="ns"),)

HOP = Scenario(
    name="hop",
    title="message hop, two processes on one scheduler",
    short="message hop",
    about="Two processes send a tuple of a pid and a number to and fro. Time for one message.",
    metrics=NS,
    entries=(
        transom(n=3_000_000),
        erlang(n=3_000_000),
        *asyncio(n=100_000),
        peer("node", "Node", n=3_000_000),
        peer("pykka", "Pykka", n=20_000),
    ),
    claims=(ratio(0.5),),
)

SPLIT = Scenario(
    name="split",
    title="message hop, 200 pairs on two schedulers",
    short="hop, 200 pairs on two schedulers",
    about="200 such pairs. Wall time divided by all messages. transom runs a receiver where its"
    " sender is and cannot be told to keep the halves of a pair apart. Erlang is there twice: free"
    " to place them, too, and with the halves bound to different schedulers, so that every message"
    " crosses (`crossed`). `mesh` is the traffic that nobody's placement can keep local.",
    metrics=(*NS, Metric(key="crossed", label="crossed", digits=2)),
    entries=(
        transom(2, scenario="pairs", n=2_000_000, pairs=200),
        erlang(2, scenario="pairs", n=2_000_000, pairs=200),
        replace(erlang(2, n=2_000_000, pairs=200), label="Erlang, halves bound apart"),
        peer("node", "Node, two workers", n=200_000, pairs=200),
        peer("pykka", "Pykka", n=20_000, pairs=50),
    ),
    claims=(ratio(0.6),),
)

MESH = Scenario(
    name="mesh",
    title="message hop in a mesh on two schedulers",
    short="hop in a mesh, two schedulers",
    about="200 tokens wander through 400 processes, each of which passes what it gets to its 16"
    " random neighbours in turn: about half of the messages have to cross, wherever the processes"
    " are. Wall time divided by all messages.",
    metrics=NS,
    entries=(
        transom(2, n=2_000_000, relays=400, tokens=200),
        erlang(2, n=2_000_000, relays=400, tokens=200),
    ),
    claims=(ratio(0.6),),
)

FANIN = Scenario(
    name="fanin",
    title="fan-in, four senders to one receiver on two schedulers",
    short="fan-in, four to one, two schedulers",
    about="Four processes send as fast as they can to a fifth, which adds up the numbers."
    " Wall time divided by all messages.",
    metrics=NS,
    entries=(
        transom(2, n=2_000_000),
        erlang(2, n=2_000_000),
        *asyncio(n=200_000),
        peer("node", "Node, two threads", n=400_000),
        peer("pykka", "Pykka", n=40_000),
    ),
    claims=(ratio(0.6),),
)

SPAWN = Scenario(
    name="spawn",
    title="spawn and exit, not awaited",
    short="spawn and exit",
    about="One process spawns processes that end at once, and does not wait for each. The clock"
    " stops when all have ended.",
    metrics=NS,
    entries=(
        transom(n=1_000_000),
        erlang(n=1_000_000),
        *asyncio(n=100_000),
    ),
    claims=(ratio(0.5),),
)

DOWN = Scenario(
    name="down",
    title="spawn_monitor and Down, one at a time",
    short="spawn_monitor and Down",
    about="Spawn with a monitor, wait for the Down, again. (asyncio: create a task and await it;"
    " Node: call and await an async function; Pykka: start an actor and stop it.)",
    metrics=NS,
    entries=(
        transom(n=500_000),
        erlang(n=500_000),
        *asyncio(n=100_000),
        peer("node", "Node, an async function", n=3_000_000),
        Entry(
            side="pykka",
            label="Pykka",
            params={"scenario": "spawn", "n": 2000},
            rounds=CONTEXT_ROUNDS,
        ),
    ),
    claims=(ratio(0.5),),
)

RESTART = Scenario(
    name="restart",
    title="a supervised child killed and restarted",
    short="kill to restarted",
    about="A child of a supervisor is killed, and tells from its init when it runs again; one kill after the"
    " other. In Erlang a gen_server, in transom an Agent. Reports are switched off in both.",
    metrics=NS,
    entries=(transom(n=30_000), erlang(n=100_000)),
    claims=(ratio(1.0),),
)

CHILDREN = Scenario(
    name="children",
    title="start of a supervisor with 10,000 children",
    short="start of a supervised child",
    about="One supervisor starts 10,000 children, one after the other, and waits for the init of each. In"
    " Erlang gen_servers, in transom Agents. Time for each child.",
    metrics=NS,
    entries=(transom(n=10_000), erlang(n=10_000)),
    claims=(ratio(1.0),),
)

TIMER = Scenario(
    name="timer",
    title="send_after and cancel",
    short="send_after and cancel",
    about="Set a timer of ten seconds and cancel it.",
    metrics=NS,
    entries=(
        transom(n=2_000_000),
        erlang(n=2_000_000),
        *asyncio(n=200_000),
        peer("node", "Node", n=2_000_000),
    ),
    claims=(ratio(1.0),),
)

CALL = Scenario(
    name="call",
    title="call with 100,000 junk messages waiting, against an empty mailbox",
    short="call: 100,000 waiting over none",
    about="A request with a monitor whose reference is also the reply's address and match, made"
    " of the primitives. Blocks with an empty mailbox and with 100,000 other messages in it take"
    " turns in one run; the ratio is the median over the blocks. asyncio, Node and Pykka answer"
    " through a future, so junk has no meaning there.",
    metrics=(
        Metric(key="junk_ratio", label="full / empty", digits=2),
        Metric(key="ns", label="ns, empty"),
        Metric(key="junk_ns", label="ns, full"),
    ),
    entries=(
        transom(n=50_000, junk=100_000, blocks=5),
        erlang(n=50_000, junk=100_000, blocks=5),
        *asyncio(n=20_000),
        peer("node", "Node", n=300_000),
        peer("pykka", "Pykka", n=10_000),
    ),
    claims=(
        Claim(
            text="a full mailbox costs no scan",
            entry="transom",
            over=None,
            metric="junk_ratio",
            sense="at most",
            limit=1.2,
        ),
    ),
    rounds=7,
)

ACCOUNTING = Scenario(
    name="accounting",
    title="making and dropping objects, with a memory account and without",
    short="objects, with max_heap over without",
    about="One turn makes and drops a list, a dict, an instance, a str and a float; `blocks` a bytearray of"
    " 200 bytes and nothing else. The same loop in a process without a limit, with one, and without one while"
    " another process has one (`beside`), in turn in one run; the ratio is the median over the rounds."
    " Without any limit in the node nothing is in place, so that there is nothing to measure.",
    metrics=(
        Metric(key="objects_ratio", label="on / off", digits=2),
        Metric(key="objects_beside_ratio", label="beside / off", digits=2),
        Metric(key="raw_ratio", label="blocks, on / off", digits=2),
        Metric(key="objects_off", label="ns, off"),
        Metric(key="objects_on", label="ns, on"),
    ),
    entries=(transom(n=300_000, blocks=5),),
    claims=(
        Claim(
            text="an account costs little",
            entry="transom",
            over=None,
            metric="objects_ratio",
            sense="at most",
            limit=1.3,
        ),
    ),
    rounds=3,
)


def copying(kind: str, what: str, *, promised: bool) -> Scenario:
    """A message that has to be copied (or, frozen, need not be), against copies made by hand."""
    like: dict[str, int | str] = {"scenario": "copy", "kind": kind}
    codecs = ("orjson", "msgspec") if kind in ("dict", "list") else ()
    return Scenario(
        name=f"copy-{kind}",
        title=f"send and receive {what}",
        short=f"send {what}",
        about="Batches of 100 to a process that answers each batch; time for one message, sent, copied,"
        " received and dropped. Erlang sends a like term, with binaries for strings, made at run time."
        " copy.deepcopy, pickle and the codecs only copy the value and send nothing.",
        metrics=NS,
        entries=(
            transom(n=300_000, **like),
            erlang(n=300_000, **like),
            *(peer(how, how, n=20_000, how=how, **like) for how in ("deepcopy", "pickle", *codecs)),
        ),
        claims=(ratio(1.0),) if promised else (),
    )


COPIES = (
    copying("dict", "a nested dict of 1 KB", promised=True),
    copying("list", "a list of 100 numbers", promised=False),
    copying("frozen", "a frozen dataclass", promised=False),
    copying("dataclass", "a mutable dataclass", promised=False),
)

AGENT_CALL = Scenario(
    name="agent-call",
    title="call of an agent's method and its answer, one scheduler",
    short="agent call",
    about="A client calls a method that adds to a number, and awaits the answer, again and again; with"
    " a time limit, a monitor and a late answer that cannot arrive, as gen_server:call has them."
    " asyncio: a queue and a future by hand. Pykka: a proxy and its future, on threads.",
    metrics=NS,
    entries=(
        transom(n=500_000),
        erlang(n=500_000),
        *asyncio(scenario="call", n=50_000),
        peer("pykka", "Pykka", n=10_000),
    ),
    claims=(ratio(0.5),),
)

AGENT_MEMORY = Scenario(
    name="agent-memory",
    title="memory of an idle agent with three small attributes, 100,000 of them",
    short="memory of an idle agent",
    about="Growth of the resident memory divided by the agents, and the time to start one and wait for"
    " its init. Erlang: a gen_server with a tuple of three.",
    metrics=(
        Metric(key="bytes", label="bytes"),
        Metric(key="start_ns", label="ns to start"),
    ),
    entries=(transom(n=100_000), erlang(n=100_000)),
    claims=(
        Claim(
            text="resident bytes",
            entry="transom",
            over=None,
            metric="bytes",
            sense="at most",
            limit=700,
            unit="bytes",
        ),
    ),
    rounds=5,
)

PAIRS = Scenario(
    name="pairs",
    title="200 independent pairs, throughput of two schedulers over one",
    short="independent pairs: 2 schedulers over 1",
    about="200 pairs talk, each to itself alone, placed as the runtime likes. The ratio is time a"
    " message on one scheduler over time a message on two: 2.0 is perfect.",
    metrics=NS,
    entries=(
        replace(transom(1, n=3_000_000, pairs=200), label="transom, 1 scheduler"),
        replace(transom(2, n=6_000_000, pairs=200), label="transom, 2 schedulers"),
        replace(erlang(1, n=3_000_000, pairs=200), label="Erlang, 1 scheduler"),
        replace(erlang(2, n=6_000_000, pairs=200), label="Erlang, 2 schedulers"),
    ),
    claims=(
        Claim(
            text="",
            entry="transom, 1 scheduler",
            over="transom, 2 schedulers",
            metric="ns",
            sense="at least",
            limit=1.8,
            beside=("Erlang, 1 scheduler", "Erlang, 2 schedulers"),
        ),
    ),
)


def latency(kind: str, what: str, *, on_erlang: bool) -> Scenario:
    """A small request beside eight hogs of a kind; the size of the regex is set at run time."""
    hogs: dict[str, int | str] = {"kind": kind, "hogs": 8, "n": 1500, "size": 0}
    tasks = {**hogs, "hogs_in": "tasks", "budget": 20, "loop": "stock"}
    threads = {**hogs, "hogs_in": "threads", "budget": 60, "loop": "stock"}
    return Scenario(
        name=f"latency-{kind}",
        title=f"small request beside {what}, two schedulers",
        short=f"p99 beside {what}",
        about="A client asks an echo process every 0.5 to 2.5 ms; time from sending to the"
        " answer. `from due` counts from when the request was due, timer included; `quiet` is"
        " the same before the hogs start. asyncio is there twice: the hogs as tasks, and moved"
        " to threads by hand.",
        metrics=(
            Metric(key="p99_us", label="p99 us"),
            Metric(key="p50_us", label="p50 us"),
            Metric(key="max_us", label="max us"),
            Metric(key="due_p99_us", label="p99 us from due"),
            Metric(key="quiet_p50_us", label="p50 us, quiet"),
            Metric(key="quiet_p99_us", label="p99 us, quiet"),
        ),
        entries=(
            transom(2, scenario="latency", **hogs),
            *([erlang(2, scenario="latency", **hogs)] if on_erlang else []),
            replace(peer("asyncio", "asyncio", scenario="latency", **tasks), rounds=1),
            replace(peer("asyncio", "asyncio, hogs in threads", scenario="latency", **threads), slots=2),
        ),
        claims=(
            Claim(
                text="p99",
                entry="transom",
                over=None,
                metric="p99_us",
                sense="at most",
                limit=2000,
                unit="us",
                also="due_p99_us",
            ),
        ),
        rounds=5,
    )


LATENCIES = (
    latency("python", "8 hogs in pure Python", on_erlang=True),
    latency("regex", "8 hogs in a native regex", on_erlang=True),
    latency("sleep", "8 hogs in a blocking sleep", on_erlang=False),
    latency("all", "8 hogs of each of the three kinds", on_erlang=True),
)

BYTES = Scenario(
    name="bytes",
    title="memory of an idle process, 100,000 of them",
    short="memory of an idle process",
    about="Growth of the resident memory of the operating-system process, divided by the"
    " processes that wait in their first receive. For Erlang also what it says itself. (asyncio"
    " and Node: a task and its queue. Pykka: a thread, 1,000 of them.)",
    metrics=(
        Metric(key="bytes", label="bytes"),
        Metric(key="process_info", label="bytes by process_info"),
    ),
    entries=(
        transom(n=100_000),
        erlang(n=100_000),
        *asyncio(n=100_000),
        peer("node", "Node", n=100_000),
        peer("pykka", "Pykka", n=1000),
    ),
    claims=(
        Claim(
            text="resident bytes",
            entry="transom",
            over=None,
            metric="bytes",
            sense="at most",
            limit=450,
            unit="bytes",
        ),
    ),
    rounds=5,
)

MILLION = Scenario(
    name="million",
    title="a million live processes created, messaged and ended",
    short="a million live processes",
    about="A million processes are alive at once, each gets a message, answers and ends. Time"
    " for all, the part for creating them, and the peak of resident memory.",
    metrics=(
        Metric(key="seconds", label="s", digits=2),
        Metric(key="create_s", label="s to create", digits=2),
        Metric(key="peak_mb", label="peak MB"),
        Metric(key="live", label="alive at once"),
        Metric(key="live_share", label="share alive at once", digits=2),
    ),
    entries=(
        transom(2, n=1_000_000),
        erlang(2, n=1_000_000),
        *(replace(entry, rounds=1) for entry in asyncio(n=1_000_000)),
        peer("node", "Node", n=1_000_000),
    ),
    claims=(
        Claim(
            text="alive at once",
            entry="transom",
            over=None,
            metric="live_share",
            sense="at least",
            limit=1.0,
            unit="of all",
        ),
    ),
    rounds=3,
    timeout=240,
)

IDLE = Scenario(
    name="idle",
    title="processor time of a node with nothing to do",
    short="processor time of an idle node",
    about="Processor time of all threads over five seconds in which one process sleeps, in percent of one core.",
    metrics=(Metric(key="percent", label="% of a core", digits=3),),
    entries=(
        transom(2, seconds=5),
        erlang(2, seconds=5),
        *asyncio(seconds=5),
        peer("node", "Node", seconds=5),
    ),
    claims=(
        Claim(
            text="percent of one core",
            entry="transom",
            over=None,
            metric="percent",
            sense="at most",
            limit=1.0,
            unit="%",
        ),
    ),
    rounds=3,
)


def pauses(count: int, name: str, what: str, *, rounds: int) -> Scenario:
    """Gaps that a ticking process sees beside a crowd at steady churn."""
    load: dict[str, int | str] = {"scenario": "pauses", "n": count, "seconds": 12}
    stock = replace(peer("asyncio", "asyncio", loop="stock", **load), rounds=1)
    gil = replace(peer("asyncio-gil", "asyncio, GIL build", loop="stock", **load), rounds=1)
    claim = Claim(
        text="gap of a 1 ms ticker, p99.9",
        entry="transom",
        over=None,
        metric="p999_us",
        sense="at most",
        limit=10_000,
        unit="us",
    )
    return Scenario(
        name=f"pauses-{name}",
        title=f"pauses beside {what} processes at work, two schedulers",
        short=f"pauses at {what}",
        about=f"{what} processes with three small attributes each. Every second 20,000 of them are sent a message and"
        " answer, 1,000 crash, each with a cycle in its state, and are started again. A process sleeps 1 ms at a time;"
        " the gaps between its turns are what is measured, so the timer's own millisecond is in them (all three count"
        " at least one and at most two). `collections` of the cyclic collector during that, the longest of them, and"
        " the same while the processes were made. asyncio with the collector as it comes; Erlang has none that stops"
        " all.",
        metrics=(
            Metric(key="p999_us", label="p99.9 us"),
            Metric(key="p50_us", label="p50 us"),
            Metric(key="p99_us", label="p99 us"),
            Metric(key="max_us", label="max us"),
            Metric(key="collections", label="collections"),
            Metric(key="gc_max_ms", label="longest, ms", digits=1),
            Metric(key="gc_build", label="collections at the start"),
            Metric(key="gc_build_max_ms", label="longest, ms", digits=1),
        ),
        entries=(transom(2, **load), erlang(2, **load), stock, gil),
        claims=(claim,) if count <= 100_000 else (),
        rounds=rounds,
        timeout=240,
    )


PAUSES = (
    pauses(10_000, "10k", "10,000", rounds=3),
    pauses(100_000, "100k", "100,000", rounds=3),
    pauses(1_000_000, "1m", "1,000,000", rounds=1),
)

ROUNDS = Scenario(
    name="rounds",
    title="resident memory after a million processes with cyclic state, nobody collecting",
    short="memory after a million lives",
    about="One process after the other is started, makes objects that refer to each other, and ends; the collector is"
    " switched off. Growth of resident memory over all rounds, in percent, after a warm-up of a tenth. (Erlang has no"
    " cycles: the same amount of state. asyncio: tasks, a tenth of the rounds, with the collector off and on.)",
    metrics=(
        Metric(key="growth_percent", label="growth, %", digits=2),
        Metric(key="before_mb", label="MB before"),
        Metric(key="ns", label="ns a round"),
    ),
    entries=(
        transom(n=1_000_000),
        erlang(n=1_000_000),
        replace(peer("asyncio", "asyncio, collector off", loop="stock", gc="off", n=100_000), rounds=1),
        replace(peer("asyncio", "asyncio", loop="stock", gc="on", n=100_000), rounds=1),
    ),
    claims=(
        Claim(
            text="growth of resident memory",
            entry="transom",
            over=None,
            metric="growth_percent",
            sense="at most",
            limit=2.0,
            unit="%",
        ),
    ),
    rounds=3,
    timeout=180,
)

STATE = Scenario(
    name="state",
    title="memory of an idle process with three small attributes, 100,000 of them",
    short="memory of an idle process with state",
    about="As `bytes`, of processes that keep an object with three attributes. For Erlang an empty process.",
    metrics=(Metric(key="bytes", label="bytes"),),
    entries=(transom(scenario="bytes-state", n=100_000), erlang(scenario="bytes", n=100_000)),
    claims=(
        Claim(
            text="resident bytes",
            entry="transom",
            over=None,
            metric="bytes",
            sense="at most",
            limit=700,
            unit="bytes",
        ),
    ),
    rounds=3,
)

LIVE = Scenario(
    name="live",
    title="ten million live processes",
    short="ten million live processes",
    about="Ten million processes are alive at once, each has received a message and answered it. Bytes are growth of"
    " resident memory divided by them. Erlang with a tenth of them: ten million would not fit 24 GB.",
    metrics=(
        Metric(key="seconds", label="s", digits=1),
        Metric(key="live", label="alive at once"),
        Metric(key="live_share", label="share alive at once", digits=2),
        Metric(key="bytes", label="bytes"),
        Metric(key="peak_mb", label="peak MB"),
    ),
    entries=(transom(2, n=10_000_000), erlang(2, n=1_000_000)),
    claims=(
        Claim(
            text="alive at once",
            entry="transom",
            over=None,
            metric="live_share",
            sense="at least",
            limit=1.0,
            unit="of all",
        ),
    ),
    rounds=1,
    timeout=180,
)


def table(op: str, what: str) -> Scenario:
    return Scenario(
        name=f"table-{op}",
        title=f"table: {what}, 10,000 keys",
        short=f"table: {what}",
        about=f"One process, a table of kind set with 10,000 rows of two integers, random keys: {what}."
        " Erlang: ETS, a set as well. The interpreter alone: the same loop around a method of a built-in type"
        " that does nothing, with the same arguments and a result like it.",
        metrics=NS,
        entries=(
            transom(1, scenario="table", op=op, keys=10_000, n=2_000_000),
            erlang(1, scenario="table", op=op, keys=10_000, n=2_000_000),
            replace(
                transom(1, scenario="table", op=f"{op} floor", keys=10_000, n=2_000_000), label="the interpreter alone"
            ),
        ),
        claims=(ratio(1.0),),
    )


TABLES = (
    table("insert", "insert over a row"),
    table("lookup", "lookup"),
    table("counter", "update_counter"),
)

READERS = Scenario(
    name="table-readers",
    title="table: lookups by eight processes, throughput of two schedulers over one",
    short="table lookups: 2 schedulers over 1",
    about="Eight processes look up random keys of one table of 10,000 rows. The ratio is time a"
    " lookup on one scheduler over time a lookup on two: 2.0 is perfect. ETS with read_concurrency.",
    metrics=NS,
    entries=(
        replace(transom(1, n=4_000_000, keys=10_000, readers=8), label="transom, 1 scheduler"),
        replace(transom(2, n=4_000_000, keys=10_000, readers=8), label="transom, 2 schedulers"),
        replace(erlang(1, n=4_000_000, keys=10_000, readers=8), label="Erlang, 1 scheduler"),
        replace(erlang(2, n=4_000_000, keys=10_000, readers=8), label="Erlang, 2 schedulers"),
    ),
    claims=(
        Claim(
            text="",
            entry="transom, 1 scheduler",
            over="transom, 2 schedulers",
            metric="ns",
            sense="at least",
            limit=1.7,
            beside=("Erlang, 1 scheduler", "Erlang, 2 schedulers"),
        ),
    ),
)

BROADCAST = Scenario(
    name="broadcast",
    title="broadcast to 10,000 subscribers, two schedulers",
    short="broadcast to 10,000",
    about="One process publishes small immutable messages to 10,000 subscribers, and the clock stops when"
    " the last has got the last one; time for one delivery. Erlang: pg:get_members and a send to each.",
    metrics=NS,
    entries=(
        transom(2, n=100, subscribers=10_000),
        erlang(2, n=100, subscribers=10_000),
    ),
    claims=(ratio(1.0),),
)

AIO = Scenario(
    name="aio",
    title="aio: a ready awaitable, run on the event loop's thread for a process",
    short="aio round trip",
    about="A process awaits `aio(ready())`, again and again; then 1,000 processes do at once; then it reads a stream"
    " that never waits. Beside it what asyncio has: a task of the same loop (no thread is crossed), and"
    " run_coroutine_threadsafe between two loops, which crosses threads as aio does.",
    metrics=(
        Metric(key="ns", label="one at a time, ns"),
        Metric(key="flight_ns", label="1,000 in flight, ns"),
        Metric(key="item_ns", label="item of a stream, ns"),
    ),
    entries=(
        transom(n=50_000, flight=1000),
        peer("uvloop", "uvloop, create_task", scenario="aio-task", loop="uvloop", n=100_000, flight=1000),
        peer("asyncio", "asyncio, create_task", scenario="aio-task", loop="stock", n=50_000, flight=1000),
        peer("uvloop", "uvloop, threadsafe", scenario="aio-threadsafe", loop="uvloop", n=20_000, flight=1000),
        peer("asyncio", "asyncio, threadsafe", scenario="aio-threadsafe", loop="stock", n=10_000, flight=1000),
    ),
    claims=(
        Claim(
            text="one at a time",
            entry="transom",
            over=None,
            metric="ns",
            sense="at most",
            limit=15_000,
            unit="ns",
        ),
        Claim(
            text="1,000 in flight",
            entry="transom",
            over=None,
            metric="flight_ns",
            sense="at most",
            limit=3_000,
            unit="ns",
        ),
    ),
)

EVALS = Scenario(
    name="evals",
    title="evaluation of 1,000 outputs by a judge that takes 20 ms, 64 at once",
    short="evaluation of a case",
    about="A judge behind HTTP on loopback, in a process of its own, answers after 20 ms. transom runs a Suite, each case"
    " a task of its own that can crash and be out of time by itself; beside it what one would write by hand: a loop,"
    " and asyncio.gather behind a semaphore, with httpx: one client for all, as its documentation has it, and one"
    " for each request under way, as transom does. 0.31 ms a case is"
    " what 64 at once could be.",
    metrics=(Metric(key="ms", label="a case, ms"),),
    entries=(
        transom(2, cases=1000, flight=64),
        peer("asyncio", "a loop", scenario="evals-loop", cases=200, flight=1),
        peer("asyncio", "gather, one client", scenario="evals-gather", cases=1000, flight=64, clients="one"),
        peer("asyncio", "gather, 64 clients", scenario="evals-gather", cases=1000, flight=64, clients="each"),
    ),
    claims=(),
)

ALL = (
    HOP,
    SPLIT,
    MESH,
    FANIN,
    SPAWN,
    DOWN,
    RESTART,
    CHILDREN,
    TIMER,
    CALL,
    *COPIES,
    ACCOUNTING,
    AIO,
    EVALS,
    AGENT_CALL,
    AGENT_MEMORY,
    PAIRS,
    *TABLES,
    READERS,
    BROADCAST,
    *LATENCIES,
    BYTES,
    MILLION,
    IDLE,
    *PAUSES,
    ROUNDS,
    STATE,
    LIVE,
)


def chosen(names: list[str]) -> list[Scenario]:
    """Scenarios by name; a name also stands for those that begin with it and a dash."""
    if not names:
        return list(ALL)
    found = []
    for name in names:
        matching = [s for s in ALL if s.name == name or s.name.startswith(f"{name}-")]
        if not matching:
            known = ", ".join(scenario.name for scenario in ALL)
            raise SystemExit(f"no scenario named {name!r}; there are: {known}")
        found += matching
    return found
