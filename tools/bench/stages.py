"""Where the time of a hit goes.

What comes after the hash in a call is timed right after a hash here, too: that has just filled
the processor's caches with audio.
"""

from __future__ import annotations

import statistics
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from blake3 import blake3

from stepaudio_cas.artifact import codec
from stepaudio_cas.artifact.manifest import open_manifest
from stepaudio_cas.runtime.workers import Workers
from stepaudio_cas.store import layout
from stepaudio_cas.store.local import LocalBackend
from stepaudio_cas.store.store import Store
from tools.bench.sampling import spread, time_block
from tools.bench.subject import SAMPLE_RATE, bytes_of, cached_by, make_clip, open_cache

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tools.bench.scale import Scale

BLAKE3: Final = "BLAKE3 of the clip"


def measure_stages(folder: Path, scale: Scale) -> dict[str, dict[str, float]]:
    """Return the time of each part in units of the BLAKE3 at the same moment."""
    clip = make_clip()
    data, root = bytes_of(clip), str(folder / "stages")
    with open_cache(root) as cache:
        function = cached_by(cache)
        function(clip, SAMPLE_RATE)
        recipe = function.recipe(clip, SAMPLE_RATE)
        store, workers = Store(LocalBackend(root)), Workers("bench")
        found = store.read(recipe.key)
        assert found is not None
        sealed = Path(root, layout.manifest_path(recipe.key)).read_bytes()
        hash_clip = partial(_hash, data)
        parts: dict[str, tuple[Callable[[], Any], Callable[[], Any] | None]] = {
            BLAKE3: (hash_clip, None),
            "a whole hit in memory": (lambda: function(clip, SAMPLE_RATE), None),
            "describe the call: BLAKE3, bind, key": (
                lambda: function.recipe(clip, SAMPLE_RATE),
                None,
            ),
            "memory: look up, copy, count": (lambda: cache.get(recipe), hash_clip),
            "disk: read and check both files": (lambda: store.read(recipe.key), hash_clip),
            "of that, open the manifest": (lambda: open_manifest(sealed, recipe.key), hash_clip),
            "disk: decode the object": (
                lambda: codec.decode(found.manifest.codec, found.blob),
                hash_clip,
            ),
            "disk: hand over to a worker thread, and back": (
                lambda: workers.call(_nothing, 1.0),
                hash_clip,
            ),
        }
        for part, _ in parts.values():
            part()
        shares: dict[str, list[float]] = {name: [] for name in parts}
        until = time.monotonic() + scale.patience
        for _ in range(scale.blocks):
            times = {
                name: statistics.median(time_block(part, scale.calls, before))
                for name, (part, before) in parts.items()
            }
            for name, seconds in times.items():
                shares[name].append(seconds / times[BLAKE3])
            if time.monotonic() > until:
                break
    return {name: spread(found)._asdict() for name, found in shares.items()}


def _hash(data: memoryview) -> None:
    blake3(data).digest()


def _nothing() -> None:
    return None
