"""What the tests of identity share: values to describe, and a second reading of docs/format.md."""

import struct

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

searching = settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
whole_scalars = st.none() | st.booleans() | st.integers() | text | st.binary(max_size=8)
scalars = whole_scalars | st.floats() | st.complex_numbers()
hashables = st.recursive(
    whole_scalars | st.floats(allow_nan=False),
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3),
    max_leaves=4,
)
values = st.recursive(
    scalars | st.sets(hashables, max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(hashables, inner, max_size=4)
    ),
    max_leaves=20,
)


def encoding(value):
    """The canonical encoding, written a second time from the table in docs/format.md."""
    kind = type(value)
    if value is None or kind is bool:
        return {None: b"n", True: b"t", False: b"f"}[value]
    if kind is int:
        return f"i{value};".encode()
    if kind is float:
        return b"d" + (struct.pack(">d", value) if value == value else b"\x7f\xf8" + bytes(6))
    if kind is complex:
        return b"c" + encoding(value.real) + encoding(value.imag)
    if kind in {str, bytes}:
        data = value.encode() if kind is str else value
        return f"{'s' if kind is str else 'b'}{len(data)}:".encode() + data
    if kind is dict:
        pairs = sorted((encoding(name), encoding(item)) for name, item in value.items())
        parts = [name + item for name, item in pairs]
    else:
        parts = list(map(encoding, value))
    if kind in {set, frozenset}:
        parts.sort()
    letter = {list: "l", tuple: "u", dict: "m", set: "S", frozenset: "S"}[kind]
    return f"{letter}{len(parts)}:".encode() + b"".join(parts)


def reading(data):
    """The value that an encoding says: if there is one reading, nothing else has this encoding."""
    value, end = _read(data, 0)
    assert end == len(data)
    return value


def _read(data, at):
    letter, at = chr(data[at]), at + 1
    if letter in "ntf":
        return {"n": None, "t": True, "f": False}[letter], at
    if letter == "i":
        end = data.index(b";", at)
        return int(data[at:end]), end + 1
    if letter == "d":
        return struct.unpack(">d", data[at : at + 8])[0], at + 8
    if letter == "c":
        (real, middle), *_ = [_read(data, at)]
        imag, end = _read(data, middle)
        return complex(real, imag), end
    colon = data.index(b":", at)
    count, at = int(data[at:colon]), colon + 1
    if letter in "sb":
        found = data[at : at + count]
        return found.decode() if letter == "s" else found, at + count
    items = []
    for _ in range(count * (2 if letter == "m" else 1)):
        item, at = _read(data, at)
        items.append(item)
    if letter == "m":
        return dict(zip(items[::2], items[1::2], strict=True)), at
    return {"l": list, "u": tuple, "S": frozenset}[letter](items), at


def strictly(value):
    """A form in which only values of the same types and contents are equal."""
    kind = type(value)
    if kind in {list, tuple}:
        return kind, tuple(map(strictly, value))
    if kind in {set, frozenset}:
        return set, frozenset(map(strictly, value))
    if kind is dict:
        return dict, frozenset((strictly(k), strictly(v)) for k, v in value.items())
    if kind is complex:
        return complex, repr(value.real), repr(value.imag)
    return kind, repr(value)
