"""``python -m transom`` is the command ``transom``."""

import sys

from transom._cli import main

sys.exit(main())
