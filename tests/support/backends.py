"""Every backend that the same tests are held against: a new one is one more line here."""

from stepaudio_cas.store.local import LocalBackend
from stepaudio_cas.store.memory import MemoryBackend
from stepaudio_cas.store.remote import FsspecBackend

# From an empty folder, whose name is unique, to an instance over documents that belong to it.
BACKENDS = {
    "local": lambda folder: LocalBackend(folder / "store"),
    "memory": lambda folder: MemoryBackend(folder.name),
    "fsspec-file": lambda folder: FsspecBackend(f"file://{folder}/remote"),
    "fsspec-memory": lambda folder: FsspecBackend(f"memory://{folder.name}/deeper"),
}

SERVED = {"s3": "s3_url", "gcs": "gcs_url", "redis": "redis_url"}
"""Those that a server has, by the fixture that starts it and tells where documents may go."""

ATOMIC = ("local", "memory", "s3", "gcs", "redis")
"""Where one of many creators wins, and no reader sees half a document."""
