"""A telephone exchange of agents, which needs nothing but transom: ``make demo-exchange``.

Thousands of agent sessions hold conversations. Some crash on purpose and are
restarted, some hog the processor, some refuse to die. Run it from the root of
the repository::

    python -m examples.exchange
    transom run examples.exchange:main

Reading order: ``sessions``, ``meter``, ``tree``, ``hogs``, ``stubborn``,
``view``, ``program``; then ``beside_asyncio``, which is the same exchange on
plain asyncio.
"""

from .program import main as main
