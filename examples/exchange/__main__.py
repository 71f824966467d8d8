"""``python -m examples.exchange``: read the options, then run the exchange."""

import sys

import transom

from .program import exchange
from .settings import parse

transom.run(exchange, parse(sys.argv[1:]))
