"""A recipe is everything an artifact was computed from; its digest is the key."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from blake3 import blake3

from stepaudio_cas import arrays
from stepaudio_cas.errors import Bypass
from stepaudio_cas.identity.canonical import canonical
from stepaudio_cas.identity.digest import digest_array, digest_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stepaudio_cas.identity.fingerprint import Fingerprint

ARRAY: Final = "array"
BYTES: Final = "bytes"
_DOMAIN: Final = b"stepaudio-cas key 1\n"


@dataclass(frozen=True)
class Input:
    """One input: the kind and digest that stand in the key, and facts about it for people.

    `kind` keeps bytes that happen to look like an array's header apart from that array.
    """

    kind: str
    digest: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
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
    are arrays, tensors, bytes, or ready `Input`s. `params` are all other values that matter, the
    sample rate among them. Raises `Bypass` if a part has no exact description.
    """
    digested = {name: as_input(value) for name, value in (inputs or {}).items()}
    plain = dict(params or {})
    content = canonical(
        [
            schema,
            fingerprint.id if fingerprint is not None else None,
            plain,
            {name: (item.kind, item.digest) for name, item in digested.items()},
        ]
    )
    return Recipe(blake3(_DOMAIN + content).hexdigest(), schema, plain, digested, fingerprint)


def as_input(value: Any) -> Input:
    """Digest one input. Bytes and arrays with the same content are different inputs."""
    if isinstance(value, Input):
        return value
    if isinstance(value, (bytes, bytearray, memoryview)):
        return Input(BYTES, digest_bytes(value), {"bytes": len(value)})
    if arrays.is_array(value):
        return Input(ARRAY, digest_array(value), {"shape": tuple(value.shape)})
    name = f"{type(value).__module__}.{type(value).__qualname__}"
    raise Bypass("undescribable", f"an input is a {name}")
