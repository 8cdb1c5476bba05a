"""Counting what happens in this process, and saying it."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol

from stepaudio_cas._fork import survive_fork
from stepaudio_cas.store import layout
from stepaudio_cas.store.counters import FOLD_AFTER, Counts, Subject, Tally, dump_tally
from stepaudio_cas.store.hottest import Heating, Hottest

if TYPE_CHECKING:
    from collections.abc import Callable

    from stepaudio_cas.errors import Bypass
    from stepaudio_cas.identity.recipe import Recipe
    from stepaudio_cas.runtime.log import Log
    from stepaudio_cas.store.backend import Backend


class Listener(Protocol):
    """Is told what happens while it happens, in the thread of the call: so it has to be quick.

    What it raises is nobody's problem.
    """

    def hit(
        self, subject: Subject, tier: str, saved: float, took: float, recipe: Recipe | None
    ) -> None:
        """Hear of a hit that took so long, and saved so much, in seconds."""

    def miss(self, subject: Subject, recipe: Recipe, seconds: float, *, ours: bool) -> None:
        """Hear of an encode; it is not `ours` that stands if somebody was first."""

    def bypass(self, plugin: str, bypass: Bypass) -> None:
        """Hear of a call that was passed through."""

    def error(self, kind: str, text: str, subject: Subject) -> None:
        """Hear of a failure of ours."""


class Recorder:
    """The counters of this process, and where they are kept.

    A forked child starts from zero under a name of its own: the parent's counts are the parent's.
    """

    def __init__(self, log: Log, *, clock: Callable[[], float] = time.time) -> None:
        self.log = log
        self._clock = clock
        self._listeners: tuple[Listener, ...] = ()
        self._start()
        survive_fork(self)

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._saving = threading.Lock()
        self._since = self._saved = self._clock()
        self._subjects: dict[Subject, Counts] = {}
        self._written: dict[Subject, Counts] = {}
        self._base: dict[Subject, Counts] = {}
        self._heating = Heating()
        self._hot_written = self._hot_base = Hottest()
        self._dirty = False
        self._name = _new_name()

    _after_fork = _start

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """Who is told."""
        return self._listeners

    def listen(self, listener: Listener) -> None:
        """Have somebody told what happens from here on."""
        self._listeners += (listener,)

    def dismiss(self, listener: Listener) -> None:
        """Tell him no more."""
        self._listeners = tuple(other for other in self._listeners if other is not listener)

    def count(self, subject: Subject, numbers: Counts) -> None:
        """Add to counters of `stepaudio_cas.store.counters.COUNTERS`."""
        with self._lock:
            counts = self._subjects.get(subject)
            if counts is None:
                counts = self._subjects[subject] = {}
            for name, number in numbers.items():
                counts[name] = counts.get(name, 0) + number
            self._dirty = True

    def hit(
        self, subject: Subject, tier: str, saved: float, took: float, recipe: Recipe | None = None
    ) -> None:
        """Count a hit: `count` for the one event that happens all the time."""
        name = f"hit.{tier}"
        with self._lock:
            counts = self._subjects.get(subject)
            if counts is None:
                counts = self._subjects[subject] = {}
            counts[name] = counts.get(name, 0) + 1
            counts["seconds.saved"] = counts.get("seconds.saved", 0) + saved
            counts["seconds.lookup"] = counts.get("seconds.lookup", 0) + took
            if recipe is not None:
                self._heating.hit(recipe, saved)
            self._dirty = True
        for listener in self._listeners:
            _tell(listener.hit, subject, tier, saved, took, recipe)

    def miss(self, subject: Subject, recipe: Recipe, seconds: float, *, ours: bool) -> None:
        """Count an encode; it is not `ours` that stands if another process was first."""
        lost: Counts = {} if ours else {"lost": 1}
        self.count(subject, {"miss": 1, "seconds.encode": seconds, **lost})
        for listener in self._listeners:
            _tell(listener.miss, subject, recipe, seconds, ours=ours)

    def bypass(self, plugin: str, bypass: Bypass) -> None:
        """Count a call that was passed through."""
        self.count(Subject(plugin), {f"bypass.{bypass.reason}": 1})
        for listener in self._listeners:
            _tell(listener.bypass, plugin, bypass)

    def error(self, kind: str, text: str, subject: Subject | None = None) -> None:
        """Count a failure of ours, and say it, at most once a minute for each kind."""
        self.count(subject or Subject(), {f"error.{kind}": 1})
        self.log.error_sometimes(kind, text)
        for listener in self._listeners:
            _tell(listener.error, kind, text, subject or Subject())

    def tally(self) -> Tally:
        """Return what this process has counted so far."""
        with self._lock:
            return Tally(
                since=self._since,
                updated=self._clock(),
                processes=1,
                subjects={s: dict(counts) for s, counts in self._subjects.items()},
                machines=frozenset({socket.gethostname()}),
                hottest=self._heating.table(),
            )

    def save(self, backend: Backend) -> None:
        """Write this process's document, if anything was counted since the last time."""
        with self._saving:
            now = self._clock()
            if now - self._saved > FOLD_AFTER / 2:
                # The document may have been folded meanwhile: go on under a new name, with what
                # it does not hold yet.
                self._name, self._base = _new_name(), self._written
                self._hot_base = self._hot_written
            elif not self._dirty and now - self._saved < FOLD_AFTER / 8:
                return
            self._dirty = False
            try:
                self._write(backend)
            except BaseException:
                self._dirty = True
                raise
            self._saved = now

    def _write(self, backend: Backend) -> None:
        tally = self.tally()
        whole, tally.subjects = tally.subjects, _minus(tally.subjects, self._base)
        base = self._hot_base.only(tally.hottest.keys)
        tally.hottest = tally.hottest.minus(base).top()
        process = {"host": socket.gethostname(), "pid": os.getpid()}
        backend.put(f"{layout.COUNTERS}/{self._name}.json", dump_tally(tally, process))
        self._written, self._hot_written = whole, base.plus(tally.hottest)


def _tell(hear: Callable[..., None], *what: Any, **more: Any) -> None:
    with contextlib.suppress(Exception):
        hear(*what, **more)


def _new_name() -> str:
    return f"{socket.gethostname()}-{os.getpid()}-{os.urandom(6).hex()}"


def _minus(whole: dict[Subject, Counts], part: dict[Subject, Counts]) -> dict[Subject, Counts]:
    return {
        subject: {name: n - part.get(subject, {}).get(name, 0) for name, n in counts.items()}
        for subject, counts in whole.items()
    }
