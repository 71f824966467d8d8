"""PartitionSupervisor: the same child several times, and a key says which one is meant.

Who touches what    A table of what runs, for each such supervisor. Its process alone writes it, each entry by one
                    store; everybody reads, without asking the process. So a key costs no message.

Source: Elixir's PartitionSupervisor.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from transom import _core, _errors
from transom._child import ChildSpec
from transom._core import Pid
from transom._operation import Operation
from transom._restart import Strategy
from transom._supervisor import Base, check_intensity, check_word, who_of
from transom._supervisor_engine import Child, Engine
from transom._supervisor_ref import AnySupervisorRef, ask

_tables: dict[Pid, _Table] = {}


class _Table:
    """What runs in the partitions of one supervisor; None for one that is down."""

    __slots__ = ("partitions", "started")

    def __init__(self, partitions: int) -> None:
        self.partitions = partitions  # how many are in use
        self.started: list[Any] = [None] * partitions


class PartitionEngine(Engine):
    """An engine that keeps the table."""

    table: _Table
    most: int

    notes_starts = True

    def on_started(self, child: Child) -> None:
        self.table.started[child.spec.id] = child.started  # type: ignore[call-overload]

    async def start_all(self, specs: Any) -> None:
        try:
            await super().start_all(specs)
        except BaseException:
            _tables.pop(_core.current_pid(), None)
            raise

    async def run(self) -> None:
        try:
            await super().run()
        finally:
            _tables.pop(_core.current_pid(), None)

    async def do_resize(self, partitions: int) -> int:
        """Returns how many there were."""
        before = self.table.partitions
        self.table.partitions = partitions
        for number in range(partitions, self.most):
            await self.do_terminate_child(number)
            self.table.started[number] = None
        for number in range(before, partitions):
            if self.children[number].state() is None:
                await self.do_restart_child(number)
        return before


@dataclass(frozen=True, slots=True)
class PartitionSupervisorRef(AnySupervisorRef):
    """A running PartitionSupervisor.

    Attributes:
        dest: Its Pid or registered name.

    Example:
        >>> import transom
        >>> async def worker():
        ...     await transom.receive()
        >>> async def main():
        ...     workers = await transom.PartitionSupervisor.start_link(transom.Task.child(worker), partitions=3)
        ...     return workers.at(4) == workers.at(1), await workers.resize(2), workers.partitions()
        >>> transom.run(main)
        (True, 3, 2)

    Source: the functions of Elixir's PartitionSupervisor.
    """

    def at(self, key: Hashable) -> Any:
        """What the start of the partition for a key gave: a reference or a Pid. Sends nothing and does not wait.

        Args:
            key: An int stands for the partition of its remainder; anything else for that of its hash. The same key
                means the same partition as long as this program runs and their number stays.

        Raises:
            NoProcess: The supervisor does not run, or the partition is down at the moment.
        """
        table = _tables.get(self.pid)
        if table is None:
            raise _errors.NoProcess(f"there is no PartitionSupervisor {self.dest}")
        number = (key if type(key) is int else hash(key)) % table.partitions
        started = table.started[number]
        if started is None:
            raise _errors.NoProcess(f"partition {number} of {self.dest} is down")
        return started

    def partitions(self) -> int:
        """How many partitions are in use.

        Raises:
            NoProcess: The supervisor does not run.
        """
        table = _tables.get(self.pid)
        if table is None:
            raise _errors.NoProcess(f"there is no PartitionSupervisor {self.dest}")
        return table.partitions

    def resize(self, partitions: int) -> Operation[int]:
        """Use fewer partitions, or again as many as at the start; gives how many there were.

        Those that are not used any more are stopped first. Keys move to other partitions.

        Args:
            partitions: 1 to as many as there were at the start.

        Raises:
            ValueError: Out of that range.
            StartError: A partition could not be started again.

        Source: PartitionSupervisor.resize!/2.
        """
        table = _tables.get(self.pid)
        most = 0 if table is None else len(table.started)
        if type(partitions) is not int:
            raise TypeError(f"resize(): partitions must be an int, not {partitions!r}")
        if table is not None and not 1 <= partitions <= most:
            raise ValueError(f"resize(): partitions must be 1 to {most}, as many as at the start, not {partitions}")
        return ask(self.dest, "resize", partitions)


class PartitionSupervisor(Base[PartitionSupervisorRef]):
    """Starts the same child several times, so that one process is not everybody's bottleneck.

    Attributes:
        strategy: As of Supervisor, as the following.
        max_restarts: More restarts than this within max_seconds end it.
        max_seconds: Seconds, > 0.

    Example:
        >>> import transom
        >>> async def counter():
        ...     while True:
        ...         reply_to, key = await transom.receive(tuple)
        ...         transom.send(reply_to, key)
        >>> async def main():
        ...     spec = transom.Task.child(counter).options(restart="permanent")
        ...     counters = await transom.PartitionSupervisor.start_link(spec, partitions=4)
        ...     transom.send(counters.at("anna"), (transom.current_pid(), "anna"))
        ...     return await transom.receive(str), counters.partitions()
        >>> transom.run(main)
        ('anna', 4)

    Source: Elixir's PartitionSupervisor.
    """

    strategy: Strategy = "one_for_one"
    _ref = PartitionSupervisorRef

    def init(
        self,
        spec: ChildSpec,
        *,
        partitions: int | None = None,
        strategy: Strategy | None = None,
        max_restarts: int | None = None,
        max_seconds: float | None = None,
    ) -> None:
        """Runs first, in the supervisor's process, with the arguments of start_link.

        Args:
            spec: The child; its copies have the ids 0, 1, 2 and so on. A name it has not.
            partitions: How many, at least 1. Default: as many as the node has schedulers.
            strategy: Overrides the attribute, as the following.
            max_restarts: See the class.
            max_seconds: See the class.
        """
        if not isinstance(spec, ChildSpec):
            raise TypeError(f"PartitionSupervisor: spec must be a ChildSpec, not {spec!r}")
        if spec.name is not None:
            raise ValueError(f"ChildSpec {spec.id!r}: name must be None in a PartitionSupervisor, not {spec.name!r}")
        if partitions is None:
            partitions = int(_core.node_info()["slots"])
        if type(partitions) is not int or partitions < 1:
            raise ValueError(f"PartitionSupervisor: partitions must be an int of at least 1, not {partitions!r}")
        self._spec_of_all = spec
        self._partitions = partitions
        if strategy is not None:
            self.strategy = strategy
        if max_restarts is not None:
            self.max_restarts = max_restarts
        if max_seconds is not None:
            self.max_seconds = max_seconds

    def _first_children(self) -> Any:
        return [self._spec_of_all.options(id=number) for number in range(self._partitions)]

    def _engine(self, parent: Pid | None) -> Engine:
        cls = type(self)
        check_word(cls.__qualname__, "strategy", self.strategy)
        check_intensity(cls.__qualname__, self.max_restarts, self.max_seconds)
        engine = PartitionEngine(who_of(cls), self.strategy, self.max_restarts, self.max_seconds, "never", parent)
        engine.most = self._partitions
        engine.table = _tables[_core.current_pid()] = _Table(self._partitions)
        return engine
