"""What may go, what has to, and why: decided over columns, so that a million entries fit.

Nothing here looks at a store. `gc` fills a plan with everything there is, `decide` says what goes,
`sweep` removes it.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from enum import IntEnum
from itertools import groupby
from typing import TYPE_CHECKING, Final, NamedTuple

from stepaudio_cas.runtime.keeper import GRACE
from stepaudio_cas.units import Lifetimes, lifetimes

if TYPE_CHECKING:
    from collections.abc import Iterator

RECENT: Final = 60.0
"""What was written or used so lately is left alone, in whatever bounds: its writer may be at it."""

_LARGEST: Final = (1 << 32) - 1
_LONGEST: Final = 1e9


class Fate(IntEnum):
    """What becomes of an entry; those from `AGE` on go."""

    FREE = 0
    PINNED = 1
    RECENT = 2
    OTHER = 3
    FOREIGN = 4
    AGE = 8
    MODEL = 9
    ENTRIES = 10
    SIZE = 11


class Bounds(NamedTuple):
    """What the entries have to keep within; None or empty is no bound.

    `max_age` may have another time for each plugin.
    `models` are beginnings of fingerprints; entries of other models go. `by_value` lets those go
    first whose encode took the fewest seconds for the bytes they take, instead of those that were
    used longest ago.
    """

    max_size: int | None = None
    max_age: float | Lifetimes | None = None
    max_entries: int | None = None
    models: tuple[str, ...] = ()
    by_value: bool = False


class Sum(NamedTuple):
    """How much of something there is."""

    entries: int = 0
    objects: int = 0
    bytes: int = 0

    def plus(self, entries: int, objects: int, size: int) -> Sum:
        """Add to it."""
        return Sum(self.entries + entries, self.objects + objects, self.bytes + size)


class Row(NamedTuple):
    """One entry, as a plan takes it in. `object` and `key` are 64 bits of them; 0 is no object."""

    key: int
    seal: int
    size: int
    used: float
    object: int
    seconds: float
    model: str
    fate: Fate = Fate.FREE
    plugin: str = ""


class Plan:
    """Everything there is at the moment `now` by the store's clock, and what of it goes.

    Fill it in this order: every entry (`add`, in the order of keys), `refer`, every object
    (`add_object`), `decide`.
    """

    def __init__(self, now: float) -> None:
        self.now = now
        self.models: dict[str, int] = {}
        self.fates = bytearray()
        self.keys = array("Q")
        self.seals = array("Q")
        self.used = array("d")
        self.objects = array("Q")
        self.orphans = bytearray()
        self.leftovers: list[tuple[str, int]] = []
        self.fingerprints: list[tuple[str, int]] = []
        self.young_orphans = 0
        self.blind = False
        self.goes: dict[tuple[Fate, str], Sum] = {}
        self.orphaned = Sum()
        self._listed: list[str] = []
        self._found = self._bytes = 0
        self._sizes = array("I")
        self._seconds = array("f")
        self._models = array("I")
        self._plugin_names: dict[str, int] = {}
        self._plugins = array("I")
        self._names = array("Q")
        self._references = array("I")
        self._scoped = array("I")
        self._object_sizes = array("Q")

    def add(self, row: Row) -> None:
        """Take in one entry."""
        self.keys.append(row.key)
        self.seals.append(row.seal)
        self.used.append(row.used)
        self.objects.append(row.object)
        self.fates.append(row.fate)
        self._sizes.append(min(row.size, _LARGEST))
        self._seconds.append(row.seconds if 0 <= row.seconds <= _LONGEST else 0.0)
        self._models.append(self.models.setdefault(row.model, len(self.models)))
        names = self._plugin_names
        self._plugins.append(names.setdefault(row.plugin, len(names)))
        self._bytes += min(row.size, _LARGEST)

    def refer(self) -> None:
        """Find out which objects are referred to; all entries are here."""
        for name, same in groupby(sorted(self.objects)):
            self._names.append(name)
            self._references.append(sum(1 for _ in same))
        self._object_sizes = array("Q", bytes(8 * len(self._names)))
        self._scoped = array("I", bytes(4 * len(self._names)))
        for at, fate in enumerate(self.fates):
            if fate != Fate.OTHER:
                self._scoped[self._place(self.objects[at])] += 1

    def add_object(self, digest: str, size: int, mtime: float) -> None:
        """Take in one object; one that nothing has referred to for long enough goes."""
        short = int(digest[:16], 16)
        place = bisect_left(self._names, short)
        self._found += 1
        self._bytes += size
        if place < len(self._names) and self._names[place] == short:
            self._object_sizes[place] = size
        elif mtime < self.now - GRACE and not self.blind:
            self.orphans += bytes.fromhex(digest)
            self.orphaned = self.orphaned.plus(0, 1, size)
        else:
            self.young_orphans += 1

    def _place(self, short: int) -> int:
        return bisect_left(self._names, short)

    def decide(self, bounds: Bounds) -> None:
        """Choose what goes."""
        self._listed = list(self.models)
        kept_models = {
            number
            for number, name in enumerate(self.models)
            if not bounds.models or not name or name.startswith(bounds.models)
        }
        ages = [lifetimes(bounds.max_age).of(name) for name in self._plugin_names]
        for row, fate in enumerate(self.fates):
            if fate != Fate.FREE:
                continue
            age = ages[self._plugins[row]]
            if age is not None and self.used[row] < self.now - age:
                self._doom(row, Fate.AGE)
            elif self._models[row] not in kept_models:
                self._doom(row, Fate.MODEL)
        self._fit(bounds)

    def _fit(self, bounds: Bounds) -> None:
        """Let the least useful entries go until the others are within the bounds."""
        entries, size = self._scope()
        most = entries if bounds.max_entries is None else bounds.max_entries
        largest = size if bounds.max_size is None else bounds.max_size
        if entries <= most and size <= largest:
            return
        for row in self._least_useful(by_value=bounds.by_value):
            if entries > most:
                fate = Fate.ENTRIES
            elif size > largest:
                fate = Fate.SIZE
            else:
                break
            entries -= 1
            size -= self._doom(row, fate)

    def _scope(self) -> tuple[int, int]:
        """Add up the entries that the bounds are about and that have not gone, and their bytes."""
        entries = size = 0
        for row, fate in enumerate(self.fates):
            if fate < Fate.AGE and fate != Fate.OTHER:
                entries += 1
                size += self._sizes[row]
        for place, references in enumerate(self._scoped):
            if references:
                size += self._object_sizes[place]
        return entries, size

    def _least_useful(self, *, by_value: bool) -> Iterator[int]:
        """Yield the entries that may go, least useful first, ties by age and then by key."""
        order = []
        for row, fate in enumerate(self.fates):
            if fate == Fate.FREE:
                readable = bool(self.objects[row])  # what is not goes first
                age = int(max(self.used[row], 0.0) * 1000) & ((1 << 44) - 1) if readable else 0
                value = int(self._value(row) * 1e9) << 44 if by_value else 0
                order.append((value | age) << 32 | row)
        order.sort(reverse=True)
        while order:
            yield order.pop() & _LARGEST

    def _value(self, row: int) -> float:
        """Return the seconds of encoding that each byte of an entry stands for."""
        size = self._sizes[row] + self._object_sizes[self._place(self.objects[row])]
        return self._seconds[row] / max(size, 1)

    def _doom(self, row: int, fate: Fate) -> int:
        """Let an entry go, with its object if no other has it; return the bytes within scope."""
        self.fates[row] = fate
        size = scoped = self._sizes[row]
        place = self._place(self.objects[row])
        self._references[place] -= 1
        self._scoped[place] -= 1
        alone = not self._references[place] and self._object_sizes[place] > 0
        if not self._references[place]:
            size += self._object_sizes[place]
        if not self._scoped[place]:
            scoped += self._object_sizes[place]
        model = self._listed[self._models[row]]
        self.goes[fate, model] = self.goes.get((fate, model), Sum()).plus(1, int(alone), size)
        return scoped

    @property
    def total(self) -> Sum:
        """Add up everything there is."""
        return Sum(len(self.keys), self._found, self._bytes)

    @property
    def going(self) -> Sum:
        """Add up what goes: entries with their objects, objects nothing refers to, the rest."""
        sums = [*self.goes.values(), self.orphaned]
        rest = sum(size for _, size in (*self.leftovers, *self.fingerprints))
        entries, objects, sizes = (sum(column) for column in zip(*sums, strict=True))
        return Sum(entries, objects, sizes + rest)

    def staying(self, fate: Fate) -> int:
        """Count the entries that stay for a reason."""
        return self.fates.count(fate)

    def short_of(self, bounds: Bounds) -> tuple[int, int]:
        """Say by how many entries and bytes the bounds are missed: the others may not go."""
        entries, size = self._scope()
        missed = 0 if bounds.max_entries is None else entries - bounds.max_entries
        large = 0 if bounds.max_size is None else size - bounds.max_size
        return max(missed, 0), max(large, 0)

    def goers(self, shard: str) -> dict[int, int]:
        """Return the entries of a shard that go: their rows, by the beginning of their keys."""
        first = int(shard, 16) << 56
        start, end = bisect_left(self.keys, first), bisect_left(self.keys, first + (1 << 56))
        return {self.keys[row]: row for row in range(start, end) if self.fates[row] >= Fate.AGE}

    def size_of(self, row: int) -> int:
        """Return the bytes of an entry's manifest and object."""
        return self._sizes[row] + self._object_sizes[self._place(self.objects[row])]

    def model_of(self, row: int) -> str:
        """Return the fingerprint of an entry."""
        return self._listed[self._models[row]]

    def has(self, key: int) -> bool:
        """Tell whether there was an entry whose key begins like this."""
        place = bisect_left(self.keys, key)
        return place < len(self.keys) and self.keys[place] == key

    def restore(self) -> None:
        """Count references as if nothing had gone yet; then tell `removed` of what has."""
        for row, fate in enumerate(self.fates):
            if fate >= Fate.AGE:
                self._references[self._place(self.objects[row])] += 1

    def removed(self, row: int) -> bool:
        """Note that an entry is gone; return whether nothing refers to its object any more."""
        place = self._place(self.objects[row])
        self._references[place] -= 1
        return not self._references[place]
