"""Removing what a plan has chosen, and nothing that has been used or written since.

For each entry first the manifest, then, if nothing refers to it any more, the object: whenever a
sweep is cut short, what is left is whole, and at most one object waits for the next one.

A writer always writes his object anew before he creates a manifest, so the time of an object says
whether somebody counts on it. What he writes between our last look at that time and the deletion,
an instant later, is lost: his entry is then a miss, and the next encode mends it.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from stepaudio_cas.artifact.manifest import MAX_BYTES
from stepaudio_cas.errors import CasError, Damaged
from stepaudio_cas.maintenance.facts import object_of
from stepaudio_cas.maintenance.inventory import Kept, many
from stepaudio_cas.maintenance.plan import RECENT
from stepaudio_cas.runtime.keeper import GRACE
from stepaudio_cas.store import layout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stepaudio_cas.maintenance.plan import Plan
    from stepaudio_cas.store.backend import Backend, Entry

_GIVE_UP_AFTER: Final = 10
_MASK: Final = (1 << 64) - 1


@dataclass
class Swept:
    """What went. `spared` entries were used, changed or pinned since the plan was made."""

    entries: int = 0
    objects: int = 0
    others: int = 0
    bytes: int = 0
    spared: int = 0
    failures: list[str] = field(default_factory=list)


def seal_of(sealed: bytes | None) -> int:
    """Return what tells one state of a manifest from another, within this process."""
    return hash(sealed) & _MASK


def going(backend: Backend, plan: Plan, shard: str) -> Iterator[tuple[str, Entry, int]]:
    """Yield the entries of a shard that are there still and have to go: key, entry and row."""
    goers = plan.goers(shard)
    if not goers:
        return
    for entry in backend.list(f"{layout.MANIFESTS}/{shard}"):
        key = layout.digest_in(entry.path)
        row = goers.get(int(key[:16], 16)) if key is not None else None
        if key is not None and row is not None:
            yield key, entry, row


class Sweep:
    """One run; `renew` is called between shards and may raise to stop it."""

    def __init__(
        self,
        backend: Backend,
        plan: Plan,
        *,
        renew: Callable[[], None],
        advance: Callable[[], object],
    ) -> None:
        self._backend = backend
        self._plan = plan
        self._renew = renew
        self._advance = advance
        self._lock = threading.Lock()
        self._in_a_row = 0
        self.swept = Swept()

    def run(self) -> Swept:
        """Remove it all. Raises `CasError` if the store does not let itself be changed."""
        self._plan.restore()
        for shard in layout.SHARDS:
            self._entries(shard)
            self._renew()
            self._advance()
        self._others(self._orphans(), GRACE)
        rest = [*self._plan.leftovers, *self._plan.fingerprints]
        self._others((path for path, _ in rest), 0.0)
        return self.swept

    def _entries(self, shard: str) -> None:
        found = list(going(self._backend, self._plan, shard))
        if not found:
            return
        pins = {layout.digest_in(e.path) for e in self._backend.list(f"{layout.PINS}/{shard}")}
        wanted = [item for item in found if item[0] not in pins]
        self.swept.spared += len(found) - len(wanted)
        for _ in many(self._backend, self._safely(self._entry), wanted):
            pass

    def _entry(self, item: tuple[str, Entry, int]) -> None:
        key, listed, row = item
        path = listed.path
        now = self._backend.stat(path)
        sealed = self._sealed(path)
        same = (
            now is not None
            and now.mtime <= self._plan.used[row]
            and seal_of(sealed or None) == self._plan.seals[row]
        )
        gone = same and self._backend.delete(path, expect=sealed)
        with self._lock:
            if not gone:
                self.swept.spared += now is not None
                return
            self.swept.entries += 1
            self.swept.bytes += listed.size
            alone = self._plan.removed(row)
        digest = object_of(Kept(key, listed, sealed or b"", None)) if alone else None
        if digest is not None:
            self._delete_if_older(layout.object_path(digest), RECENT, is_object=True)

    def _sealed(self, path: str) -> bytes | None:
        try:
            return self._backend.get(path, limit=MAX_BYTES)
        except Damaged:
            return None  # too long to be one; it goes as it is

    def _orphans(self) -> Iterator[str]:
        digests = self._plan.orphans
        for at in range(0, len(digests), 32):
            yield layout.object_path(digests[at : at + 32].hex())

    def _others(self, paths: Iterator[str], age: float) -> None:
        def remove(path: str) -> None:
            self._delete_if_older(path, age, is_object=path.startswith(f"{layout.OBJECTS}/"))

        for number, _ in enumerate(many(self._backend, self._safely(remove), paths)):
            if number % 1000 == 0:
                self._renew()

    def _delete_if_older(self, path: str, age: float, *, is_object: bool) -> None:
        entry = self._backend.stat(path)
        if entry is None or entry.mtime >= self._plan.now - age or not self._backend.delete(path):
            return
        with self._lock:
            self.swept.bytes += entry.size
            if is_object and not path.rsplit("/", 1)[-1].startswith("."):
                self.swept.objects += 1
            else:
                self.swept.others += 1

    def _safely(self, work: Callable[..., None]) -> Callable[..., None]:
        """Note what fails and go on, unless everything fails."""

        def safe(item: object) -> None:
            try:
                work(item)
            except Exception as error:
                self._failed(error)
            else:
                self._in_a_row = 0

        return safe

    def _failed(self, error: Exception) -> None:
        with self._lock:
            self.swept.failures.append(str(error))
            self._in_a_row += 1
            if self._in_a_row >= _GIVE_UP_AFTER:
                raise CasError(
                    f"{self._backend.url} does not let itself be changed: {error}; stopped after"
                    f" {self.swept.entries} entries and {self.swept.objects} objects;"
                    " what is left is whole, and the next run does the rest"
                ) from error
