"""Artifacts as msgpack bytes, and back as exactly what they were.

Two codecs, named in the manifest:

- `tokens/1`: a tuple of lists of integers, written as a plain list of lists that any msgpack
  reader opens.
- `value/1`: anything made of None, bool, int, float, str, bytes, list, tuple, dict, arrays and
  tensors. Tuples and arrays are extension types (`EXT_TUPLE`, `EXT_ARRAY`).

Decoding runs no code of the data's choosing and is bounded in size and depth.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgpack

from stepaudio_cas import arrays
from stepaudio_cas.errors import Bypass, Damaged

if TYPE_CHECKING:
    from collections.abc import Callable

TOKENS: Final = "tokens/1"
VALUE: Final = "value/1"
EXT_TUPLE: Final = 1
EXT_ARRAY: Final = 2
MAX_BYTES: Final = 1 << 30
MAX_ITEMS: Final = 1 << 24
MAX_DEPTH: Final = 16
"""Each tuple inside another is a call inside another, also in a thread with a small stack."""

_MAX_DIMENSIONS: Final = 64

_SCALARS: Final = frozenset({type(None), bool, int, float, str, bytes})
_PLAIN_PACKER: Final = {"use_bin_type": True, "strict_types": True}


@dataclass(frozen=True)
class Encoded:
    """An artifact's bytes and how to read them."""

    codec: str
    data: bytes


def encode(value: Any, *, any_device: bool = False) -> Encoded:
    """Encode an artifact; raise `Bypass` naming the part that would not come back as it was.

    A tensor on another device than the CPU is a `Bypass` unless `any_device` says that the caller
    takes it back there.
    """
    if _is_tokens(value):
        return Encoded(TOKENS, _pack(list(value)))
    _check(value, "result", 0, any_device)
    return Encoded(VALUE, _pack(value))


def decode(
    codec: str, data: bytes, *, make_array: Callable[[arrays.RawArray], Any] = arrays.restore
) -> Any:
    """Decode an artifact; raise `Damaged` for anything that `encode` would not have written.

    `make_array` turns a `RawArray` into the value; tools that only look pass the identity.
    """
    if codec == TOKENS:
        value = _unpack(data, _no_extension)
        if type(value) is not list or not value or not all(map(_adds_up, value)):
            raise Damaged("codec", "not a list of token lists")
        return tuple(value)
    if codec == VALUE:
        value = _Decoder(make_array).decode(data)
        try:
            _check(value, "value", 0, any_device=None)
        except Bypass as error:  # what msgpack can say and we never do: timestamps, odd keys …
            raise Damaged("codec", str(error)) from None
        return value
    raise Damaged("codec", f"{codec!r} is not known to this version")


def _is_tokens(value: Any) -> bool:
    return (
        type(value) is tuple
        and len(value) > 0
        and all(type(part) is list and _all_integers(part) for part in value)
    )


def _all_integers(part: list[Any]) -> bool:
    return len(part) <= MAX_ITEMS and list(map(type, part)).count(int) == len(part)


def _adds_up(part: Any) -> bool:
    """Tell a list of integers from anything else, by what is four times as fast as looking."""
    try:
        return type(part) is list and type(sum(part)) is int
    except TypeError:
        return False


def _check(value: Any, where: str, depth: int, any_device: bool | None) -> None:
    """Refuse what msgpack would change or cannot hold, by name.

    With None for `any_device`, arrays are those that a decoder has just made.
    """
    kind = type(value)
    if kind in _SCALARS:
        return
    _check_bounds(value, where, depth)
    if kind in {list, tuple}:
        if set(map(type, value)) <= _SCALARS:
            return
        for index, item in enumerate(value):
            _check(item, f"{where}[{index}]", depth + 1, any_device)
    elif kind is dict:
        for key, item in value.items():
            if type(key) not in _SCALARS or key != key:  # noqa: PLR0124 - NaN
                raise Bypass("unsupported-result", f"a key of {where} is a {type(key).__name__}")
            _check(item, f"{where}[{key!r}]", depth + 1, any_device)
    elif arrays.is_array(value):
        _check_array(value, where, any_device)
    elif kind is not arrays.RawArray:  # which only somebody who decodes without a library has
        raise Bypass("unsupported-result", f"{where} is a {kind.__module__}.{kind.__qualname__}")


