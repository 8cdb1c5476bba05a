"""Who has the host's model: requests, as many as come, or one preset voice.

No voice begins while a request runs. A request that comes while a voice is in hand, and whose
answer nobody has kept, waits for that one voice, since not every host's model may be used twice at
a time; after that no other voice begins until the host is idle again.
"""

from __future__ import annotations

import math
import threading
import time
from typing import Final

from stepaudio_cas._fork import survive_fork

QUIET: Final = 2.0
"""Seconds without a request after which the host is idle: what it does between two calls of ours
(a language model, a vocoder) is not seen everywhere."""

PATIENCE: Final = 10.0
"""No request waits for longer, whatever has become of the voice."""


class Gate:
    """Lets requests and voices in. Give back what you take."""

    def __init__(self, quiet: float = QUIET, patience: float = PATIENCE) -> None:
        self._quiet, self._patience = quiet, patience
        self._left = -math.inf
        self._after_fork()
        survive_fork(self)

    def _after_fork(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self.running = 0
        self.taken = False
        self._closed = False

    def enter(self) -> None:
        """Begin a request."""
        with self._changed:
            self.running += 1

    def leave(self) -> None:
        """End a request."""
        with self._changed:
            self.running = max(0, self.running - 1)  # of one that a fork went on without
            if not self.running:
                self._left = time.monotonic()
                self._changed.notify_all()

    def wait(self) -> None:
        """Wait, in a request, for the voice in hand."""
        with self._changed:
            self._changed.wait_for(lambda: not self.taken, self._patience)

    def take(self, seconds: float) -> bool:
        """Begin a voice as soon as the host is idle; return whether it was within this time."""
        until = time.monotonic() + seconds
        with self._changed:
            while True:
                now = time.monotonic()
                idle = math.inf if self.running else self._left + self._quiet
                if idle <= now and not self.taken and not self._closed:
                    self.taken = True
                    return True
                if now >= until or self._closed:
                    return False
                self._changed.wait(min(idle, until) - now)

    def give_back(self) -> None:
        """End a voice."""
        with self._changed:
            self.taken = False
            self._changed.notify_all()

    def close(self) -> None:
        """Let no more voices begin."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
