"""A store in memory whose clock is moved by hand, and that a test may watch or disturb."""

import itertools

from stepaudio_cas.artifact.manifest import open_manifest
from stepaudio_cas.errors import Damaged
from stepaudio_cas.maintenance.gc import Asked, Collector
from stepaudio_cas.maintenance.plan import Bounds, Fate
from stepaudio_cas.store import layout
from stepaudio_cas.store.memory import MemoryBackend
from stepaudio_cas.store.store import Store
from tests.support.values import entry, recipe

HOUR = 3600.0
DAY = 24 * HOUR
NOW = 2_000_000_000.0
_numbers = itertools.count()


class Clock:
    """A clock that moves when told."""

    def __init__(self, now=NOW):
        self.now = now

    def __call__(self):
        return self.now


class ClockedBackend(MemoryBackend):
    """`before(verb, path)` is called first; what `hides(path)` is left out of listings."""

    def __init__(self, clock):
        super().__init__(f"clocked-{next(_numbers)}")
        self.clock = clock
        self.before = lambda verb, path: None
        self.hides = lambda path: False

    def age(self, path, when):
        self._documents[path] = (self._documents[path][0], when)

    def get(self, path, *, touch=False, **options):
        self.before("get", path)
        data = super().get(path, **options)
        if touch and data is not None:
            self.age(path, self.clock())
        return data

    def put(self, path, data, *, create=False):
        self.before("put", path)
        wrote = super().put(path, data, create=create)
        if wrote:
            self.age(path, self.clock())
        return wrote

    def stat(self, path):
        self.before("stat", path)
        return super().stat(path)

    def delete(self, path, *, expect=None):
        self.before("delete", path)
        return super().delete(path, expect=expect)

    def list(self, prefix):
        self.before("list", prefix)
        return (found for found in super().list(prefix) if not self.hides(found.path))


class Shelf:
    """A store with entries of known age, and what a test wants to know of it."""

    def __init__(self):
        self.clock = Clock()
        self.backend = ClockedBackend(self.clock)
        self.store = Store(self.backend)

    def add(self, number, hours=2.0, *, value=None, size=1000, **fields):
        """Put an entry that was last used so many hours ago; `size` is about that of its object."""
        value = [str(number).encode().ljust(size, b".")] if value is None else value
        manifest, blob = entry(number, value, **fields)
        self.store.commit(manifest, blob)
        for path in (layout.manifest_path(manifest.key), layout.object_path(manifest.object)):
            self.backend.age(path, self.clock() - hours * HOUR)
        return manifest

    def orphan(self, number, hours):
        """Put an object that nothing refers to."""
        manifest = self.add(number, hours)
        self.backend.delete(layout.manifest_path(manifest.key))
        return manifest.object

    def put(self, path, data=b"x", hours=0.0):
        """Put any document."""
        self.backend.put(path, data)
        self.backend.age(path, self.clock() - hours * HOUR)

    def pin(self, number):
        self.backend.put(layout.pin_path(recipe(number).key), b"")

    def collector(self, *, plugin=None, models=(), **bounds):
        asked = Asked(Bounds(**bounds), plugin, tuple(models))
        return Collector(self.backend, asked, clock=self.clock)

    def gc(self, **asked):
        """Do one run; return what it has done."""
        collector = self.collector(**asked)
        with collector.alone():
            return collector.sweep(collector.plan())

    def left(self, numbers):
        """Those of the entries that can still be read."""
        return [n for n in numbers if self.store.read(recipe(n).key, touch=False) is not None]

    def objects(self):
        return {layout.digest_in(found.path) for found in self.backend.list(layout.OBJECTS)}

    def size(self):
        """What counts against the limit."""
        folders = (layout.OBJECTS, layout.MANIFESTS)
        return sum(found.size for folder in folders for found in self.backend.list(folder))


def doomed(plan):
    """How many entries go, by reason."""
    counts = {fate: plan.staying(fate) for fate in Fate if fate >= Fate.AGE}
    return {fate.name.lower(): count for fate, count in counts.items() if count}


def dangling(backend):
    """Name the entries whose object is gone."""
    found = []
    for listed in backend.list(layout.MANIFESTS):
        key = layout.digest_in(listed.path)
        try:
            manifest = open_manifest(backend.get(listed.path), key)
        except Damaged:
            continue
        if backend.stat(layout.object_path(manifest.object)) is None:
            found.append(key)
    return found
