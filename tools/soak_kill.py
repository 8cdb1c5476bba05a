"""Kill writers at random instants for minutes: `python -m tools.soak_kill --minutes 10`.

Round after round, each in a store of its own: on the disk as it is, then as if its locks did
nothing, then as if it had no hard links. It stops with a traceback, and leaves the store for a
look, as soon as anything is not right.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections import Counter
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.support.writers import harass, refuse_links, stub_locks, survey

if TYPE_CHECKING:
    from collections.abc import Callable

_ROUND_SECONDS: Final = 30.0


def as_it_is() -> None:
    """Leave the disk alone."""


_DISKS: Final = (as_it_is, stub_locks, refuse_links)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--writers", type=int, default=3, help="processes that write at a time")
    parser.add_argument("--folder", type=Path, help="where the stores go; a temporary one if unset")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="soak-kill-", dir=options.folder))
    print(f"in {folder}")
    end, total = time.monotonic() + options.minutes * 60, 0
    for number, disk in enumerate(cycle(_DISKS)):
        if time.monotonic() >= end:
            break
        total += one_round(folder / str(number), end, options.writers, disk)
    shutil.rmtree(folder)
    print(f"{total} kills, nothing wrong")


def one_round(root: Path, end: float, writers: int, disk: Callable[[], None]) -> int:
    stop = min(end, time.monotonic() + _ROUND_SECONDS)
    kills, reader = harass(
        root, lambda _: time.monotonic() >= stop, prepare=disk, writers=writers, longest=0.2
    )
    found = survey(root)
    assert disk is refuse_links or not found.unreadable, found.unreadable
    left = Counter(path.split("/")[1] for path in found.hidden)
    print(
        f"{disk.__name__}: {kills} kills, {len(found.values)} entries, {len(found.unreadable)}"
        f" unreadable, {reader.hits} of {reader.reads} reads found one,"
        f" hidden leftovers: {dict(left)}",
        flush=True,
    )
    shutil.rmtree(root)
    return kills


if __name__ == "__main__":
    main()
