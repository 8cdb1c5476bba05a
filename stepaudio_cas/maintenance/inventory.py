"""What is in a store: its entries one by one, shard by shard, so that a million fit in memory.

A listing that fails in the middle raises; one that ends without an error is complete.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from stepaudio_cas.artifact.manifest import MAX_BYTES, Manifest, open_manifest
from stepaudio_cas.errors import Damaged
from stepaudio_cas.store import layout
from stepaudio_cas.store.backend import Bulk
from stepaudio_cas.store.local import LocalBackend

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from stepaudio_cas.artifact.signing import Signer
    from stepaudio_cas.store.backend import Backend, Entry

Step = Callable[[str], None]

AT_ONCE: Final = 32
"""How many documents of a remote store are fetched at the same time."""


class Kept(NamedTuple):
    """One entry of a store, as it was found; `manifest` is None where `damage` says why."""

    key: str
    entry: Entry
    sealed: bytes
    manifest: Manifest | None
    damage: Damaged | None = None

    @property
    def size(self) -> int:
        """Bytes of the manifest and of the object it names."""
        return self.entry.size + (self.manifest.size if self.manifest is not None else 0)


def manifests(
    backend: Backend, signer: Signer | None = None, *, prefix: str = "", step: Step | None = None
) -> Iterator[Kept]:
    """Yield every entry whose key begins with `prefix`, whole or damaged, in the order of keys.

    One that is deleted meanwhile is left out. `step` is called after each shard.
    """
    for shard in shards(prefix):
        found = [
            (key, entry)
            for entry in backend.list(f"{layout.MANIFESTS}/{shard}")
            if (key := layout.digest_in(entry.path)) is not None and key.startswith(prefix)
        ]
        found.sort()
        for (key, entry), sealed in zip(
            found, read_all(backend, [entry.path for _, entry in found]), strict=True
        ):
            if sealed is not None:
                yield _open(key, entry, sealed, signer)
        if step is not None:
            step(shard)


def shards(prefix: str = "") -> list[str]:
    """Name the shards that keys with this beginning are in."""
    return [s for s in layout.SHARDS if s.startswith(prefix[:2]) or prefix.startswith(s)]


def read_all(
    backend: Backend, paths: Iterable[str], *, limit: int = MAX_BYTES
) -> Iterator[bytes | Damaged | None]:
    """Yield the document at each path, in order: many at once where each is a round trip."""

    def read(path: str) -> bytes | Damaged | None:
        try:
            return backend.get(path, limit=limit)
        except Damaged as damage:
            return damage

    if isinstance(backend, LocalBackend):
        yield from map(read, paths)
        return
    waiting = iter(paths)
    if isinstance(backend, Bulk):
        while batch := list(islice(waiting, AT_ONCE * 8)):
            yield from backend.get_many(batch, limit=limit)
        return
    with ThreadPoolExecutor(AT_ONCE, "stepaudio-cas reading") as pool:
        while batch := list(islice(waiting, AT_ONCE * 8)):
            yield from pool.map(read, batch)


def objects(backend: Backend, shard: str) -> Iterator[tuple[str, Entry]]:
    """Yield every object of a shard with its digest."""
    for entry in backend.list(f"{layout.OBJECTS}/{shard}"):
        digest = layout.digest_in(entry.path)
        if digest is not None:
            yield digest, entry


def pinned(backend: Backend) -> set[str]:
    """Name the keys that nobody may remove."""
    names = (layout.digest_in(entry.path) for entry in backend.list(layout.PINS))
    return {name for name in names if name is not None}


def _open(key: str, entry: Entry, sealed: bytes | Damaged, signer: Signer | None) -> Kept:
    if isinstance(sealed, Damaged):
        return Kept(key, entry, b"", None, sealed)
    try:
        return Kept(key, entry, sealed, open_manifest(sealed, key, signer))
    except Damaged as damage:
        return Kept(key, entry, sealed, None, damage)
