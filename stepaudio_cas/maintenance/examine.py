"""Reading many documents and judging each: at once where that pays, and never all in memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar

from stepaudio_cas.errors import Damaged, Unavailable
from stepaudio_cas.store.backend import MAX_BYTES, Bulk
from stepaudio_cas.store.urls import is_near

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from types import TracebackType

    from stepaudio_cas.store.backend import Backend, Entry

T = TypeVar("T")
V = TypeVar("V")
Judge = Callable[["Entry", "bytes | Damaged | None"], V]

UNREADABLE: Final = "unreadable"
AT_ONCE: Final = 32
"""How many documents of a remote store are fetched at the same time."""

_BATCH_BYTES: Final = 64 << 20
_BATCH: Final = 256
_LARGE: Final = 1 << 17
"""From this size on, reading and digesting leave the interpreter to others most of the time."""

_GIVE_UP: Final = 64


class Examiner:
    """Reads the documents of one backend and has each judged, in threads where that pays.

    A document that cannot be read is `Damaged` of kind `unreadable`; a place where one after the
    other cannot be read raises `Unavailable`.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self._near = is_near(backend)
        count = min(8, os.cpu_count() or 1) if self._near else AT_ONCE
        self._pool = ThreadPoolExecutor(count, "stepaudio-cas examining")
        self._failures = 0

    def __enter__(self) -> Examiner:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def read(self, path: str, *, limit: int = MAX_BYTES) -> bytes | Damaged | None:
        """Read one document."""
        try:
            data = self.backend.get(path, limit=limit)
        except Damaged as damage:
            return damage
        except Exception as error:
            return self._unreadable(path, error)
        self._failures = 0
        return data

    def each(self, entries: Iterable[Entry], judge: Judge[V]) -> Iterator[V]:
        """Yield the verdict over each document, in order."""

        def one(entry: Entry) -> V:
            return judge(entry, self.read(entry.path))

        for batch in _batches(entries):
            if isinstance(self.backend, Bulk):
                yield from map(judge, batch, self._many(batch))
            elif self._near and sum(entry.size for entry in batch) < _LARGE * len(batch):
                yield from map(one, batch)
            else:
                yield from self._pool.map(one, batch)

    def _many(self, batch: Sequence[Entry]) -> list[bytes | Damaged | None]:
        assert isinstance(self.backend, Bulk)
        try:
            found = self.backend.get_many([entry.path for entry in batch])
        except Exception:  # it may be one of them: then only that one is unreadable
            return [self.read(entry.path) for entry in batch]
        self._failures = 0
        return found

    def _unreadable(self, path: str, error: Exception) -> Damaged:
        self._failures += 1
        reason = f"{type(error).__name__}: {error}"
        if self._failures >= _GIVE_UP:
            raise Unavailable("unreadable", f"{self.backend.url} does not answer: {reason}")
        return Damaged(UNREADABLE, f"{path}: {reason}")


def _batches(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """Cut into lists that fit in memory."""
    batch: list[Entry] = []
    held = 0
    for entry in entries:
        if batch and (len(batch) >= _BATCH or held + entry.size > _BATCH_BYTES):
            yield batch
            batch, held = [], 0
        batch.append(entry)
        held += entry.size
    if batch:
        yield batch
