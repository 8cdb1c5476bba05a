"""What a backend really does, found out by doing it: never inferred from its name."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from stepaudio_cas.errors import CasError
from stepaudio_cas.store import layout
from stepaudio_cas.store.backend import Backend, Entry, Locking

if TYPE_CHECKING:
    from collections.abc import Callable

_RACERS: Final = 4
_ROUNDS: Final = 3


@dataclass(frozen=True)
class Capabilities:
    """The findings of one probe.

    `create` is "atomic" (one winner in every race), "checked" (refuses what is there, but two at
    once may both succeed) or "overwrites". `clock_skew` is the backend's clock minus ours, in
    seconds. `seconds` is how long one write and one read took.
    """

    writable: bool
    create: str = "unknown"
    lists: bool = False
    locks: bool = False
    clock_skew: float = 0.0
    seconds: float = 0.0
    error: str = ""


def probe(backend: Backend, *, clock: Callable[[], float] = time.time) -> Capabilities:
    """Write, read, race, list, lock and delete under `v1/probes`, and say what happened."""
    base = f"{layout.PROBES}/{os.urandom(8).hex()}"
    created: list[str] = []
    try:
        return _probe(backend, base, created, clock)
    except Exception as error:
        named = isinstance(error, CasError)  # these say what they are
        text = str(error) if named else f"{type(error).__name__}: {error}"
        return Capabilities(writable=False, error=text)
    finally:
        for path in created:
            try:
                backend.delete(path)
            except Exception:  # noqa: S112 - the finding has been made; leftovers are a few bytes
                continue


def _probe(
    backend: Backend, base: str, created: list[str], clock: Callable[[], float]
) -> Capabilities:
    path, content = f"{base}-a", b"probe"
    created.append(path)
    started, before = time.perf_counter(), clock()
    backend.put(path, content)
    entry = backend.stat(path)
    after = clock()
    if backend.get(path) != content:
        return Capabilities(writable=False, error="what was written does not read back")
    seconds = time.perf_counter() - started
    return Capabilities(
        writable=True,
        create=_probe_create(backend, base, created),
        lists=_works(lambda: any(path == found.path for found in backend.list(layout.PROBES))),
        locks=_works(lambda: _probe_lock(backend, base.rsplit("/", 1)[-1])),
        clock_skew=_skew(entry, before, after),
        seconds=seconds,
    )


def _works(check: Callable[[], bool]) -> bool:
    """Check something that a store may lack, or that we may not be allowed to do, and be used."""
    try:
        return check()
    except Exception:
        return False


def _probe_create(backend: Backend, base: str, created: list[str]) -> str:
    path = f"{base}-b"
    created.append(path)
    backend.put(path, b"first", create=True)
    refused = not backend.put(path, b"second", create=True)
    if not refused or backend.get(path) != b"first":
        return "overwrites"
    for number in range(_ROUNDS):
        path = f"{base}-race{number}"
        created.append(path)
        if _race(backend, path) != 1:
            return "checked"
    return "atomic"


def _race(backend: Backend, path: str) -> int:
    """Count how many of several threads believe that they created the same document."""
    barrier, wins = threading.Barrier(_RACERS), []

    def attempt(number: int) -> None:
        barrier.wait()
        try:
            wins.append(backend.put(path, b"%d" % number, create=True))
        except Exception:
            wins.append(False)

    threads = [threading.Thread(target=attempt, args=(n,), daemon=True) for n in range(_RACERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(wins)


def _probe_lock(backend: Backend, name: str) -> bool:
    """Tell whether a second holder is really refused."""
    if not isinstance(backend, Locking):
        return False
    first = backend.try_lock(f"probe-{name}")
    if first is None:
        return False
    try:
        second = backend.try_lock(f"probe-{name}")
        if second is not None:
            second.release()
        return second is None
    finally:
        first.release()


def _skew(entry: Entry | None, before: float, after: float) -> float:
    """Return how far the backend's clock is outside the time in which the write happened."""
    if entry is None:
        return 0.0
    if entry.mtime < before:
        return entry.mtime - before
    return max(0.0, entry.mtime - after)
