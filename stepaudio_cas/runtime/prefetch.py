"""A worker that has just started gets the voices everybody uses before anybody asks for them.

Copied from the shared stores to the first local one: either what is pinned there (preset voices),
or everything, newest first, up to a bound. In a few threads of its own, past the deadlines and
breakers of calls, so that a slow line neither delays a call nor lets a store look broken.
"""

from __future__ import annotations

import contextlib
import threading
import time
from heapq import nlargest
from typing import TYPE_CHECKING, Final

from stepaudio_cas.errors import Damaged
from stepaudio_cas.store import layout
from stepaudio_cas.store.backend import Locking
from stepaudio_cas.store.counters import Subject
from stepaudio_cas.store.local import LocalBackend
from stepaudio_cas.units import show_bytes, show_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stepaudio_cas.identity.fingerprint import Fingerprint
    from stepaudio_cas.runtime.chain import Chain
    from stepaudio_cas.runtime.recorder import Recorder
    from stepaudio_cas.runtime.tier import Tier

PINS: Final = "pins"
AT_ONCE: Final = 16
"""Voices on their way at once: what counts is how far the store is, not how fast."""

MAX_FAILURES: Final = 8
_SMALLEST: Final = 512
"""No entry is smaller, so that a bound in bytes bounds the keys that are looked at, too."""


class Prefetch:
    """Copies `what`: "pins", or so many bytes of whatever is newest."""

    def __init__(self, chain: Chain, recorder: Recorder, what: str | int) -> None:
        self._chain = chain
        self._recorder = recorder
        self._what = what

    def run(self, stop: threading.Event) -> None:
        """Do it once, in the calling thread and some more; give up when told, or when it fails.

        Where another process is doing the same for the same local store, there is nothing to do.
        """
        target = self._target()
        if target is None:
            return
        backend = target.store.backend
        lock = backend.try_lock("prefetch") if isinstance(backend, Locking) else None
        if lock is None:
            return
        try:
            for source in self._chain.tiers[self._chain.tiers.index(target) + 1 :]:
                _Copy(self._recorder, source, target, self._what, stop).run()
        finally:
            lock.release()

    def _target(self) -> Tier | None:
        for tier in self._chain.writable:
            if isinstance(tier.store.backend, LocalBackend):
                return tier
        return None


class _Copy:
    """One store's entries on their way to another one."""

    def __init__(
        self,
        recorder: Recorder,
        source: Tier,
        target: Tier,
        what: str | int,
        stop: threading.Event,
    ) -> None:
        self._recorder = recorder
        self._source = source
        self._target = target
        self._what = what
        self._stop = stop
        self._lock = threading.Lock()
        self._entries = self._bytes = self._seen = self._failures = 0
        self._described: set[str] = set()

    def run(self) -> None:
        started = time.monotonic()
        try:
            keys = iter([key for key in self._keys() if not self._is_here(key)])
        except Exception as error:
            self._say(f"the list of voices cannot be read: {error}")
            return
        threads = [
            threading.Thread(
                target=self._work, args=(keys,), name="stepaudio-cas prefetch", daemon=True
            )
            for _ in range(AT_ONCE - 1)
        ]
        for thread in threads:
            thread.start()
        self._work(keys)
        for thread in threads:
            thread.join()
        if self._entries:
            self._recorder.log.info(
                f"prefetch: {self._entries} entries ({show_bytes(self._bytes)}) from"
                f" {self._source.name} to {self._target.name}"
                f" in {show_seconds(time.monotonic() - started)}"
            )

    def _keys(self) -> list[str]:
        """Name what is to be copied, in this order."""
        backend = self._source.store.backend
        folder = layout.PINS if self._what == PINS else layout.MANIFESTS
        found = (
            (entry.mtime, key)
            for entry in backend.list(folder)
            if (key := layout.digest_in(entry.path)) is not None
        )
        if isinstance(self._what, int):
            return [key for _, key in nlargest(self._what // _SMALLEST + 1, found)]
        return [key for _, key in sorted(found, reverse=True)]

    def _work(self, keys: Iterator[str]) -> None:
        while not self._stop.is_set() and self._failures < MAX_FAILURES and not self._full():
            with self._lock:
                key = next(keys, None)
            if key is None:
                return
            try:
                self._copy(key)
            except Damaged:
                continue  # a call that asks for it says so
            except Exception as error:
                with self._lock:
                    self._failures += 1
                self._say(f"{key[:12]} is not copied: {error}")

    def _full(self) -> bool:
        return isinstance(self._what, int) and self._seen >= self._what

    def _copy(self, key: str) -> None:
        found = self._source.store.read(key, touch=False)
        if found is None:
            return
        size = len(found.blob)
        with self._lock:
            if isinstance(self._what, int) and self._seen + size > self._what:
                self._seen = self._what
                return
            self._seen += size
        target = self._target.store
        sealed = None if target.signs else found.sealed  # who cannot sign passes it on as it is
        model = self._description(found.manifest.fingerprint)
        standing = target.commit(found.manifest, found.blob, model, sealed=sealed)
        if standing.manifest is not found.manifest:
            return  # a call was quicker
        with self._lock:
            self._entries += 1
            self._bytes += size
        subject = Subject(found.manifest.plugin, found.manifest.fingerprint)
        counts = {"stored": 1.0, "promoted": 1.0, "bytes.read": size, "bytes.written": size}
        self._recorder.count(subject, counts)

    def _description(self, identity: str) -> Fingerprint | None:
        """Return the description of a model with the first of its entries."""
        with self._lock:
            if not identity or identity in self._described:
                return None
            self._described.add(identity)
        with contextlib.suppress(Damaged):
            return self._source.store.fingerprint(identity)
        return None

    def _is_here(self, key: str) -> bool:
        """Tell whether nothing is to be copied; what is here counts for the bound."""
        if self._stop.is_set() or self._full():
            return True
        try:
            standing = self._target.store.read(key, touch=False)
        except Damaged:
            return False  # writing mends it
        self._seen += 0 if standing is None else len(standing.blob)
        return standing is not None

    def _say(self, text: str) -> None:
        self._recorder.error(
            f"prefetch.{self._source.name}", f"prefetch from {self._source.store.url}: {text}"
        )
