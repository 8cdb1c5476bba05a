"""Stores with something in them, and ways to look at and damage their documents."""

import time

from stepaudio_cas import make_fingerprint
from stepaudio_cas.artifact.manifest import open_manifest
from stepaudio_cas.maintenance.verify import Verification
from stepaudio_cas.runtime.keeper import GRACE
from stepaudio_cas.store import layout
from stepaudio_cas.store.memory import MemoryBackend
from stepaudio_cas.store.store import Store
from tests.support.values import entry

MODEL = make_fingerprint(settings={"chunk": 1})
FOLDERS = (layout.OBJECTS, layout.MANIFESTS, layout.FINGERPRINTS)


def fill(store, numbers, fingerprint=MODEL, **fields):
    """Commit entries; return their manifests."""
    made = []
    for number in numbers:
        manifest, blob = entry(
            number, fingerprint=fingerprint.id, label=f"voice-{number}.wav", **fields
        )
        store.commit(manifest, blob, fingerprint)
        made.append(manifest)
    return made


def filled(backend, count=6, signer=None):
    """A store with so many entries."""
    store = Store(backend, signer=signer)
    fill(store, range(count))
    return store


def in_memory(name, count=6, **options):
    """A store in memory under a name that the test makes unique."""
    return filled(MemoryBackend(str(name)), count, **options)


def documents(store):
    """Everything that is in the three folders that are checked, by path."""
    backend = store.backend
    return {e.path: backend.get(e.path) for folder in FOLDERS for e in backend.list(folder)}


def flipped(data, bit):
    changed = bytearray(data)
    changed[bit // 8 % len(data)] ^= 1 << bit % 8
    return bytes(changed)


def later():
    """A clock by which everything has been there for long."""
    return time.time() + 2 * GRACE


def found(store, *share, **options):
    """Verify, and return what was found as (kind, path)."""
    options.setdefault("clock", later)
    return sorted((f.kind, f.path) for f in Verification(store, *share, **options).run())


def readable(store):
    """Every entry that can be read whole, with its sealed manifest."""
    keys = [layout.digest_in(entry.path) for entry in store.backend.list(layout.MANIFESTS)]
    whole = {key: store.read(key, touch=False) for key in keys}
    return {key: (found.manifest, found.blob) for key, found in whole.items()}


def manifest_of(store, key):
    return open_manifest(store.backend.get(layout.manifest_path(key)), key)
