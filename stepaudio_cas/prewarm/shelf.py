"""A store as a daemon sees it: its pins, whether it works, and what it lacks."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final

from stepaudio_cas.errors import Damaged
from stepaudio_cas.identity.digest import is_digest
from stepaudio_cas.store import layout
from stepaudio_cas.store.pins import PinsOf

if TYPE_CHECKING:
    from stepaudio_cas.store.store import Store

_TRIAL: Final = 1 << 16
"""So many bytes are written to find out whether there is room."""


class Shelf(PinsOf):
    """The pins of a store; each verb raises whatever the store raises."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.backend)
        self.store = store

    @property
    def url(self) -> str:
        """Where it is."""
        return self.store.url

    def check(self) -> None:
        """Raise if the store takes nothing, or does not give it back."""
        backend = self.store.backend
        path, content = f"{layout.PROBES}/{os.urandom(8).hex()}-a", os.urandom(_TRIAL)
        try:
            backend.put(path, content)
            if backend.get(path) != content:
                raise Damaged("probe", "what was written does not read back")
        finally:
            with contextlib.suppress(Exception):  # a few bytes, which gc takes away
                backend.delete(path)

    def has(self, key: str) -> bool:
        """Tell whether the entry of a key is there."""
        return self.store.backend.stat(layout.manifest_path(key)) is not None

    def fill(self, key: str, source: Shelf) -> None:
        """Copy an entry from another store, if it is not here and whole there."""
        if self.has(key):
            return
        try:
            found = source.store.read(key, touch=False)
        except Damaged:
            return
        if found is not None:
            model = found.manifest.fingerprint
            described = source.store.fingerprint(model) if is_digest(model) else None
            sealed = None if self.store.signs else found.sealed
            self.store.commit(found.manifest, found.blob, described, sealed=sealed)
