"""What this process has used, told to the stores now and then: hits in memory are uses, too.

The hot path only stores a key in a dictionary. Every few minutes a background thread passes on
what is in it, each key at most once an hour: where a time of access is cheap, by touching the
manifest, elsewhere in a document of this process (`store/uses.py`).
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Final

from stepaudio_cas._fork import survive_fork
from stepaudio_cas.errors import Damaged
from stepaudio_cas.store import layout
from stepaudio_cas.store.backend import Expiring
from stepaudio_cas.store.urls import is_near
from stepaudio_cas.store.uses import FOLD_AFTER, MAX_KEYS, dump_uses, short_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from stepaudio_cas.runtime.tier import Tier
    from stepaudio_cas.store.backend import Backend
    from stepaudio_cas.store.store import Store

FLUSH_EVERY: Final = 300.0
AGAIN_AFTER: Final = 3600.0
"""A use is passed on again after so long, as on a disk by `relatime`."""

MAX_WAITING: Final = 20_000
_MAX_KNOWN: Final = 50_000
_AT_ONCE: Final = 100


class Uses:
    """The keys used since the last time, in `keys`, and the stores that are to know."""

    def __init__(self, tiers: Sequence[Tier], *, clock: Callable[[], float] = time.time) -> None:
        self.keys: dict[str, None] = {}
        self._tiers = tiers
        self._clock = clock
        self._after_fork()
        survive_fork(self)

    def _after_fork(self) -> None:
        self._flushing = threading.Lock()
        self.keys.clear()  # the parent passes its own on
        self._known: dict[str, float] = {}
        self._journals = {id(tier): _Journal() for tier in self._tiers}
        self._flushed = self._clock()

    def due(self) -> bool:
        """Tell whether it is time to pass on what has come together."""
        late = not 0 <= self._clock() - self._flushed < FLUSH_EVERY
        return late or len(self.keys) > MAX_WAITING

    def flush(self) -> None:
        """Pass on what has come together; what a store does not take is left out."""
        with self._flushing:
            self._flush()

    def _flush(self) -> None:
        now = self._flushed = self._clock()
        keys = list(self.keys)
        for key in keys:
            self.keys.pop(key, None)
        known = self._known
        fresh = [k for k in keys if k not in known or not 0 <= now - known[k] < AGAIN_AFTER]
        for tier in self._tiers:
            self._tell(tier, fresh, now)
        if len(known) + len(fresh) > _MAX_KNOWN:
            known.clear()
        known.update(dict.fromkeys(fresh, now))

    def _tell(self, tier: Tier, keys: list[str], now: float) -> None:
        backend = tier.store.backend
        if is_near(backend) or isinstance(backend, Expiring):
            for start in range(0, len(keys), _AT_ONCE):
                part = keys[start : start + _AT_ONCE]
                tier.run(partial(_touch, tier.store, part))
            return
        journal = self._journals[id(tier)]
        for start in range(0, len(keys), MAX_KEYS):
            journal.note(keys[start : start + MAX_KEYS], now)
            tier.run(lambda: journal.save(backend, now))
        if journal.dirty:
            tier.run(lambda: journal.save(backend, now))


def _touch(store: Store, keys: Iterable[str]) -> None:
    """Mark entries as used now; where they expire, their objects have to stay as long."""
    for key in keys:
        if isinstance(store.backend, Expiring):
            with contextlib.suppress(Damaged):
                store.read(key, touch=True)
        else:
            store.backend.get(layout.manifest_path(key), touch=True)


class _Journal:
    """The documents of this process in one store; each is written until it is full, or old."""

    def __init__(self) -> None:
        self.dirty = False
        self._begin(0.0)

    def _begin(self, now: float) -> None:
        self._name = f"{socket.gethostname()}-{os.getpid()}-{os.urandom(6).hex()}"
        self._uses: dict[int, int] = {}
        self._since = now

    def note(self, keys: list[str], now: float) -> None:
        """Write down that these keys have been used."""
        full = len(self._uses) + len(keys) > MAX_KEYS
        if full or not 0 <= now - self._since < FOLD_AFTER / 2:
            self._begin(now)
        self._uses.update(dict.fromkeys(map(short_of, keys), int(now)))
        self.dirty = True

    def save(self, backend: Backend, now: float) -> None:
        """Write the document of this process."""
        backend.put(f"{layout.USES}/{self._name}.json", dump_uses(self._uses, int(now)))
        self.dirty = False
