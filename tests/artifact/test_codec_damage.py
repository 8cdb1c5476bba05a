"""Whatever bytes are read: a value that could have been written, or `Damaged`, and nothing else."""

import struct
import subprocess
import sys
import tracemalloc

import msgpack
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stepaudio_cas.artifact.codec import MAX_DEPTH, MAX_ITEMS, TOKENS, VALUE, decode, encode
from stepaudio_cas.errors import Damaged
from tests.artifact.examples import nested, same, searching, tensor, tokens, values

pytestmark = pytest.mark.filterwarnings("ignore")

HEADERS = [
    bytes([code]) for code in (0x80, 0x81, 0x90, 0x91, 0x94, 0xA0, 0xA1, 0xC0, 0xC1, 0xC3, 0xFF)
] + [
    b"\xc4\x01", b"\xc6\xff\xff\xff\xff", b"\xc7\x0c\xff", b"\xc7\x02\x01", b"\xc7\x08\x02",
    b"\xc9\xff\xff\xff\xff\x01", b"\xca", b"\xcb", b"\xcf", b"\xd3", b"\xd4\x01", b"\xd4\x02",
    b"\xd6\xff", b"\xd7\xff", b"\xd9\xff", b"\xdb\xff\xff\xff\xff", b"\xdc\xff\xff",
    b"\xdd\x00\xff\xff\xff", b"\xdd\xff\xff\xff\xff", b"\xde\xff\xff", b"\xdf\x00\xff\xff\xff",
    b"\xa5numpy", b"\xa5torch", b"\xa6scalar", b"\xa7float32", b"\xa6object", b"\x91\x01\xc4\x04",
]  # fmt: skip
noise = st.lists(st.sampled_from(HEADERS) | st.binary(max_size=4), max_size=12).map(b"".join)


def survives(codec, data, **options):
    """Decode; what comes out is either damage or something that `encode` writes."""
    try:
        found = decode(codec, data, **options)
    except Damaged:
        return
    if not options:
        encoded = encode(found)
        assert same(decode(encoded.codec, encoded.data), found)


@searching
@given(st.binary(max_size=64) | noise)
@example(b"\xd6\xff\0\0\0\0")  # a timestamp
@example(b"\x81\x90\x01")  # a list as a key
def test_any_bytes_are_survived(data):
    for codec in (TOKENS, VALUE):
        survives(codec, data)
    survives(VALUE, data, make_array=lambda raw: raw)


@st.composite
def mutations(draw, wholes):
    data = bytearray(encode(draw(wholes)).data)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(data)))
        end = min(len(data), place + draw(st.integers(0, 4)))
        data[place:end] = draw(st.binary(max_size=4) | st.sampled_from(HEADERS))
    return bytes(data)


@searching
@given(mutations(values))
def test_a_changed_value_is_survived(data):
    survives(VALUE, data)
    survives(VALUE, data, make_array=lambda raw: raw)


@searching
@given(mutations(tokens))
def test_changed_tokens_are_survived(data):
    survives(TOKENS, data)
    survives(VALUE, data)


WHOLE = [
    ([1, 2, 300], [3], [70000, -5, 2**63]),
    {"a": ([1.5, None], (b"xy", "ü")), "t": tensor("bfloat16"), "s": np.float32(1)},
    ((), [np.arange(3)], True),
]


@pytest.mark.parametrize("value", WHOLE, ids=["tokens", "dict", "tuple"])
def test_every_truncation_is_damage(value):
    encoded = encode(value)
    for end in range(len(encoded.data)):
        with pytest.raises(Damaged):
            decode(encoded.codec, encoded.data[:end])


@pytest.mark.parametrize("value", WHOLE, ids=["tokens", "dict", "tuple"])
@pytest.mark.parametrize("more", [b"\0", b"\xc0", b"\x90", b"\x93\x90\x90\x90"])
def test_anything_after_the_value_is_damage(value, more):
    encoded = encode(value)
    with pytest.raises(Damaged):
        decode(encoded.codec, encoded.data + more)


