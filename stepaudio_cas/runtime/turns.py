"""One encode per key at a time among the processes that share a store with working locks."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from stepaudio_cas.runtime.chain import Chain, Hit
    from stepaudio_cas.runtime.tier import Tier
    from stepaudio_cas.store.backend import Lock

PATIENCE: Final = 120.0
"""How long to wait, in seconds, for somebody else who encodes the same key."""

_FIRST_PAUSE: Final = 0.001
_LONGEST_PAUSE: Final = 0.05


class Turn:
    """The right to encode `key`. `hit` is set if somebody else finished it while we waited."""

    def __init__(self, chain: Chain, key: str) -> None:
        self._chain = chain
        self._key = key
        self._tier: Tier | None = next(iter(chain.writable), None)
        self._lock: Lock | None = None
        self.hit: Hit | None = None

    def __enter__(self) -> Turn:
        """Wait until it is our turn, or the artifact is there, or patience is at an end."""
        if self._tier is None:
            return self
        give_up, pause = time.monotonic() + PATIENCE, _FIRST_PAUSE
        while not self._taken(self._tier):
            if time.monotonic() >= give_up:
                return self
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
            self.hit = self._chain.find(self._key, [self._tier])
            if self.hit is not None:
                return self
        if self._lock is not None:
            # The one before us may have finished between our look and our turn.
            try:
                self.hit = self._chain.find(self._key, [self._tier])
            except BaseException:  # an interrupt: there will be no `__exit__`
                self.__exit__()
                raise
        return self

    def _taken(self, tier: Tier) -> bool:
        go_on, self._lock = tier.try_lock(self._key)
        return go_on

    def __exit__(self, *_: object) -> None:
        if self._lock is not None and self._tier is not None:
            self._tier.release(self._lock)
            self._lock = None
