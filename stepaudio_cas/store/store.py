"""Objects and manifests on one backend, with the guarantees that everything above relies on.

- What is read is returned only after its digest matched.
- An object is written before the manifest that names it.
- A manifest is created, never overwritten, unless what is there is damaged or the caller refreshes.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from stepaudio_cas._fork import survive_fork
from stepaudio_cas.artifact import codec
from stepaudio_cas.artifact.manifest import MAX_BYTES, Manifest, open_manifest
from stepaudio_cas.errors import Damaged
from stepaudio_cas.identity.digest import digest_bytes
from stepaudio_cas.store import layout
from stepaudio_cas.store.probe import Capabilities, probe

if TYPE_CHECKING:
    from stepaudio_cas.artifact.signing import Signer
    from stepaudio_cas.identity.fingerprint import Fingerprint
    from stepaudio_cas.store.backend import Backend

_ATTEMPTS: Final = 3
_PAUSES: Final = (0.01, 0.05, 0.2)
_NOT_OURS_TO_JUDGE: Final = frozenset({"format", "signature"})
"""Entries of a newer version or of somebody with another signing key are left as they are."""


@dataclass(frozen=True)
class Found:
    """An entry whose object has matched its digest."""

    manifest: Manifest
    blob: bytes


class Store:
    """One backend seen as objects and manifests."""

    def __init__(self, backend: Backend, *, signer: Signer | None = None) -> None:
        self.backend = backend
        self._signer = signer
        self._described: set[str] = set()
        self._capabilities: Capabilities | None = None
        self._after_fork()
        survive_fork(self)

    def _after_fork(self) -> None:
        self._probing = threading.Lock()

    @property
    def url(self) -> str:
        """Where it is."""
        return self.backend.url

    def __repr__(self) -> str:
        return f"Store({self.url!r})"

    def capabilities(self) -> Capabilities:
        """Return what the backend really does: probed once, then remembered."""
        if self._capabilities is None:
            with self._probing:
                if self._capabilities is None:
                    self._capabilities = probe(self.backend)
        return self._capabilities

    @property
    def known_capabilities(self) -> Capabilities | None:
        """What has been found out so far, without finding out."""
        return self._capabilities

    def read(self, key: str, *, touch: bool = True) -> Found | None:
        """Return the entry of `key`, or None if there is none.

        Raises `Damaged` if there is something that is not a whole entry.
        """
        sealed = self.backend.get(layout.manifest_path(key), limit=MAX_BYTES, touch=touch)
        return None if sealed is None else self._resolve(key, sealed)

    def _resolve(self, key: str, sealed: bytes) -> Found:
        manifest = open_manifest(sealed, key, self._signer)
        if manifest.size > codec.MAX_BYTES:
            raise Damaged("too-large", f"an object of {manifest.size} bytes")
        blob = self.backend.get(layout.object_path(manifest.object), limit=manifest.size)
        if blob is None:
            raise Damaged("object-missing", manifest.object)
        if len(blob) != manifest.size or digest_bytes(blob) != manifest.object:
            raise Damaged("object", f"{manifest.object} is not what its name says")
        return Found(manifest, blob)

    def commit(
        self,
        manifest: Manifest,
        blob: bytes,
        fingerprint: Fingerprint | None = None,
        *,
        overwrite: bool = False,
    ) -> Found:
        """Store an entry, and return the one that stands: this one, or whoever's was first.

        A damaged entry does not count as first. With `overwrite` nothing does.
        """
        if digest_bytes(blob) != manifest.object or len(blob) != manifest.size:
            raise Damaged("object", "refusing to store bytes under a name that is not theirs")
        self._describe(fingerprint)
        self.backend.put(layout.object_path(manifest.object), blob)
        ours, path = Found(manifest, blob), layout.manifest_path(manifest.key)
        sealed = manifest.seal(self._signer)
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
        sealed = self.backend.get(path)
        for pause in _PAUSES:
            if sealed != b"":
                break
            time.sleep(pause)  # on a disk without links a name is taken before it has its content
            sealed = self.backend.get(path)
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
        if fingerprint is not None and fingerprint.id not in self._described:
            self.backend.put(
                layout.fingerprint_path(fingerprint.id), fingerprint.document, create=True
            )
            self._described.add(fingerprint.id)

    def adopt(self, found: Found, fingerprint: Fingerprint | None = None) -> Found:
        """Store an entry from another store, signed by us, over whatever stands here."""
        return self.commit(found.manifest, found.blob, fingerprint, overwrite=True)
