"""A local store with entries of known age, for the tests of its keeper."""

import os

from stepaudio_cas.runtime.keeper import Keeper
from stepaudio_cas.store import layout
from stepaudio_cas.store.local import LocalBackend
from stepaudio_cas.store.store import Store
from tests.runtime.helpers import Clock, quiet
from tests.support.values import entry, recipe

HOUR = 3600.0
NOW = 2_000_000_000.0


class Shelf:
    """The store, its keeper, and what a test wants to know of both."""

    def __init__(self, root):
        self.backend = LocalBackend(root)
        self.store = Store(self.backend)
        self.clock = Clock(NOW)
        self.recorder = quiet()

    def add(self, number, hours, *, value=None, size=None, **fields):
        """Put an entry that was last used so many hours ago; `size` is about that of its object."""
        value = [str(number).encode() * (size or 1000)] if value is None else value
        manifest, blob = entry(number, value, **fields)
        self.store.commit(manifest, blob)
        self.age(layout.manifest_path(manifest.key), hours)
        self.age(layout.object_path(manifest.object), hours)
        return manifest

    def age(self, path, hours):
        when = NOW - hours * HOUR
        os.utime(f"{self.backend.root}/{path}", (when, when))

    def write(self, path, data=b"x", hours=0.0):
        """Put a file of any name, as a crashed or foreign program leaves it."""
        full = f"{self.backend.root}/{path}"
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "wb") as file:
            file.write(data)
        self.age(path, hours)

    def pin(self, number):
        self.backend.put(layout.pin_path(recipe(number).key), b"")

    def keeper(self, *, max_size=None, ttl=None):
        return Keeper(self.backend, self.recorder, max_size=max_size, ttl=ttl, clock=self.clock)

    def keep(self, **bounds):
        self.keeper(**bounds).run()

    def size(self):
        """What counts against the limit."""
        return sum(
            found.size
            for folder in (layout.OBJECTS, layout.MANIFESTS)
            for found in self.backend.list(folder)
        )

    def left(self, numbers):
        """Those of the entries that can still be read."""
        return [n for n in numbers if self.store.read(recipe(n).key, touch=False) is not None]

    def objects(self):
        return {layout.digest_in(found.path) for found in self.backend.list(layout.OBJECTS)}

    def exists(self, path):
        return os.path.exists(f"{self.backend.root}/{path}")
