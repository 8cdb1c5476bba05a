"""How many entries and objects a store has, and how many bytes they take: exact, and soon known.

On a disk, asking for the size of each file takes three times as long as listing its name. So what a
folder had is remembered, with the time of its last change: every document gets its name, and
loses it, in a way that changes that time. Folders that have changed are measured again, by
several processes where there is much to do.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from stepaudio_cas.maintenance.inventory import many
from stepaudio_cas.store import layout
from stepaudio_cas.store.local import LocalBackend

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stepaudio_cas.store.backend import Backend

FORMAT: Final = 1
SETTLED: Final = 3.0
"""Seconds after which a change of a folder shows in its time, whatever the file system."""

_REMEMBERED: Final = f"{layout.STATE}/sizes.json"
_MANY: Final = 100_000
"""From so many files on, processes are worth their start."""

_FOLDERS: Final = tuple(
    f"{part}/{shard}" for part in (layout.MANIFESTS, layout.OBJECTS) for shard in layout.SHARDS
)
STEPS: Final = len(_FOLDERS)
"""How often `measure` calls `step`."""


class Changed(NamedTuple):
    """When the names in a folder last changed, and when anything of it, which nobody can set back.

    In nanoseconds, by the clock of the file system.
    """

    names: int
    anything: int


class Size(NamedTuple):
    """What a store has."""

    entries: int = 0
    objects: int = 0
    bytes: int = 0


Remembered = tuple[Changed, tuple[int, int]]


def measure(
    backend: Backend,
    *,
    remember: bool = True,
    processes: int = 1,
    step: Callable[[], None] = lambda: None,
) -> Size:
    """Measure a store. Raises if a listing is not complete.

    Without `remember` nothing is written into it. With `processes` above 1, processes are forked:
    not where there are other threads.
    """
    if isinstance(backend, LocalBackend):
        measured = _Local(backend, remember=remember, processes=processes).measured(step)
    else:
        measured = _listed(backend, step)
    entries = objects = total = 0
    for folder, (count, size) in measured:
        total += size
        if folder.startswith(layout.MANIFESTS):
            entries += count
        else:
            objects += count
    return Size(entries, objects, total)


def _listed(backend: Backend, step: Callable[[], None]) -> Iterator[tuple[str, tuple[int, int]]]:
    def ask(folder: str) -> tuple[int, int]:
        sizes = [e.size for e in backend.list(folder) if layout.digest_in(e.path) is not None]
        return len(sizes), sum(sizes)

    for folder, found in zip(_FOLDERS, many(backend, ask, _FOLDERS), strict=True):
        step()
        yield folder, found


class _Local:
    """The folders of a local store: those that are as they were, and the others."""

    def __init__(self, backend: LocalBackend, *, remember: bool, processes: int) -> None:
        self._backend = backend
        self._remember = remember
        self._processes = processes

    def measured(self, step: Callable[[], None]) -> Iterator[tuple[str, tuple[int, int]]]:
        known = _recall(self._backend)
        changed = []
        for folder in _FOLDERS:
            seen, number = self._seen(folder), known.get(folder)
            if seen is None:
                yield folder, (0, 0)
            elif number is not None and number[0] == seen:
                yield folder, number[1]
            else:
                changed.append(folder)
                continue
            step()
        if not changed:
            return
        now = _clock(self._backend) if self._remember else None
        before = {folder: self._seen(folder) for folder in changed}
        for folder, found in zip(changed, self._ask(changed), strict=True):
            seen = before[folder]
            if now is not None and seen is not None and seen.names < now - SETTLED * 1e9:
                known[folder] = seen, found
            step()
            yield folder, found
        if now is not None:
            _keep(self._backend, known)

    def _seen(self, folder: str) -> Changed | None:
        try:
            status = os.stat(f"{self._backend.root}/{folder}")
        except FileNotFoundError:
            return None
        return Changed(status.st_mtime_ns, status.st_ctime_ns)

    def _ask(self, folders: list[str]) -> Iterator[tuple[int, int]]:
        """Measure folders, in order; threads would only wait for each other here."""
        alone = self._processes < 2 or not hasattr(os, "fork")
        first = () if alone else folders[:1]
        for folder in first:
            found = self._backend.measure(folder)
            yield found
            alone = found[0] * len(folders) < _MANY
        rest = folders[len(first) :]
        yield from map(self._backend.measure, rest) if alone else self._fork(rest)

    def _fork(self, folders: list[str]) -> Iterator[tuple[int, int]]:
        # Most stores are small, and need neither of these.
        from concurrent.futures import ProcessPoolExecutor  # noqa: PLC0415
        from multiprocessing import get_context  # noqa: PLC0415

        with ProcessPoolExecutor(self._processes, mp_context=get_context("fork")) as pool:
            yield from pool.map(self._backend.measure, folders, chunksize=4)


def _recall(backend: LocalBackend) -> dict[str, Remembered]:
    """Read what was remembered; anything else than that is forgotten."""
    try:
        document: Any = json.loads(backend.get(_REMEMBERED) or b"")
        if document["format"] != FORMAT:
            return {}
        return {
            str(folder): (Changed(int(names), int(anything)), (int(count), int(size)))
            for folder, (names, anything, count, size) in document["folders"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _keep(backend: LocalBackend, known: dict[str, Remembered]) -> None:
    folders = {folder: [*seen, *found] for folder, (seen, found) in known.items()}
    document = {"format": FORMAT, "folders": folders}
    with contextlib.suppress(OSError):
        backend.put(_REMEMBERED, json.dumps(document, separators=(",", ":")).encode())


def _clock(backend: LocalBackend) -> int | None:
    """Return what time it is where the store is.

    None if nothing may be written there, or if a new file does not change the time of its folder,
    as on some mounts of object stores.
    """
    path, state = f"{layout.STATE}/clock", f"{backend.root}/{layout.STATE}"
    try:
        if not os.path.isdir(state) and os.stat(backend.root).st_uid != os.geteuid():
            return None  # a folder of ours would be in the way of the store's owner
        backend.put(path, b"")
        try:
            folder = os.stat(state).st_mtime_ns
            now = os.stat(f"{backend.root}/{path}").st_mtime_ns
        finally:
            backend.delete(path)
    except OSError:
        return None
    return now if abs(now - folder) < SETTLED * 1e9 / 2 else None
