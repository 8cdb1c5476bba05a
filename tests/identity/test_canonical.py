import enum
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given

from stepaudio_cas.identity.canonical import MAX_DEPTH, canonical
from stepaudio_cas.identity.digest import digest_array
from tests.identity.examples import encoding, reading, searching, strictly, values


class Colour(enum.Enum):
    RED = 1
    BLUE = 2
    CRIMSON = RED


class Paint(enum.Enum):
    RED = 1


class Number(enum.IntEnum):
    ONE = 1


class Word(str, enum.Enum):
    ONE = "one"


class Access(enum.Flag):
    READ = 1
    WRITE = 2


# Any two of these are different, however alike Python finds some of them.
DIFFERENT = [
    None, True, False, 1, 0, -1, 1.0, 0.0, -0.0, 1 + 0j, "1", b"1", "True", "None", "n", "i1;",
    math.inf, -math.inf, math.nan, 2**64, float(2**64), 10**4000, "", b"", (), [], {}, set(),
    [1], (1,), {1}, {1: 1}, [[1]], [(1,)], ([1],), [1, 1], [[1], 1], [1, [1]], [[1, 1]], [[], []],
    [[[]]], ["ab"], ["a", "b"], "ab", ["s1:a"], {"a": 1}, {"a": 1.0}, {"a": True}, {b"a": 1},
    {"a": {"b": 1}}, {"a": 1, "b": 1}, {1: 2}, {2: 1}, {1.0: 2}, {True: 2}, {(1, 2): 3},
    {"a": None}, {None: "a"}, "é", "e\u0301", "é".encode(), complex(0.0, -0.0), 0j,
    complex(math.nan, 0), complex(0, math.nan),
    Colour.RED, Colour.BLUE, Paint.RED, Number.ONE, Word.ONE, "one", "Colour.RED",
    Access.READ, Access.WRITE, Access.READ | Access.WRITE, Access(0),
    np.int64(1), np.int32(1), np.float64(1), np.bool_(True), np.array(1), np.array([1]),
    np.array([[1]]), np.array([1.0]), np.array([], "float32"), np.array([], "float64"),
    torch.tensor(1), torch.tensor([1]), torch.tensor([1.0]), torch.zeros(0, 2), torch.zeros(2, 0),
    torch.float32, torch.float16, "torch.float32", torch.device("cpu"), torch.device("cuda"),
    torch.device("cuda:0"), "cpu",
]  # fmt: skip


def test_different_values_have_different_encodings():
    encodings = [canonical(value) for value in DIFFERENT]
    for (a, left), (b, right) in itertools.combinations(enumerate(encodings), 2):
        assert left != right, (DIFFERENT[a], DIFFERENT[b])


def test_no_encoding_begins_another():
    # Otherwise two parts side by side could be read as two others.
    encodings = sorted(canonical(value) for value in DIFFERENT)
    for left, right in itertools.pairwise(encodings):
        assert not right.startswith(left)


@searching
@given(values)
def test_an_encoding_can_be_read_in_one_way_only(value):
    assert strictly(reading(canonical(value))) == strictly(value)


@searching
@given(values)
def test_the_encoding_is_the_one_in_the_format_document(value):
    assert canonical(value) == encoding(value)


def test_the_order_of_a_dictionary_does_not_matter():
    assert canonical({"a": 1, "b": {"x": 1, "y": 2}}) == canonical({"b": {"y": 2, "x": 1}, "a": 1})


def test_the_order_of_a_set_does_not_matter():
    # The same items, inserted so that a table of eight places holds them in another order.
    assert list({0, 8}) != list({8, 0})
    assert canonical({0, 8}) == canonical({8, 0}) == b"S2:i0;i8;"


def test_a_dictionary_may_mix_keys_that_have_no_order():
    mixed = {1: "a", "1": "b", None: "c", (1, "x"): "d", 1j: "e", Colour.RED: "f"}
    again = dict(reversed(mixed.items()))
    assert canonical(mixed) == canonical(again)


def test_keys_that_are_never_equal_can_share_an_encoding():
    assert canonical({complex(math.nan, 0): 1, complex(math.nan, 0): 2}).startswith(b"m2:")


def test_every_nan_is_the_same():
    payload = np.array([0x7FF0_0000_0000_0001, 0xFFF8_0000_0000_0000], "uint64").view("float64")
    assert {canonical(value) for value in [math.nan, -math.nan, *payload.tolist()]} == {
        bytes.fromhex("647ff8000000000000")
    }


def test_an_enum_member_is_its_class_its_name_and_its_value():
    assert canonical(Colour.BLUE) == b"xs4:enums11:Colour.BLUEi2;"
    assert canonical(Word.ONE) == b"xs4:enums8:Word.ONEs3:one"


def test_another_name_of_an_enum_member_is_that_member():
    assert canonical(Colour.CRIMSON) == canonical(Colour.RED)


def test_flags_are_described_by_their_value_because_pythons_name_combinations_differently():
    assert canonical(Access.READ | Access.WRITE) == b"xs4:enums7:Access.i3;"
    assert canonical(Access.READ) == b"xs4:enums7:Access.i1;"


@pytest.mark.parametrize(
    "array",
    [np.arange(3), np.float32(1.5), np.bool_(False), torch.arange(3), torch.tensor(2.0)],
    ids=repr,
)
def test_an_array_stands_for_its_digest(array):
    assert canonical([array]) == b"l1:a" + bytes.fromhex(digest_array(array))


def test_torch_types_and_devices_are_described_by_name():
    assert canonical(torch.bfloat16) == b"xs11:torch.dtypes14:torch.bfloat16"
    assert canonical(torch.device("cuda", 1)) == b"xs12:torch.devices6:cuda:1"


def test_text_is_measured_in_bytes():
    assert canonical("é") == b"s2:\xc3\xa9"


@pytest.mark.parametrize(
    "wrap",
    [lambda v: [v], lambda v: (v,), lambda v: {"k": v}, lambda v: (v, 1)],
    ids=["list", "tuple", "dict", "pair"],
)
def test_the_deepest_that_can_be_described(wrap):
    value = 1
    for _ in range(MAX_DEPTH):
        value = wrap(value)
    assert canonical(value).count(b"i1;") >= 1


def test_an_encoding_does_not_depend_on_sharing():
    part = [1, 2]
    assert canonical([part, part]) == canonical([[1, 2], [1, 2]])
