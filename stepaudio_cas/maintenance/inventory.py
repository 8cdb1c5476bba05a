"""What is in a store: its entries one by one, shard by shard, so that a million fit in memory.

A listing that fails in the middle raises; one that ends without an error is complete.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice, tee
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from stepaudio_cas.artifact.manifest import MAX_BYTES, Manifest, open_manifest
from stepaudio_cas.errors import Damaged
from stepaudio_cas.store import layout
from stepaudio_cas.store.backend import Bulk
from stepaudio_cas.store.pins import read_pin
from stepaudio_cas.store.urls import is_near

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from stepaudio_cas.artifact.signing import Signer
    from stepaudio_cas.store.backend import Backend, Entry

A = TypeVar("A")
B = TypeVar("B")
Step = Callable[[str], None]

AT_ONCE: Final = 32
"""How many documents of a remote store are fetched at the same time."""

AHEAD: Final = 4
"""How many shards of a remote store are listed at the same time."""


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
    listed, again = tee(_listed(backend, prefix, step))
    documents = read_all(backend, (entry.path for _, entry in again))
    for (key, entry), sealed in zip(listed, documents, strict=True):
        if sealed is not None:
            yield _open(key, entry, sealed, signer)


def find(backend: Backend, key: str, signer: Signer | None = None) -> Kept | None:
    """Return the entry of a key, or None if there is none."""
    entry = backend.stat(layout.manifest_path(key))
    sealed = next(read_all(backend, [entry.path])) if entry is not None else None
    return None if entry is None or sealed is None else _open(key, entry, sealed, signer)


def keys(backend: Backend, prefix: str = "") -> Iterator[str]:
    """Yield every key with this beginning, in order, without looking at its entry."""
    return (key for key, _ in _listed(backend, prefix, None))


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

    if not isinstance(backend, Bulk):
        yield from many(backend, read, paths)
        return
    waiting = iter(paths)
    while batch := list(islice(waiting, AT_ONCE * 8)):
        yield from backend.get_many(batch, limit=limit)


def many(backend: Backend, ask: Callable[[A], B], questions: Iterable[A]) -> Iterator[B]:
    """Yield the answers in order; on a backend that is far away, many are asked at once."""
    if is_near(backend):
        yield from map(ask, questions)
        return
    waiting = iter(questions)
    with ThreadPoolExecutor(AT_ONCE, "stepaudio-cas asking") as pool:
        while batch := list(islice(waiting, AT_ONCE * 8)):
            yield from pool.map(ask, batch)


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


def labels(backend: Backend, keys: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield each of these keys with what it is pinned as; nothing if it is not, or nobody says."""

    def ask(key: str) -> tuple[str, str]:
        pin = read_pin(backend, key)
        return key, pin.label if pin is not None else ""

    return many(backend, ask, keys)


def _listed(backend: Backend, prefix: str, step: Step | None) -> Iterator[tuple[str, Entry]]:
    """List the manifests shard by shard, the next few shards of a distant backend ahead."""

    def of(shard: str) -> list[tuple[str, Entry]]:
        found = backend.list(f"{layout.MANIFESTS}/{shard}")
        named = ((layout.digest_in(entry.path), entry) for entry in found)
        return sorted((key, entry) for key, entry in named if key and key.startswith(prefix))

    wanted = shards(prefix)
    for shard, found in zip(wanted, _ahead(backend, of, wanted), strict=True):
        yield from found
        if step is not None:
            step(shard)


def _ahead(backend: Backend, ask: Callable[[A], B], questions: Sequence[A]) -> Iterator[B]:
    """Yield the answers in order, and no more than `AHEAD` of them before they are wanted."""
    if is_near(backend):
        yield from map(ask, questions)
        return
    with ThreadPoolExecutor(AHEAD, "stepaudio-cas listing") as pool:
        waiting = iter(questions)
        asked = deque(pool.submit(ask, question) for question in islice(waiting, AHEAD))
        try:
            while asked:
                yield asked.popleft().result()
                asked.extend(pool.submit(ask, question) for question in islice(waiting, 1))
        finally:
            for future in asked:
                future.cancel()


def _open(key: str, entry: Entry, sealed: bytes | Damaged, signer: Signer | None) -> Kept:
    if isinstance(sealed, Damaged):
        return Kept(key, entry, b"", None, sealed)
    try:
        return Kept(key, entry, sealed, open_manifest(sealed, key, signer))
    except Damaged as damage:
        return Kept(key, entry, sealed, None, damage)
