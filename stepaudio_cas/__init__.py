"""ccache for voices: what a speech pipeline computes from a recording, computed once.

>>> import stepaudio_cas as cas
>>> cache = cas.open("~/voices")
>>> @cache.cached
... def embed(audio, sample_rate): ...
"""

from __future__ import annotations

from stepaudio_cas.errors import Bypass, CasError, SettingError
from stepaudio_cas.identity.fingerprint import Fingerprint, make_fingerprint, source_of
from stepaudio_cas.identity.recipe import Input, Recipe, make_recipe
from stepaudio_cas.runtime.cache import Cache
from stepaudio_cas.runtime.opening import open_cache as open  # noqa: A004 - as in gzip.open

__version__ = "0.1.0"

__all__ = [
    "Bypass",
    "Cache",
    "CasError",
    "Fingerprint",
    "Input",
    "Recipe",
    "SettingError",
    "__version__",
    "make_fingerprint",
    "make_recipe",
    "open",
    "source_of",
]
