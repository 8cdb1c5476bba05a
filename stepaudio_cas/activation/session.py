"""The one cache of this process that the plugins share."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from stepaudio_cas._fork import survive_fork
from stepaudio_cas.runtime.log import Log
from stepaudio_cas.settings import read_settings

if TYPE_CHECKING:
    from stepaudio_cas.activation.presets import Presets
    from stepaudio_cas.runtime.cache import Cache


class Session:
    """Opens the cache that the environment describes when it is first asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cache: Cache | None = None
        self._presets: Presets | None = None
        self._asked = False
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

    def presets(self) -> Presets | None:
        """Return what encodes the voices of `STEPAUDIO_CAS_WATCH`, if there is something to do."""
        with self._lock:
            if self._asked:
                return self._presets
        folders = read_settings()[0].watch
        cache = self.cache() if folders else None
        with self._lock:
            if not self._asked and cache is not None:
                if cache.enabled and cache.chain.writable:
                    from stepaudio_cas.activation.presets import Presets  # noqa: PLC0415 - rare

                    self._presets = Presets(cache, folders)
                else:
                    cache.recorder.log.error("STEPAUDIO_CAS_WATCH: no store here may be written to")
            self._asked = True
            return self._presets

    def use(self, cache: Cache) -> None:
        """Have classes that are patched from now on use this cache, and watch nothing."""
        with self._lock:
            self._cache, self._presets, self._asked = cache, None, True


_session = Session()
shared_cache = _session.cache
shared_presets = _session.presets
use_cache = _session.use


def say(text: str) -> None:
    """Say something that an operator should know."""
    Log(read_settings()[0].log).error(text)
