"""A manifest: one small JSON document per key, naming the object and how it came to be.

Its bytes end in two members that protect the rest: `"mac"` (if the store is signed) over every
byte before it, and `"sum"`, the BLAKE3-256 of every byte before that. Both are positional, so that
no reader needs to agree with us on how to print a number.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from blake3 import blake3

from stepaudio_cas.errors import Damaged
from stepaudio_cas.identity.digest import is_digest

if TYPE_CHECKING:
    from stepaudio_cas.artifact.signing import Signer

FORMAT: Final = 1
MAX_BYTES: Final = 1 << 20
_MAX_DEPTH: Final = 8
_MAX_TEXT: Final = 200
_SUM_PREFIX: Final = b',"sum":"'
_NOTHING: Final[dict[str, Any]] = {}  # never written to
_SUM_LENGTH: Final = len(_SUM_PREFIX) + 64 + 2
_MAC_PREFIX: Final = b',"mac":"'
_MAC: Final = re.compile(rb',"mac":"[0-9a-f]{8}:[0-9a-f]{64,128}"\Z').search
_LONGEST_MAC: Final = len(_MAC_PREFIX) + 8 + 1 + 128 + 1


class Manifest(NamedTuple):
    """Which object a key has, and everything known of how it was made.

    The fields are described in docs/format.md. `extra` holds what a newer version wrote; it is
    kept when the manifest is copied.
    """

    key: str
    object: str
    size: int
    codec: str
    schema: str
    plugin: str = ""
    created: str = ""
    compute_seconds: float = 0.0
    inputs: Mapping[str, Any] = _NOTHING
    params: Mapping[str, Any] = _NOTHING
    fingerprint: str = ""
    producer: Mapping[str, Any] = _NOTHING
    deterministic: bool = True
    label: str = ""
    extra: Mapping[str, Any] = _NOTHING

    def seal(self, signer: Signer | None = None) -> bytes:
        """Serialise, with the MAC if there is a signer, and the sum."""
        known = {name: _readable(getattr(self, name)) for name in _TYPES}
        document = {**_readable(self.extra), "format": FORMAT, **known}
        body = json.dumps(document, separators=(",", ":")).encode()[:-1]
        if len(body) > MAX_BYTES - 1024 and self.params:
            left_out = {"": "left out, because they are too large to show"}
            return self._replace(params={} if self.params == left_out else left_out).seal(signer)
        if signer is not None:
            body += _MAC_PREFIX + signer.sign(body).encode() + b'"'
        return body + _SUM_PREFIX + blake3(body).hexdigest().encode() + b'"}'


_TYPES: Final[dict[str, type]] = {
    "key": str, "object": str, "size": int, "codec": str, "schema": str, "plugin": str,
    "created": str, "compute_seconds": float, "inputs": dict, "params": dict, "fingerprint": str,
    "producer": dict, "deterministic": bool, "label": str,
}  # fmt: skip
_NAMES: Final = list(_TYPES)
_KINDS: Final = list(_TYPES.values())


def open_manifest(data: bytes, key: str, signer: Signer | None = None) -> Manifest:
    """Read the manifest stored for `key`.

    Raises `Damaged` of kind `manifest` (not what was written), `format` (a newer version wrote
    it), `foreign` (it belongs to another key), `unsigned`, or `signature` (by a key not ours).
    """
    body = _checked_body(data)
    if signer is not None:
        _check_mac(body, signer)
    try:
        document = json.loads(data)
        if type(document) is not dict:
            raise Damaged("manifest", "not an object")
        if document.pop("format") != FORMAT:
            raise Damaged("format", "written by another version")
        document.pop("mac", None)
        del document["sum"]
    except (ValueError, KeyError, RecursionError) as error:
        raise Damaged("manifest", f"not a manifest: {type(error).__name__}") from None
    manifest = _from_document(document)
    if manifest.key != key:
        raise Damaged("foreign", f"it says it is {manifest.key}")
    return manifest


def reseal(data: bytes, signer: Signer) -> bytes:
    """Return the same document, signed by `signer`; every other byte stays as it was written.

    Raises `Damaged` if it is not what was written, or too long to be signed.
    """
    body = _checked_body(data)
    signed = _MAC(body, max(0, len(body) - _LONGEST_MAC))
    body = body[: signed.start()] if signed is not None else body
    body += _MAC_PREFIX + signer.sign(body).encode() + b'"'
    if len(body) + _SUM_LENGTH > MAX_BYTES:
        raise Damaged("manifest", "too long to be signed")
    return body + _SUM_PREFIX + blake3(body).hexdigest().encode() + b'"}'


def _checked_body(data: bytes) -> bytes:
    if len(data) > MAX_BYTES:
        raise Damaged("manifest", f"{len(data)} bytes long")
    body, tail = data[:-_SUM_LENGTH], data[-_SUM_LENGTH:]
    if tail != _SUM_PREFIX + blake3(body).hexdigest().encode() + b'"}':
        raise Damaged("manifest", "its sum does not match")
    return body


def _check_mac(body: bytes, signer: Signer) -> None:
    signed, found, mac = body.rpartition(_MAC_PREFIX)
    if not found:
        raise Damaged("unsigned", "it is not signed")
    if not signer.verify(signed, mac[:-1].decode("ascii", "replace")):
        raise Damaged("signature", "signed with a key that is not ours")


def _from_document(document: dict[str, Any]) -> Manifest:
    as_written = list(document) == _NAMES and list(map(type, document.values())) == _KINDS
    manifest = Manifest(*document.values()) if as_written else _from_other(document)
    if not is_digest(manifest.object) or manifest.size < 0:
        raise Damaged("manifest", "it names no object")
    return manifest


def _from_other(document: dict[str, Any]) -> Manifest:
    """Read fields in any order, with some left out and others added."""
    extra = {name: document.pop(name) for name in list(document) if name not in _TYPES}
    for name, value in document.items():
        if type(value) is not _TYPES[name] and not (_TYPES[name] is float and type(value) is int):
            raise Damaged("manifest", f"{name} is a {type(value).__name__}")
    try:
        return Manifest(**document, extra=extra or _NOTHING)
    except TypeError:
        raise Damaged("manifest", "fields are missing") from None


def _readable(value: Any, depth: int = 0) -> Any:
    """Say a parameter in JSON, for people; the key, not this text, is its identity."""
    if value is None or type(value) in {bool, int, str}:
        return value
    if type(value) is float:
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, Mapping) and depth < _MAX_DEPTH:
        return {str(key): _readable(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)) and depth < _MAX_DEPTH:
        return [_readable(item, depth + 1) for item in value]
    return repr(value)[:_MAX_TEXT]
