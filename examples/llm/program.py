"""The tree of processes, and the policy: who is started again, after how long, and when it is given up."""

from collections.abc import Iterable
from contextlib import nullcontext

import transom
from transom import Backoff, ChildSpec, Recovery, Supervisor, Task

from .desk import Desk
from .endpoint import endpoint
from .session import Session, client_of
from .settings import Provider, Settings, provider
from .tools import Weather
from .view import View, catch_crash_reports, last_line

GROUP = 500  # sessions under one supervisor


async def converse(settings: Settings) -> None:
    """Run all sessions to their end."""
    prepare()
    given = provider()
    with nullcontext(given) if given else endpoint(settings) as where:
        _ = client_of(where).chat.completions  # takes a second of imports: not on the event loop, while sessions wait
        print(f"{settings.sessions} sessions with {where!r}", flush=True)
        top = await Top.start_link(where, settings)
        desk = Desk.at("desk")
        await desk.all_ended.options(timeout=settings.limit)()
        print(last_line(*await desk.counts()), flush=True)
        await top.stop()


def prepare() -> None:
    """What a program that talks about people's affairs does first."""
    catch_crash_reports()
    transom.set_redaction(lambda what, value: f"<{what} not shown>")


class Top(Supervisor):
    """The desk, the tools and the view first, then the sessions, which need them."""

    strategy = "rest_for_one"

    def init(self, where: Provider, settings: Settings) -> None:
        self.where, self.settings = where, settings

    def children(self) -> Iterable[ChildSpec]:
        yield Desk.child(self.settings.sessions).options(name="desk")
        yield Weather.child().options(name="weather")
        yield View.options(name="view", trap_exit=True).child(self.settings.plain, self.settings.sessions)
        for first in range(0, self.settings.sessions, GROUP):
            numbers = range(first, min(first + GROUP, self.settings.sessions))
            children = [session(number, self.where, self.settings) for number in numbers]
            yield Supervisor.child(children=children).options(id=f"sessions from {first}")


def session(number: int, where: Provider, settings: Settings) -> ChildSpec:
    """A session: after a crash it begins again, later each time, and in the end it is given up."""
    backoff = Backoff(initial=settings.first_delay, factor=2, maximum=10)
    return Session.child(number, where, settings).options(
        id=number,
        restart="transient",
        recovery=Recovery(
            backoff=backoff,
            attempts=settings.attempts,
            reset_after=settings.reset_after,
            fallback=Task.child(give_up, number),
        ),
    )


async def give_up(number: int) -> None:
    """Takes the place of a session that cannot be made to work."""
    Desk.at("desk").gave_up.cast(number)
