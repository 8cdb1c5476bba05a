"""The one cache of this process that the plugins share."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from stepaudio_cas._fork import survive_fork
from stepaudio_cas.runtime.log import Log
from stepaudio_cas.settings import read_settings

if TYPE_CHECKING:
    from stepaudio_cas.runtime.cache import Cache


class Session:
    """Opens the cache that the environment describes when it is first asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cache: Cache | None = None
        survive_fork(self)

    def _after_fork(self) -> None:
        self._lock = threading.Lock()  # the thread that held it is not in the child

    def cache(self) -> Cache:
        """Return the cache, the same one each time."""
        with self._lock:
            if self._cache is None:
                from stepaudio_cas.runtime.opening import open_cache  # noqa: PLC0415 - heavy

                self._cache = open_cache()
            return self._cache


_session = Session()
shared_cache = _session.cache


def say(text: str) -> None:
    """Say something that an operator should know."""
    Log(read_settings()[0].log).error(text)
