"""One at a time: by a lock where the backend has some, else by a document that runs out.

A lease keeps two from doing the same work twice. What they do has to be safe without it: a lock
may do nothing, and two may take over the same dead lease at once until one of them notices.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from typing import TYPE_CHECKING, Final

from stepaudio_cas.errors import CasError, Damaged
from stepaudio_cas.store import layout
from stepaudio_cas.store.backend import Locking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stepaudio_cas.store.backend import Backend, Lock

DURATION: Final = 120.0
"""A document that was not renewed for so long belongs to a process that has died."""

_LARGEST: Final = 4096


class Taken(CasError):  # noqa: N818 - describes the lease
    """Somebody else has the lease."""


class Lease:
    """A lease that is held; `renew` it often."""

    def renew(self) -> None:
        """Say that we are still at it. Raises `Taken` if somebody else has taken over."""


@contextlib.contextmanager
def held(backend: Backend, name: str, now: Callable[[], float]) -> Iterator[Lease]:
    """Hold the lease `name` of a store; `now` is the time by its clock. Raises `Taken`."""
    lease = _Lock(backend, name) if isinstance(backend, Locking) else _Document(backend, name, now)
    try:
        lease.take()
    except CasError:
        raise
    except Exception as error:
        raise CasError(f"no lease for {name} to be had from {backend.url}: {error}") from error
    try:
        yield lease
    finally:
        with contextlib.suppress(Exception):  # it ends with the process, or runs out
            lease.release()


class _Lock(Lease):
    """A lease that is a lock of the backend's."""

    def __init__(self, backend: Locking, name: str) -> None:
        self._backend = backend
        self._name = name
        self._lock: Lock | None = None

    def take(self) -> None:
        self._lock = self._backend.try_lock(self._name)
        if self._lock is None:
            url = getattr(self._backend, "url", "")
            raise Taken(f"another {self._name} is at work on {url}; wait until it is done")

    def release(self) -> None:
        if self._lock is not None:
            self._lock.release()


class _Document(Lease):
    """A lease that is a document: its age, by the clock of the store, is that of the last sign."""

    def __init__(self, backend: Backend, name: str, now: Callable[[], float]) -> None:
        self._backend = backend
        self._name = name
        self._path = f"{layout.LEASES}/{name}.json"
        self._now = now
        self._renewed = 0.0
        self._holder = f"process {os.getpid()} on {socket.gethostname()}"
        document = {"holder": self._holder, "nonce": os.urandom(8).hex(), "seconds": DURATION}
        self._mine = json.dumps(document).encode()

    def take(self) -> None:
        if not self._backend.put(self._path, self._mine, create=True):
            there = self._dead()
            if there is not None:
                self._backend.delete(self._path, expect=there)
            if not self._backend.put(self._path, self._mine, create=True):
                raise self._taken()
        if self._read() != self._mine:  # not every backend creates exclusively
            raise self._taken()
        self._renewed = self._now()

    def _dead(self) -> bytes | None:
        """Return what a dead process has left, or None if it is gone by now."""
        entry, there = self._backend.stat(self._path), self._read()
        if entry is None or there is None:
            return None
        left = DURATION - abs(self._now() - entry.mtime)
        if left > 0:
            raise self._taken(f"; if it has died, its lease runs out in {left:.0f} s")
        return there

    def renew(self) -> None:
        if self._now() - self._renewed < DURATION / 4:
            return
        if self._read() != self._mine:
            raise self._taken("; this one stops here, and what is left stays")
        self._backend.put(self._path, self._mine)
        self._renewed = self._now()

    def release(self) -> None:
        self._backend.delete(self._path, expect=self._mine)

    def _read(self) -> bytes | None:
        try:
            return self._backend.get(self._path, limit=_LARGEST)
        except Damaged:
            return b""

    def _taken(self, more: str = "; wait until it is done") -> Taken:
        try:
            holder = str(json.loads(self._read() or b"")["holder"])[:200]
        except (ValueError, KeyError, TypeError, RecursionError):
            holder = "somebody"
        return Taken(f"another {self._name} is at work on {self._backend.url}: {holder}{more}")
