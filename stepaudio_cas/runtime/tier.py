"""A store as the hot path sees it: it answers in time or not at all, and never raises."""

from __future__ import annotations

import errno
import math
import threading
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from stepaudio_cas.errors import Damaged, Forbidden, Unavailable
from stepaudio_cas.runtime.breaker import LONGEST_PAUSE, Breaker
from stepaudio_cas.runtime.budget import MANY, Budget
from stepaudio_cas.runtime.interrupts import interrupt_in, reraise_interrupt
from stepaudio_cas.runtime.workers import Workers
from stepaudio_cas.store.backend import Bulk, Locking
from stepaudio_cas.store.counters import Subject
from stepaudio_cas.store.urls import is_near
from stepaudio_cas.units import show_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stepaudio_cas.artifact.manifest import Manifest
    from stepaudio_cas.identity.fingerprint import Fingerprint
    from stepaudio_cas.runtime.recorder import Recorder
    from stepaudio_cas.store.backend import Lock
    from stepaudio_cas.store.probe import Capabilities
    from stepaudio_cas.store.store import Found, Store

_DENIED: Final = {errno.EACCES, errno.EPERM, errno.EROFS}
_FULL: Final = {errno.ENOSPC, errno.EDQUOT}
_BYTES_PER_SECOND: Final = 10e6
"""A deadline grows with the size of what is written, at this rate."""

DENIED_SECONDS: Final = 3600.0
"""A store that does not let us write is read-only for this long, then asked once more."""


