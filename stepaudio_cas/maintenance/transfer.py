"""One entry on its way from one store to another: read whole, checked, and created there."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from stepaudio_cas.artifact import codec
from stepaudio_cas.artifact.manifest import MAX_BYTES, Manifest, open_manifest
from stepaudio_cas.errors import Damaged
from stepaudio_cas.identity.digest import digest_bytes
from stepaudio_cas.identity.fingerprint import Fingerprint
from stepaudio_cas.maintenance.examine import AT_ONCE
from stepaudio_cas.store import layout
from stepaudio_cas.store.urls import is_near

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from stepaudio_cas.store.backend import Backend
    from stepaudio_cas.store.store import Store

NOT_OURS: Final = frozenset({"format", "signature"})
"""Documents of a newer version, or of somebody with another signing key, are left as they are."""

A = TypeVar("A")
B = TypeVar("B")

_LOOKS: Final = 3
_BATCH: Final = 256
_BATCH_BYTES: Final = 64 << 20


class Parcel(NamedTuple):
    """A whole entry. `sealed` is its manifest as it was written, unknown fields and MAC too."""

    manifest: Manifest
    sealed: bytes
    blob: bytes


def fetch(store: Store, key: str, sealed: bytes | None = None) -> Parcel | None:
    """Read the entry of `key`, or None if it is not there, or went while it was being read.

    `sealed` is its manifest, where that has been read already. Raises `Damaged` if what stays
    there is not a whole entry.
    """
    path = layout.manifest_path(key)
    sealed = store.backend.get(path, limit=MAX_BYTES) if sealed is None else sealed
    for look in range(_LOOKS):
        if sealed is None:
            return None
        try:
            manifest = open_manifest(sealed, key, store.signer)
            return Parcel(manifest, sealed, whole_object(store.backend, manifest))
        except Damaged:
            now = store.backend.get(path, limit=MAX_BYTES)
            if look and now == sealed:
                raise  # nobody is just removing it, or writing it
            sealed = now
    return None


def whole_object(backend: Backend, manifest: Manifest) -> bytes:
    """Read the object that a manifest names. Raises `Damaged` if it is not there as it should."""
    if manifest.size > codec.MAX_BYTES:
        raise Damaged("too-large", f"an object of {manifest.size} bytes")
    blob = backend.get(layout.object_path(manifest.object), limit=manifest.size)
    if blob is None:
        raise Damaged("object-missing", manifest.object)
    if len(blob) != manifest.size or digest_bytes(blob) != manifest.object:
        raise Damaged("object", f"{manifest.object} is not what its name says")
    return blob


def deliver(store: Store, parcel: Parcel, fingerprint: Fingerprint | None = None) -> bool:
    """Create the entry there, object first; return whether it is ours that stands.

    Whoever was first stays, unless that entry is damaged. Raises `Damaged` where it is not ours
    to judge.
    """
    manifest = parcel.manifest
    standing = store.commit(manifest, parcel.blob, fingerprint, sealed=parcel.sealed)
    return standing.manifest is manifest


def fetch_fingerprint(backend: Backend, identity: str) -> Fingerprint | None:
    """Read the description of a model, or None if it is not there whole."""
    if not identity:
        return None
    try:
        document = backend.get(layout.fingerprint_path(identity), limit=MAX_BYTES)
    except (Damaged, ValueError):  # too long; not the form of a fingerprint's id
        return None
    if document is None or digest_bytes(document) != identity:
        return None
    return Fingerprint(identity, document)


def carry(
    stores: Iterable[Store],
    items: Iterable[A],
    work: Callable[[A], B],
    weight: Callable[[A], int] = lambda _: 0,
) -> Iterator[B]:
    """Yield what `work` makes of each item, in order; many at once if one of the stores is far.

    `weight` is how many bytes an item holds in memory, or will.
    """
    if all(is_near(store.backend) for store in stores):
        yield from map(work, items)
        return
    with ThreadPoolExecutor(AT_ONCE, "stepaudio-cas carrying") as pool:
        batch: list[A] = []
        held = 0
        for item in items:
            batch.append(item)
            held += weight(item)
            if len(batch) >= _BATCH or held > _BATCH_BYTES:
                yield from pool.map(work, batch)
                batch, held = [], 0
        yield from pool.map(work, batch)
