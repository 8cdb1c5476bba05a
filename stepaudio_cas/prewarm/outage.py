"""Stores that do not do their part, and when they are given work again.

What fails because of a store is no fault of the recording, and to encode it again while the store
is away is for nothing. So a store is tried out with a few bytes first, without holding anybody up,
then with one voice, and then the others go.
"""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from stepaudio_cas.prewarm.encode import FIRST
from stepaudio_cas.prewarm.losses import Losses

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stepaudio_cas.prewarm.keeping import Keeping
    from stepaudio_cas.prewarm.shelf import Shelf

_CERTAIN: Final = 2
"""A store that has failed so many times in a row has had more than a hiccup."""


class Patience(NamedTuple):
    """Seconds until a store that is away is tried out again: twice as many each time.

    Who does everything `once` is not patient: it ends.
    """

    first: float = 1.0
    longest: float = 60.0
    once: bool = False

    def after(self, failures: int) -> float:
        """Return for how long to wait; the first time not at all: it may have been a hiccup."""
        if failures <= 1:
            return 0.0
        return min(self.first * 2.0 ** min(failures - 2, 60), self.longest)


class _Away:
    """A store that has failed, and how far we are with trying it out."""

    def __init__(self) -> None:
        self.why = ""
        self.failures = 0
        self.due = 0.0
        self.asking = False
        self.answered = False
        """Whether it can be written to, so that a voice, or what it is owed, may show the rest."""
        self.voices = False
        """Whether voices have failed because of it."""


class Stores:
    """Which stores are away. `ring` wakes who calls `turn`, when one has been tried out.

    The first store is where a voice has to be to be done. What the others are owed is made good
    when they are back, and keeps nobody from going on. `lost` is told of each voice that is not in
    the first store any more; `every` so many seconds it is looked for such.
    """

    def __init__(
        self,
        shelves: Sequence[Shelf],
        keeping: Keeping | None,
        *,
        ring: Callable[[], object],
        say: Callable[..., None],
        patience: Patience,
        lost: Callable[[str], bool],
        every: float,
    ) -> None:
        self._shelves = {shelf.url: shelf for shelf in shelves}
        self._urls = [shelf.url for shelf in shelves]
        self._keeping, self._ring, self._say, self._patience = keeping, ring, say, patience
        self._away: dict[str, _Away] = {}
        self._lock = threading.Lock()
        self._answers: list[tuple[str, str]] = []
        self._closed = False
        self._losses = Losses(shelves, keeping, ring=ring, say=say, lost=lost, every=every)

    @property
    def trouble(self) -> str:
        """Say in one line which stores are away, and why."""
        return "; ".join(f"{url}: {away.why}" for url, away in self._away.items())

    @property
    def hopeless(self) -> bool:
        """Whether no voice goes, and that was no hiccup."""
        return any(away.failures >= _CERTAIN for away in self._stopping())

    @property
    def due(self) -> float:
        """When `turn` is to be called."""
        keeping = self._keeping
        if keeping is not None and (
            keeping.payable or any(self._urls[n] not in self._away for n in keeping.refused)
        ):
            return 0.0
        waiting = [away for away in self._away.values() if not (away.asking or away.answered)]
        return min(self._losses.due, *(away.due for away in waiting), math.inf)

    def room(self, most: int) -> int:
        """Say how many voices may be under way: all, none, or one to see whether it works."""
        stopping = list(self._stopping())
        if not stopping:
            return most
        return int(all(away.answered for away in stopping))

    def failed(self, url: str, why: str) -> None:
        """Take note that a voice could not be kept."""
        url = next(iter(self._urls), url) if url == FIRST else url
        self._failed(url, why)
        self._away[url].voices = True

    def suspect(self) -> None:
        """Look soon whether stores have lost something: it seems so."""
        for url in self._urls:
            self._losses.suspect(url)

    def worked(self) -> None:
        """Take note that a voice has been encoded and kept."""
        for url, away in list(self._away.items()):
            away.voices = away.voices and not away.answered
            self._back(url)

    def turn(self) -> None:
        """Try out those whose time has come, and give those that answer what they are owed."""
        with self._lock:
            answers, self._answers = self._answers, []
        for url, why in answers:
            self._answer(url, why)
        for url, why in self._losses.turn(self._away):
            self._failed(url, why)
        self._pay()
        now = time.monotonic()
        for url, away in self._away.items():
            if not (away.asking or away.answered) and away.due <= now:
                away.asking = True
                self._ask(url)

    def close(self) -> None:
        """Ring no more, whatever comes of it."""
        self._losses.close()
        with self._lock:
            self._closed = True

    def _stopping(self) -> Sequence[_Away]:
        """Return those without which no voice can be done."""
        return [away for url, away in self._away.items() if away.voices]

    def _failed(self, url: str, why: str) -> None:
        away = self._away.get(url)
        if away is None:
            away = self._away[url] = _Away()
        elif not away.answered:  # known already, and perhaps better
            away.why = away.why or why
            return
        self._wait(url, away, why)

    def _wait(self, url: str, away: _Away, why: str) -> None:
        away.why, away.failures = why, away.failures + 1
        away.answered = away.asking = False
        away.due = time.monotonic() + self._patience.after(away.failures)
        if away.failures == _CERTAIN:
            then = "--once does not wait for it" if self._patience.once else "it is waited for"
            self._say(f"{url} does not do its part: {why}; {then}", error=True)

    def _ask(self, url: str) -> None:
        """Try a store out, in a thread: it may hang."""
        shelf = self._shelves.get(url)

        def run() -> None:
            why = ""
            try:
                if shelf is not None:
                    shelf.check()
            except Exception as error:  # whatever a store raises
                why = f"{type(error).__name__}: {error}"
            with self._lock:
                if not self._closed:
                    self._answers.append((url, why))
                    self._ring()

        threading.Thread(target=run, name="stepaudio-cas trial", daemon=True).start()

    def _answer(self, url: str, why: str) -> None:
        away = self._away.get(url)
        if away is None:  # a voice has shown meanwhile that it works
            return
        if why:
            self._wait(url, away, why)
            return
        away.asking, away.answered = False, True
        if self._keeping is not None and url in self._urls:
            self._keeping.trust(self._urls.index(url))
        self._back(url)

    def _pay(self) -> None:
        keeping = self._keeping
        if keeping is None:
            return
        if keeping.payable:
            keeping.pay()
        for number, why in keeping.refused.items():
            self._failed(self._urls[number], why)
        for url in list(self._away):
            self._back(url)

    def _back(self, url: str) -> None:
        """Take a store for mended that has answered and of which nothing is waited for."""
        away = self._away[url]
        number = self._urls.index(url) if url in self._urls else -1
        owed = self._keeping is not None and number >= 0 and self._keeping.owes(number)
        if away.voices or not away.answered or owed:
            return
        del self._away[url]
        self._losses.suspect(url, all_of_it=away.failures >= _CERTAIN)
        if away.failures >= _CERTAIN:
            self._say(f"{url} works again", error=True)
