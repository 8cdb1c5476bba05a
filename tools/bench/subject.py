"""What is measured on: ten seconds of sound, and the tokens that an encoder makes of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from blake3 import blake3

import stepaudio_cas as cas

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from stepaudio_cas import Cache
    from stepaudio_cas.runtime.decorator import Cached

try:
    import torch
except ImportError:  # said in the report by libraries.py
    torch = None

SAMPLE_RATE: Final = 48_000
SECONDS: Final = 10
_MARK: Final = 1 << 20

_random = np.random.default_rng(7)
_VQ02: Final = _random.integers(0, 1024, 167).tolist()
_VQ06: Final = _random.integers(0, 4096, 250).tolist()
_SPEECH: Final = [65_536 + code for code in _VQ02] + [66_560 + code for code in _VQ06]


def make_clip(number: int = 0) -> Any:
    """Return `[1, 480000]` float32: bursts of noise, with half a second of silence at the ends."""
    samples = SECONDS * SAMPLE_RATE
    moment = np.arange(samples, dtype="float32") / SAMPLE_RATE
    noise = np.random.default_rng(1).standard_normal(samples, dtype="float32")
    audio = noise * np.float32(0.1) * np.abs(np.sin(3 * moment))
    audio[: SAMPLE_RATE // 2] *= np.float32(1e-4)
    audio[-SAMPLE_RATE // 2 :] *= np.float32(1e-4)
    clip = audio[None] if torch is None else torch.from_numpy(audio[None])
    mark(clip, number)
    return clip


def mark(clip: Any, number: int) -> None:
    """Make a clip another one, in place: a new key, and new tokens."""
    clip[0, 0] = number / _MARK


def encode(
    audio: Any,
    sample_rate: int,  # noqa: ARG001 - the parameters are the host's
    enable_trim: bool = True,  # noqa: ARG001
    energy_norm: bool = True,  # noqa: ARG001
) -> tuple[list[int], list[int], list[int]]:
    """Stand for the host's encoder: the shape of its result, and next to none of its cost."""
    encode.calls += 1
    speech = _SPEECH.copy()
    speech[0] = int(audio[0, 0] * _MARK)
    return speech, _VQ02.copy(), _VQ06.copy()


encode.calls = 0


def bytes_of(clip: Any) -> memoryview:
    """Return a clip's memory."""
    return memoryview(clip if torch is None else clip.numpy()).cast("B")


def busy(data: memoryview, seconds: float) -> None:
    """Compute for so long, mostly without the interpreter lock, as encoders do."""
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        blake3(data).digest()


def open_cache(root: str | Path, **settings: Any) -> Cache:
    """Open a cache as it is by default, but quiet, and patient with a disk that others use too."""
    return cas.open(root, log="off", deadline="20s", **settings)


def cached_by(cache: Cache, function: Callable[..., Any] = encode) -> Cached[Any]:
    """Put our cache around an encoder."""
    return cache.cached(name="bench.wav2token", version="1", deterministic=False)(function)


def only_hits(cache: Cache, tier: str, misses: int) -> None:
    """Refuse to report times of hits that were something else."""
    stats = cache.stats()
    counters = stats["counters"]
    hits = counters.get(f"hit.{tier}", 0) + counters.get("hit.shared", 0)
    if stats["misses"] != misses or stats["hits"] != hits or stats["errors"] or stats["bypasses"]:
        raise RuntimeError(f"these were not {misses} misses and then hits in {tier}: {counters}")
