"""How much is measured: the same things in every size, only fewer times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Scale:
    """One size of run."""

    name: str
    calls: int
    """Calls in one block."""
    blocks: int
    """Pairs of blocks, where the reference is about as fast as a hit."""
    slow_calls: int
    """Calls in one block, where the reference takes milliseconds."""
    slow_blocks: int
    """Pairs of such blocks."""
    patience: float
    """Seconds after which no further block is begun."""
    seconds: float
    """Length of one turn in the measurement of throughput."""
    turns: int
    threads: tuple[int, ...]
    processes: tuple[int, ...]
    rounds: int
    """New keys in the stampede."""
    long_rounds: int
    """Rounds of requests where an encode takes a quarter of a second."""
    short_rounds: int
    """The same where it takes 70 ms."""
    entries: int
    """Entries of the store that is looked after."""
    runs: int
    """How often each of its commands is run."""


FULL: Final = Scale(
    "full", 20, 100, 20, 20, 30.0, 0.3, 7, (1, 8, 64), (1, 4), 20, 20, 40, 20_000, 5
)
QUICK: Final = Scale("quick", 20, 30, 5, 3, 1.5, 0.1, 1, (1, 8, 64), (1, 4), 3, 2, 3, 1000, 2)
TINY: Final = Scale("tiny", 2, 2, 2, 1, 0.5, 0.01, 1, (1, 2), (1, 2), 1, 1, 1, 100, 1)

SCALES: Final = {scale.name: scale for scale in (FULL, QUICK, TINY)}
