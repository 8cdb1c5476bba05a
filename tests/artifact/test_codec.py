import math
import struct

import msgpack
import numpy as np
import pytest
import torch
from hypothesis import given

from stepaudio_cas.arrays import RawArray
from stepaudio_cas.artifact.codec import MAX_DEPTH, TOKENS, VALUE, decode, encode
from tests.artifact.examples import (
    NUMPY_TYPES,
    TORCH_TYPES,
    ndarray,
    nested,
    same,
    searching,
    tensor,
    tokens,
    values,
)

pytestmark = pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")


def again(value, **options):
    encoded = encode(value, **options)
    return decode(encoded.codec, encoded.data)


@searching
@given(values)
def test_a_value_comes_back_as_it_was(value):
    assert same(again(value), value)


@searching
@given(tokens)
def test_tokens_come_back_as_they_were(value):
    assert encode(value).codec == TOKENS
    assert same(again(value), value)


@searching
@given(values)
def test_the_same_value_has_the_same_bytes(value):
    encoded = encode(value)
    assert encode(decode(encoded.codec, encoded.data)) == encoded


@searching
@given(tokens)
def test_tokens_are_plain_msgpack(value):
    assert msgpack.unpackb(encode(value).data) == list(value)


def test_a_token_triple_to_the_byte():
    encoded = encode(([1, 2], [300], []))
    assert encoded.data == b"\x93\x92\x01\x02\x91\xcd\x01\x2c\x90"


@pytest.mark.parametrize(
    "value",
    [
        (), [[1], [2]], ([1], (2,)), ([1], [2.0]), ([1], [True]), ([1], [None]), ([1], 2),
        ([1], [[2]]), ([1], "2"), ([1], np.array([2])), [], [1], ([np.int64(1)],), (1,),
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_not_quite_tokens_comes_back_as_it_was(value):
    assert encode(value).codec == VALUE
    assert same(again(value), value)


@pytest.mark.parametrize(
    "value",
    [
        [1, (2, [3, (4,)])], ((),), ([], ()), [()], {"a": ()}, ((1,), [1]), [(1, 2), [1, 2]],
        (None,), ("a", b"a"), ((((),),),),
    ],
    ids=repr,
)  # fmt: skip
def test_tuples_and_lists_stay_what_they_are(value):
    assert same(again(value), value)


@pytest.mark.parametrize(
    "value",
    [
        0, 1, -1, 127, 128, -32, -33, 255, 256, 2**31, 2**32, 2**63, 2**64 - 1, -(2**63),
        True, False, None, 0.0, -0.0, 1.0, 0.1, math.inf, -math.inf, 5e-324, 1e308,
        "", "ü", "\0", "a" * 70000, b"", b"\xff", b"a" * 70000, "漢字" * 20000,
        {1: "a", "1": "b", b"1": "c", None: "d", 1.5: "e"}, {True: 1, 2: 3}, {"b": 1, "a": 2},
    ],
    ids=lambda value: repr(value)[:20],
)  # fmt: skip
def test_scalars_keep_their_type_and_value(value):
    assert same(again([value, (value,), {"k": value}]), [value, (value,), {"k": value}])
    assert same(again(value), value)


@pytest.mark.parametrize("payload", [0x7FF8000000000001, 0xFFF8000000000000, 0x7FFFFFFFFFFFFFFF])
def test_the_bits_of_a_nan_are_kept(payload):
    value = struct.unpack(">d", payload.to_bytes(8, "big"))[0]
    assert struct.pack(">d", again([value])[0]) == payload.to_bytes(8, "big")


@pytest.mark.parametrize("shape", [(), (0,), (1,), (2, 3), (0, 2), (2, 1, 2)], ids=str)
@pytest.mark.parametrize("dtype", TORCH_TYPES)
def test_tensors_of_every_dtype_come_back(dtype, shape):
    value = {"features": [tensor(dtype, shape), (tensor(dtype, shape),)]}
    assert same(again(value), value)


@pytest.mark.parametrize("shape", [(), (0,), (1,), (2, 3), (0, 2), (2, 1, 2)], ids=str)
@pytest.mark.parametrize("dtype", NUMPY_TYPES)
def test_arrays_of_every_dtype_come_back(dtype, shape):
    value = {"features": [ndarray(dtype, shape), (ndarray(dtype, shape),)]}
    assert same(again(value), value)


@pytest.mark.parametrize("dtype", NUMPY_TYPES)
def test_numpy_scalars_come_back_as_scalars(dtype):
    value = (ndarray(dtype, (1,))[0], [ndarray(dtype, (1,))[0]])
    assert same(again(value), value)


@pytest.mark.parametrize(
    "value",
    [
        tensor("float32", (4, 6)).t(), tensor("bfloat16", (4, 6))[:, 1],
        torch.arange(3.0).expand(4, 3), ndarray("int16", (4, 6))[::-1, ::2], ndarray("int8").T,
        np.broadcast_to(ndarray("float32", (3,)), (2, 3)),
    ],
    ids=range(6),
)  # fmt: skip
def test_strided_arrays_come_back_contiguous(value):
    found = again([value])[0]
    assert same(found, value)
    assert found.is_contiguous() if torch.is_tensor(found) else found.flags.c_contiguous


def test_a_lazy_conjugate_comes_back_resolved():
    value = torch.tensor([1 + 2j]).conj()
    assert again([value])[0].tolist() == [1 - 2j]


def test_arrays_that_come_back_can_be_written_to():
    for found in again([ndarray("float32"), tensor("float32"), ndarray("float32", ())]):
        found[...] = 3
        assert (found == 3).all()


def test_an_array_is_an_extension_with_four_parts():
    data = encode(np.array([[1, 2]], "<i2")).data
    code, payload = msgpack.unpackb(data, ext_hook=lambda *parts: parts)
    assert code == 2
    assert msgpack.unpackb(payload) == ["numpy", "int16", [1, 2], b"\x01\0\x02\0"]


def test_a_tuple_is_an_extension_with_its_items():
    code, payload = msgpack.unpackb(encode(("a", 1)).data, ext_hook=lambda *parts: parts)
    assert code == 1
    assert msgpack.unpackb(payload) == ["a", 1]


def test_arrays_can_be_looked_at_without_their_library():
    encoded = encode(([1], tensor("bfloat16", (2,)), {"a": np.float32(1)}))
    found = decode(encoded.codec, encoded.data, make_array=lambda raw: raw)
    assert found[1][:3] == ("torch", "bfloat16", (2,))
    assert isinstance(found[1], RawArray)
    assert found[2]["a"] == ("scalar", "float32", (), struct.pack("<f", 1), "cpu")


@pytest.mark.parametrize(
    "wrap", [lambda v: [v], lambda v: (v,), lambda v: {"k": v}], ids=["list", "tuple", "dict"]
)
def test_the_deepest_that_can_be_kept(wrap):
    value = nested(MAX_DEPTH - 1, wrap)
    assert same(again(value), value)


def test_an_artifact_shares_nothing_with_what_it_was_made_of():
    value = {"a": [1, [2]], "t": torch.zeros(2), "n": np.zeros(2)}
    encoded = encode(value)
    value["a"][1].append(3)
    value["t"][0] = value["n"][0] = 1
    found = decode(encoded.codec, encoded.data)
    assert same(found, {"a": [1, [2]], "t": torch.zeros(2), "n": np.zeros(2)})
    found["a"][1].append(4)
    assert decode(encoded.codec, encoded.data)["a"] == [1, [2]]
