"""The ledgers of one folder, one for each store that its voices are pinned in, used as one.

Who goes on with fewer stores, or with more, finds what was written down for each of them.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from stepaudio_cas.errors import CasError
from stepaudio_cas.prewarm.keeping import Ledger

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from stepaudio_cas.prewarm.state import Place


class Ledgers:
    """What is in any of them; what is added or removed is so in all of them."""

    def __init__(self, place: Place, host: str, stores: Sequence[str]) -> None:
        """Open them. Raises `CasError`, which names their folder, if they cannot be written."""
        self._states = place.states
        self._ledgers: list[Ledger] = []
        try:
            for store in dict.fromkeys(stores):
                self._ledgers.append(Ledger(place.ledger(host, store)))
        except OSError as error:
            self.close()
            text = f"{place.states} takes no ledger: {error.strerror}"
            raise CasError(f"{text}; --state DIR names another place") from None
        self.entries = {entry for ledger in self._ledgers for entry in ledger.entries}

    def add(self, key: str, voice: str) -> None:
        """Write down that a voice has a key. Raises `OSError` that names the folder."""
        with self._named():
            for ledger in self._ledgers:
                ledger.add(key, voice)
        self.entries.add((key, voice))

    def remove(self, key: str, voice: str) -> None:
        """Write down that it no longer has it. Raises `OSError` that names the folder."""
        with self._named():
            for ledger in self._ledgers:
                ledger.remove(key, voice)
        self.entries.discard((key, voice))

    def close(self) -> None:
        """Give the files back."""
        for ledger in self._ledgers:
            ledger.close()

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OSError(error.errno, error.strerror, self._states) from None
