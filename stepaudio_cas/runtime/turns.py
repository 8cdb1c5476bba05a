"""One encode per key at a time: on a machine, and in a fleet whose store has locks."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from stepaudio_cas.runtime.budget import Budget

if TYPE_CHECKING:
    from stepaudio_cas.runtime.chain import Chain, Hit
    from stepaudio_cas.runtime.tier import Tier
    from stepaudio_cas.store.backend import Lock

PATIENCE: Final = 120.0
"""How long to wait, in seconds, for somebody else who encodes the same key."""

_FIRST_PAUSE: Final = 0.001
_LONGEST_PAUSE: Final = 0.05
_LONGEST_PAUSE_SHARED: Final = 0.25
"""Where a fleet may be waiting, one server hears all of it."""


class Turn:
    """The right to encode `key`. `hit` is set if somebody else finished it while we waited.

    The lock of this machine is taken first, so that of all its processes one waits for the
    fleet's. That is let go when what was encoded has reached the store it belongs to.
    """

    def __init__(self, chain: Chain, key: str, budget: Budget | None = None) -> None:
        self._chain = chain
        self._key = key
        self._budget = budget or Budget()
        self._locks: list[tuple[Tier, Lock]] = []
        self._give_up = 0.0
        self.hit: Hit | None = None

    def __enter__(self) -> Turn:
        """Wait until it is our turn, or the artifact is there, or patience is at an end."""
        self._give_up = time.monotonic() + PATIENCE
        try:
            for tier in self._chain.lockable:
                if not self._wait(tier):
                    break
            if self._locks and self.hit is None:
                # The one before us may have finished between our look and our turn.
                self.hit = self._chain.find(self._key, [tier for tier, _ in self._locks])
        except BaseException as error:  # an interrupt: there will be no `__exit__`
            self.__exit__(type(error))
            raise
        return self

    def _wait(self, tier: Tier) -> bool:
        """Wait for the lock of one tier; return whether to go on to the next one's."""
        pause, longest = _FIRST_PAUSE, _LONGEST_PAUSE_SHARED if tier.shared else _LONGEST_PAUSE
        go_on, lock = tier.try_lock(self._key)
        while not go_on:
            if time.monotonic() >= self._give_up:
                return False
            time.sleep(pause)
            pause = min(pause * 2, longest)
            with self._budget.waiting():
                self.hit = self._chain.find(self._key, [tier])
                if self.hit is not None:
                    return False
                go_on, lock = tier.try_lock(self._key)
        if lock is not None:
            self._locks.append((tier, lock))
        return True

    def __exit__(self, kind: type[BaseException] | None = None, *_: object) -> None:
        at_once = kind is not None or self.hit is not None
        while self._locks:
            tier, lock = self._locks.pop()
            self._chain.release(tier, lock, at_once=at_once)
