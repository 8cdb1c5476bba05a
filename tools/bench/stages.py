"""Where the time of a hit goes. Each part is timed right after a BLAKE3 of the clip.

That is how it is in a real call: the hash has just filled the processor's caches with audio, and
what comes after it finds them cold.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Final

from blake3 import blake3

import stepaudio_cas as cas
from stepaudio_cas.artifact import codec
from stepaudio_cas.artifact.manifest import open_manifest
from stepaudio_cas.runtime.workers import Workers
from stepaudio_cas.store import layout
from stepaudio_cas.store.local import LocalBackend
from stepaudio_cas.store.store import Store
from tools.bench.sampling import time_block
from tools.bench.subject import SAMPLE_RATE, bytes_of, cached_by, make_clip

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tools.bench.scale import Scale

_CALLS: Final = 5


def measure_stages(folder: Path, scale: Scale) -> dict[str, float]:
    """Return the median seconds of each part."""
    clip = make_clip()
    data, root = bytes_of(clip), str(folder / "stages")
    with cas.open(root, log="off") as cache:
        function = cached_by(cache)
        function(clip, SAMPLE_RATE)
        recipe = function.recipe(clip, SAMPLE_RATE)
        store, workers = Store(LocalBackend(root)), Workers("bench")
        found = store.read(recipe.key)
        assert found is not None
        sealed = Path(root, layout.manifest_path(recipe.key)).read_bytes()
        parts: dict[str, Callable[[], Any]] = {
            "BLAKE3 of the clip": lambda: blake3(data).digest(),
            "describe the call: BLAKE3, bind, key": lambda: function.recipe(clip, SAMPLE_RATE),
            "memory: look up, copy, count": lambda: cache.get(recipe),
            "disk: read and check both files": lambda: store.read(recipe.key),
            "of that, open the manifest": lambda: open_manifest(sealed, recipe.key),
            "disk: decode the object": lambda: codec.decode(found.manifest.codec, found.blob),
            "disk: hand over to a worker thread, and back": lambda: workers.call(_nothing, 1.0),
        }
        for part in parts.values():
            part()
        times: dict[str, list[float]] = {name: [] for name in parts}
        for _ in range(scale.blocks):
            for name, part in parts.items():
                block = time_block(part, _CALLS, before=lambda: blake3(data).digest())
                times[name].append(statistics.median(block))
    return {name: statistics.median(found) for name, found in times.items()}


def _nothing() -> None:
    return None
