"""The one cache of this process that the plugins share."""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING, Any, Final

from stepaudio_cas._fork import survive_fork
from stepaudio_cas.activation.registry import resolve
from stepaudio_cas.runtime.log import Log
from stepaudio_cas.settings import read_settings

if TYPE_CHECKING:
    from stepaudio_cas.activation.presets import Presets
    from stepaudio_cas.runtime.cache import Cache

_SERVING: Final = "stepaudio_cas.web.inside:Inside"
"""By name, as plugins are: that room stands above this one."""


class Session:
    """Opens the cache that the environment describes when it is first asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cache: Cache | None = None
        self._presets: Presets | None = None
        self._http: Any = None
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
                self._serve(self._cache)
            return self._cache

    def _serve(self, cache: Cache) -> None:
        """Have `STEPAUDIO_CAS_HTTP` answered, by a thread that the host never waits for."""
        settings, _ = read_settings()
        if settings.http and cache.enabled and cache.chain.tiers:
            self._http = resolve(_SERVING)(cache, settings)
            self._http.start()

    def presets(self) -> Presets | None:
        """Return what encodes the voices of `STEPAUDIO_CAS_WATCH`, if there is something to do."""
        with self._lock:
            if self._asked:
                return self._presets
        folders = _watched()
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


def _watched() -> tuple[str, ...]:
    """Name the folders of `STEPAUDIO_CAS_WATCH`, and that of voices that are sent over HTTP."""
    settings, _ = read_settings()
    if not (settings.watch and settings.http and settings.http_token_file):
        return settings.watch
    from stepaudio_cas.prewarm.state import default_spool  # noqa: PLC0415 - rare

    spool = default_spool()
    with contextlib.suppress(OSError):
        os.makedirs(spool, mode=0o700, exist_ok=True)
        return (*settings.watch, spool)
    return settings.watch


_session = Session()
shared_cache = _session.cache
shared_presets = _session.presets
use_cache = _session.use


def say(text: str) -> None:
    """Say something that an operator should know."""
    Log(read_settings()[0].log).error(text)
