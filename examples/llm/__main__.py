"""``python -m examples.llm``: read the options, then hold the conversations."""

import sys

import transom

from .program import converse
from .settings import parse

if __name__ == "__main__":
    transom.run(converse, parse(sys.argv[1:]))
