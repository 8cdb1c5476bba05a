"""Hearing what the cache of this process does: for events, for histograms, for the last misses."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from stepaudio_cas._fork import survive_fork

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stepaudio_cas.errors import Bypass
    from stepaudio_cas.identity.recipe import Recipe
    from stepaudio_cas.store.counters import Subject

LOOKUP_BOUNDS: Final = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
)
ENCODE_BOUNDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 60.0)
_WAITING: Final = 500
_LAST: Final = 100


class Histogram:
    """How often something took how long."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.sum += seconds

    def cumulative(self) -> list[tuple[str, float]]:
        """Say it as Prometheus has it: how many took no longer than each bound."""
        total, found = 0, []
        for bound, count in zip((*self.bounds, None), self.counts, strict=True):
            total += count
            found.append(("+Inf" if bound is None else repr(bound), float(total)))
        return found


def quantile(histograms: Sequence[Histogram], share: float) -> float | None:
    """Say within how much time so large a share of it was done: between two bounds, evenly."""
    counts = [sum(column) for column in zip(*(h.counts for h in histograms), strict=True)]
    rank = sum(counts) * share
    if not rank:
        return None
    below, seen = 0.0, 0
    for bound, count in zip(histograms[0].bounds, counts, strict=False):
        if count and seen + count >= rank:
            return float(below + (bound - below) * (rank - seen) / count)
        below, seen = bound, seen + count
    return float(below)


class Miss(NamedTuple):
    """An encode, for who asks why."""

    time: float
    recipe: Recipe
    plugin: str
    seconds: float


class Observer:
    """A listener: it only takes down, because it runs in the host's own call."""

    def __init__(self) -> None:
        self._after_fork()
        survive_fork(self)
        self.lookups: dict[str, Histogram] = {}
        self.encodes: dict[str, Histogram] = {}
        self.misses: deque[Miss] = deque(maxlen=_LAST)
        self.bypasses: deque[dict[str, Any]] = deque(maxlen=_LAST)
        self.errors: deque[dict[str, Any]] = deque(maxlen=_LAST)
        self.followed = False
        """Whether somebody wants events; else none are kept."""
        self._waiting: deque[tuple[str, Any]] = deque(maxlen=_WAITING)
        self._left_out = 0

    def _after_fork(self) -> None:
        self._lock = threading.Lock()

    def take(self) -> tuple[list[tuple[str, Any]], int]:
        """Return what has happened since the last time, and how much more than could be kept."""
        with self._lock:
            found, missing = list(self._waiting), self._left_out
            self._waiting.clear()
            self._left_out = 0
        return [(kind, _document(kind, what)) for kind, what in found], missing

    def hit(
        self, subject: Subject, tier: str, saved: float, took: float, recipe: Recipe | None
    ) -> None:
        """Take down a hit."""
        with self._lock:
            known = self.lookups.get(tier)
            if known is None:
                known = self.lookups[tier] = Histogram(LOOKUP_BOUNDS)
            known.add(took)
            if self.followed and recipe is not None:
                self._tell("hit", (time.time(), recipe, subject.plugin, tier, took, saved))

    def miss(self, subject: Subject, recipe: Recipe, seconds: float, *, ours: bool) -> None:
        """Take down an encode."""
        now = time.time()
        with self._lock:
            known = self.encodes.get(subject.plugin)
            if known is None:
                known = self.encodes[subject.plugin] = Histogram(ENCODE_BOUNDS)
            known.add(seconds)
            self.misses.append(Miss(now, recipe, subject.plugin, seconds))
            self._tell("miss", (now, recipe, subject.plugin, seconds, ours))

    def bypass(self, plugin: str, bypass: Bypass) -> None:
        """Take down a call that was passed through."""
        self._note("bypass", self.bypasses, {
            "time": time.time(), "plugin": plugin, "reason": bypass.reason, "detail": bypass.detail,
        })  # fmt: skip

    def error(self, kind: str, text: str, subject: Subject) -> None:
        """Take down a failure of ours."""
        self._note("error", self.errors, {
            "time": time.time(), "kind": kind, "text": text, "plugin": subject.plugin,
        })  # fmt: skip

    def _note(self, kind: str, last: deque[dict[str, Any]], said: dict[str, Any]) -> None:
        with self._lock:
            last.append(said)
            self._tell(kind, said)

    def _tell(self, kind: str, what: Any) -> None:
        if self.followed:
            self._left_out += len(self._waiting) == _WAITING
            self._waiting.append((kind, what))


def _document(kind: str, what: Any) -> dict[str, Any]:
    if isinstance(what, dict):
        return what
    moment, recipe, plugin, *rest = what
    names = ("tier", "seconds", "saved") if kind == "hit" else ("seconds", "ours")
    said = {"time": moment, "key": recipe.key, "plugin": plugin, "schema": recipe.schema}
    return {**said, "voice": voice_of(recipe), **dict(zip(names, rest, strict=True))}


def voice_of(recipe: Recipe) -> str:
    """Name the file an input was read from, if it was one."""
    found = (item.facts.get("name") for item in recipe.inputs.values())
    return next((name for name in found if isinstance(name, str)), "")
