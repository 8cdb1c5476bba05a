"""The one cache of this process that the plugins share."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from stepaudio_cas.runtime.log import Log
from stepaudio_cas.settings import read_settings

if TYPE_CHECKING:
    from stepaudio_cas.runtime.cache import Cache

_lock = threading.Lock()
_cache: Cache | None = None


def shared_cache() -> Cache:
    """Open the cache that the environment describes, once."""
    global _cache  # noqa: PLW0603 - there is one environment
    with _lock:
        if _cache is None:
            from stepaudio_cas.runtime.opening import open_cache  # noqa: PLC0415 - takes a while

            _cache = open_cache()
        return _cache


def say(text: str) -> None:
    """Say something that an operator should know."""
    Log(read_settings()[0].log).error(text)
