#!/usr/bin/env python
"""Run as `python -m tools.bench`, `python tools/bench` or `tools/bench/__main__.py`."""

import sys
from pathlib import Path

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from tools.bench.cli import main

if __name__ == "__main__":
    sys.exit(main())
