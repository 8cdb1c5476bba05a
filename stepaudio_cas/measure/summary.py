"""Many measurements in a few figures."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, Any

from stepaudio_cas.measure.requests import ALONE, CACHED, COLD
from stepaudio_cas.measure.stopwatch import ENCODE, TOTAL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return the median, and the least and the greatest."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that so large a share of all does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def stages(runs: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, dict[str, Any]]:
    """Sum up the stages of requests; those that took no time at all were not met."""
    ways = (ALONE, COLD, CACHED)
    met = [name for name in runs[0][ALONE] if any(run[way][name] for run in runs for way in ways)]
    return {way: {name: spread([run[way][name] for run in runs]) for name in met} for way in ways}


def encode_share(found: Mapping[str, Mapping[str, Any]]) -> float:
    """Return which part of a request without a cache is spent encoding."""
    return _seconds(found, ALONE, ENCODE) / _seconds(found, ALONE, TOTAL)


def saved_share(found: Mapping[str, Mapping[str, Any]]) -> float:
    """Return which part of a request is saved if it is repeated: encoding, but for the hit."""
    saved = _seconds(found, ALONE, ENCODE) - _seconds(found, CACHED, ENCODE)
    return max(0.0, saved / _seconds(found, ALONE, TOTAL))


def _seconds(found: Mapping[str, Mapping[str, Any]], way: str, stage: str) -> float:
    seconds: float = found[way][stage]["median"] if stage in found[way] else 0.0
    return seconds


def throughput(
    repeated: float, rounds: Sequence[Mapping[str, Any]], share: float
) -> dict[str, Any]:
    """Sum up rounds. `share` is the part of a request that repeating it can save."""
    latencies = [latency for one in rounds for latency in one["latencies"]]
    alone = [one["alone"] for one in rounds]
    ratios = [len(one["latencies"]) * one["alone"] / sum(one["latencies"]) for one in rounds]
    return {
        "repeated": repeated,
        "requests": len(latencies),
        "per_second": len(latencies) / sum(latencies),
        "alone_per_second": len(alone) / sum(alone),
        "speedup": spread(ratios),
        "ideal": _ideal(repeated),
        "reachable": _ideal(repeated * share),
        "latency": {
            f"p{part}": percentile(latencies, part / 100) for part in (50, 95, 99)
        },
    }  # fmt: skip


def _ideal(saved: float) -> float | None:
    """Return how many times as fast it gets where so large a part takes no time any more."""
    return round(1 / (1 - saved), 6) if saved < 1 else None
