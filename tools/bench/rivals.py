"""General caches of function results, used as their documentation says, on the same call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from blake3 import blake3

from tools.bench.subject import bytes_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tools.bench.libraries import Libraries

JOBLIB: Final = "joblib.Memory"
DISKCACHE: Final = "diskcache"
DISKCACHE_BLAKE3: Final = "diskcache, keyed by hand with BLAKE3"


def make_rivals(
    folder: Path, libraries: Libraries, function: Callable[..., Any]
) -> dict[str, Callable[[Any, int], Any]]:
    """Put each that is installed around `function`."""
    found: dict[str, Callable[[Any, int], Any]] = {}
    joblib = libraries.load("joblib")
    if joblib is not None:
        found[JOBLIB] = joblib.Memory(folder / "joblib", verbose=0).cache(function)
    diskcache = libraries.load("diskcache")
    if diskcache is not None:
        found[DISKCACHE] = diskcache.Cache(folder / "diskcache").memoize()(function)
        by_hand = diskcache.Cache(folder / "diskcache-blake3")
        found[DISKCACHE_BLAKE3] = _keyed_by_blake3(by_hand, function)
    return found


def _keyed_by_blake3(cache: Any, function: Callable[..., Any]) -> Callable[[Any, int], Any]:
    """Do the hashing that `memoize` leaves to pickle: the best that its user can do with it."""

    def wav2token(audio: Any, sample_rate: int) -> Any:
        key = blake3(bytes_of(audio)).hexdigest()
        value = cache.get(key)
        if value is None:
            value = function(audio, sample_rate)
            cache.set(key, value)
        return value

    return wav2token
