"""The figures, worked out now and then for everybody who asks."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from stepaudio_cas import __version__
from stepaudio_cas.maintenance.sizes import measure
from stepaudio_cas.maintenance.statistics import Look, statistics
from stepaudio_cas.store.urls import is_near
from stepaudio_cas.web.observer import quantile

if TYPE_CHECKING:
    from stepaudio_cas.maintenance.sizes import Size
    from stepaudio_cas.store.backend import Backend
    from stepaudio_cas.store.counters import Tally
    from stepaudio_cas.web.observer import Histogram
    from stepaudio_cas.web.source import Source
    from stepaudio_cas.web.work import Work

NEAR: Final = 1.0
FAR: Final = 15.0
"""For how many seconds figures are good: where each look is paid for, for longer."""

FAR_SIZES: Final = 600.0
DEEP: Final = 60.0
EVERY: Final = 5.0
POINTS: Final = 720
_PER_SECOND: Final = 30.0
"""What took a second to find out is good for so many."""


class Found(NamedTuple):
    """Figures, also as they are sent."""

    figures: dict[str, Any]
    body: bytes
    etag: str


class Figures:
    """What `cas-tool stats` says, and what this process has to say besides."""

    def __init__(self, source: Source, work: Work) -> None:
        self._source, self._work = source, work
        self._found: dict[bool, tuple[float, Found]] = {}
        self._locks = {False: asyncio.Lock(), True: asyncio.Lock()}
        self._sizes: dict[str, tuple[float, Size]] = {}
        self._known: dict[str, Tally] = {}
        self._calls = 0.0
        self.points: deque[dict[str, float]] = deque(maxlen=POINTS)
        self.fresh = NEAR if source.near else FAR
        self.every = max(EVERY, self.fresh)

    async def get(self, *, deep: bool = False) -> Found:
        """Return figures that are as new as they can be for what they cost."""
        async with self._locks[deep]:
            known = self._found.get(deep)
            if known is not None and time.monotonic() < known[0]:
                return known[1]
            began = time.monotonic()
            found = await self._work.run(lambda: self._look(deep=deep), seconds=60.0)
            took = time.monotonic() - began
            good = max(DEEP if deep else self.fresh, min(took * _PER_SECOND, FAR_SIZES))
            self._found[deep] = time.monotonic() + good, found
            return found

    async def sample(self) -> tuple[dict[str, float], dict[str, float]]:
        """Take down a point of the history; return it, and the one before.

        While a store is away of which nothing is known there is no point: its counts would seem
        to be new once it is back, and its bytes to have been gone.
        """
        figures = (await self.get()).figures
        counters = figures["counters"]
        point = {
            "time": figures["time"],
            **{name: figures[name] for name in ("hits", "misses", "bypasses", "errors")},
            "seconds_saved": figures["seconds_saved"],
            "seconds_lookup": counters.get("seconds.lookup", 0),
            "bytes": figures["bytes"],
        }
        before = self.points[-1] if self.points else point
        if figures["error"] or figures["uncounted"]:
            return before, before
        if not self.points or point["time"] > before["time"]:
            self.points.append(point)
        return point, before

    def _look(self, *, deep: bool) -> Found:
        figures = self._statistics(deep=deep)
        calls = figures["calls"]
        if calls < self._calls:  # documents that are being folded are missing for a moment
            figures = self._statistics(deep=deep)
            calls = figures["calls"]
        self._calls = calls
        stable = json.dumps(figures, separators=(",", ":")).encode()
        process = self._process()
        etag = hashlib.blake2b(stable + repr(process).encode(), digest_size=12).hexdigest()
        figures = {
            "time": round(time.time(), 3), "version": __version__,
            "mode": self._source.settings.mode.value,
            "sizes_at": min((at for at, _ in self._sizes.values()), default=None),
            **figures, "process": process, "can": self._can(),
        }  # fmt: skip
        body = json.dumps(figures, separators=(",", ":")).encode()
        return Found(figures, body, f'W/"{etag}"')

    def _statistics(self, *, deep: bool) -> dict[str, Any]:
        source = self._source
        look = Look(
            deep=deep, remember=source.writable, measure=self._measure, known=self._known
        )  # fmt: skip
        figures = statistics(
            source.stores, look=look, max_size=source.settings.max_size, step=self._work.pace.rest
        )
        away = [tier for tier in figures["tiers"] if tier.get("error")]
        stale = [tier["name"] for tier in away if tier["store"] in self._known]
        uncounted = [tier["name"] for tier in away if tier["store"] not in self._known]
        return {**figures, "stale": stale, "uncounted": uncounted}

    def _measure(self, backend: Backend, **how: Any) -> Size:
        known = self._sizes.get(backend.url)
        if known is not None and not is_near(backend) and time.time() - known[0] < FAR_SIZES:
            return known[1]
        size = measure(backend, **how)
        self._sizes[backend.url] = time.time(), size
        return size

    def _can(self) -> dict[str, Any]:
        why = "" if self._source.writable else "the mode is ro: nothing is changed here"
        return {"write": self._source.writable, "why_not": why}

    def _process(self) -> dict[str, Any] | None:
        cache, observer = self._source.cache, self._source.observer
        if cache is None or observer is None:
            return None
        counted = cache.stats()
        kept = ("since", "hits", "misses", "bypasses", "errors", "hit_rate", "seconds_saved")
        return {
            "pid": os.getpid(),
            **{name: counted[name] for name in (*kept, "memory", "tiers")},
            "lookup_seconds": _times(list(observer.lookups.values())),
            "encode_seconds": _times(list(observer.encodes.values())),
        }


def _times(histograms: list[Histogram]) -> dict[str, Any]:
    return {
        "count": sum(sum(one.counts) for one in histograms),
        "sum": sum(one.sum for one in histograms),
        "p50": quantile(histograms, 0.5) if histograms else None,
        "p99": quantile(histograms, 0.99) if histograms else None,
    }
