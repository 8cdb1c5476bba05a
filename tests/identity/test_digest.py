import itertools

import numpy as np
import pytest
import torch
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from stepaudio_cas.errors import Bypass
from stepaudio_cas.identity.digest import digest_array, digest_bytes, is_digest
from tests.identity.examples import searching

DIFFERENT = [
    np.arange(4, dtype="float32"),
    np.arange(4, dtype="float32").reshape(2, 2),
    np.arange(4, dtype="float32").reshape(1, 4),
    np.arange(4, dtype="float32").reshape(4, 1),
    np.arange(4, dtype="float32").view("int32"),
    np.arange(4, dtype="float32").view("uint32"),
    np.arange(4, dtype="float32").view("int16"),
    np.arange(4, dtype="float32").view("float64"),
    np.arange(4, dtype="float64"),
    np.arange(4, dtype="int16"),
    np.arange(4, dtype="int16").view("float16"),
    np.arange(1, 5, dtype="float32"),
    np.array([0.0], "float32"),
    np.array([-0.0], "float32"),
    np.array(0.0, "float32"),
    np.float32(0.0),
    np.array([False]),
    np.array([0], "uint8"),
    np.array([], "float32"),
    np.zeros((0, 2), "float32"),
    np.zeros((2, 0), "float32"),
    np.array([], "float64"),
    torch.arange(4.0),
    torch.arange(4.0).reshape(2, 2),
    torch.arange(4.0, dtype=torch.bfloat16),
    torch.arange(4.0, dtype=torch.float16),
    torch.arange(4.0, dtype=torch.bfloat16).view(torch.int16),
    torch.zeros(1),
    torch.tensor(0.0),
    torch.zeros(0),
    torch.zeros(0, dtype=torch.bfloat16),
    torch.zeros(4, dtype=torch.bool),
    torch.zeros(4, dtype=torch.uint8),
    torch.zeros(4, dtype=torch.float8_e4m3fn),
    torch.zeros(4, dtype=torch.float8_e5m2),
    torch.zeros(2, dtype=torch.complex64),
    torch.zeros(2, dtype=torch.float64),
]


def test_arrays_that_differ_in_anything_have_different_digests():
    digests = [digest_array(value) for value in DIFFERENT]
    for (a, left), (b, right) in itertools.combinations(enumerate(digests), 2):
        assert left != right, (DIFFERENT[a], DIFFERENT[b])


@pytest.mark.parametrize(
    ("value", "kind", "dtype", "shape"),
    [
        (np.arange(6, dtype="int16").reshape(2, 3), "numpy", "int16", "2,3"),
        (np.zeros((3, 0)), "numpy", "float64", "3,0"),
        (np.array(1.5, "float32"), "numpy", "float32", ""),
        (np.float32(1.5), "scalar", "float32", ""),
        (torch.arange(6).reshape(2, 3), "torch", "int64", "2,3"),
        (torch.tensor(2.5), "torch", "float32", ""),
        (torch.tensor([True, False]), "torch", "bool", "2"),
    ],
)
def test_a_digest_is_that_of_the_content_and_a_trailer(value, kind, dtype, shape):
    content = value.numpy().tobytes() if kind == "torch" else value.tobytes()
    trailer = f"\0array\0{kind}\0{dtype}\0{shape}".encode()
    assert digest_array(value) == blake3(content + trailer).hexdigest()


@searching
@given(st.binary(max_size=64), st.data())
def test_one_changed_byte_changes_the_digest(content, data):
    content = bytearray(content + b"\0")
    before = digest_array(np.frombuffer(bytes(content), "uint8"))
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert digest_array(np.frombuffer(bytes(content), "uint8")) != before


def test_bytes_that_look_like_an_array_do_not_become_it():
    # The content of one array is that of another, and of its trailer.
    inner = np.arange(3, dtype="uint8")
    outer = np.frombuffer(inner.tobytes() + b"\0array\0numpy\0uint8\x003", "uint8")
    assert digest_array(outer) != digest_array(inner)
    assert digest_bytes(outer.tobytes()) == digest_array(inner)  # which is why inputs have kinds


def test_libraries_are_told_apart():
    # A function may return what it was given: its result for a tensor is none for an array.
    array = np.arange(3.0)
    assert digest_array(array) != digest_array(torch.from_numpy(array))


@pytest.mark.parametrize("length", [0, 1, 1023, 1024, 1025, 48000 * 10])
def test_every_length_is_read_to_its_end(length):
    audio = np.arange(1, length + 1, dtype="float32")
    longer = np.append(audio, np.float32(0))
    changed = np.append(audio, np.float32(1))
    assert len({digest_array(x) for x in (audio, longer, changed)}) == 3


def test_a_tensor_changed_in_place_has_another_digest():
    value = torch.zeros(3)
    before = digest_array(value)
    value[1] = 1
    assert digest_array(value) != before


@pytest.mark.parametrize(
    "value", [[1.0], 1.0, b"a", None, "a", memoryview(b"a")], ids=lambda v: type(v).__name__
)
def test_what_is_no_array_is_a_bypass(value):
    with pytest.raises(Bypass) as caught:
        digest_array(value)
    assert caught.value.reason == "unsupported-array"


@pytest.mark.parametrize("data", [b"", b"RIFF", bytearray(b"RIFF"), memoryview(b"RIFF")])
def test_a_digest_of_bytes_is_what_b3sum_says(data):
    assert digest_bytes(data) == blake3(bytes(data)).hexdigest()
    assert is_digest(digest_bytes(data))


def test_a_digest_known_from_elsewhere():
    empty = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
    assert digest_bytes(b"") == empty


@pytest.mark.parametrize(
    "text",
    [
        "", "a" * 63, "a" * 65, "A" * 64, "g" * 64, "a" * 64 + "\n", "\n" + "a" * 63,
        "../" + "a" * 61, "٣" * 64, b"a" * 64, None, 1,
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_no_digest_is_no_part_of_a_path(text):
    assert not is_digest(text)
