"""How far two results agree: tokens by position, other numbers by their angle and their size."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from stepaudio_cas.arrays import is_array

if TYPE_CHECKING:
    from collections.abc import Sequence

TOKENS: Final = "tokens"
NUMBERS: Final = "numbers"


class Stream(NamedTuple):
    """A part of a result that is compared by itself: whole numbers or text, or other numbers."""

    name: str
    kind: str
    values: array[Any]


class Agreement(NamedTuple):
    """How far two streams agree.

    `share` is that of equal tokens; of other numbers it is the cosine, and less than that if one
    is the larger. `length` is how much longer the second is; `distance` is the largest difference
    between numbers.
    """

    share: float
    length: int = 0
    distance: float = 0.0


def streams(name: str, value: Any, names: Sequence[str] = ()) -> list[Stream]:
    """Take a result apart, and copy it: the host may change it afterwards."""
    if is_array(value):
        return [_of_array(name, value)]
    if isinstance(value, str):
        return [Stream(name, TOKENS, array("q", map(ord, value)))]
    if isinstance(value, (bytes, bytearray)):
        return [Stream(name, TOKENS, array("q", list(value)))]
    if isinstance(value, Mapping):
        parts = {f"{name}.{key}": part for key, part in value.items()}
    elif not isinstance(value, (list, tuple)):
        return _of_numbers(name, [value])
    elif _of_numbers(name, value):
        return _of_numbers(name, value)
    elif len(names) == len(value):
        parts = dict(zip(names, value, strict=True))
    else:
        parts = {f"{name}.{number}": part for number, part in enumerate(value)}
    return [stream for of, part in parts.items() for stream in streams(of, part)]


def _of_numbers(name: str, values: Sequence[Any]) -> list[Stream]:
    """Copy plain numbers; return nothing if they are none."""
    if all(type(value) is int for value in values):
        return [Stream(name, TOKENS, array("q", values))]
    if all(type(value) in {int, float} for value in values):
        return [Stream(name, NUMBERS, array("d", values))]
    return []


def _of_array(name: str, value: Any) -> Stream:
    """Copy an array or tensor, wherever it is."""
    if hasattr(value, "detach"):
        value = value.detach().to("cpu")
        whole = not (value.is_floating_point() or value.is_complex())
        flat = (value.long() if whole else value.double()).flatten().tolist()
    else:
        whole = value.dtype.kind in "iub"
        flat = value.astype("int64" if whole else "float64").ravel().tolist()
    return Stream(name, TOKENS if whole else NUMBERS, array("q" if whole else "d", flat))


def agree(one: Stream, other: Stream) -> Agreement:
    """Compare two streams, position by position."""
    length = len(other.values) - len(one.values)
    if one.values == other.values:
        return Agreement(1.0)
    if TOKENS in {one.kind, other.kind}:
        equal = sum(a == b for a, b in zip(one.values, other.values, strict=False))
        return Agreement(equal / max(len(one.values), len(other.values), 1), length)
    if length:
        return Agreement(0.0, length, math.inf)
    left, right = _defined(one.values, other.values)
    sizes = sum(size * size for size in (math.hypot(*left), math.hypot(*right)))
    if not math.isfinite(sizes):
        return Agreement(0.0, 0, math.inf)
    pairs = list(zip(left, right, strict=True))
    share = 2 * math.fsum(a * b for a, b in pairs) / sizes if sizes else 1.0
    return Agreement(min(share, 1.0), 0, max((abs(a - b) for a, b in pairs), default=0.0))


def _defined(
    one: Sequence[float], other: Sequence[float]
) -> tuple[Sequence[float], Sequence[float]]:
    """Leave out what is no number, or infinite, in both in the same way."""
    if math.isfinite(sum(one) + sum(other)):
        return one, other
    kept = [(a, b) for a, b in zip(one, other, strict=True) if math.isfinite(a) or str(a) != str(b)]
    return [a for a, _ in kept], [b for _, b in kept]