class Tier:
    """One store behind a deadline and three circuit breakers: reading, writing and locking.

    A full or read-only disk thus goes on serving what it has, and locks that work do not hide
    that writing does not.
    """

    def __init__(
        self,
        name: str,
        store: Store,
        recorder: Recorder,
        *,
        deadline: float,
        writable: bool,
        budget: Budget | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.store = store
        self._may_write = writable
        self._denied_until = -math.inf
        self._clock = clock
        self.reading = Breaker(clock=clock)
        self.writing = Breaker(clock=clock)
        self.locking = Breaker(clock=clock)
        self._recorder = recorder
        self._deadline = deadline
        self._budget = budget or Budget(deadline)
        self._workers = Workers(f"stepaudio-cas {name}")
        self.lockable = writable and isinstance(store.backend, Locking)
        self.shared = not is_near(store.backend)
        """Whether other machines may use it, too."""

    @property
    def writable(self) -> bool:
        """Whether to write here: we are meant to, and the store has not refused it of late."""
        return self._may_write and self._clock() >= self._denied_until

    def __repr__(self) -> str:
        return f"Tier({self.name!r}, {self.store!r})"

    def read(self, key: str) -> Found | None:
        """Return the entry of `key`; None if there is none, or the store does not give it."""
        found: Found | None = self._attempt(self.reading, self._in_worker(self._reader(key)))
        return found

    def read_many(self, keys: Sequence[str]) -> dict[str, Found]:
        """Return the entries that are there, all looked up at once."""
        if isinstance(self.store.backend, Bulk):
            return self._read_bulk(keys)
        if self.reading.state == "closed":
            try:
                tasks = [self._workers.start(self._reader(key)) for key in keys]
            except Unavailable as error:  # no thread can be started
                self._failed(self.reading, error)
                return {}
            found = [self._attempt(self.reading, task.wait) for task in tasks]
        else:
            found = [self.read(key) for key in keys]
        return {key: entry for key, entry in zip(keys, found, strict=True) if entry is not None}

    def _read_bulk(self, keys: Sequence[str]) -> dict[str, Found]:
        everything: dict[str, Found | Damaged] = self._attempt(
            self.reading,
            self._in_worker(lambda: self.store.read_many(keys, touch=self.writable)),
            {},
            extra=self._deadline * len(keys) / MANY,
        )
        found: dict[str, Found] = {}
        for key, entry in everything.items():
            if isinstance(entry, Damaged):
                self._damaged(entry)
            else:
                found[key] = entry
        return found

    def _reader(self, key: str) -> Callable[[], Found | None]:
        return lambda: self.store.read(key, touch=self.writable)

    def commit(
        self,
        manifest: Manifest,
        blob: bytes,
        fingerprint: Fingerprint | None = None,
        *,
        overwrite: bool = False,
        sealed: bytes | None = None,
    ) -> Found | None:
        """Store an entry and return the one that stands; None if the store did not take it.

        `sealed` is the manifest as another store has it, for who cannot sign it himself.
        """
        if not self.writable or (sealed is None and not self.signs):
            return None
        sealed = None if self.signs else sealed
        standing: Found | None = self._attempt(
            self.writing,
            self._in_worker(
                lambda: self.store.commit(
                    manifest, blob, fingerprint, overwrite=overwrite, sealed=sealed
                )
            ),
            extra=len(blob) / _BYTES_PER_SECOND,
        )
        return standing

    def fingerprint(self, identity: str) -> Fingerprint | None:
        """Return the description of a model, if the store has it."""
        found: Fingerprint | None = self._attempt(
            self.reading, self._in_worker(lambda: self.store.fingerprint(identity))
        )
        return found

    @property
    def signs(self) -> bool:
        """Whether new entries can be made here, besides copies of others'."""
        return self.store.signs

    @property
    def in_time(self) -> bool:
        """Whether the call of this thread may still wait for this store."""
        account = self._budget.account if self.shared else None
        return account is None or account.left(self.name) > 0

    def try_lock(self, key: str) -> tuple[bool, Lock | None]:
        """Try to be the one process that encodes `key`.

        Returns whether to go on, and the lock if there is one: without a working lock everybody
        goes on. A store that has just failed is not locked: nobody should wait there for an
        artifact that may never come.
        """
        backend = self.store.backend
        calm = self.reading.calm and self.writing.calm and self.locking.state != "open"
        if not self.lockable or not calm or not isinstance(backend, Locking):
            return True, None
        failed, first, taken = object(), threading.Lock(), list[Any]()

        def take() -> Lock | None:
            lock = backend.try_lock(key)
            taken.append(lock)
            if not first.acquire(blocking=False) and lock is not None:
                lock.release()  # nobody has waited for it
            return lock

        lock = self._attempt(self.locking, self._in_worker(take), failed)
        if lock is failed:
            return True, (None if first.acquire(blocking=False) else taken[0])
        return lock is not None, lock

    def release(self, lock: Lock) -> None:
        """Let the next process in, whatever else does not work."""
        try:
            self._workers.call(lock.release, self._deadline)
        except Exception as error:
            self._recorder.error(f"lock.{self.name}", f"{self.name}: a lock stays held: {error}")

    def state(self) -> dict[str, Any]:
        """Say how the store is, for people and programs that watch."""
        known = self.store.known_capabilities
        return {
            "name": self.name,
            "url": self.store.url,
            "writable": self.writable,
            "reading": self.reading.state,
            "writing": self.writing.state,
            "locking": self.locking.state,
            "capabilities": None if known is None else asdict(known),
        }

    def examine(self, seconds: float) -> Capabilities | None:
        """Find out what the store really does; None if that takes longer, or does not work.

        It goes on when the time is up, and is then found in `store.known_capabilities`.
        """
        if not self.writable or self.writing.state != "closed":
            return None
        try:
            found: Capabilities = self._workers.call(self.store.capabilities, seconds)
        except Exception:
            return None  # whoever reads or writes will say it
        return None if found.error else found

    def run(self, function: Callable[[], Any]) -> Any:
        """Do other work on the store under the same protection; None if that fails."""
        return self._attempt(self.writing, self._in_worker(function)) if self.writable else None

    def again(self) -> None:
        """Ask a store that has failed at once, and not after a while."""
        self._denied_until = -math.inf
        for breaker in (self.reading, self.writing, self.locking):
            breaker.succeeded()

    def _in_worker(self, function: Callable[[], Any]) -> Callable[[float], Any]:
        return lambda seconds: self._workers.call(function, seconds)

    def _attempt(
        self,
        breaker: Breaker,
        function: Callable[[float], Any],
        otherwise: Any = None,
        *,
        extra: float = 0.0,
    ) -> Any:
        account = self._budget.account if self.shared else None
        seconds = self._deadline + extra
        if account is not None:
            seconds = min(seconds, account.left(self.name))
        if seconds <= 0 or not breaker.allows():
            return otherwise
        started = time.monotonic()
        try:
            result = function(seconds)
        except Damaged as damage:
            breaker.succeeded()
            reraise_interrupt(damage)
            self._damaged(damage)
            return otherwise
        except Exception as error:
            if interrupt_in(error) is not None:
                breaker.failed()
                raise
            self._failed(breaker, error)
            return otherwise
        except BaseException:  # the host was interrupted: a trial must not stay open
            breaker.failed()
            raise
        finally:
            if account is not None:
                account.spend(self.name, time.monotonic() - started)
        if breaker.succeeded():
            self._recorder.log.error(f"{self.name}: {self.store.url} works again")
        return result

    def _damaged(self, damage: Damaged) -> None:
        self._recorder.error(
            damage.kind, f"{self.name}: an entry in {self.store.url} is not used: {damage}"
        )

    def _failed(self, breaker: Breaker, error: Exception) -> None:
        kind, remedy = _classify(error)
        verbs = {self.reading: "reading from", self.writing: "writing to"}
        what = verbs.get(breaker, "locking in")
        if isinstance(error, Forbidden) and breaker is self.writing:
            self._denied(breaker, error)
            return
        self._recorder.error(
            f"{kind}.{self.name}", f"{self.name}: {what} {self.store.url} failed: {error}{remedy}"
        )
        if breaker.failed(final=kind in {"denied", "full"}):
            self._recorder.log.error(
                f"{self.name}: {what} {self.store.url} is suspended"
                f" and tried again within {show_seconds(LONGEST_PAUSE)}; the host goes on without"
            )

    def _denied(self, breaker: Breaker, error: Forbidden) -> None:
        """Go on as a reader. Nothing is wrong with the store; say it once, and loudly."""
        breaker.succeeded()
        first = self.writable
        self._denied_until = self._clock() + DENIED_SECONDS
        self._recorder.count(Subject(), {f"error.denied.{self.name}": 1})
        if first:
            self._recorder.log.error(
                f"{self.name}: {self.store.url} is only read from here on: {error};"
                f" allow it, or set STEPAUDIO_CAS_MODE=ro; tried again in"
                f" {show_seconds(DENIED_SECONDS)}"
            )


def _classify(error: Exception) -> tuple[str, str]:
    """Return the kind to count, and what a person can do about it."""
    if isinstance(error, Unavailable):
        return error.kind, ""
    if isinstance(error, Forbidden):
        return "denied", ""
    if isinstance(error, PermissionError) or (
        isinstance(error, OSError) and error.errno in _DENIED
    ):
        return "denied", "; give this user write access, or set STEPAUDIO_CAS_MODE=ro"
    if isinstance(error, OSError) and error.errno in _FULL:
        return "full", "; free some space, or set STEPAUDIO_CAS_MAX_SIZE"
    return "store", ""
