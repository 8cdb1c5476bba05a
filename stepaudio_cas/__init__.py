"""ccache for voices: what a speech pipeline computes from a recording, computed once.

>>> import stepaudio_cas as cas
>>> cache = cas.open("~/voices")
>>> @cache.cached
... def embed(audio, sample_rate): ...

Names are loaded when they are first used, because this package is imported at the start of every
process of a deployment that has switched it on.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as `typing` says it, without importing it
if TYPE_CHECKING:
    from typing import Any

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

_HOMES = {
    "Bypass": "errors",
    "Cache": "runtime.cache",
    "CasError": "errors",
    "Fingerprint": "identity.fingerprint",
    "Input": "identity.recipe",
    "Recipe": "identity.recipe",
    "SettingError": "errors",
    "make_fingerprint": "identity.fingerprint",
    "make_recipe": "identity.recipe",
    "open": "runtime.opening",
    "source_of": "identity.fingerprint",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - not needed to start

    value = getattr(import_module(f"{__name__}.{home}"), "open_cache" if name == "open" else name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
