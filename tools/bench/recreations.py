"""The operators' own caches for the first host, made again from their notes.

No code of theirs is used; what is known, and followed here, is this:

- The key is the MD5 of the samples and the sample rate, taken *after* the host has resampled to
  16 kHz, normalised the energy and trimmed silence: all of which a hit therefore pays for.
- One variant keeps values in memory: LRU, 1,000 entries, with counters.
- One keeps them in files, `<2 hex>/<md5>.json`.
- One keeps them in Redis, pickled, by SETEX for a day, behind `funasr:`, with a connection pool.
- There is no model and no parameter in the key, nothing is verified, and the very lists that were
  stored are handed out.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tools.bench.libraries import Libraries

TARGET_RATE: Final = 16_000
_PEAK: Final = 0.6
_ENTRIES: Final = 1000
_PREFIX: Final = "funasr:"
_DAY: Final = 86_400


def make_preprocess(libraries: Libraries) -> Callable[[Any, int], Any] | None:
    """Return what the host does before it encodes: resample, normalise, trim.

    None without librosa. Resampling is torchaudio's, or scipy's where that cannot be loaded.
    """
    librosa = libraries.load("librosa", "librosa.effects")
    resample = _torchaudio_resample(libraries) or _scipy_resample(libraries)
    if librosa is None or resample is None:
        return None

    def preprocess(audio: Any, sample_rate: int) -> Any:
        audio = resample(audio, sample_rate)
        peak = float(abs(audio).max())
        if peak > 0:
            audio = audio * (_PEAK / peak)
        samples = np.asarray(audio)[0]
        return librosa.trim(samples)[0][None]

    return preprocess


def _torchaudio_resample(libraries: Libraries) -> Callable[[Any, int], Any] | None:
    torch = libraries.load("torch")
    functional = libraries.load("torchaudio", "torchaudio.functional")
    if torch is None or functional is None:
        return None
    return lambda audio, rate: functional.resample(torch.as_tensor(audio), rate, TARGET_RATE)


def _scipy_resample(libraries: Libraries) -> Callable[[Any, int], Any] | None:
    signal = libraries.load("scipy", "scipy.signal")
    if signal is None:
        return None
    return lambda audio, rate: signal.resample_poly(np.asarray(audio), TARGET_RATE, rate, axis=1)


class InMemory:
    """An LRU of finished values."""

    def __init__(self) -> None:
        self._values: OrderedDict[str, Any] = OrderedDict()
        self._lock = threading.Lock()
        self.hits = self.misses = 0

    def get(self, key: str) -> Any:
        with self._lock:
            value = self._values.get(key)
            if value is None:
                self.misses += 1
                return None
            self._values.move_to_end(key)
            self.hits += 1
            return value

    def put(self, key: str, value: Any) -> None:
        with self._lock:
            self._values[key] = value
            if len(self._values) > _ENTRIES:
                self._values.popitem(last=False)


class JsonFiles:
    """One JSON file for each value."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.hits = self.misses = 0

    def get(self, key: str) -> Any:
        try:
            with (self._root / key[:2] / f"{key}.json").open() as file:
                value = tuple(json.load(file))
        except FileNotFoundError:
            self.misses += 1
            return None
        self.hits += 1
        return value

    def put(self, key: str, value: Any) -> None:
        folder = self._root / key[:2]
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"{key}.json").open("w") as file:
            json.dump(value, file)


class RedisValues:
    """One pickle in Redis for each value; it goes a day after it was stored."""

    def __init__(self, pool: Any, redis: Any) -> None:
        self._client = redis.Redis(connection_pool=pool)
        self.hits = self.misses = 0

    def get(self, key: str) -> Any:
        data = self._client.get(f"{_PREFIX}{key}")
        if data is None:
            self.misses += 1
            return None
        self.hits += 1
        return pickle.loads(data)

    def put(self, key: str, value: Any) -> None:
        self._client.execute_command("SETEX", f"{_PREFIX}{key}", _DAY, pickle.dumps(value))


def host_path(
    cache: InMemory | JsonFiles | RedisValues,
    function: Callable[..., Any],
    preprocess: Callable[[Any, int], Any] | None = None,
) -> Callable[[Any, int], Any]:
    """Put one of these caches around an encoder, the way the operators did."""

    def wav2token(audio: Any, sample_rate: int) -> Any:
        if preprocess is not None:
            audio, sample_rate = preprocess(audio, sample_rate), TARGET_RATE
        digest = hashlib.md5(np.asarray(audio).tobytes())
        digest.update(str(sample_rate).encode())
        key = digest.hexdigest()
        value = cache.get(key)
        if value is None:
            value = function(audio, sample_rate)
            cache.put(key, value)
        return value

    return wav2token
