"""A recipe is everything an artifact was computed from; its digest is the key."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from blake3 import blake3

from stepaudio_cas import arrays
from stepaudio_cas.errors import Bypass
from stepaudio_cas.identity.canonical import canonical
from stepaudio_cas.identity.digest import HEX_LENGTH, digest_array, digest_bytes
from stepaudio_cas.identity.files import FileDigest, FileDigests

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stepaudio_cas.identity.fingerprint import Fingerprint

ARRAY: Final = "array"
BYTES: Final = "bytes"
_MEMORABLE: Final = frozenset({type(None), bool, int, str})
_DOMAIN: Final = b"stepaudio-cas key 1\n"


class Input(NamedTuple):
    """One input: the kind and digest that stand in the key, and facts about it for people.

    `kind` keeps bytes that happen to look like an array's header apart from that array.
    """

    kind: str
    digest: str
    facts: Mapping[str, Any] = {}
    path: str | os.PathLike[str] | None = None
    """The file it was read from, which the host reads once more."""


class Recipe(NamedTuple):
    """What was computed from what. Make one with `make_recipe`; `key` is its identity."""

    key: str
    schema: str
    params: Mapping[str, Any]
    inputs: Mapping[str, Input]
    fingerprint: Fingerprint | None


def make_recipe(
    schema: str,
    *,
    inputs: Mapping[str, Any] | None = None,
    params: Mapping[str, Any] | None = None,
    fingerprint: Fingerprint | None = None,
) -> Recipe:
    """Describe a computation.

    `schema` names what is computed and the version of its meaning ("my.embedding/1"). `inputs`
    are arrays, tensors, bytes, paths (for the content of the file), or ready `Input`s. `params`
    are all other values that matter, the sample rate among them. Raises `Bypass` if a part has no
    exact description.
    """
    digested = {name: as_input(value) for name, value in (inputs or {}).items()}
    return recipe_of(schema, digested, dict(params or {}), fingerprint)


def recipe_of(
    schema: str,
    inputs: dict[str, Input],
    params: dict[str, Any],
    fingerprint: Fingerprint | None,
) -> Recipe:
    """Make a recipe of inputs that are digested already: `make_recipe` for the hot path."""
    content = _head(schema, fingerprint.id if fingerprint is not None else None, params)
    content += _tail(inputs)
    return Recipe(blake3(content).hexdigest(), schema, params, inputs, fingerprint)


def _head(schema: str, fingerprint: str | None, params: dict[str, Any]) -> bytes:
    """Encode all of `[schema, fingerprint, params, inputs]` but the inputs.

    A host calls with the same few parameters again and again, so these bytes are remembered,
    by value and type, where all values are of types for which equal means the same.
    """
    values = tuple(params.values())
    types = tuple(map(type, (schema, *params, *values)))
    if _MEMORABLE.issuperset(types):
        return _plain_head(schema, fingerprint, tuple(params), values, types)
    return _encode_head(schema, fingerprint, params)


@lru_cache(maxsize=1024)
def _plain_head(
    schema: str, fingerprint: str | None, names: tuple[str, ...], values: Any, _types: Any
) -> bytes:
    return _encode_head(schema, fingerprint, dict(zip(names, values, strict=True)))


def _encode_head(schema: str, fingerprint: str | None, params: dict[str, Any]) -> bytes:
    return _DOMAIN + b"l4:" + b"".join(map(canonical, (schema, fingerprint, params)))


def _tail(inputs: dict[str, Input]) -> bytes:
    """Encode the inputs: the same bytes as `canonical` makes of names and (kind, digest) pairs."""
    if len(inputs) == 1:
        [(name, item)] = inputs.items()
        return _single_tail(name, item.kind) + item.digest.encode()
    return canonical({name: (item.kind, item.digest) for name, item in inputs.items()})


@lru_cache(maxsize=1024)
def _single_tail(name: str, kind: str) -> bytes:
    return canonical({name: (kind, "0" * HEX_LENGTH)})[:-HEX_LENGTH]


def as_input(value: Any) -> Input:
    """Digest one input. Bytes and arrays with the same content are different inputs."""
    if isinstance(value, Input):
        return value
    if isinstance(value, memoryview) and not (
        value.contiguous and value.ndim == 1 and value.format == "B"
    ):
        raise Bypass("undescribable", "an input is a memoryview of more than plain bytes")
    if isinstance(value, (bytes, bytearray, memoryview)):
        return Input(BYTES, digest_bytes(value), {"bytes": len(value)})
    if isinstance(value, os.PathLike):
        return _as_file(value)
    if arrays.is_array(value):
        return Input(ARRAY, digest_array(value), {"shape": tuple(value.shape)})
    name = f"{type(value).__module__}.{type(value).__qualname__}"
    raise Bypass("undescribable", f"an input is a {name}")


def _as_file(path: os.PathLike[str]) -> Input:
    try:
        found = FileDigests().digest(path)
    except OSError as error:
        raise Bypass("unreadable-file", str(error)) from None
    return file_input(path, found)


def file_input(path: str | os.PathLike[str], found: FileDigest) -> Input:
    """Describe a file that has been digested."""
    facts = {"bytes": found.size, "name": os.path.basename(path)}
    return Input(BYTES, found.digest, facts, path)


def check_files(recipe: Recipe) -> None:
    """Raise `Bypass` if a file was rewritten since it was digested.

    The host opens a recording after us: what it has computed from other content must not be kept.
    A file that is gone, as uploads are after use, was not rewritten.
    """
    for name, item in recipe.inputs.items():
        if item.path is None:
            continue
        try:
            now = FileDigests().digest(item.path)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise Bypass("unreadable-file", f"{name}: {error}") from None
        if now.digest != item.digest:
            raise Bypass("input-changed", f"{name} was rewritten while it was encoded")
