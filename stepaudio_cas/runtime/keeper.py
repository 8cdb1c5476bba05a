"""A local store keeps itself within its bounds, a little at a time, in the background.

One pass looks at one shard per step, so that nobody ever waits for it. Most passes only add up
sizes. When the store is over its size, or entries have gone unused for longer than the time to
live, a second look finds what to remove: first objects that nothing refers to, then the entries
used least recently, until nine tenths of the size are left.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from array import array
from bisect import bisect_left
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from stepaudio_cas.artifact.manifest import MAX_BYTES
from stepaudio_cas.errors import Damaged
from stepaudio_cas.identity.digest import is_digest
from stepaudio_cas.store import layout
from stepaudio_cas.store.counters import Subject, fold
from stepaudio_cas.store.local import is_temporary
from stepaudio_cas.units import Lifetimes, lifetimes

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from stepaudio_cas.runtime.recorder import Recorder
    from stepaudio_cas.store.backend import Entry
    from stepaudio_cas.store.local import LocalBackend

GRACE: Final = 3600.0
"""An object that nothing refers to may belong to a writer that has not come to its manifest."""

KEEP_SHARE: Final = 0.9
_BUCKET: Final = 60


class Keeper:
    """Keeps `backend` below `max_size` bytes and free of entries unused for `ttl` seconds.

    `ttl` may have another time for each plugin.
    Without bounds there is only the counters of dead processes to fold.
    """

    def __init__(
        self,
        backend: LocalBackend,
        recorder: Recorder,
        *,
        max_size: int | None,
        ttl: float | Lifetimes | None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._backend = backend
        self._recorder = recorder
        self._max_size = max_size
        self._ttl = lifetimes(ttl)
        self._clock = clock

    def steps(self) -> Generator[None, None, None]:
        """Do one pass; the caller decides when each step happens.

        Where another process is already keeping this store, there is nothing to do.
        """
        lock = self._backend.try_lock("keeper")
        if lock is None:
            return
        try:
            yield from self._pass()
        finally:
            lock.release()

    def run(self) -> None:
        """Do one pass at once."""
        for _ in self.steps():
            pass

    def _pass(self) -> Iterator[None]:
        fold(self._backend, clock=self._clock)
        for folder in (layout.PROBES, layout.COUNTERS, layout.FINGERPRINTS):
            self._measure(folder)
        self._release_dead_locks()
        if self._max_size is None and not self._ttl:
            return
        total = 0
        for shard in layout.SHARDS:
            for folder in (layout.OBJECTS, layout.MANIFESTS):
                total += self._measure(f"{folder}/{shard}")
            yield
        excess = 0
        if self._max_size is not None and total > self._max_size:
            excess = total - int(self._max_size * KEEP_SHARE)
        if excess or self._ttl:
            now = self._clock()
            yield from _Sweep(self._backend, self._recorder, now, excess, self._ttl).steps()

    def _release_dead_locks(self) -> None:
        """Remove the lock files of processes that were killed: taking one and letting go does."""
        limit = self._clock() - GRACE
        for entry in self._backend.list(layout.LEASES):
            if entry.mtime < limit:
                name = entry.path.rsplit("/", 1)[-1].removesuffix(".lock")
                lock = self._backend.try_lock(name)
                if lock is not None:
                    lock.release()

    def _measure(self, folder: str) -> int:
        """Add up a folder, and remove what killed writers left in it."""
        total, limit = 0, self._clock() - GRACE
        for entry in self._backend.everything(folder):
            if not (is_temporary(entry.path) or folder == layout.PROBES):
                total += entry.size
            elif entry.mtime < limit:
                self._backend.delete(entry.path)
        return total


class _Sweep:
    """The second look: what refers to what, what was used when, and what goes."""

    def __init__(
        self,
        backend: LocalBackend,
        recorder: Recorder,
        now: float,
        excess: int,
        ttl: Lifetimes,
    ) -> None:
        self._backend = backend
        self._recorder = recorder
        self._now = now
        self._excess = excess
        self._ttl = ttl
        self._pinned = {layout.digest_in(entry.path) for entry in backend.list(layout.PINS)}
        self._pinned_objects: set[str] = set()
        self._references = array("Q")
        self._by_age: defaultdict[int, int] = defaultdict(int)

    def steps(self) -> Iterator[None]:
        for shard in layout.SHARDS:
            self._survey(shard)
            yield
        self._references = array("Q", sorted(self._references))
        for shard in layout.SHARDS:
            self._remove_orphans(shard)
            yield
        cutoff = self._cutoff()
        for shard in layout.SHARDS if cutoff or self._ttl else ():
            self._evict(shard, cutoff)
            yield

    def _survey(self, shard: str) -> None:
        for entry, digest, size, _ in self._manifests(shard):
            self._references.append(_short(digest))
            if layout.digest_in(entry.path) in self._pinned:
                self._pinned_objects.add(digest)
            else:
                self._by_age[int(entry.mtime // _BUCKET)] += size + entry.size

    def _manifests(self, shard: str) -> Iterator[tuple[Entry, str, int, str]]:
        """Yield each manifest with the digest and size of its object, and its plugin."""
        for entry in self._backend.list(f"{layout.MANIFESTS}/{shard}"):
            with contextlib.suppress(ValueError, KeyError, TypeError, Damaged):
                data = self._backend.get(entry.path, limit=MAX_BYTES)
                if data is not None:
                    document = json.loads(data)
                    if is_digest(document["object"]):
                        plugin = str(document.get("plugin", ""))
                        yield entry, document["object"], int(document["size"]), plugin

    def _remove_orphans(self, shard: str) -> None:
        for entry in self._backend.list(f"{layout.OBJECTS}/{shard}"):
            digest = layout.digest_in(entry.path)
            old = entry.mtime < self._now - GRACE
            if old and digest is not None and not self._count(digest):
                self._delete(entry)

    def _cutoff(self) -> float:
        """Return the time of last use before which entries have to go, for want of space."""
        freed = 0
        for bucket in sorted(self._by_age):
            if freed >= self._excess:
                return float(bucket * _BUCKET)
            freed += self._by_age[bucket]
        return math.inf if self._excess > 0 else 0.0

    def _evict(self, shard: str, cutoff: float) -> None:
        entries = sorted(self._manifests(shard), key=lambda found: found[0].mtime)
        for entry, digest, _, plugin in entries:
            ttl = self._ttl.of(plugin)
            expired = ttl is not None and entry.mtime < self._now - ttl
            wanted = self._excess > 0 and entry.mtime < cutoff
            if layout.digest_in(entry.path) in self._pinned or not (expired or wanted):
                continue
            self._delete(entry, entries=1)
            if self._count(digest) == 1 and digest not in self._pinned_objects:
                self._delete_object(digest)

    def _delete_object(self, digest: str) -> None:
        """Delete the object of an evicted entry, unless somebody has written it again since."""
        if not is_digest(digest):
            return
        entry = self._backend.stat(layout.object_path(digest))
        if entry is not None and entry.mtime < self._now:
            self._delete(entry)

    def _delete(self, entry: Entry, entries: int = 0) -> None:
        if self._backend.delete(entry.path):
            self._excess -= entry.size
            counts = {"evicted.entries": float(entries), "evicted.bytes": float(entry.size)}
            self._recorder.count(Subject(), counts)

    def _count(self, digest: str) -> int:
        """Count the manifests that refer to an object (0, 1, or 2 for more)."""
        short = _short(digest)
        at = bisect_left(self._references, short)
        return sum(1 for number in self._references[at : at + 2] if number == short)


def _short(digest: str) -> int:
    """Return 64 bits of a digest: enough to keep an object too many, never one too few."""
    return int(digest[:16], 16)
