"""Synchronous starting of processes of your own making: OTP's proc_lib.

For processes that are no Agent but want its manners: a start that returns when they are ready, ancestors, and crash
reports that tell where they come from.
"""

from transom._proc_lib import init_ack as init_ack
from transom._proc_lib import init_fail as init_fail
from transom._proc_lib import init_ignore as init_ignore
from transom._proc_lib import start as start
from transom._proc_lib import start_link as start_link
from transom._proc_lib import start_monitor as start_monitor
