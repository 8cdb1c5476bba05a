"""One line per event, straight to file descriptor 2, because hosts reconfigure `logging`."""

from __future__ import annotations

import math
import os
import select
import time
from typing import Final

from stepaudio_cas.settings import Level

_RANK: Final = {Level.OFF: 0, Level.ERROR: 1, Level.INFO: 2, Level.DEBUG: 3}
_STDERR: Final = 2
_QUIET_SECONDS: Final = 60.0
_TIMES: Final = 3


class Log:
    """Writes lines up to a level. A closed or full stderr is nobody's problem."""

    def __init__(self, level: Level) -> None:
        self._rank = _RANK[level]
        self.info_on = self._rank >= _RANK[Level.INFO]
        self._said: dict[str, float] = {}
        self._last: dict[str, tuple[str, int, float]] = {}

    def error(self, text: str) -> None:
        """Say that something of ours does not work."""
        self._write(Level.ERROR, text)

    def info(self, text: str) -> None:
        """Say what happened."""
        self._write(Level.INFO, text)

    def debug(self, text: str) -> None:
        """Say it in detail."""
        self._write(Level.DEBUG, text)

    def error_sometimes(self, topic: str, text: str) -> None:
        """Say an error unless one of its topic was said within the last minute."""
        now = time.monotonic()
        if now - self._said.get(topic, -math.inf) >= _QUIET_SECONDS:
            self._said[topic] = now
            self.error(text)
        else:
            self.debug(text)

    def info_seldom(self, topic: str, text: str) -> None:
        """Say what happened; a line that is said of its topic again and again, once a minute."""
        now = time.monotonic()
        last, times, since = self._last.get(topic, ("", 0, now))
        if text != last:
            times, since = 0, now
        elif now - since >= _QUIET_SECONDS:
            times, since = min(times, _TIMES - 1), now
        self._last[topic] = text, times + 1, since
        (self.info if times < _TIMES else self.debug)(text)

    def _write(self, level: Level, text: str) -> None:
        if _RANK[level] > self._rank:
            return
        line = f"stepaudio-cas: {' '.join(text.split())}\n"
        try:
            # A pipe that nobody reads would hold the host up: then the line is lost.
            if select.select((), (_STDERR,), (), 0)[1]:
                os.write(_STDERR, line.encode("utf-8", "backslashreplace"))
        except (OSError, ValueError):
            return
