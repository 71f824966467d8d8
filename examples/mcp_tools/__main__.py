"""``python -m examples.mcp_tools [researchers]``"""

import sys

import transom

from .program import research

if __name__ == "__main__":
    transom.run(research, *map(int, sys.argv[1:]))
