"""A store in this process's memory: for tests, and as a tier that costs nothing to set up."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, ClassVar

from stepaudio_cas._fork import survive_fork
from stepaudio_cas.errors import Damaged
from stepaudio_cas.store.backend import MAX_BYTES, Entry

if TYPE_CHECKING:
    from collections.abc import Iterator


class MemoryBackend:
    """Documents in a dictionary. Two backends of the same name in one process are one store."""

    _spaces: ClassVar[dict[str, dict[str, tuple[bytes, float]]]] = {}
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, name: str = "") -> None:
        self.url = f"memory://{name}"
        self._documents = self._spaces.setdefault(name, {})
        survive_fork(self)

    def __repr__(self) -> str:
        return f"MemoryBackend({self.url!r})"

    def _after_fork(self) -> None:
        MemoryBackend._lock = threading.Lock()

    def get(self, path: str, *, limit: int = MAX_BYTES, touch: bool = False) -> bytes | None:
        found = self._documents.get(path)
        if found is None:
            return None
        if len(found[0]) > limit:
            raise Damaged("too-large", f"{path} has {len(found[0])} bytes")
        if touch:
            with self._lock:
                if self._documents.get(path) is found:
                    self._documents[path] = (found[0], time.time())
        return found[0]

    def put(self, path: str, data: bytes, *, create: bool = False) -> bool:
        entry = (bytes(data), time.time())
        with self._lock:
            if create:
                return self._documents.setdefault(path, entry) is entry
            self._documents[path] = entry
            return True

    def stat(self, path: str) -> Entry | None:
        found = self._documents.get(path)
        return None if found is None else Entry(path, len(found[0]), found[1])

    def delete(self, path: str, *, expect: bytes | None = None) -> bool:
        with self._lock:
            found = self._documents.get(path)
            if found is None or (expect is not None and found[0] != expect):
                return False
            del self._documents[path]
            return True

    def list(self, prefix: str) -> Iterator[Entry]:
        with self._lock:
            found = [(p, d) for p, d in self._documents.items() if p.startswith(f"{prefix}/")]
        for path, (data, mtime) in sorted(found):
            yield Entry(path, len(data), mtime)
