"""Kill writers at random instants for minutes: `python -m tools.soak_kill --minutes 10`.

Round after round, each in a store of its own, half of them as on a disk without hard links. It
stops with a traceback, and leaves the store for a look, as soon as anything is not right.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections import Counter
from itertools import count
from pathlib import Path
from typing import Final

from tests.support.writers import harass, survey

_ROUND_SECONDS: Final = 30.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--writers", type=int, default=3, help="processes that write at a time")
    parser.add_argument("--folder", type=Path, help="where the stores go; a temporary one if unset")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="soak-kill-", dir=options.folder))
    print(f"in {folder}")
    end, total = time.monotonic() + options.minutes * 60, 0
    for number in count(1):
        if time.monotonic() >= end:
            break
        total += one_round(folder / str(number), end, options.writers, links=number % 2 == 1)
    shutil.rmtree(folder)
    print(f"{total} kills, nothing wrong")


def one_round(root: Path, end: float, writers: int, *, links: bool) -> int:
    stop = min(end, time.monotonic() + _ROUND_SECONDS)
    kills, reader = harass(
        root, lambda _: time.monotonic() >= stop, links=links, writers=writers, longest=0.2
    )
    found = survey(root)
    assert links <= (not found.unreadable), found.unreadable
    left = Counter(path.split("/")[1] for path in found.hidden)
    print(
        f"{kills} kills, {len(found.values)} entries, {reader.hits} of {reader.reads} reads found"
        f" one, hidden leftovers: {dict(left)}, torn on a disk without links:"
        f" {len(found.unreadable)}",
        flush=True,
    )
    shutil.rmtree(root)
    return kills


if __name__ == "__main__":
    main()
