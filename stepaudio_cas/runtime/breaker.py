"""A circuit breaker: a store that keeps failing is left alone for a while, then tried again."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

from stepaudio_cas._fork import survive_fork

if TYPE_CHECKING:
    from collections.abc import Callable

THRESHOLD: Final = 3
FIRST_PAUSE: Final = 5.0
LONGEST_PAUSE: Final = 120.0


class Breaker:
    """Closed, it lets calls through. After `THRESHOLD` failures in a row it opens.

    When its pause is over it is half-open: one call may try. If that succeeds it closes; if not,
    the next pause is twice as long.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._after_fork()
        survive_fork(self)

    def _after_fork(self) -> None:
        self._lock = threading.Lock()
        self._failures = 0
        self._pause = FIRST_PAUSE
        self._open_until: float | None = None
        self._trying = False

    @property
    def state(self) -> str:
        """`closed`, `open` or `half-open`."""
        if self._open_until is None:
            return "closed"
        return "open" if self._clock() < self._open_until else "half-open"

    @property
    def calm(self) -> bool:
        """Whether the last call worked, or there was none."""
        return self._open_until is None and not self._failures

    def allows(self) -> bool:
        """Tell whether a call may be made; each True is answered by `succeeded` or `failed`."""
        if self._open_until is None:
            return True
        with self._lock:
            if self._open_until is None:
                return True
            if self._trying or self._clock() < self._open_until:
                return False
            self._trying = True
            return True

    def succeeded(self) -> bool:
        """Report a call that worked. Return whether that closed the breaker."""
        if self._open_until is None and not self._failures:
            return False
        with self._lock:
            closed = self._open_until is not None
            self._failures, self._pause = 0, FIRST_PAUSE
            self._open_until, self._trying = None, False
            return closed

    def failed(self, *, final: bool = False) -> bool:
        """Report a call that did not work. Return whether that opened the breaker.

        `final` opens it at once: there is no point in trying the same again soon.
        """
        with self._lock:
            self._failures += 1
            if self._open_until is not None:
                if self._trying:
                    self._pause = min(self._pause * 2, LONGEST_PAUSE)
                    self._open_until, self._trying = self._clock() + self._pause, False
                return False
            if not final and self._failures < THRESHOLD:
                return False
            self._pause = LONGEST_PAUSE if final else FIRST_PAUSE
            self._open_until = self._clock() + self._pause
            return True
