"""Copying what one store has and another lacks.

Shard by shard, both sides are listed, and what is missing is read, checked, and created: object
before manifest, so that a copy that is cut short has copied whole entries, and the next one does
the rest. Who was first on the other side stays. Manifests are copied byte by byte: unknown fields
and MACs come along.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, NamedTuple

from stepaudio_cas.artifact.manifest import MAX_BYTES, open_manifest
from stepaudio_cas.errors import CasError, Damaged, Unavailable
from stepaudio_cas.maintenance import transfer
from stepaudio_cas.maintenance.facts import object_of
from stepaudio_cas.maintenance.inventory import Kept, find, manifests, objects, pinned
from stepaudio_cas.maintenance.references import References
from stepaudio_cas.maintenance.transfer import NOT_OURS
from stepaudio_cas.store import layout
from stepaudio_cas.store.urls import is_near

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from stepaudio_cas.store.backend import Backend, Entry
    from stepaudio_cas.store.store import Store

COPIED: Final = "copied"
HEALED: Final = "healed"
THERE: Final = "there"
DAMAGED: Final = "damaged"
REFUSED: Final = "refused"
FAILED: Final = "failed"
DELETED: Final = "deleted"
PINNED: Final = "pinned"

_GIVE_UP: Final = 32


class Event(NamedTuple):
    """What has become of one entry.

    `copied`; `healed`: it was there, without its object; `there`: somebody was faster; `damaged`:
    at the source, and not copied; `refused`: what is on the other side is not ours to judge;
    `failed`: a store did not answer; `deleted`, `pinned`: on the other side.
    """

    what: str
    key: str
    bytes: int = 0
    detail: str = ""

    @property
    def is_wrong(self) -> bool:
        """Tell whether something is left to do."""
        return self.what in {DAMAGED, REFUSED, FAILED}


class SourceIsEmpty(CasError):  # noqa: N818 - describes the store
    """Nothing is deleted for want of a source: so does a folder look that is not mounted."""


class Sync:
    """Copies entries from one store to another. With `dry` nothing is written.

    `matches` says which are meant, None all of them. `delete` removes from the other side what the
    source lacks, never what is pinned there. `pins` copies pins.
    """

    def __init__(
        self,
        source: Store,
        target: Store,
        *,
        matches: Callable[[Kept], bool] | None = None,
        delete: bool = False,
        pins: bool = False,
        dry: bool = False,
    ) -> None:
        self._source = source
        self._target = target
        self._matches = matches
        self._delete = delete
        self._pins = pins
        self._dry = dry
        self.entries = self.fingerprints = 0
        self._started = time.time()
        self._failures = 0
        self._models: set[str] = set()

    steps = len(layout.SHARDS) * 2
    """How many steps `run` will make."""

    def run(self, step: Callable[[], object] = lambda: None) -> Iterator[Event]:
        """Yield what is done; `step` is called after each of the `steps`."""
        if self._matches is None:
            self._copy_fingerprints()
        for shard in layout.SHARDS:
            yield from self._each(self._missing(shard), self._copy)
            step()
        yield from self._heal(step)
        if self._delete:
            yield from self._delete_what_the_source_lacks()
        if self._pins:
            keys = sorted(pinned(self._source.backend))
            yield from self._each(((key, None) for key in keys), self._copy_pin)

    def _each(
        self,
        named: Iterable[tuple[str, Entry | None]],
        work: Callable[[str, Entry | None], Event | None],
    ) -> Iterator[Event]:
        """Do something for each key; a failure is told, and many in a row end it."""

        def one(item: tuple[str, Entry | None]) -> Event | None:
            try:
                return work(*item)
            except Exception as error:
                return Event(FAILED, item[0], detail=f"{type(error).__name__}: {error}")

        for event in transfer.carry([self._source, self._target], named, one):
            if event is None or event.what != FAILED:
                self._failures = 0
            else:
                self._failures += 1
            if event is not None:
                yield event
                if self._failures >= _GIVE_UP:
                    raise Unavailable("failing", f"{event.detail}; run it again to go on")

    # What is missing.

    def _missing(self, shard: str) -> list[tuple[str, Entry | None]]:
        here = _listed(self._source.backend, shard)
        self.entries += len(here)
        there = _listed(self._target.backend, shard) if here else {}
        return sorted((key, entry) for key, entry in here.items() if key not in there)

    def _copy(self, key: str, entry: Entry | None) -> Event | None:
        """Copy an entry that the other side lacks."""
        assert entry is not None
        try:
            sealed = self._source.backend.get(entry.path, limit=MAX_BYTES)
            if sealed is None:
                return None
            manifest = open_manifest(sealed, key, self._source.signer)
            if not self._means(Kept(key, entry, sealed, manifest)):
                return None
            parcel = transfer.fetch(self._source, key, sealed)
        except Damaged as damage:
            wanted = self._means(Kept(key, entry, b"", None, damage))
            return Event(DAMAGED, key, detail=str(damage)) if wanted else None
        return None if parcel is None else self._deliver(parcel, COPIED)

    def _means(self, kept: Kept) -> bool:
        return self._matches is None or self._matches(kept)

    def _deliver(self, parcel: transfer.Parcel, what: str) -> Event:
        manifest, size = parcel.manifest, len(parcel.blob) + len(parcel.sealed)
        if self._dry:
            return Event(what, manifest.key, size)
        model, described = manifest.fingerprint, None
        if model not in self._models:
            described = transfer.fetch_fingerprint(self._source.backend, model)
        try:
            ours = transfer.deliver(self._target, parcel, described)
        except Damaged as damage:
            return Event(REFUSED, manifest.key, detail=f"what is there stays: {damage}")
        self._models.add(model)
        # The object alone may have been what was missing: then their manifest stands, whole again.
        done = ours or what == HEALED
        return Event(what, manifest.key, size) if done else Event(THERE, manifest.key)

    def _copy_fingerprints(self) -> None:
        there = {entry.path for entry in self._target.backend.list(layout.FINGERPRINTS)}
        for entry in self._source.backend.list(layout.FINGERPRINTS):
            model = layout.digest_in(entry.path)
            if model is None:
                continue
            found = transfer.fetch_fingerprint(self._source.backend, model)
            if found is None or entry.path in there:
                continue
            self.fingerprints += 1
            if not self._dry:
                self._target.backend.put(entry.path, found.document, create=True)
            self._models.add(model)

    # What is there without its object.

    def _heal(self, step: Callable[[], object]) -> Iterator[Event]:
        """Find entries that have lost their object, which only the source still has."""
        lost = References()
        for shard in layout.SHARDS:
            there = {digest for digest, _ in objects(self._target.backend, shard)}
            here = (digest for digest, _ in objects(self._source.backend, shard))
            lost.add(digest for digest in here if digest not in there)
            step()
        if not len(lost):
            return
        target_is_nearer = is_near(self._target.backend) and not is_near(self._source.backend)
        near = self._target if target_is_nearer else self._source
        found = manifests(near.backend, near.signer)
        named = ((kept.key, kept.entry, object_of(kept)) for kept in found)
        doubtful = ((key, entry) for key, entry, digest in named if digest and digest in lost)
        yield from self._each(doubtful, self._heal_one)

    def _heal_one(self, key: str, entry: Entry | None) -> Event | None:
        del entry
        try:
            transfer.fetch(self._target, key)
        except Damaged as damage:
            if damage.kind in NOT_OURS:
                return None
        else:
            return None  # another artifact was first there, or there is none
        kept = find(self._source.backend, key, self._source.signer)
        if kept is None or kept.manifest is None or not self._means(kept):
            return None
        try:
            parcel = transfer.fetch(self._source, key, kept.sealed)
        except Damaged as damage:
            return Event(DAMAGED, key, detail=str(damage))
        return None if parcel is None else self._deliver(parcel, HEALED)

    # What the source lacks, and pins.

    def _delete_what_the_source_lacks(self) -> Iterator[Event]:
        if not self.entries:
            raise SourceIsEmpty(
                f"{self._source.url} holds no entry, so nothing is deleted; is it mounted?"
            )
        pins = pinned(self._target.backend)
        for shard in layout.SHARDS:
            there = _listed(self._target.backend, shard)
            here = _listed(self._source.backend, shard) if there else {}
            gone = sorted((k, e) for k, e in there.items() if k not in here and k not in pins)
            yield from self._each(gone, self._delete_one)

    def _delete_one(self, key: str, entry: Entry | None) -> Event | None:
        """Delete an entry, unless it is newer than this run, or the source has it after all."""
        assert entry is not None
        if entry.mtime > self._started or self._source.backend.stat(entry.path) is not None:
            return None
        if self._matches is not None:
            kept = find(self._target.backend, key, self._target.signer)
            if kept is None or not self._matches(kept):
                return None
        if self._dry or self._target.backend.delete(entry.path):
            return Event(DELETED, key, entry.size)
        return None

    def _copy_pin(self, key: str, entry: Entry | None) -> Event | None:
        del entry
        path = layout.pin_path(key)
        document = self._source.backend.get(path, limit=MAX_BYTES)
        if document is None or self._target.backend.stat(layout.manifest_path(key)) is None:
            return None
        if self._matches is not None:
            kept = find(self._source.backend, key, self._source.signer)
            if kept is None or not self._matches(kept):
                return None
        if self._dry:
            new = self._target.backend.stat(path) is None
        else:
            new = self._target.backend.put(path, document, create=True)
        return Event(PINNED, key) if new else None


def _listed(backend: Backend, shard: str) -> dict[str, Entry]:
    """Name the entries of a shard."""
    found: dict[str, Entry] = {}
    for entry in backend.list(f"{layout.MANIFESTS}/{shard}"):
        key = layout.digest_in(entry.path)
        if key is not None and layout.manifest_path(key) == entry.path:
            found[key] = entry
    return found
