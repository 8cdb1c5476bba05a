"""Entries as programs see them: what the commands and the HTTP interface say of one alike."""

from __future__ import annotations

import calendar
import json
import time
from typing import TYPE_CHECKING, Any, Final

from stepaudio_cas.arrays import RawArray
from stepaudio_cas.artifact import codec
from stepaudio_cas.errors import Damaged
from stepaudio_cas.identity.digest import digest_bytes
from stepaudio_cas.maintenance import explain
from stepaudio_cas.maintenance.facts import audio_seconds, voice
from stepaudio_cas.store import layout
from stepaudio_cas.store.pins import read_pin

if TYPE_CHECKING:
    from collections.abc import Callable

    from stepaudio_cas.artifact.manifest import Manifest
    from stepaudio_cas.maintenance.explain import Known
    from stepaudio_cas.maintenance.inventory import Kept
    from stepaudio_cas.store.backend import Backend
    from stepaudio_cas.store.store import Store

_TOLD: Final = (
    "plugin", "schema", "voice", "label", "model", "object", "audio_seconds", "encode_seconds",
    "created",
)  # fmt: skip
_LISTS: Final = {"wav2token": ("speech", "vq02", "vq06")}
"""What the lists of tokens are, of functions whose name is known."""

_LARGEST_FINGERPRINT: Final = 16 << 20

ORDERS: Final[dict[str, Callable[[Kept], float]]] = {
    "used": lambda kept: kept.entry.mtime,
    "size": lambda kept: kept.size,
    "created": lambda kept: moment(kept.manifest.created) if kept.manifest else 0.0,
    "saved": lambda kept: kept.manifest.compute_seconds if kept.manifest else 0.0,
}
"""What entries can be ordered by, the largest first; by key, the smallest."""


def describe(kept: Kept, *, pinned: bool, pinned_as: str = "") -> dict[str, Any]:
    """Say an entry in one JSON line; what a damaged one does not tell is None."""
    manifest = kept.manifest
    told = _told(manifest, pinned_as) if manifest is not None else dict.fromkeys(_TOLD)
    return {
        "key": kept.key,
        **told,
        "size": kept.size,
        "used": at(kept.entry.mtime),
        "pinned": pinned,
        "damage": kept.damage.kind if kept.damage is not None else None,
        "damage_detail": str(kept.damage) if kept.damage is not None else None,
    }


def _told(manifest: Manifest, pinned_as: str) -> dict[str, Any]:
    values = (
        manifest.plugin,
        manifest.schema,
        voice(manifest, pinned_as),
        manifest.label,
        manifest.fingerprint,
        manifest.object,
        audio_seconds(manifest),
        manifest.compute_seconds,
        manifest.created,
    )
    return dict(zip(_TOLD, values, strict=True))


def whole(store: Store, kept: Kept) -> dict[str, Any]:
    """Say everything that is known of an entry."""
    pin = read_pin(store.backend, kept.key)
    said = describe(kept, pinned=pin is not None, pinned_as=pin.label if pin is not None else "")
    said["pin"] = pin._asdict() if pin is not None else None
    manifest = kept.manifest
    if manifest is None:
        return said
    said |= {
        "codec": manifest.codec,
        "object_size": manifest.size,
        "deterministic": manifest.deterministic,
        "inputs": manifest.inputs,
        "params": manifest.params,
        "producer": manifest.producer,
        "extra": manifest.extra,
        "fingerprint": _fingerprint(store.backend, manifest.fingerprint),
        "content": None,
    }
    try:
        said["content"] = _content(store, manifest)
    except Damaged as damage:
        said |= {"damage": damage.kind, "damage_detail": str(damage)}
    return said


def _fingerprint(backend: Backend, id_: str) -> dict[str, Any] | None:
    """Read what a model is; None if that is not known, or is not what its name says."""
    if not id_:
        return None
    try:
        data = backend.get(layout.fingerprint_path(id_), limit=_LARGEST_FINGERPRINT)
        document = json.loads(data) if data is not None and digest_bytes(data) == id_ else None
    except (ValueError, Damaged, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _content(store: Store, manifest: Manifest) -> Any:
    """Read the object as a host would, and say what is in it."""
    found = store.read(manifest.key, touch=False)
    if found is None:
        raise Damaged("gone", "it has been removed meanwhile")
    value = codec.decode(manifest.codec, found.blob, make_array=lambda raw: raw)
    if manifest.codec != codec.TOKENS:
        return _outline(value)
    named = next((n for part, n in _LISTS.items() if part in manifest.schema), ())
    names = named if len(named) == len(value) else [str(n) for n in range(len(value))]
    return {"tokens": {name: len(part) for name, part in zip(names, value, strict=True)}}


def _outline(value: Any, depth: int = 0) -> Any:
    """Say what a value is made of, not what is in it."""
    if isinstance(value, RawArray):
        return f"{value.kind} {value.dtype} {list(value.shape)}"
    if isinstance(value, dict) and depth < 3 and len(value) <= 32:
        return {str(key): _outline(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)) and depth < 3 and len(value) <= 8:
        return [_outline(item, depth + 1) for item in value]
    if isinstance(value, (list, tuple, dict, str, bytes)):
        return f"{type(value).__name__} of {len(value)}"
    return type(value).__name__


def difference(one: Known, other: Known) -> dict[str, Any]:
    """Say what differs between two keys, and how else they came to be."""
    found = explain.differences(one, other)
    return {
        "from": about(one.manifest),
        "to": about(other.manifest),
        "same": not found,
        "differences": [difference._asdict() for difference in found],
        "hints": [hint._asdict() for hint in explain.hints(one, other)] if found else [],
    }


def about(manifest: Manifest) -> dict[str, Any]:
    """Say which entry it is."""
    return {
        "key": manifest.key,
        "schema": manifest.schema,
        "voice": voice(manifest),
        "created": manifest.created,
    }


def at(seconds: float) -> str:
    """Write a moment for programs."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def moment(text: str) -> float:
    """Read it back; what is no moment was long ago."""
    try:
        return float(calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ")))
    except ValueError:
        return 0.0