@pytest.mark.parametrize("value", WHOLE, ids=["tokens", "dict", "tuple"])
def test_every_flipped_byte_is_survived(value):
    encoded = encode(value)
    for place in range(len(encoded.data)):
        for flip in (0x01, 0x80, 0xFF):
            data = bytearray(encoded.data)
            data[place] ^= flip
            survives(encoded.codec, bytes(data))


def array(*parts):
    return msgpack.packb(msgpack.ExtType(2, msgpack.packb(parts)))


FOREIGN = {
    "a timestamp": msgpack.packb(msgpack.Timestamp(1)),
    "a longer timestamp": msgpack.packb([1, msgpack.Timestamp(1, 5)]),
    "another timestamp": msgpack.packb({"a": (msgpack.Timestamp(2**40, 5),)}),
    "extension 0": msgpack.packb(msgpack.ExtType(0, b"")),
    "extension 3": msgpack.packb([msgpack.ExtType(3, b"\x90")]),
    "extension 127": msgpack.packb(msgpack.ExtType(127, b"cos\nsystem\n(S'true'\ntR.")),
    "extension -2": b"\xd4\xfe\x00",
    "a tuple of nothing": msgpack.packb(msgpack.ExtType(1, b"")),
    "a tuple that is a number": msgpack.packb(msgpack.ExtType(1, b"\x01")),
    "a tuple that is a map": msgpack.packb(msgpack.ExtType(1, b"\x80")),
    "a tuple that is a tuple": msgpack.packb(msgpack.ExtType(1, b"\xc7\x01\x01\x90")),
    "a tuple and more": msgpack.packb(msgpack.ExtType(1, b"\x90\x90")),
    "an array of nothing": msgpack.packb(msgpack.ExtType(2, b"")),
    "an array that is a number": msgpack.packb(msgpack.ExtType(2, b"\x01")),
    "three parts": array("numpy", "int8", [1]),
    "five parts": array("numpy", "int8", [1], b"0", b""),
    "another library": array("jax", "int8", [1], b"0"),
    "no library": array(None, "int8", [1], b"0"),
    "a library that is bytes": array(b"numpy", "int8", [1], b"0"),
    "an object": array("numpy", "object", [1], b"00000000"),
    "an object by its letter": array("numpy", "O", [1], b"00000000"),
    "a record": array("numpy", "V8", [1], b"00000000"),
    "text": array("numpy", "<U2", [1], b"00000000"),
    "big-endian": array("numpy", ">i2", [1], b"00"),
    "a type of another library": array("numpy", "qint8", [1], b"0"),
    "a torch attribute": array("torch", "load", [1], b"0"),
    "a type that is no text": array("numpy", 5, [1], b"0"),
    "a shape that is no list": array("numpy", "int8", 1, b"0"),
    "a shape that is negative": array("numpy", "int8", [-1], b"0"),
    "two negatives": array("torch", "int8", [-1, -1], b"0"),
    "a shape of fractions": array("numpy", "int8", [1.0], b"0"),
    "a shape of booleans": array("numpy", "int8", [True], b"0"),
    "a shape of text": array("numpy", "int8", ["1"], b"0"),
    "too many dimensions": array("numpy", "int8", [1] * 65, b"0"),
    "a shape too large": array("numpy", "int8", [2**63], b"0"),
    "a shape that wraps around": array("numpy", "int8", [2**32, 2**32], b""),
    "nothing, largely": array("torch", "int8", [0, 2**63], b""),
    "nothing, in numpy": array("numpy", "int8", [0, 2**62, 2**62], b""),
    "a byte too few": array("numpy", "int16", [2], b"000"),
    "a byte too many": array("numpy", "int16", [2], b"00000"),
    "content that is text": array("numpy", "int8", [1], "0"),
    "an extension in an array": array("numpy", "int8", [msgpack.ExtType(1, b"\x90")], b"0"),
    "a tuple as a key": b"\x81" + msgpack.packb(msgpack.ExtType(1, b"\x90")) + b"\x01",
    "an array as a key": b"\x81" + array("numpy", "int8", [1], b"0") + b"\x01",
    "a tensor as a key": b"\x81" + array("torch", "int8", [1], b"0") + b"\x01",
    "a list as a key": b"\x81\x90\x01",
    "nan as a key": b"\x81\xcb" + struct.pack(">d", float("nan")) + b"\x01",
    "text that is none": b"\xa1\xff",
    "text with surrogates": b"\xa3\xed\xa0\x80",
    "what is not used": b"\xc1",
    "nothing": b"",
}


