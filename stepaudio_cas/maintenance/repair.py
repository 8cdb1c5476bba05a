"""Mending what `verify` has found: from another store that has it whole, else by quarantine.

An entry in quarantine is a miss, and the encode that follows writes it anew. Documents that are
not ours to judge, and names that are not ours, are never touched.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from stepaudio_cas.artifact.codec import MAX_BYTES
from stepaudio_cas.errors import Damaged
from stepaudio_cas.identity.digest import digest_bytes
from stepaudio_cas.maintenance.quarantine import quarantine
from stepaudio_cas.maintenance.transfer import deliver, fetch, fetch_fingerprint
from stepaudio_cas.store import layout

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stepaudio_cas.store.store import Store

_AS_IT_IS: Final = "left as it is"


class Outcome(NamedTuple):
    """What was done, for people, and whether what was damaged is whole now."""

    done: str
    whole: bool = False


class Repairer:
    """Mends one store with what other stores have. With `dry` it only says what it would do."""

    def __init__(self, store: Store, donors: Sequence[Store] = (), *, dry: bool = False) -> None:
        self._store = store
        self._donors = list(donors)
        self._dry = dry

    def mend_object(self, digest: str, data: bytes | None) -> Outcome:
        """Mend an object; `data` is what is there now, None if that cannot be read."""
        path = layout.object_path(digest)
        for donor in self._donors:
            try:
                blob = donor.backend.get(path, limit=MAX_BYTES)
            except Damaged:
                continue
            except Exception as error:
                return _not_asked(donor, error)
            if blob is not None and digest_bytes(blob) == digest:
                return self._copied(donor, partial(self._store.backend.put, path, blob))
        return self._aside(path, data)

    def mend_manifest(self, key: str, data: bytes | None) -> Outcome:
        """Mend an entry whose manifest is damaged, or names an object that is not there."""
        for donor in self._donors:
            try:
                parcel = fetch(donor, key)
            except Damaged:
                continue
            except Exception as error:
                return _not_asked(donor, error)
            if parcel is not None:
                described = fetch_fingerprint(donor.backend, parcel.manifest.fingerprint)
                return self._copied(donor, partial(deliver, self._store, parcel, described))
        return self._aside(layout.manifest_path(key), data)

    def mend_fingerprint(self, identity: str, data: bytes | None, *, there: bool) -> Outcome:
        """Mend the description of a model; `there` tells that something damaged is in its place."""
        path = layout.fingerprint_path(identity)
        for donor in self._donors:
            try:
                found = fetch_fingerprint(donor.backend, identity)
            except Exception as error:
                return _not_asked(donor, error)
            if found is not None:
                return self._copied(donor, partial(self._store.backend.put, path, found.document))
        return self._aside(path, data) if there else Outcome("no other store has it")

    def remove(self, path: str) -> Outcome:
        """Remove what a killed writer has left."""
        if self._dry:
            return Outcome("would be removed")
        self._store.backend.delete(path)
        return Outcome("removed", whole=True)

    def _copied(self, donor: Store, copy: Callable[[], object]) -> Outcome:
        if self._dry:
            return Outcome(f"would be copied from {donor.url}")
        copy()
        return Outcome(f"copied from {donor.url}", whole=True)

    def _aside(self, path: str, data: bytes | None) -> Outcome:
        if data is None:
            return Outcome(f"{_AS_IT_IS}: it cannot be read")
        if self._dry:
            return Outcome("would be moved to quarantine")
        target = quarantine(self._store.backend, path, data)
        return Outcome(f"moved to {target}" if target else f"{_AS_IT_IS}: it has just changed")


def _not_asked(donor: Store, error: Exception) -> Outcome:
    """Leave it for another time: the store that might have it cannot be asked now."""
    return Outcome(f"{_AS_IT_IS}: {donor.url} does not answer: {error}")
