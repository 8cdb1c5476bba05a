"""Objects and manifests on one backend, with the guarantees that everything above relies on.

- What is read is returned only after its digest matched.
- An object is written before the manifest that names it.
- A manifest is created, never overwritten, unless what is there is damaged or the caller refreshes.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from stepaudio_cas._fork import survive_fork
from stepaudio_cas.artifact import codec
from stepaudio_cas.artifact.manifest import MAX_BYTES, Manifest, open_manifest
from stepaudio_cas.errors import Damaged
from stepaudio_cas.identity.digest import digest_bytes
from stepaudio_cas.identity.fingerprint import Fingerprint
from stepaudio_cas.store import layout
from stepaudio_cas.store.backend import Bulk
from stepaudio_cas.store.probe import Capabilities, probe

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from stepaudio_cas.artifact.signing import Signer
    from stepaudio_cas.store.backend import Backend

_ATTEMPTS: Final = 3
_PAUSES: Final = (0.01, 0.05, 0.2)
_DESCRIBED: Final = 60.0
_AT_ONCE: Final = 64 << 20
"""How many bytes of objects are asked for at once."""

_NOT_OURS_TO_JUDGE: Final = frozenset({"format", "signature"})
"""Entries of a newer version or of somebody with another signing key are left as they are."""


@dataclass(frozen=True)
class Found:
    """An entry whose object has matched its digest."""

    manifest: Manifest
    blob: bytes
    sealed: bytes | None = field(default=None, compare=False, repr=False)
    """The manifest as it stands in the store it was read from."""


class Store:
    """One backend seen as objects and manifests."""

    def __init__(self, backend: Backend, *, signer: Signer | None = None) -> None:
        self.backend = backend
        self._signer = signer
        self._described: dict[str, float] = {}
        self._capabilities: Capabilities | None = None
        self._after_fork()
        survive_fork(self)

    def _after_fork(self) -> None:
        self._probing = threading.Lock()

    @property
    def url(self) -> str:
        """Where it is."""
        return self.backend.url

    @property
    def signs(self) -> bool:
        """Whether new entries can be made: not with nothing but keys that verify."""
        return self._signer is None or self._signer.signs

    @property
    def signer(self) -> Signer | None:
        """Who signs here, and whose signatures count."""
        return self._signer

    def __repr__(self) -> str:
        return f"Store({self.url!r})"

    def capabilities(self) -> Capabilities:
        """Return what the backend really does: probed once, then remembered if it answered."""
        found = self._capabilities
        if found is None:
            with self._probing:
                found = self._capabilities or probe(self.backend)
                if not found.error:
                    self._capabilities = found
        return found

    @property
    def known_capabilities(self) -> Capabilities | None:
        """What has been found out so far, without finding out."""
        return self._capabilities

    def read(self, key: str, *, touch: bool = True) -> Found | None:
        """Return the entry of `key`, or None if there is none.

        Raises `Damaged` if there is something that is not a whole entry.
        """
        sealed = self.backend.get(layout.manifest_path(key), limit=MAX_BYTES, touch=touch)
        return None if sealed is None else self._resolve(key, sealed, touch=touch)

    def read_many(self, keys: Sequence[str], *, touch: bool = True) -> dict[str, Found | Damaged]:
        """Return the entries that are there, or what is wrong with them, in two round trips.

        For backends that are `Bulk`.
        """
        backend = self.backend
        assert isinstance(backend, Bulk)
        paths = [layout.manifest_path(key) for key in keys]
        documents = backend.get_many(paths, limit=MAX_BYTES, touch=touch)
        found: dict[str, Found | Damaged] = {}
        wanted: dict[str, tuple[bytes, Manifest]] = {}
        for key, sealed in zip(keys, documents, strict=True):
            try:
                if isinstance(sealed, Damaged):
                    found[key] = sealed
                elif sealed is not None:
                    wanted[key] = sealed, self._open(key, sealed)
            except Damaged as damage:
                found[key] = damage
        for part in _parts(wanted):
            sizes = {wanted[key][1].object: wanted[key][1].size for key in part}
            paths = [layout.object_path(name) for name in sizes]
            blobs = backend.get_many(paths, limit=max(sizes.values()), touch=touch)
            by_name = dict(zip(sizes, blobs, strict=True))
            for key in part:
                sealed, manifest = wanted[key]
                found[key] = _whole(manifest, by_name[manifest.object], sealed)
        return found

    def _open(self, key: str, sealed: bytes) -> Manifest:
        manifest = open_manifest(sealed, key, self._signer)
        if manifest.size > codec.MAX_BYTES:
            raise Damaged("too-large", f"an object of {manifest.size} bytes")
        return manifest

    def _resolve(self, key: str, sealed: bytes, *, touch: bool = False) -> Found:
        manifest = self._open(key, sealed)
        path = layout.object_path(manifest.object)
        found = _whole(manifest, self.backend.get(path, limit=manifest.size, touch=touch), sealed)
        if isinstance(found, Damaged):
            raise found
        return found

    def commit(
        self,
        manifest: Manifest,
        blob: bytes,
        fingerprint: Fingerprint | None = None,
        *,
        overwrite: bool = False,
        sealed: bytes | None = None,
    ) -> Found:
        """Store an entry, and return the one that stands: this one, or whoever's was first.

        A damaged entry does not count as first. With `overwrite` nothing does. `sealed` is the
        manifest as bytes, where it is to be copied as it is.
        """
        if digest_bytes(blob) != manifest.object or len(blob) != manifest.size:
            raise Damaged("object", "refusing to store bytes under a name that is not theirs")
        self._describe(fingerprint)
        self.backend.put(layout.object_path(manifest.object), blob)
        ours, path = Found(manifest, blob), layout.manifest_path(manifest.key)
        sealed = manifest.seal(self._signer) if sealed is None else sealed
        if overwrite:
            self.backend.put(path, sealed)
            return ours
        for _ in range(_ATTEMPTS):
            if self.backend.put(path, sealed, create=True):
                return self._confirm(ours, path, sealed)
            standing = self._standing(manifest.key, path)
            if standing is not None:
                return standing
        return ours

    def _standing(self, key: str, path: str) -> Found | None:
        """Return the entry that was there first; clear the way if it is damaged."""
        try:
            sealed = self.backend.get(path, limit=MAX_BYTES)
            for pause in _PAUSES:
                if sealed != b"":
                    break
                time.sleep(pause)  # without links, a name is taken before it has its content
                sealed = self.backend.get(path, limit=MAX_BYTES)
        except Damaged:  # far too large, or no document at all
            self.backend.delete(path)
            return None
        if sealed is None:
            return None
        try:
            return self._resolve(key, sealed)
        except Damaged as damage:
            if damage.kind in _NOT_OURS_TO_JUDGE:
                raise
            self.backend.delete(path, expect=sealed)
            return None

    def _confirm(self, ours: Found, path: str, sealed: bytes) -> Found:
        """Look once more at who it was, unless creating is known to be atomic here."""
        known = self.known_capabilities
        if known is not None and known.create == "atomic":
            return ours
        if self.backend.get(path, limit=MAX_BYTES) == sealed:
            return ours
        return self.read(ours.manifest.key, touch=False) or ours

    def _describe(self, fingerprint: Fingerprint | None) -> None:
        if fingerprint is None or self.describes(fingerprint.id):
            return
        self.backend.put(layout.fingerprint_path(fingerprint.id), fingerprint.document, create=True)
        self._described[fingerprint.id] = time.monotonic()

    def describes(self, fingerprint: str) -> bool:
        """Tell whether a model was found described here, or was described by us, just before.

        For a minute: the store may be emptied while we use it.
        """
        then = self._described.get(fingerprint)
        return then is not None and time.monotonic() - then < _DESCRIBED

    def fingerprint(self, identity: str) -> Fingerprint | None:
        """Return the description of a model, if it is here and what its name says."""
        path = layout.fingerprint_path(identity)
        document = self.backend.get(path, limit=MAX_BYTES)
        if document is None:
            return None
        if digest_bytes(document) != identity:
            raise Damaged("fingerprint", f"{identity} is not what its name says")
        return Fingerprint(identity, document)

    def adopt(self, found: Found, fingerprint: Fingerprint | None = None) -> Found:
        """Store an entry from another store, signed by us, over whatever stands here."""
        return self.commit(found.manifest, found.blob, fingerprint, overwrite=True)


def _whole(manifest: Manifest, blob: bytes | Damaged | None, sealed: bytes) -> Found | Damaged:
    """Hold an object against its manifest."""
    if isinstance(blob, Damaged):
        return blob
    if blob is None:
        return Damaged("object-missing", manifest.object)
    if len(blob) != manifest.size or digest_bytes(blob) != manifest.object:
        return Damaged("object", f"{manifest.object} is not what its name says")
    return Found(manifest, blob, sealed)


def _parts(wanted: Mapping[str, tuple[bytes, Manifest]]) -> Iterator[list[str]]:
    """Cut keys into parts, so that what a stranger's manifests promise does not fill the memory."""
    part: list[str] = []
    size = 0
    for key, (_, manifest) in wanted.items():
        if part and size + manifest.size > _AT_ONCE:
            yield part
            part, size = [], 0
        part.append(key)
        size += manifest.size
    if part:
        yield part
