"""`cas-tool ls`: what is in the store, entry by entry."""

from __future__ import annotations

import heapq
import struct
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from stepaudio_cas.cli import entries, filters, tables
from stepaudio_cas.cli.codes import FINE
from stepaudio_cas.cli.stores import open_first
from stepaudio_cas.maintenance.documents import ORDERS, describe
from stepaudio_cas.maintenance.inventory import find, many, pinned
from stepaudio_cas.maintenance.selection import Wanted, pinned_as, wanted
from stepaudio_cas.store.layout import SHARDS
from stepaudio_cas.store.pins import read_pin
from stepaudio_cas.store.uses import read_uses
from stepaudio_cas.units import show_bytes, show_seconds

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

    from stepaudio_cas.maintenance.inventory import Kept
    from stepaudio_cas.store.store import Store

_SCREEN: Final = 50
_RANK: Final = struct.Struct(">d32sd")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add what comes after `ls`."""
    parser.description = (
        "List the entries of the first store: a table on a terminal, JSON lines in a pipe. A\n"
        "voice is what an entry is pinned as, or its label, or the name of the file it was\n"
        "computed from. `encode` is what a hit saves. An entry that no reader would take says how\n"
        "it is damaged."
    )
    parser.epilog = (
        "example:\n  cas-tool ls --label 'anna*' --older 30d --sort size\n"
        "  cas-tool ls | jq -r 'select(.damage) | .key'"
    )
    filters.add_words(parser, "how a key begins, or a voice, which may be a glob [everything]")
    filters.add(parser)
    parser.add_argument("--pinned", action="store_true", help="only what is pinned")
    parser.add_argument(
        "--sort",
        choices=[*ORDERS, "key"],
        help="what comes first: used last, largest, newest, dearest to encode"
        " [terminal: used, pipe: key]",
    )
    parser.add_argument(
        "--limit",
        type=filters.count,
        metavar="N",
        help=f"list no more than N; 0: all [terminal: {_SCREEN}, pipe: all]",
    )


def main(options: argparse.Namespace) -> int:
    """List."""
    store = open_first(options)
    drawn = tables.on_terminal() and not options.json
    limit = options.limit if options.limit is not None else _SCREEN * drawn
    order = options.sort or ("used" if drawn else "key")
    pins = pinned(store.backend)
    total = _Total()
    with tables.progress("looking", quiet=not drawn) as advance:
        found = _found(options, store, pins, total, advance)
        ordered = _ordered(store, found, order, limit)
        lines = many(store.backend, lambda kept: _describe(store, kept, pins), ordered)
        if drawn:
            listed = list(lines)
            deque(found, maxlen=0)  # what is not shown is added up
    if not drawn:
        for line in lines:
            tables.line(line)
        return FINE
    if listed:
        entries.table(listed)
    total.say(len(listed), store.url)
    return FINE


def _describe(store: Store, kept: Kept, pins: set[str]) -> dict[str, Any]:
    """Say an entry. Only of those that are pinned, and listed, the pins are read."""
    pin = read_pin(store.backend, kept.key) if kept.key in pins else None
    return describe(kept, pinned=kept.key in pins, pinned_as=pin.label if pin is not None else "")


def _found(
    options: argparse.Namespace,
    store: Store,
    pins: set[str],
    total: _Total,
    advance: tables.Advance,
) -> Iterator[Kept]:
    selection, words = filters.selection(options), filters.words(options)
    if options.pinned and not pins:
        return
    if options.pinned and not words:
        named = pinned_as(store.backend, selection)
        meant = Wanted(selection, pins, uses=read_uses(store.backend), pins=named)
    else:
        advance(0, total=len(SHARDS))
        meant = wanted(store.backend, selection, words, several=True, timed=True)
    for kept in meant.entries(store.backend, store.signer, step=lambda _: advance()):
        if not options.pinned or kept.key in pins:
            total.add(kept)
            yield kept


def _ordered(store: Store, found: Iterable[Kept], order: str, limit: int) -> Iterator[Kept]:
    """Put them in order. Of a million entries only keys are remembered, and then read again."""
    if order == "key":
        yield from islice(found, limit or None)
        return
    value = ORDERS[order]
    ranks = (
        _RANK.pack(max(value(kept), 0.0), bytes.fromhex(kept.key), kept.entry.mtime)
        for kept in found
    )
    ranked = heapq.nlargest(limit, ranks) if limit else sorted(ranks, reverse=True)

    def again(rank: bytes) -> Kept | None:
        _, key, used = _RANK.unpack(rank)
        kept = find(store.backend, key.hex(), store.signer)
        return kept and kept._replace(entry=kept.entry._replace(mtime=used))

    yield from (kept for kept in many(store.backend, again, ranked) if kept is not None)


class _Total:
    """Adds up what is found."""

    def __init__(self) -> None:
        self.entries = self.bytes = self.damaged = 0
        self.seconds = 0.0

    def add(self, kept: Kept) -> None:
        self.entries += 1
        self.bytes += kept.size
        self.damaged += kept.damage is not None
        self.seconds += kept.manifest.compute_seconds if kept.manifest is not None else 0.0

    def say(self, shown: int, url: str) -> None:
        if not self.entries:
            tables.say(f"there are no such entries in {url}")
            return
        encoding = show_seconds(self.seconds)
        text = f"{entries.count(self.entries)}, {show_bytes(self.bytes)}, {encoding} of encoding"
        if self.damaged:
            text += f"; {self.damaged} damaged: cas-tool verify"
        if shown < self.entries:
            text += f"; {shown} shown, --limit 0 shows all"
        tables.say(text, style="dim")
