"""Requests of which a share has been made before: how near to the ideal 1/(1-r) it comes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from tools.bench.sampling import Pairs
from tools.bench.subject import (
    SAMPLE_RATE,
    busy,
    bytes_of,
    cached_by,
    encode,
    make_clip,
    mark,
    only_hits,
    open_cache,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from stepaudio_cas import Cache
    from tools.bench.scale import Scale

HOST: Final = 0.25
"""Seconds of one encode: a sixth of what the first host needs after all tuning."""

RECIPE: Final = 0.07
"""The published Redis recipe starts from 14.2 requests a second."""

REPEATS: Final = {0.0: 0, 0.5: 1, 0.8: 4}
"""How many repeated requests come with each new one."""

PUBLISHED: Final = {0.0: 1.0, 0.5: 2.0, 0.8: 5.0, 1.0: 70.0}
"""How many times as fast that recipe got, as published."""

_ONLY_REPEATS: Final = 100
_WARM_UP: Final = 2


def measure_repeats(folder: Path, scale: Scale) -> list[dict[str, Any]]:
    """Time rounds of requests, each beside one bare encode at the same moment."""
    rows = []
    for seconds, rounds in ((HOST, scale.long_rounds), (RECIPE, scale.short_rounds)):
        with open_cache(folder / f"repeats-{seconds}") as cache:
            stream = Stream(cache, seconds, scale.patience)
            for share, repeats in REPEATS.items():
                pairs = stream.compare(rounds, 1, repeats)
                rows.append(_row(seconds, share, pairs, 1 + repeats))
            if seconds == RECIPE:
                pairs = stream.compare(rounds, 0, _ONLY_REPEATS)
                rows.append(_row(seconds, 1.0, pairs, _ONLY_REPEATS))
            only_hits(cache, "memory", misses=stream.new)
    return rows


class Stream:
    """Requests for clips, some of them new. An encode takes a fixed time."""

    def __init__(self, cache: Cache, seconds: float, patience: float) -> None:
        self._clips = [make_clip(number) for number in range(max(REPEATS.values()) + 1)]
        self._data, self._seconds = bytes_of(make_clip()), 0.0
        self._function = cached_by(cache, self._make_function())
        self.new = len(self._clips)  # so many have been asked for: those of `_round` follow
        for clip in self._clips:
            self._function(clip, SAMPLE_RATE)
        self._round(_WARM_UP, 0)
        self._seconds, self._patience = seconds, patience

    def compare(self, rounds: int, new: int, repeats: int) -> Pairs:
        """Time rounds of new and repeated requests, and a bare encode beside each."""
        pairs, until = Pairs([], []), time.monotonic() + self._patience
        for turn in range(rounds):
            order = [(self._round, (new, repeats)), (self._bare, ())]
            for function, arguments in order if turn % 2 else reversed(order):
                times = pairs.subject if arguments else pairs.reference
                started = time.perf_counter()
                function(*arguments)
                times.append(time.perf_counter() - started)
            if time.monotonic() > until:
                break
        return pairs

    def _round(self, new: int, repeats: int) -> None:
        for _ in range(new):
            self.new += 1
            clip = self._clips[self.new % len(self._clips)]
            mark(clip, self.new)
            self._function(clip, SAMPLE_RATE)
        for offset in range(repeats):
            self._function(self._clips[offset % len(self._clips)], SAMPLE_RATE)

    def _make_function(self) -> Callable[[Any, int], Any]:
        def wav2token(audio: Any, sample_rate: int) -> Any:
            return self._encode(audio, sample_rate)

        return wav2token

    def _bare(self) -> None:
        self._encode(self._clips[0], SAMPLE_RATE)

    def _encode(self, audio: Any, sample_rate: int) -> Any:
        busy(self._data, self._seconds)
        return encode(audio, sample_rate)


def _row(seconds: float, share: float, pairs: Pairs, requests: int) -> dict[str, Any]:
    """Say how a round of requests compares with the one encode that it cannot do without."""
    ratio = pairs.ratio
    ideal = requests if share < 1 else None
    return {
        "encode_seconds": seconds,
        "repeated": share,
        "speedup": requests / ratio.median,
        "ideal": ideal,
        "share_of_ideal": 1 / ratio.median if ideal else None,
        "round_over_encode": ratio._asdict(),
        "requests": requests,
        "published": PUBLISHED[share] if seconds == RECIPE else None,
        "rounds": len(pairs.subject),
    }
