"""Removing entries, and collecting garbage by a plan that somebody has looked at."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from stepaudio_cas.errors import CasError
from stepaudio_cas.maintenance.account import summary
from stepaudio_cas.maintenance.gc import Asked, Collector
from stepaudio_cas.maintenance.removal import Removed, carry_out, make_plan
from stepaudio_cas.maintenance.selection import EVERYTHING, Selection, wanted
from stepaudio_cas.web.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stepaudio_cas.maintenance.plan import Plan
    from stepaudio_cas.web.source import Source

LASTS: Final = 600.0
"""Seconds that a plan can be carried out; nothing that was used since goes, however old it is."""

MOST_PLANS: Final = 4
SHOWN_KEYS: Final = 200


def remove(
    source: Source,
    selection: Selection,
    words: Sequence[str],
    *,
    pinned_too: bool,
    dry_run: bool,
    rest: Callable[[], None],
) -> dict[str, Any]:
    """Remove what is meant, or say what that would be."""
    store = source.first
    meant = wanted(store.backend, selection, words)
    plan = make_plan(store, meant, pinned_too=pinned_too, step=lambda _: rest())
    removed = Removed(len(plan.entries), len(plan.objects), plan.bytes)
    keys = [key for key, _ in plan.entries]
    if not dry_run:
        removed = carry_out(store, plan)
        everything = selection == EVERYTHING and not words and not plan.pinned
        source.forget(None if everything else keys)
    return {
        "store": store.url,
        "dry_run": dry_run,
        **removed._asdict(),
        "pinned": plan.pinned,
        "shared_objects": plan.shared,
        "young_objects": plan.young,
        "keys": keys[:SHOWN_KEYS],
    }


class _Planned(NamedTuple):
    expires: float
    asked: Asked
    plan: Plan


class Plans:
    """The last few plans, each to be carried out once."""

    def __init__(self, source: Source, *, clock: Callable[[], float] = time.time) -> None:
        self._source, self._clock = source, clock
        self._lock = threading.Lock()
        self._running = threading.Lock()
        self._plans: dict[str, _Planned] = {}

    def make(self, name: str, asked: Asked, rest: Callable[[], None]) -> dict[str, Any]:
        """Look at everything, and say what would go. Only one looks at a time."""
        backend = self._source.first.backend
        with _Alone(self._running):
            collector = Collector(backend, asked, look_only=not self._source.writable)
            plan = collector.plan(rest)
        planned = _Planned(self._clock() + LASTS, asked, plan)
        with self._lock:
            self._plans[name] = planned
            while len(self._plans) > MOST_PLANS:
                self._plans.pop(next(iter(self._plans)))
        missed = plan.short_of(asked.bounds)
        said = summary(backend, plan, None, missed)
        return {"plan": name, "expires": planned.expires, "summary": said}

    def run(self, name: str, rest: Callable[[], None]) -> dict[str, Any]:
        """Carry one out. Raises `ApiError` if it is not there, or has become too old."""
        with self._lock:
            planned = self._plans.pop(name, None)
        if planned is None or self._clock() > planned.expires:
            raise ApiError(409, "this plan is gone, was carried out, or is too old", "make another")
        backend = self._source.first.backend
        with _Alone(self._running):
            collector = Collector(backend, planned.asked)
            try:
                with collector.alone():
                    swept = collector.sweep(planned.plan, rest)
            except CasError as error:
                raise ApiError(409, str(error), "make another plan") from error
        self._source.forget(None)  # what is still kept comes back with its next use
        missed = planned.plan.short_of(planned.asked.bounds)
        return {"summary": summary(backend, planned.plan, swept, missed)}


class _Alone:
    """Lets one in, and tells the others so."""

    def __init__(self, lock: threading.Lock) -> None:
        self._entered = lock

    def __enter__(self) -> None:
        if not self._entered.acquire(blocking=False):
            raise ApiError(
                409, "another collection is at work", "wait for it", {"Retry-After": "5"}
            )

    def __exit__(self, *_: object) -> None:
        self._entered.release()
