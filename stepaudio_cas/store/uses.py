"""When entries were last used, for backends that keep no cheap time of access themselves.

A process writes what it has used into a document of its own under `v1/uses`; whoever decides what
may go takes the latest of these and of the manifest's own time. Taking the latest makes order and
repetition harmless: documents may be folded, lost or read twice.
"""

from __future__ import annotations

import json
import math
import os
from array import array
from typing import TYPE_CHECKING, Any, Final

from stepaudio_cas.errors import Damaged
from stepaudio_cas.store import layout

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from stepaudio_cas.store.backend import Backend, Entry

FORMAT: Final = 1
MAX_BYTES: Final = 16 << 20
MAX_KEYS: Final = 10_000
"""How many keys a process lists in one document before it begins another."""

FOLD_AFTER: Final = 86400.0
"""A document that nobody has written to for so long is written to no more."""

SHORT: Final = 16
"""How many digits of a key stand for it: two that share them only seem to be used together."""

_FOLDED_KEYS: Final = 1 << 16
_FOLDED: Final = f"{layout.USES}/folded-"
_ROOM: Final = 1 << 16


class Latest:
    """The last use of each key, as far as documents tell: sixteen bytes for each."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._keys = [array("Q") for _ in layout.SHARDS]
        self._times = [array("d") for _ in layout.SHARDS]
        self._room = [_ROOM] * len(layout.SHARDS)
        self._open: tuple[int, dict[int, float]] = -1, {}

    def __len__(self) -> int:
        return sum(map(len, self._keys))

    def add(self, entry: Entry, data: bytes | Damaged | None) -> None:
        """Take in a document; one that cannot be read tells nothing."""
        uses = load_uses(data, entry.mtime) if isinstance(data, bytes) else None
        if uses is None:
            return
        self.entries.append(entry)
        self._open = -1, {}
        for key, when in uses.items():
            self._keep(key >> 56, key, when)

    def _keep(self, shard: int, key: int, when: float) -> None:
        self._keys[shard].append(key)
        self._times[shard].append(when)
        if len(self._keys[shard]) > self._room[shard]:
            latest = self._of(shard)
            self._keys[shard] = array("Q", latest)
            self._times[shard] = array("d", latest.values())
            self._room[shard] = max(_ROOM, 2 * len(latest))

    def _of(self, shard: int) -> dict[int, float]:
        latest: dict[int, float] = {}
        for key, when in zip(self._keys[shard], self._times[shard], strict=True):
            if when > latest.get(key, -math.inf):
                latest[key] = when
        return latest

    def of(self, key: str, mtime: float) -> float:
        """Return when `key` was last used; `mtime` is that of its manifest."""
        if not self.entries:
            return mtime
        short = short_of(key)
        shard = short >> 56
        if self._open[0] != shard:
            self._open = shard, self._of(shard)
        return max(mtime, self._open[1].get(short, mtime))

    def fold(self, backend: Backend, is_there: Callable[[int], bool], *, now: float) -> int:
        """Put documents that nobody writes to any more into few; return how many went.

        Uses of keys that are not there are forgotten.
        """
        old = [entry for entry in self.entries if entry.mtime < now - FOLD_AFTER]
        if all(entry.path.startswith(_FOLDED) for entry in old):
            return 0
        page: dict[int, int] = {}
        for shard in range(len(layout.SHARDS)):
            page |= {k: int(t) for k, t in self._of(shard).items() if is_there(k)}
            if len(page) >= _FOLDED_KEYS:
                _put(backend, page, now)
                page = {}
        if page:
            _put(backend, page, now)
        return sum(backend.delete(entry.path) for entry in old)


def _put(backend: Backend, page: Mapping[int, int], now: float) -> None:
    backend.put(f"{_FOLDED}{os.urandom(8).hex()}.json", dump_uses(page, int(now)))


def read_uses(backend: Backend) -> Latest:
    """Read what all processes have written. Raises if the listing is not complete."""
    latest = Latest()
    for entry in list(backend.list(layout.USES)):
        try:
            latest.add(entry, backend.get(entry.path, limit=MAX_BYTES))
        except Damaged:  # far too large to be one of ours
            continue
    return latest


def short_of(key: str) -> int:
    """Return the digits of a key that stand for it, as a number."""
    return int(key[:SHORT], 16)


def dump_uses(uses: Mapping[int, int], updated: int) -> bytes:
    """Serialise; the times and `updated` are by one clock, whichever that is."""
    keys = {f"{key:0{SHORT}x}": when for key, when in uses.items()}
    document = {"format": FORMAT, "updated": updated, "uses": keys}
    return json.dumps(document, separators=(",", ":")).encode()


def load_uses(data: bytes, mtime: float) -> dict[int, float] | None:
    """Read a document back; None if it is not one.

    `mtime` is when the store took it. All times are moved so that `updated` falls on that: the
    clock of the process that wrote it does not matter, and nothing was used after it was written.
    """
    try:
        document: Any = json.loads(data)
        if document["format"] != FORMAT:
            return None
        shift = mtime - float(document["updated"])
        uses = {
            int(key, 16): min(float(when) + shift, mtime)
            for key, when in document["uses"].items()
            if len(key) == SHORT and key.isalnum()
        }
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None
    return uses if all(map(math.isfinite, uses.values())) else None