@pytest.mark.parametrize("data", FOREIGN.values(), ids=FOREIGN)
def test_what_is_never_written_is_damage(data):
    with pytest.raises(Damaged):
        decode(VALUE, data)


@pytest.mark.parametrize(
    "value",
    [
        [], {}, 1, None, "a", b"a", [1], [[1], 2], [[1], None], [[1], [None]], [["a"]], [[1.5]],
        [[b"a"]], [[[]]], [{}], [[1], {}], [[{}]], {"a": 1}, [msgpack.Timestamp(1)],
        [[msgpack.Timestamp(1)]], [msgpack.ExtType(1, b"\x90")], [[msgpack.ExtType(1, b"\x90")]],
    ],
    ids=repr,
)  # fmt: skip
def test_tokens_that_are_none_are_damage(value):
    with pytest.raises(Damaged):
        decode(TOKENS, msgpack.packb(value))


@pytest.mark.parametrize("codec", ["", "tokens/2", "value/2", "pickle", "value", None, 1, []])
def test_an_unknown_codec_is_damage(codec):
    with pytest.raises(Damaged):
        decode(codec, encode([1]).data)


def extension(data):
    return msgpack.packb(msgpack.ExtType(1, b"\x91" + data))


@pytest.mark.parametrize("levels", [MAX_DEPTH, 200, 1000, 5000, 100_000])
@pytest.mark.parametrize("opening", [b"\x91", b"\x81\x01", b"\xdd\0\0\0\x01"])
def test_lists_nested_without_end_are_damage(opening, levels):
    with pytest.raises(Damaged):
        decode(VALUE, opening * levels + b"\x90")


@pytest.mark.parametrize("levels", [MAX_DEPTH, MAX_DEPTH + 1, 500])
def test_tuples_nested_without_end_are_damage(levels):
    with pytest.raises(Damaged):
        decode(VALUE, nested(levels, extension, b"\x90"))


SMALL_STACK = """
import sys, threading
from stepaudio_cas.artifact.codec import MAX_DEPTH, decode, encode
value = 1
for _ in range(MAX_DEPTH - 1):
    value = (value,)
encoded, found = encode(value), []
threading.stack_size(1 << 20)
thread = threading.Thread(target=lambda: found.append(decode(encoded.codec, encoded.data)))
thread.start()
thread.join()
sys.exit(found != [value])
"""


def test_the_deepest_tuples_are_decoded_in_a_thread_with_a_small_stack():
    assert subprocess.run([sys.executable, "-c", SMALL_STACK], check=False).returncode == 0


def test_tuples_side_by_side_are_not_taken_for_nested_ones():
    value = [((1,),)] * (3 * MAX_DEPTH)
    encoded = encode(value)
    assert same(decode(VALUE, encoded.data), value)


@pytest.mark.parametrize("code", [b"\xdd", b"\xdf"], ids=["list", "map"])
@pytest.mark.parametrize("claimed", [MAX_ITEMS // 2, MAX_ITEMS, MAX_ITEMS + 1, 2**32 - 1])
@pytest.mark.parametrize("codec", [TOKENS, VALUE])
def test_no_room_is_made_for_what_is_only_claimed(codec, claimed, code):
    data = (code + claimed.to_bytes(4, "big")) * 200 + bytes(100)
    tracemalloc.start()
    try:
        with pytest.raises(Damaged):
            decode(codec, data)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 16_000_000


@pytest.mark.parametrize("error", [ValueError, KeyError, MemoryError, RuntimeError, TypeError])
def test_a_library_that_cannot_make_the_array_is_damage(error):
    def make_array(raw):
        raise error("no")

    with pytest.raises(Damaged):
        decode(VALUE, encode([np.zeros(2)]).data, make_array=make_array)
