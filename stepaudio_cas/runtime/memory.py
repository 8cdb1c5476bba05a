"""The fastest tier: ready values in this process, bounded in bytes, the least used go first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from stepaudio_cas._fork import survive_fork

if TYPE_CHECKING:
    from stepaudio_cas.artifact.fresh import Ready


class MemoryTier:
    """Keeps up to `limit` bytes of ready values; 0 keeps none."""

    name = "memory"

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.bytes = 0
        self._values: OrderedDict[str, Ready] = OrderedDict()
        self._lock = threading.Lock()
        survive_fork(self)

    def _after_fork(self) -> None:
        # Another thread may have been in the middle of a change when the process forked.
        self._lock = threading.Lock()
        self._values = OrderedDict(self._values)
        self.bytes = sum(ready.size for ready in self._values.values())

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: str) -> Ready | None:
        """Return the value and make it the most recently used."""
        with self._lock:
            ready = self._values.get(key)
            if ready is not None:
                self._values.move_to_end(key)
            return ready

    def put(self, key: str, ready: Ready) -> None:
        """Keep a value, if it is not larger than everything that may be kept."""
        if not self.limit:
            return
        if ready.size > self.limit:
            self.drop(key)
            return
        with self._lock:
            old = self._values.pop(key, None)
            self.bytes += ready.size - (old.size if old is not None else 0)
            self._values[key] = ready
            while self.bytes > self.limit:
                _, oldest = self._values.popitem(last=False)
                self.bytes -= oldest.size

    def drop(self, key: str) -> None:
        """Forget a value."""
        with self._lock:
            old = self._values.pop(key, None)
            if old is not None:
                self.bytes -= old.size

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._values.clear()
            self.bytes = 0
