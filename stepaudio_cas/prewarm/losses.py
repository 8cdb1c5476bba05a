"""Entries that stores have lost: emptied, restarted without their data, or put back from a copy.

Nothing tells of that, so it is looked for: a few keys now and then, and all of them if one is
missing. What is pinned is never collected, so a key that is missing is a loss.
"""

from __future__ import annotations

import math
import random
import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Sequence

    from stepaudio_cas.prewarm.keeping import Keeping
    from stepaudio_cas.prewarm.shelf import Shelf

_SAMPLE: Final = 16
"""So many keys are looked for, to find out whether all are to be."""


class Losses:
    """Looks for what is gone, each store in a thread: it may hang. Without `keeping` it does not.

    `lost` is told of each voice that has to be encoded again, and returns whether that is news.
    """

    def __init__(
        self,
        shelves: Sequence[Shelf],
        keeping: Keeping | None,
        *,
        ring: Callable[[], object],
        say: Callable[..., None],
        lost: Callable[[str], bool],
        every: float,
    ) -> None:
        self._keeping, self._ring, self._say, self._lost = keeping, ring, say, lost
        self._every = every
        later = time.monotonic() + every if keeping is not None else math.inf
        self._shelves = list(shelves)
        self._due = {shelf.url: later for shelf in shelves}
        self._all: set[str] = set()
        self._looking: set[str] = set()
        self._lock = threading.Lock()
        self._answers: list[tuple[int, list[str], str]] = []
        self._closed = False

    @property
    def due(self) -> float:
        """When `turn` is to be called."""
        ready = (due for url, due in self._due.items() if url not in self._looking)
        return min(ready, default=math.inf)

    def suspect(self, url: str, *, all_of_it: bool = False) -> None:
        """Look soon: at a few keys, or at all of them."""
        if self._keeping is not None and url in self._due:
            self._due[url] = 0.0
            if all_of_it:
                self._all.add(url)

    def turn(self, away: Container[str]) -> list[tuple[str, str]]:
        """Take note of what has been found, and look; return stores that cannot be, and why.

        Those that are known to be `away` are looked at when somebody suspects them again.
        """
        with self._lock:
            answers, self._answers = self._answers, []
        found = []
        for number, missing, why in answers:
            url = self._shelves[number].url
            self._looking.discard(url)
            if why:
                found.append((url, why))
            elif missing:
                self._take_note(number, missing)
        now = time.monotonic()
        for number, shelf in enumerate(self._shelves):
            if self._due[shelf.url] > now or shelf.url in self._looking:
                continue
            self._due[shelf.url] = now + self._every
            if shelf.url not in away:
                self._begin(number, shelf)
        return found

    def close(self) -> None:
        """Ring no more, and look for nothing."""
        with self._lock:
            self._closed = True

    def _take_note(self, number: int, missing: list[str]) -> None:
        assert self._keeping is not None
        voices = self._keeping.lost(number, missing)
        if number:
            count, what = len(voices), "they are copied there"
        else:
            count, what = sum(map(self._lost, sorted(voices))), "they are encoded again"
        if count:
            who = f"{count} voices are" if count > 1 else "1 voice is"
            what = what if count > 1 else what.replace("they are", "it is")
            self._say(f"{who} not in {self._shelves[number].url} any more: {what}", error=True)

    def _begin(self, number: int, shelf: Shelf) -> None:
        """Look for some keys in a thread, and if one of them is missing for all."""
        assert self._keeping is not None
        keys = self._keeping.kept(number)
        some = [] if shelf.url in self._all else random.sample(keys, min(_SAMPLE, len(keys)))
        self._all.discard(shelf.url)
        if not keys:
            return
        self._looking.add(shelf.url)

        def run() -> None:
            missing: list[str] = []
            why = ""
            try:
                if not some or not all(map(shelf.has, some)):
                    missing = [key for key in keys if not self._closed and not shelf.has(key)]
            except Exception as error:  # whatever a store raises
                why = f"{type(error).__name__}: {error}"
            with self._lock:
                if not self._closed:
                    self._answers.append((number, missing, why))
                    self._ring()

        threading.Thread(target=run, name="stepaudio-cas losses", daemon=True).start()
