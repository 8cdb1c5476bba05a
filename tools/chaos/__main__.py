#!/usr/bin/env python
"""Run as `python -m tools.chaos` or `python tools/chaos`."""

import sys
from pathlib import Path

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from tools.chaos.cli import main

if __name__ == "__main__":
    sys.exit(main())
