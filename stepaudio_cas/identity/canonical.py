"""One byte string per parameter value: the same everywhere, different for anything different.

The encoding is specified in docs/format.md, so that keys can be computed by other programs. Types
are told apart strictly (`1`, `1.0`, `True` and `"1"` are four values); what has no description
that is sure to be the same in another process is a `Bypass`, never a guess.
"""

from __future__ import annotations

import enum
import math
import struct
import sys
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from stepaudio_cas import arrays
from stepaudio_cas.errors import Bypass
from stepaudio_cas.identity.digest import digest_array

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_DEPTH: Final = 64
_NAN: Final = struct.pack(">d", math.nan)


def canonical(value: object) -> bytes:
    """Encode `value`; raise `Bypass` naming the part that cannot be described."""
    out = bytearray()
    _encode(out, value, "value", 0)
    return bytes(out)


def _encode(out: bytearray, value: Any, where: str, depth: int) -> None:
    writer = _WRITERS.get(type(value))
    if writer is not None:
        writer(out, value)
    elif depth >= MAX_DEPTH:
        raise Bypass("too-deep", f"{where} is nested more than {MAX_DEPTH} deep")
    elif type(value) in {list, tuple}:
        out += b"%c%d:" % (b"l" if type(value) is list else b"u", len(value))
        for index, item in enumerate(value):
            _encode(out, item, f"{where}[{index}]", depth + 1)
    elif type(value) is dict:
        _encode_mapping(out, value, where, depth)
    elif type(value) in {set, frozenset}:
        out += b"S%d:" % len(value)
        out += b"".join(sorted(_part(item, where, depth) for item in value))
    else:
        _encode_named(out, value, where, depth)


def _part(value: object, where: str, depth: int) -> bytes:
    out = bytearray()
    _encode(out, value, where, depth + 1)
    return bytes(out)


def _encode_mapping(out: bytearray, value: dict[Any, Any], where: str, depth: int) -> None:
    if any(type(key) is float and math.isnan(key) for key in value):
        raise Bypass("undescribable", f"a key of {where} is NaN")
    items = [(_part(key, f"{where} key", depth), key) for key in value]
    items.sort(key=itemgetter(0))  # keys themselves may have no order
    out += b"m%d:" % len(items)
    for encoded, key in items:
        out += encoded
        _encode(out, value[key], f"{where}[{key!r}]", depth + 1)


def _encode_named(out: bytearray, value: Any, where: str, depth: int) -> None:
    """Encode the few library types that stand in parameters and have a stable name."""
    if isinstance(value, enum.Enum):
        # Combined flags are named differently by different Pythons; their value says enough.
        name = "" if isinstance(value, enum.Flag) else value.name
        _write_named(out, "enum", f"{type(value).__qualname__}.{name}")
        _encode(out, value.value, where, depth + 1)
        return
    torch = sys.modules.get("torch")
    if torch is not None and type(value) in {torch.dtype, torch.device}:
        _write_named(out, f"torch.{type(value).__name__}", str(value))
    elif arrays.is_array(value):
        out += b"a" + bytes.fromhex(digest_array(value))
    else:
        name = f"{type(value).__module__}.{type(value).__qualname__}"
        raise Bypass("undescribable", f"{where} is a {name}")


def _write_named(out: bytearray, name: str, text: str) -> None:
    out += b"x"
    _write_str(out, name)
    _write_str(out, text)


def _write_str(out: bytearray, value: str) -> None:
    try:
        data = value.encode()
    except UnicodeEncodeError:
        raise Bypass("undescribable", "text with lone surrogates") from None
    out += b"s%d:" % len(data)
    out += data


def _write_bytes(out: bytearray, value: bytes) -> None:
    out += b"b%d:" % len(value)
    out += value


def _write_int(out: bytearray, value: int) -> None:
    try:
        out += b"i%d;" % value
    except ValueError:  # Python refuses to print integers of thousands of digits
        raise Bypass("undescribable", "an integer of thousands of digits") from None


def _write_float(out: bytearray, value: float) -> None:
    out += b"d"
    out += struct.pack(">d", value) if value == value else _NAN  # noqa: PLR0124 - NaN


def _write_complex(out: bytearray, value: complex) -> None:
    out += b"c"
    _write_float(out, value.real)
    _write_float(out, value.imag)


_WRITERS: Final[dict[type, Callable[[bytearray, Any], None]]] = {
    type(None): lambda out, _: out.extend(b"n"),
    bool: lambda out, value: out.extend(b"t" if value else b"f"),
    int: _write_int,
    float: _write_float,
    complex: _write_complex,
    str: _write_str,
    bytes: _write_bytes,
}
