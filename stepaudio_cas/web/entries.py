"""Entries page by page, and one with all that is known of it, as `ls` and `show` say it."""

from __future__ import annotations

import heapq
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from stepaudio_cas.errors import SettingError
from stepaudio_cas.maintenance import documents, explain
from stepaudio_cas.maintenance.inventory import find, manifests, pinned
from stepaudio_cas.maintenance.selection import NotThere, wanted
from stepaudio_cas.store.layout import SHARDS, digest_in
from stepaudio_cas.store.pins import read_pin
from stepaudio_cas.store.uses import read_uses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stepaudio_cas.maintenance.inventory import Kept
    from stepaudio_cas.maintenance.selection import Selection, Wanted
    from stepaudio_cas.store.store import Store

MOST_LOOKED_AT: Final = 20_000
"""So many entries are looked at for one answer; whoever asks for the next page goes on there."""

_STEP: Final = 50


class Asked(NamedTuple):
    """Which entries, in what order, from where on."""

    selection: Selection
    words: tuple[str, ...] = ()
    pinned: bool = False
    sort: str = "key"
    limit: int = 50
    cursor: str = ""


def page(store: Store, asked: Asked, rest: Callable[[], None]) -> dict[str, Any]:
    """Return one page. Raises `SettingError` for a cursor that is not one of ours."""
    if asked.cursor and (digest_in(asked.cursor) is None or asked.sort != "key"):
        raise SettingError(f"cursor {asked.cursor!r} is none that was given out for sort=key")
    meant = _meant(store, asked)
    walk = _Walk(store, asked, rest)
    if meant is None:
        found: list[Kept] = []
    elif asked.sort == "key":
        found = list(walk.some(meant))
    else:
        found = heapq.nlargest(asked.limit, walk.every(meant), key=documents.ORDERS[asked.sort])
    return {
        "entries": [_describe(store, kept, walk.pins) for kept in found],
        "cursor": walk.cursor,
        "complete": walk.complete,
        "looked_at": walk.looked_at,
        "store": store.url,
    }


def _meant(store: Store, asked: Asked) -> Wanted | None:
    try:
        return wanted(store.backend, asked.selection, asked.words, several=True)
    except NotThere:
        return None


class _Walk:
    """Goes over a store in the order of keys, no further than it may."""

    def __init__(self, store: Store, asked: Asked, rest: Callable[[], None]) -> None:
        self._store, self._asked, self._rest = store, asked, rest
        self._uses = read_uses(store.backend)
        self.pins = pinned(store.backend)
        self.looked_at = 0
        self.cursor: str | None = None
        self.complete = True

    def every(self, meant: Wanted) -> Iterator[Kept]:
        """Yield what is meant, timed by its last use."""
        for kept in self._listed():
            if self.looked_at >= MOST_LOOKED_AT:
                self.complete = False
                return
            self.looked_at += 1
            if self.looked_at % _STEP == 0:
                self._rest()
            if self._asked.pinned and kept.key not in self.pins:
                continue
            used = self._uses.of(kept.key, kept.entry.mtime)
            timed = kept._replace(entry=kept.entry._replace(mtime=used))
            if meant(timed):
                yield timed

    def some(self, meant: Wanted) -> Iterator[Kept]:
        """Yield a page of it, and leave in `cursor` where the next one begins."""
        last, number = "", 0
        for kept in self.every(meant):
            if number == self._asked.limit:
                self.cursor = last
                return
            last, number = kept.key, number + 1
            yield kept
        if not self.complete:
            self.cursor = self._last

    def _listed(self) -> Iterator[Kept]:
        after = self._asked.cursor
        first = int(after[:2], 16) if after else 0
        store = self._store
        self._last = after
        parts = (
            [manifests(store.backend, store.signer)]
            if not after
            else (manifests(store.backend, store.signer, prefix=shard) for shard in SHARDS[first:])
        )
        for kept in chain.from_iterable(parts):
            if kept.key > after:
                yield kept
                self._last = kept.key


def _describe(store: Store, kept: Kept, pins: set[str]) -> dict[str, Any]:
    pin = read_pin(store.backend, kept.key) if kept.key in pins else None
    label = pin.label if pin is not None else ""
    return documents.describe(kept, pinned=kept.key in pins, pinned_as=label)


def one(store: Store, key: str) -> dict[str, Any] | None:
    """Return all that is known of an entry, and what its key is made of."""
    kept = find(store.backend, key, store.signer)
    if kept is None:
        return None
    said = documents.whole(store, kept)
    if kept.manifest is None:
        return {**said, "made_of": []}
    known = explain.known(store.backend, kept.manifest)
    parts = [
        {"part": part, "name": name, "value": value, "text": explain.show(part, value)}
        for part, name, value in explain.ingredients(known)
    ]
    return {**said, "made_of": parts}
