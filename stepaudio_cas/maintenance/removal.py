"""Removing entries that somebody has named, and the objects that nobody else refers to.

First a plan: one look at every entry says which go, and which objects go with them. Then, in this
order, the manifests, the pins, the objects: whenever it is cut short, what is left is whole. An
object stays for gc if it was written less than `GRACE` before the plan was made, because a writer
who has not come to its manifest yet may count on it.
"""

from __future__ import annotations

import struct
import time
from array import array
from bisect import bisect_left
from itertools import groupby
from typing import TYPE_CHECKING, Final, NamedTuple

from stepaudio_cas.maintenance.facts import object_of
from stepaudio_cas.maintenance.inventory import find, manifests, many, pinned
from stepaudio_cas.runtime.keeper import GRACE
from stepaudio_cas.store import layout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stepaudio_cas.maintenance.inventory import Kept, Step
    from stepaudio_cas.maintenance.selection import Wanted
    from stepaudio_cas.store.store import Store

_NAMED: Final = 20
_RECORD: Final = struct.Struct(">32sQ")


class Ledger:
    """Digests, each with a size, in 40 bytes apiece."""

    def __init__(self) -> None:
        self._records = bytearray()
        self.bytes = 0

    def add(self, digest: str, size: int) -> None:
        """Write one down."""
        self._records += _RECORD.pack(bytes.fromhex(digest), size)
        self.bytes += size

    def __len__(self) -> int:
        return len(self._records) // _RECORD.size

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return ((digest.hex(), size) for digest, size in _RECORD.iter_unpack(self._records))


class Plan:
    """What will go, and what will stay although it was asked for.

    `entries` and `objects` go. `pinned` entries stay, unless the plan is for them too. `shared`
    objects stay because others refer to them, `young` ones because of their age. `names` are the
    voices of the first few entries.
    """

    def __init__(self, cutoff: float, *, pinned_too: bool) -> None:
        self.entries = Ledger()
        self.objects = Ledger()
        self.names: dict[str, str] = {}
        self.pins: list[str] = []
        self.pinned = 0
        self.shared = 0
        self.young = 0
        self.cutoff = cutoff
        self.pinned_too = pinned_too

    @property
    def bytes(self) -> int:
        """How much it frees."""
        return self.entries.bytes + self.objects.bytes


class Removed(NamedTuple):
    """What really went."""

    entries: int = 0
    objects: int = 0
    bytes: int = 0


def make_plan(
    store: Store,
    wanted: Wanted,
    *,
    pinned_too: bool = False,
    objects: bool = True,
    step: Step | None = None,
    clock: Callable[[], float] = time.time,
) -> Plan:
    """Find out what removing the wanted entries means; nothing is written.

    Without `objects` these are left to gc, and then only the wanted entries are looked at.
    """
    plan = Plan(clock() - GRACE, pinned_too=pinned_too)
    pins = pinned(store.backend)
    theirs: list[bytes] = []
    referred = array("Q")
    for kept, is_wanted in _looked_at(store, wanted, step, everything=objects):
        digest = object_of(kept) if objects else None
        goes = is_wanted and (pinned_too or kept.key not in pins)
        plan.pinned += is_wanted and not goes
        if goes:
            plan.entries.add(kept.key, kept.entry.size)
            plan.pins += [kept.key] if kept.key in pins else []
            if len(plan.names) < _NAMED and kept.manifest is not None:
                plan.names[kept.key] = wanted.name_of(kept)
        if digest is not None and goes:
            theirs.append(bytes.fromhex(digest))
        elif digest is not None:
            referred.append(_short(digest))
    wanted.check()
    digests = [digest.hex() for digest, _ in groupby(sorted(theirs))]
    _plan_objects(store, plan, digests, array("Q", sorted(referred)))
    return plan


def _looked_at(
    store: Store, wanted: Wanted, step: Step | None, *, everything: bool
) -> Iterator[tuple[Kept, bool]]:
    if everything:
        for kept in manifests(store.backend, store.signer, step=step):
            yield kept, wanted(kept)
    else:
        for kept in wanted.entries(store.backend, store.signer, step=step):
            yield kept, True


def _plan_objects(store: Store, plan: Plan, digests: list[str], referred: array[int]) -> None:
    alone = [digest for digest in digests if not _holds(referred, _short(digest))]
    plan.shared = len(digests) - len(alone)
    found = many(store.backend, store.backend.stat, map(layout.object_path, alone))
    for digest, entry in zip(alone, found, strict=True):
        if entry is not None and entry.mtime < plan.cutoff:
            plan.objects.add(digest, entry.size)
        elif entry is not None:
            plan.young += 1


def carry_out(store: Store, plan: Plan, *, advance: Callable[[], object] = lambda: None) -> Removed:
    """Do what the plan says; spare what has been pinned, and objects written, since it was made.

    `advance` is called for each entry and each object that was dealt with.
    """
    backend = store.backend
    spared, theirs = _spared(store, plan)
    # Where the store's clock is behind ours, what was written now looks as if it were old.
    cutoff = plan.cutoff + min(store.capabilities().clock_skew, 0.0)
    entries = objects = freed = 0

    def remove(item: tuple[str, int]) -> int | None:
        key, size = item
        return size if backend.delete(layout.manifest_path(key)) else None

    def remove_object(item: tuple[str, int]) -> int | None:
        path = layout.object_path(item[0])
        entry = backend.stat(path)
        old = entry is not None and entry.mtime < cutoff
        return entry.size if entry is not None and old and backend.delete(path) else None

    for gone in many(backend, remove, (item for item in plan.entries if item[0] not in spared)):
        entries += gone is not None
        freed += gone or 0
        advance()
    for _ in many(backend, backend.delete, map(layout.pin_path, plan.pins)):
        pass
    for gone in many(backend, remove_object, (i for i in plan.objects if i[0] not in theirs)):
        objects += gone is not None
        freed += gone or 0
        advance()
    return Removed(entries, objects, freed)


def _spared(store: Store, plan: Plan) -> tuple[set[str], set[str | None]]:
    """Name what has been pinned since the plan was made: the keys, and their objects."""
    if plan.pinned_too:
        return set(), set()
    pins = pinned(store.backend)
    keys = [key for key, _ in plan.entries if key in pins]
    found = many(store.backend, lambda key: find(store.backend, key), keys)
    return set(keys), {object_of(kept) for kept in found if kept is not None}


def _short(digest: str) -> int:
    """Return 64 bits of a digest: enough to keep an object too many, never one too few."""
    return int(digest[:16], 16)


def _holds(numbers: array[int], number: int) -> bool:
    at = bisect_left(numbers, number)
    return at < len(numbers) and numbers[at] == number
