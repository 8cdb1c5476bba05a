"""Requests of which a share has been made before: how near to the ideal 1/(1-r) it comes."""

from __future__ import annotations

import math
import statistics
import time
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import stepaudio_cas as cas
from tools.bench.subject import SAMPLE_RATE, busy, bytes_of, cached_by, encode, make_clip, mark

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tools.bench.scale import Scale

ENCODE_SECONDS: Final = 0.07
"""Processor time of one encode: the published Redis recipe starts from 14.2 requests a second."""

SHARES: Final = (0.0, 0.5, 0.8, 1.0)
PUBLISHED: Final = {0.0: 1.0, 0.5: 2.0, 0.8: 5.0, 1.0: 70.0}
"""How many times as fast that recipe got, as published."""


def measure_repeats(folder: Path, scale: Scale) -> list[dict[str, Any]]:
    """Time series of requests, each beside bare encodes at the same moment."""
    clips = [make_clip() for _ in range(scale.requests)]
    data, numbers = bytes_of(make_clip()), count(1)

    def slow(audio: Any, sample_rate: int) -> Any:
        busy(data, ENCODE_SECONDS)
        return encode(audio, sample_rate)

    rows: dict[float, list[tuple[float, float]]] = {share: [] for share in SHARES}
    with cas.open(folder / "repeats", log="off") as cache:
        function = cached_by(cache, slow)
        for _ in range(scale.series):
            for share in SHARES:
                for clip in clips:
                    mark(clip, next(numbers))
                if share == 1.0:
                    function(clips[0], SAMPLE_RATE)
                bare = _time([partial(slow, clip, SAMPLE_RATE) for clip in clips[:3]])
                order = requests(share, scale.requests)
                ours = _time([partial(function, clips[at], SAMPLE_RATE) for at in order])
                bare += _time([partial(slow, clip, SAMPLE_RATE) for clip in clips[:3]])
                rows[share].append((bare / 6, ours / len(order)))
        errors = cache.stats()["errors"]
    if errors:
        raise RuntimeError(f"{errors} errors")
    return [_row(share, found) for share, found in rows.items()]


def requests(share: float, number: int) -> list[int]:
    """Say which clip each request is for: `share` of them for one that was asked for before."""
    order: list[int] = []
    new = 0
    for index in range(number):
        wanted = max(1, math.ceil((index + 1) * (1 - share) - 1e-9))
        if wanted > new:
            order.append(new)
            new += 1
        else:
            order.append(index % new)
    return order


def _time(calls: list[Callable[[], Any]]) -> float:
    started = time.perf_counter()
    for call in calls:
        call()
    return time.perf_counter() - started


def _row(share: float, found: list[tuple[float, float]]) -> dict[str, Any]:
    speedup = statistics.median(bare / ours for bare, ours in found)
    ideal = 1 / (1 - share) if share < 1 else None
    return {
        "repeated": share,
        "encode_seconds": statistics.median(bare for bare, _ in found),
        "request_seconds": statistics.median(ours for _, ours in found),
        "speedup": speedup,
        "ideal": ideal,
        "share_of_ideal": speedup / ideal if ideal else None,
        "published": PUBLISHED[share],
        "series": len(found),
    }
