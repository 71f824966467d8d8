"""transom: the BEAM's process model for free-threaded CPython.

Reading order of the package:

    _core         the native core (ext/): processes, signals, mailboxes, schedulers
    _core.pyi     its signatures
    _runtime.py   run, start, stop
    _process.py   spawn_opt, priorities, crash reports
    _limits.py    the reports of what went over a limit
    _gc.py        when the node collects garbage
    _instrument.py  which code counts reductions; instrument.py is its public face
    counters.py, persistent_term.py  smaller things that processes share
    _registry.py, _groups.py, _pubsub.py  processes under keys, in groups, behind topics
    _table.py     tables that processes share
    _proc_lib.py, _child.py   synchronous start; what supervisors know of a child
    _agent.py     agents; its head tells what stands where. _sys.py and sys.py: looking into them
    _statem.py    state machines, on top of agents; statem.py: what they are written with
    _isolated.py  functions in other OS processes; _isolated_pool, _worker, _data: their two ends and what is between
    ports.py      sockets, programs, files; _port, _port_core: what they share, _port_stream, _frames, _socket, ...: each kind
    sync.py       the blocking forms for plain functions
    _values.py, _errors.py   the values and exceptions of the API
"""

from transom import counters as counters
from transom import instrument as instrument
from transom import persistent_term as persistent_term
from transom import ports as ports
from transom import proc_lib as proc_lib
from transom import statem as statem
from transom import sync as sync
from transom import sys as sys
from transom._agent import Agent as Agent
from transom._aio import aio as aio
from transom._call import gather as gather
from transom._child import ChildSpec as ChildSpec
from transom._core import Aio as Aio
from transom._core import Call as Call
from transom._core import Down as Down
from transom._core import Exit as Exit
from transom._core import Pid as Pid
from transom._core import Ref as Ref
from transom._core import Timer as Timer
from transom._core import alias as alias
from transom._core import cancel_timer as cancel_timer
from transom._core import current_pid as current_pid
from transom._core import demonitor as demonitor
from transom._core import exit as exit
from transom._core import is_alive as is_alive
from transom._core import kill as kill
from transom._core import link as link
from transom._core import make_ref as make_ref
from transom._core import monitor as monitor
from transom._core import move as move
from transom._core import node_info as node_info
from transom._core import process_info as process_info
from transom._core import processes as processes
from transom._core import read_timer as read_timer
from transom._core import receive as receive
from transom._core import reductions as reductions
from transom._core import register as register
from transom._core import registered as registered
from transom._core import send as send
from transom._core import send_after as send_after
from transom._core import set_label as set_label
from transom._core import share as share
from transom._core import sleep as sleep
from transom._core import spawn as spawn
from transom._core import spawn_link as spawn_link
from transom._core import spawn_monitor as spawn_monitor
from transom._core import trap_exit as trap_exit
from transom._core import unalias as unalias
from transom._core import unlink as unlink
from transom._core import unregister as unregister
from transom._core import whereis as whereis
from transom._cycles import detect_call_cycles as detect_call_cycles
from transom._errors import AlreadyRunning as AlreadyRunning
from transom._errors import AlreadyStarted as AlreadyStarted
from transom._errors import CallError as CallError
from transom._errors import CallTimeout as CallTimeout
from transom._errors import ChildExists as ChildExists
from transom._errors import ChildRunning as ChildRunning
from transom._errors import DuplicateChild as DuplicateChild
from transom._errors import Exited as Exited
from transom._errors import ForkedError as ForkedError
from transom._errors import Killed as Killed
from transom._errors import NameTaken as NameTaken
from transom._errors import NoChild as NoChild
from transom._errors import NoProcess as NoProcess
from transom._errors import NoTable as NoTable
from transom._errors import NotInProcess as NotInProcess
from transom._errors import NotOwner as NotOwner
from transom._errors import NotRunning as NotRunning
from transom._errors import PortClosed as PortClosed
from transom._errors import PortError as PortError
from transom._errors import ProcessLimit as ProcessLimit
from transom._errors import QueueFull as QueueFull
from transom._errors import StartError as StartError
from transom._errors import Stop as Stop
from transom._errors import TableAccess as TableAccess
from transom._errors import TaskError as TaskError
from transom._errors import TooManyChildren as TooManyChildren
from transom._errors import TransomError as TransomError
from transom._gc import gc_info as gc_info
from transom._groups import Groups as Groups
from transom._isolated import isolated as isolated
from transom._isolated import isolated_info as isolated_info
from transom._loop_agent import in_process as in_process
from transom._loop_thread import io_info as io_info
from transom._offload import offload as offload
from transom._process import set_priority as set_priority
from transom._process import spawn_opt as spawn_opt
from transom._pubsub import PubSub as PubSub
from transom._registry import Registry as Registry
from transom._registry import Via as Via
from transom._report import set_redaction as set_redaction
from transom._requests import Answer as Answer
from transom._requests import as_completed as as_completed
from transom._restart import Backoff as Backoff
from transom._restart import Recovery as Recovery
from transom._runtime import run as run
from transom._runtime import start as start
from transom._runtime import stop as stop
from transom._start import pid_of as pid_of
from transom._statem import StateMachine as StateMachine
from transom._supervisor import DynamicSupervisor as DynamicSupervisor
from transom._supervisor import Supervisor as Supervisor
from transom._supervisor_partition import PartitionSupervisor as PartitionSupervisor
from transom._supervisor_partition import PartitionSupervisorRef as PartitionSupervisorRef
from transom._supervisor_ref import DynamicSupervisorRef as DynamicSupervisorRef
from transom._supervisor_ref import SupervisorRef as SupervisorRef
from transom._table import Continuation as Continuation
from transom._table import Table as Table
from transom._table import TableTransfer as TableTransfer
from transom._task import Task as Task
from transom._task_stream import TaskStream as TaskStream
from transom._task_supervisor import TaskSupervisor as TaskSupervisor
from transom._task_supervisor import TaskSupervisorRef as TaskSupervisorRef
from transom._turn import From as From
from transom._turn import continue_with as continue_with
from transom._turn import defer as defer
from transom._turn import hibernate as hibernate
from transom._turn import idle_timeout as idle_timeout
from transom._turn import stop_after as stop_after
from transom._typed import method as method
from transom._values import Crash as Crash
from transom._values import SpawnOptions as SpawnOptions

__version__ = "0.1.0"


def _publish() -> None:
    """Users see transom.send, not the module it is made in; and ``import *`` leaves them the standard library's sys."""
    names = globals()
    for value in tuple(names.values()):
        if getattr(value, "__module__", "").startswith("transom."):
            value.__module__ = "transom"
    names["__all__"] = sorted(
        name for name in names if name.isidentifier() and not name.startswith("_") and name != "sys"
    )


_publish()
