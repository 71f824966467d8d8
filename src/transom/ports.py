"""Sockets, programs and files as ports: each belongs to a process, tells it of data, and closes when it ends.

``connect``, ``listen``, ``open_udp``, ``open_program`` and ``open_file`` open one; what they return is awaited in
processes and agents, or asked for its ``result()`` in plain functions. A port is passive (``recv``, ``accept``) or
active: then its owner gets ``Data``, ``Accepted``, ``ExitStatus``, ``Closed`` and so on as messages, which an agent
handles in ``handle_info``.
"""

from transom._errors import PortClosed as PortClosed
from transom._errors import PortError as PortError
from transom._port import Accepted as Accepted
from transom._port import Closed as Closed
from transom._port import Data as Data
from transom._port import Datagram as Datagram
from transom._port import Eof as Eof
from transom._port import ErrorData as ErrorData
from transom._port import ExitStatus as ExitStatus
from transom._port import Passive as Passive
from transom._port import Port as Port
from transom._port import PortOp as PortOp
from transom._port_file import open_file as open_file
from transom._port_program import Program as Program
from transom._port_program import open_program as open_program
from transom._port_socket import Listener as Listener
from transom._port_socket import connect as connect
from transom._port_socket import listen as listen
from transom._port_stream import Stream as Stream
from transom._port_udp import Udp as Udp
from transom._port_udp import open_udp as open_udp


def _publish() -> None:
    """Users see transom.ports.Data, not the module it is made in."""
    for value in tuple(globals().values()):
        if getattr(value, "__module__", "").startswith("transom._port"):
            value.__module__ = "transom.ports"


_publish()
