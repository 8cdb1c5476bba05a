"""How much of a processor this server takes from the host it lives in."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

SHARE: Final = 0.01
"""Of one processor, in a host's process: whoever holds the interpreter keeps the host from it."""

BURST: Final = 0.25
"""Seconds of work that may be done before the share counts: a page with all that is on it."""


class Pace:
    """Counts the processor time of the threads that call `owed`, and says how long to rest.

    With a share of 1 nobody rests.
    """

    def __init__(
        self,
        share: float = 1.0,
        *,
        burst: float = BURST,
        clock: Callable[[], float] = time.monotonic,
        used: Callable[[], float] = time.thread_time,
    ) -> None:
        self._share, self._burst, self._clock, self._used = share, burst, clock, used
        self._lock = threading.Lock()
        self._credit, self._at = burst, clock()
        self._local = threading.local()

    def owed(self) -> float:
        """Charge this thread what it has used since the last time; return seconds to rest."""
        now_used = self._used()
        used = now_used - getattr(self._local, "used", now_used)
        self._local.used = now_used
        if self._share >= 1.0:
            return 0.0
        with self._lock:
            now = self._clock()
            earned = (now - self._at) * self._share
            self._credit, self._at = min(self._credit + earned, self._burst) - used, now
            return max(-self._credit / self._share, 0.0)

    def free(self) -> None:
        """Have nobody rest any more: it is over."""
        self._share = 1.0

    def rest(self, longest: float = 1.0) -> None:
        """Rest for as long as is owed; between the steps of what takes long."""
        seconds = self.owed()
        if seconds > 0:
            time.sleep(min(seconds, longest))
