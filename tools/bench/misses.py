"""What a miss costs beyond the encode: describing, looking, locking, storing."""

from __future__ import annotations

import statistics
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from tools.bench.recreations import TARGET_RATE, JsonFiles, host_path
from tools.bench.rivals import DISKCACHE_BLAKE3, make_rivals
from tools.bench.sampling import spread, time_block
from tools.bench.subject import SAMPLE_RATE, SECONDS, cached_by, encode, make_clip, mark, open_cache

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tools.bench.libraries import Libraries
    from tools.bench.scale import Scale

OURS: Final = "stepaudio-cas"
_RESAMPLED: Final = SECONDS * TARGET_RATE
"""What the operators' cache sees of the clip: preparing it is part of the encode on a miss."""

JSON_FILES: Final = "the operators' JSON files (re-creation; MD5 and file only)"


def measure_misses(folder: Path, scale: Scale, libraries: Libraries) -> dict[str, dict[str, Any]]:
    """Time calls with keys that are new each time, and take off the bare encode's time.

    The encode itself costs next to nothing here, so that what remains is the overhead. The
    contestants take turns, block by block.
    """
    clip, numbers = make_clip(), count(1)
    with open_cache(folder / "misses") as cache:
        contestants: dict[str, Callable[[Any, int], Any]] = {OURS: cached_by(cache)}
        rivals = make_rivals(folder / "miss-rivals", libraries, encode)
        rivals.pop(DISKCACHE_BLAKE3, None)
        contestants |= rivals
        in_files = host_path(JsonFiles(folder / "miss-json"), encode)
        contestants[JSON_FILES] = lambda audio, _: in_files(audio[:, :_RESAMPLED], TARGET_RATE)
        times: dict[str, list[list[float]]] = {name: [] for name in contestants}
        bare: list[float] = []
        for _ in range(scale.slow_blocks + 1):
            for name, function in contestants.items():
                block = time_block(
                    lambda function=function: function(clip, SAMPLE_RATE),
                    scale.slow_calls,
                    before=lambda: mark(clip, next(numbers)),
                )
                times[name].append(block)
            bare += time_block(lambda: encode(clip, SAMPLE_RATE), scale.slow_calls)
        stats = cache.stats()
    expected = (scale.slow_blocks + 1) * scale.slow_calls
    if stats["misses"] != expected or stats["counters"].get("stored") != expected:
        raise RuntimeError(f"these were not {expected} misses: {stats['counters']}")
    encode_seconds = statistics.median(bare)
    return {name: _figures(blocks[1:], encode_seconds) for name, blocks in times.items()}


def _figures(blocks: list[list[float]], encode_seconds: float) -> dict[str, Any]:
    """Sum up; the first block, in which folders are made and files opened, is left out."""
    over = [statistics.median(block) - encode_seconds for block in blocks]
    single = sorted(time - encode_seconds for block in blocks for time in block)
    median = spread(over)
    return {
        "overhead_seconds": median._asdict(),
        "p95_seconds": single[int(0.95 * (len(single) - 1))],
        "share_of_1_s": median.median / 1.0,
        "share_of_100_ms": median.median / 0.1,
        "blocks": len(blocks),
    }
