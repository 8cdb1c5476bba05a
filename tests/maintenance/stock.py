"""Stores with entries that a test knows, on any backend."""

import itertools
import time

from stepaudio_cas.maintenance import inventory
from stepaudio_cas.store import layout
from stepaudio_cas.store.memory import MemoryBackend
from stepaudio_cas.store.store import Store
from tests.support.values import entry

_numbers = itertools.count()
HOUR = 3600.0


class Stock:
    """A store, by default in memory, and what a test does to it and wants to know of it."""

    def __init__(self, backend=None, *, signer=None):
        self.backend = MemoryBackend(f"stock-{next(_numbers)}") if backend is None else backend
        self.store = Store(self.backend, signer=signer)

    def add(self, number, value=None, **fields):
        """Put an entry, and return its manifest."""
        manifest, blob = entry(number, value, **fields)
        self.store.commit(manifest, blob)
        return manifest

    def age(self, path, hours):
        """Make a document of a store in memory older."""
        data, _ = self.backend._documents[path]
        self.backend._documents[path] = data, time.time() - hours * HOUR

    def entries(self):
        return {kept.key for kept in inventory.manifests(self.backend)}

    def objects(self):
        return {layout.digest_in(found.path) for found in self.backend.list(layout.OBJECTS)}

    def pins(self):
        return inventory.pinned(self.backend)

    def damage(self, manifest):
        self.backend.put(layout.manifest_path(manifest.key), b"nonsense")


def later():
    """A clock at which everything there is has been there for two hours."""
    return time.time() + 2 * HOUR
