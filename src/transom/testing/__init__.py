"""Tools to test processes and agents: with the pytest plugin, or without it by ``run_test``.

A test is a process of a fresh node. When it ends, everything it started must be gone: a process that lives on is a
leak and fails the test, and so does a crash report that the test did not expect.

Reading order:

    _context.py   the test under way: its node's options, its supervisor, what it expects
    _run.py       running a test as a process; leaks
    _crashes.py   crash reports
    _receive.py   assert_receive, refute_receive and patterns
    _supervised.py  start_supervised
    _stub.py      stub agents
    _watch.py     what one agent was asked and answered
    _fixture.py   fixtures that run in the test's process
    _search.py    explore: a test under many schedules
    faults.py     faults put into deterministic runs
    _item.py      what the plugin (src/_transom_pytest.py) calls
"""

from transom.testing import faults as faults
from transom.testing._context import Node as Node
from transom.testing._crashes import CrashReport as CrashReport
from transom.testing._crashes import UnexpectedCrash as UnexpectedCrash
from transom.testing._crashes import allow_crashes as allow_crashes
from transom.testing._crashes import assert_crash as assert_crash
from transom.testing._crashes import crash_reports as crash_reports
from transom.testing._fixture import fixture as fixture
from transom.testing._receive import assert_down as assert_down
from transom.testing._receive import assert_receive as assert_receive
from transom.testing._receive import refute_receive as refute_receive
from transom.testing._run import LeakedProcesses as LeakedProcesses
from transom.testing._run import run_test as run_test
from transom.testing._search import Finding as Finding
from transom.testing._search import LostMessage as LostMessage
from transom.testing._search import Search as Search
from transom.testing._search import explore as explore
from transom.testing._stub import Received as Received
from transom.testing._stub import Stub as Stub
from transom.testing._stub import start_stub as start_stub
from transom.testing._supervised import start_supervised as start_supervised
from transom.testing._supervised import stop_supervised as stop_supervised
from transom.testing._watch import Event as Event
from transom.testing._watch import watch as watch