def _check_bounds(value: Any, where: str, depth: int) -> None:
    if depth >= MAX_DEPTH:
        raise Bypass("too-deep", f"{where} is nested more than {MAX_DEPTH} deep")
    if type(value) in {list, tuple, dict} and len(value) > MAX_ITEMS:
        raise Bypass("too-large", f"{where} has {len(value)} items")


def _check_array(value: Any, where: str, any_device: bool | None) -> None:
    if any_device is None:
        return
    raw = arrays.view(value)
    if raw.device != "cpu" and not any_device:
        raise Bypass("device", f"{where} is on {raw.device}; say how it gets back there")
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        if value.requires_grad:
            raise Bypass("requires-grad", f"{where} carries a gradient")
        if type(value) is not torch.Tensor:
            raise Bypass("unsupported-result", f"{where} is a {type(value).__qualname__}")
    elif type(value).__name__ == "memmap":
        raise Bypass("unsupported-result", f"{where} is a memory-mapped file")


def _pack(value: Any) -> bytes:
    try:
        data: bytes = msgpack.packb(value, default=_extension, **_PLAIN_PACKER)
    except (OverflowError, ValueError, UnicodeError) as error:
        raise Bypass("unsupported-result", f"msgpack cannot hold it: {error}") from None
    if len(data) > MAX_BYTES:
        raise Bypass("too-large", f"{len(data)} bytes")
    return data


def _extension(value: Any) -> msgpack.ExtType:
    if type(value) is tuple:
        return msgpack.ExtType(EXT_TUPLE, _pack(list(value)))
    if type(value) is int:
        raise Bypass("unsupported-result", "an integer of more than 64 bits")
    raw = arrays.view(value)
    parts = [raw.kind, raw.dtype, list(raw.shape), bytes(raw.data)]
    return msgpack.ExtType(EXT_ARRAY, msgpack.packb(parts, **_PLAIN_PACKER))


class _Decoder:
    def __init__(self, make_array: Callable[[arrays.RawArray], Any]) -> None:
        self._make_array = make_array
        self._depth = 0

    def decode(self, data: bytes) -> Any:
        return _unpack(data, self._extension)

    def _extension(self, code: int, data: bytes) -> Any:
        if code == EXT_ARRAY:
            return self._make_array(_raw_array(_unpack(data, _no_extension)))
        if code != EXT_TUPLE or self._depth >= MAX_DEPTH:
            raise Damaged("codec", f"extension {code} at depth {self._depth}")
        self._depth += 1
        value = _unpack(data, self._extension)
        self._depth -= 1
        if type(value) is not list:
            raise Damaged("codec", "a tuple that is not a list")
        return tuple(value)


def _raw_array(parts: Any) -> arrays.RawArray:
    if type(parts) is not list or len(parts) != 4:
        raise Damaged("codec", "an array without its four parts")
    kind, dtype, shape, data = parts
    if type(kind) is not str or type(dtype) is not str or type(data) is not bytes:
        raise Damaged("codec", "an array with parts of the wrong type")
    if type(shape) is not list or len(shape) > _MAX_DIMENSIONS:
        raise Damaged("codec", "an array without a shape")
    return arrays.RawArray(kind, dtype, tuple(shape), data)


def _no_extension(code: int, _data: bytes) -> Any:
    raise Damaged("codec", f"extension {code} where none may be")


def _unpack(data: bytes, extension: Callable[[int, bytes], Any]) -> Any:
    if len(data) > MAX_BYTES:
        raise Damaged("codec", f"{len(data)} bytes")
    try:
        return msgpack.unpackb(
            data,
            ext_hook=extension,
            strict_map_key=False,
            # Room is made for what a header claims, before it is found to be missing.
            max_array_len=min(MAX_ITEMS, len(data)),
            max_map_len=min(MAX_ITEMS, len(data)),
        )
    except Damaged:
        raise
    except Exception as error:  # whatever msgpack or a constructor finds wrong with the bytes
        raise Damaged("codec", f"{type(error).__name__}: {error}") from None
