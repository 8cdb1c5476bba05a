"""What a manifest says of its entry, as people ask for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from stepaudio_cas.identity.digest import is_digest

if TYPE_CHECKING:
    from stepaudio_cas.artifact.manifest import Manifest
    from stepaudio_cas.maintenance.inventory import Kept

_RATES: Final = ("sample_rate", "audio_sr", "sampling_rate", "sr", "rate")
_SLOWEST_RATE: Final = 1000


def names(manifest: Manifest | None, pinned_as: str = "") -> list[str]:
    """Name what the entry is of, the best name first.

    These are what it is pinned as, which follows a file that moves, the label that it was given
    when it was made, and the files it was read from. A label that is a path is also called by its
    last part.
    """
    found: list[Any] = [pinned_as, pinned_as.rsplit("/", 1)[-1]]
    if manifest is not None:
        found += [manifest.label, manifest.label.rsplit("/", 1)[-1]]
        found += [item.get("name") for item in _inputs(manifest)]
    return list(dict.fromkeys(name for name in found if isinstance(name, str) and name))


def voice(manifest: Manifest | None, pinned_as: str = "") -> str:
    """Return the best name, or nothing."""
    return next(iter(names(manifest, pinned_as)), "")


def audio_seconds(manifest: Manifest) -> float | None:
    """Say how much audio went in, if the inputs tell: by themselves, or by shape and rate."""
    found = [s for item in _inputs(manifest) if (s := _seconds(item, manifest.params)) is not None]
    return sum(found) if found else None


def object_of(kept: Kept) -> str | None:
    """Return the object that an entry refers to, even one that is damaged or not ours to judge."""
    if kept.manifest is not None:
        return kept.manifest.object
    try:
        named = json.loads(kept.sealed)["object"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return str(named) if is_digest(named) else None


def _inputs(manifest: Manifest) -> list[Mapping[str, Any]]:
    return [item for item in manifest.inputs.values() if isinstance(item, Mapping)]


def _seconds(facts: Mapping[str, Any], params: Mapping[str, Any]) -> float | None:
    if _is_number(facts.get("seconds")):
        return float(facts["seconds"])
    shape = facts.get("shape")
    rate = next((v for d in (facts, params) for n in _RATES if _is_rate(v := d.get(n))), None)
    if rate is None or not isinstance(shape, (list, tuple)) or not all(map(_is_number, shape)):
        return None
    return float(max(shape, default=0) / rate)


def _is_rate(value: Any) -> bool:
    return _is_number(value) and bool(value >= _SLOWEST_RATE)


def _is_number(value: Any) -> bool:
    return type(value) in {int, float}
