"""The figures, worked out now and then for everybody who asks."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from stepaudio_cas import __version__
from stepaudio_cas.maintenance.sizes import Size, measure
from stepaudio_cas.maintenance.statistics import Look, statistics
from stepaudio_cas.store.urls import is_near
from stepaudio_cas.web.answers import as_json
from stepaudio_cas.web.errors import ApiError
from stepaudio_cas.web.observer import quantile

if TYPE_CHECKING:
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
PATIENCE: Final = 60.0
SOON: Final = 8.0
"""Seconds until whoever asks is told what was known before: Prometheus itself waits for ten."""

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
        self._answered: set[str] = set()
        self._looking: asyncio.Future[Found] | None = None
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
            found = await self._work.run(lambda: self._look(deep=deep), seconds=PATIENCE)
            took = time.monotonic() - began
            good = max(DEEP if deep else self.fresh, min(took * _PER_SECOND, FAR_SIZES))
            self._found[deep] = time.monotonic() + good, found
            return found

    async def soon(self) -> dict[str, Any]:
        """Return figures within `SOON`: of a store that hangs, what was known of it."""
        loop, looking = asyncio.get_running_loop(), self._looking
        if looking is None or looking.done() or looking.get_loop() is not loop:
            looking = self._looking = asyncio.ensure_future(self.get())
            looking.add_done_callback(lambda one: one.cancelled() or one.exception())
        await asyncio.wait([looking], timeout=SOON)
        with contextlib.suppress(ApiError):  # it took too long, as the ones before it do
            return looking.result().figures if looking.done() else self._before()
        return self._before()

    def _before(self) -> dict[str, Any]:
        """Say what was known, and which store it is that has not answered now."""
        named = [(name, store.url) for name, store in self._source.named]
        hung = next((name for name, url in named if url not in self._answered), named[0][0])
        error = f"there has been no answer within {SOON:g} s"
        known = self._found.get(False)
        if known is None:
            empty: dict[str, Any] = {"hits": 0, **Size()._asdict(), "limit": None}
            tiers = [{"name": name, "store": url, "error": error, **empty} for name, url in named]
            nothing: dict[str, Any] = {"counters": {}, "processes": 0, "stale": []}
            return {
                "store": named[0][1], "tiers": tiers, "uncounted": [n for n, _ in named], **nothing
            }  # fmt: skip
        figures = known[1].figures
        tiers = [
            {**tier, "error": error} if tier["name"] == hung else tier for tier in figures["tiers"]
        ]
        return {**figures, "tiers": tiers, "stale": sorted({*figures["stale"], hung})}

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
        stable = as_json(figures)
        process = self._process()
        etag = hashlib.blake2b(stable + repr(process).encode(), digest_size=12).hexdigest()
        figures = {
            "time": round(time.time(), 3), "version": __version__,
            "mode": self._source.settings.mode.value,
            "sizes_at": min((at for at, _ in self._sizes.values()), default=None),
            **figures, "process": process, "can": self._can(),
        }  # fmt: skip
        body = as_json(figures)
        return Found(figures, body, f'W/"{etag}"')

    def _statistics(self, *, deep: bool) -> dict[str, Any]:
        source = self._source
        self._answered.clear()
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
            size = known[1]
        else:
            size = measure(backend, **how)
            self._sizes[backend.url] = time.time(), size
        self._answered.add(backend.url)
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
