"""How far a daemon is, written down for whoever asks, and as a sign of life."""

from __future__ import annotations

import math
import os
import platform
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from stepaudio_cas.prewarm.desk import DONE, FAILED, SETTLING, WAITING, WORKING
from stepaudio_cas.prewarm.encode import NEW, THERE
from stepaudio_cas.prewarm.folder import OTHER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from stepaudio_cas.prewarm.desk import Desk
    from stepaudio_cas.prewarm.state import Place
    from stepaudio_cas.prewarm.watched import Watched

BUSY: Final = "busy"
IDLE: Final = "idle"
TROUBLED: Final = "troubled"
_SOONEST: Final = 1.0
"""Seconds between two writes while there is work."""

_NAMED: Final = 1000
"""So many failures are named; the rest is counted."""


class Progress:
    """Writes the state of each folder when it is due: at each beat, and while things change."""

    def __init__(
        self,
        places: Sequence[Place],
        watched: Mapping[str, Watched],
        desk: Desk,
        *,
        every: float,
        facts: dict[str, Any],
        tell: Callable[[str], None],
    ) -> None:
        self._places, self._watched, self._desk = places, watched, desk
        self._every, self._facts, self._tell = every, facts, tell
        self._started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._counts = {NEW: 0, THERE: 0}
        self._busy_since, self._busy_done = math.inf, 0
        self._said: object = None
        self._written, self._unwritable = -math.inf, False
        self.unpinned = self.failures = 0
        self.trouble = ""
        """Why the host cannot be loaded, or which store is away, if so."""
        self.owed = 0
        """How many pins stores that are away have yet to make, or to take away."""

    @property
    def due(self) -> float:
        """When `beat_if_due` is to be called at the latest."""
        return self._written + (_SOONEST if self._news() != self._said else self._every)

    def encoded(self, state: str) -> None:
        """Count a voice."""
        self._counts[state] += 1
        self._busy_done += 1

    def beat_if_due(self, began: Mapping[str, float]) -> None:
        """Write, if it is time to."""
        now = time.monotonic()
        if self._desk.calm:
            self._busy_since, self._busy_done = math.inf, 0
        elif self._busy_since == math.inf:
            self._busy_since = now
        if now >= self.due:
            self.beat(began)

    def beat(self, began: Mapping[str, float] | None = None, *, status: str = "") -> None:
        """Write how it goes. A state that cannot be written is said once, and nothing more."""
        self._written, self._said = time.monotonic(), self._news()
        try:
            for place in self._places:
                place.write(self._document(place.folder, began or {}, status))
        except OSError as error:
            if not self._unwritable:
                self._tell(f"how it goes cannot be written down: {error}")
            self._unwritable = True
        else:
            self._unwritable = False

    def _news(self) -> object:
        """Return what differs when there is something new to be said."""
        desk = self._desk
        counts = tuple(desk.count(s) for s in (DONE, FAILED, OTHER, WAITING, WORKING, SETTLING))
        places = tuple((w.mode, w.trouble, w.scanned, len(w.odd)) for w in self._watched.values())
        numbers = (self.unpinned, self.owed, self.failures, self._counts[NEW], self._counts[THERE])
        return counts, places, self.trouble, numbers, tuple(desk.in_hand)

    def _of(self, path: str) -> str:
        """Say to which folder a file belongs; it may be gone, or be a folder by now."""
        inside = [folder for folder in self._watched if path.startswith(folder.rstrip("/") + "/")]
        return max(inside, key=len, default="")

    def _document(self, folder: str, began: Mapping[str, float], status: str) -> dict[str, Any]:
        watched, now = self._watched[folder], time.monotonic()
        counts = self._desk.counts.get(folder, Counter())
        failed = [r for r in self._desk.failures() if r.folder == folder]
        left = self._desk.count(SETTLING, WAITING, WORKING)
        rate = self._busy_done / max(now - self._busy_since, 0.001) if left else 0.0
        trouble = watched.trouble or self.trouble
        now_at = {path: since for path, since in began.items() if self._of(path) == folder}
        busy = left or began
        return {
            "status": status
            or (TROUBLED if trouble else BUSY if busy or not watched.scanned else IDLE),
            "pid": os.getpid(),
            "machine": platform.node(),
            "started": self._started,
            "beat": time.time(),
            "every": self._every,
            "mode": watched.mode,
            "why_polling": watched.why,
            "trouble": trouble,
            **self._facts,
            "voices": {name: counts[name] for name in (DONE, FAILED, WAITING, SETTLING, WORKING)},
            "left_out": counts[OTHER] + len(watched.odd),
            "unread": dict(watched.unread),
            "new": self._counts[NEW],
            "there": self._counts[THERE],
            "unpinned": self.unpinned,
            "owed": self.owed,
            "rate": round(rate, 2),
            "seconds_left": round(left / rate) if rate else None,
            "in_hand": [
                {"voice": path, "since": round(time.time() - (now - since), 1)}
                for path, since in now_at.items()
            ],
            "failures": [
                {
                    "voice": record.path,
                    "why": record.why,
                    "attempts": record.attempts,
                    "again_in": round(record.due - now, 1) if record.due != math.inf else None,
                }
                for record in failed[:_NAMED]
            ],
            "failures_not_named": max(0, len(failed) - _NAMED),
        }
