"""Timing on a machine that changes its speed from second to second: pairs of blocks.

A block of calls of the one is followed by a block of calls of the other, and next time the other
way round; each pair gives one ratio of two medians. What slows the machine down for longer than a
pair thus slows both, and what happens within a pair is one ratio among many.
"""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tools.bench.scale import Scale

_WARM_UP = 3


class Spread(NamedTuple):
    """The median and the quartiles."""

    median: float
    low: float
    high: float


class Pairs(NamedTuple):
    """Block medians, in seconds, of a subject and of what it is compared with."""

    subject: list[float]
    reference: list[float]

    @property
    def ratio(self) -> Spread:
        """The subject's time in units of the reference's."""
        return spread([s / r for s, r in zip(self.subject, self.reference, strict=True)])

    def figures(self) -> dict[str, Any]:
        """Say it for JSON."""
        return {
            "seconds": spread(self.subject)._asdict(),
            "reference_seconds": spread(self.reference)._asdict(),
            "ratio": self.ratio._asdict(),
            "blocks": len(self.subject),
        }


def spread(values: Sequence[float]) -> Spread:
    """Sum up measurements."""
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, low, high)


def time_block(
    function: Callable[[], Any], calls: int, before: Callable[[], Any] | None = None
) -> list[float]:
    """Time single calls, each after an untimed `before`."""
    clock, times = time.perf_counter, []
    for _ in range(calls):
        if before is not None:
            before()
        started = clock()
        function()
        times.append(clock() - started)
    return times


def compare(
    subject: Callable[[], Any], reference: Callable[[], Any], scale: Scale, *, slow: bool = False
) -> Pairs:
    """Time `subject` and `reference` in alternating blocks."""
    for function in (subject, reference):
        time_block(function, _WARM_UP)
    calls, blocks = (scale.slow_calls, scale.slow_blocks) if slow else (scale.calls, scale.blocks)
    pairs, until = Pairs([], []), time.monotonic() + scale.patience
    for turn in range(blocks):
        order = [(subject, pairs.subject), (reference, pairs.reference)]
        for function, medians in order if turn % 2 else reversed(order):
            medians.append(statistics.median(time_block(function, calls)))
        if time.monotonic() > until:
            break
    return pairs
