"""How long shared stores may hold up one call: a share of what its encode takes."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from stepaudio_cas.settings import LONGEST

if TYPE_CHECKING:
    from collections.abc import Iterator

SHARE: Final = 0.2
LEAST: Final = 0.1
MANY: Final = 32
"""A batch of so many keys gets twice the time of one, and so on."""

_WEIGHT: Final = 0.2


class Account:
    """What one call may still wait for stores, each of which has a part of its own."""

    def __init__(self, seconds: float) -> None:
        self.size = seconds
        self._spent: dict[str, float] = {}

    def left(self, store: str) -> float:
        """Return how long `store` may still take."""
        return self.size - self._spent.get(store, 0.0)

    def spend(self, store: str, seconds: float) -> None:
        """Take off what it has taken."""
        self._spent[store] = self._spent.get(store, 0.0) + seconds


class Budget:
    """Opens an account for each call, by what encodes of its kind have taken so far.

    A fleet that loses its Redis thus slows down by a fifth at most, until breakers open, and not
    at all from then on. An operator who sets a deadline of his own has that for every verb instead.
    Local disks are not budgeted: one that is slow to answer is on a machine that is busy.
    """

    def __init__(self, deadline: float | None = None, *, stores: int = 1) -> None:
        self.deadline = LONGEST if deadline is None else deadline
        self._fixed = deadline is not None or not stores
        self._stores = max(stores, 1)
        self._means: dict[str, float] = {}
        self._local = threading.local()

    def learn(self, kind: str, seconds: float) -> None:
        """Take note of what an encode took, here or wherever its artifact was made."""
        if seconds > 0:
            mean = self._means.get(kind, seconds)
            self._means[kind] = mean + _WEIGHT * (seconds - mean)

    def seconds(self, kind: str, count: int = 1) -> float:
        """Return how long all stores together may hold up `count` look-ups of a kind."""
        longest = LONGEST * (1 + (count - 1) / MANY)
        mean = self._means.get(kind)
        return longest if mean is None else min(max(LEAST, SHARE * mean * count), longest)

    @contextmanager
    def call(self, kind: str, count: int = 1) -> Iterator[None]:
        """Open an account for what this thread does in the block; each may have one inside it."""
        if self._fixed:
            yield
            return
        outer = self.account
        self._local.account = Account(self.seconds(kind, count) / self._stores)
        try:
            yield
        finally:
            self._local.account = outer

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Look around while somebody else encodes: that is no delay, but must end soon."""
        outer = self.account
        if outer is not None:
            self._local.account = Account(outer.size)
        try:
            yield
        finally:
            self._local.account = outer

    @property
    def account(self) -> Account | None:
        """The account of this thread's call; none in the background."""
        account: Account | None = getattr(self._local, "account", None)
        return account
