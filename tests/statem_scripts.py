"""Scripted state machines: what the n-th callback answers is given, what callbacks saw comes out.

The scripts are those of benchmarks/peers/statem_order, which runs them on gen_statem, too.
"""

from __future__ import annotations

from typing import Any

import transom
from transom import statem


class Scripted(transom.StateMachine):
    def init(self, machine: dict[str, Any]) -> Any:
        self.script = machine["script"]
        self.log: list[list[str]] = []
        return statem.next_state("s0", *map(action, machine["init"]))

    def tell(self, content: int) -> None: ...

    def handle_event(self, event: statem.Event, state: str) -> Any:
        self.log.append([*shown(event), state])
        if not self.script:
            return statem.keep_state()
        kind, state, actions = self.script.pop(0)[event.type == "enter"]
        made = [action(a) for a in actions]
        if kind == "next":
            return statem.next_state(state, *made)
        return (statem.keep_state if kind == "keep" else statem.repeat_state)(*made)


class ScriptedWithEnter(Scripted):
    state_enter = True


class ScriptedAsync(Scripted):
    async def handle_event(self, event: statem.Event, state: str) -> Any:
        if len(self.log) % 2:
            await transom.sleep(0)
        return super().handle_event(event, state)


class ScriptedAsyncWithEnter(ScriptedAsync):
    state_enter = True


def shown(event: statem.Event) -> list[str]:
    content = event.content[1] if type(event.content) is tuple else event.content
    if event.type == "enter":
        content = int(content[1:])
    return [event.type if event.name is None else f"timeout {event.name}", str(content)]


def action(a: list[Any]) -> statem.Action:
    if a[0] == "postpone":
        return statem.postpone(a[1])
    if a[0] == "next_event":
        return statem.next_event(a[1], ("tell", a[2]) if a[1] == "cast" else a[2])
    kind, _, name = a[1].partition(" ")
    if name:
        return statem.timeout(name, a[2], a[3])
    return (statem.state_timeout if kind == "state_timeout" else statem.event_timeout)(a[2], a[3])


async def run(machine: dict[str, Any], asynchronous: bool = False) -> list[Any]:
    """[what the callbacks saw, the state, postponed events, timers that run]"""
    if asynchronous:
        kind: type[Scripted] = ScriptedAsyncWithEnter if machine["enter"] else ScriptedAsync
    else:
        kind = ScriptedWithEnter if machine["enter"] else Scripted
    ref = await kind.start(machine)
    for how, content in machine["externals"]:
        if how == "cast":
            ref.tell.cast(content)  # type: ignore[attr-defined]
        else:
            transom.send(ref, content)
    state, data = await transom.sys.get_state(ref)
    held = await transom.sys.replace_state(ref, _take_held)
    transom.kill(transom.pid_of(ref))
    return [data["log"], state, *held[1]["held"]]


def _take_held(state: Any) -> Any:
    """Runs in the machine: what it holds, as part of its data."""
    server = transom._core._server()  # type: ignore[attr-defined]
    held = server.agent._transom_held
    postponed = [] if held is None else [[*shown(event), "-"] for event in held.postponed]
    timers = (
        []
        if held is None
        else [
            [kind if name is None else f"timeout {name}", str(content)]
            for (kind, name), (_, _, content) in held.timers.items()
        ]
    )
    return (state[0], {"held": [postponed[::-1], sorted(timers)]})


def run_all(machines: list[dict[str, Any]], asynchronous: bool = False) -> list[list[Any]]:
    async def main() -> list[list[Any]]:
        return [await run(machine, asynchronous) for machine in machines]

    return transom.run(main)
