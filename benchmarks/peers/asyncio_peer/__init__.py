"""asyncio's side: tasks for processes, an `asyncio.Queue` for each mailbox.

The loop is stock or uvloop, named by the parameter `loop`. Scenarios about two schedulers are not
here: a loop has one thread.
"""
