"""What would not come back as it was is a bypass that names the part."""

import collections
import enum

import numpy as np
import pytest
import torch

from stepaudio_cas.artifact import codec
from stepaudio_cas.artifact.codec import MAX_DEPTH, decode, encode
from stepaudio_cas.errors import Bypass, Damaged
from tests.artifact.examples import nested, same


class Integer(int):
    pass


class Text(str):
    __slots__ = ()


class Real(float):
    pass


class Items(list):
    pass


class Pair(collections.namedtuple("Pair", "a b")):  # noqa: PYI024
    __slots__ = ()


class Colour(enum.IntEnum):
    RED = 1


class Tensor(torch.Tensor):
    pass


UNSUPPORTED = [
    bytearray(b"a"), memoryview(b"a"), {1, 2}, frozenset(), 1j, object(), range(2), Ellipsis,
    Integer(1), Text("a"), Real(1.0), Items([1]), Pair(1, 2), Colour.RED, iter([]), len,
    collections.OrderedDict(a=1), collections.Counter("a"), collections.deque(), torch.float32,
    torch.nn.Parameter(torch.zeros(1), requires_grad=False), torch.device("cpu"), np.dtype("f4"),
    2**64, -(2**63) - 1, 10**5000, "\ud800", {"\udc80": 1}, {2**64: 1}, {float("nan"): 1},
    {(1,): 2}, {Integer(1): 2}, {np.int64(1): 2}, {Colour.RED: 2}, {frozenset(): 1},
]  # fmt: skip


@pytest.mark.parametrize("value", UNSUPPORTED, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize(
    "wrap",
    [lambda v: v, lambda v: [v], lambda v: (1, {"k": v}), lambda v: ([1], [v])],
    ids=["bare", "list", "dict", "token"],
)
def test_what_msgpack_would_change_is_refused(value, wrap):
    with pytest.raises(Bypass) as caught:
        encode(wrap(value))
    assert caught.value.reason == "unsupported-result"


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ([1, {"a": (2, bytearray())}], "result[1]['a'][1] is a builtins.bytearray"),
        ({"a": {(): 1}}, "a key of result['a'] is a tuple"),
        (([1], [2, object()]), "result[1][1] is a builtins.object"),
    ],
)
def test_the_part_is_named(value, where):
    with pytest.raises(Bypass) as caught:
        encode(value)
    assert caught.value.detail == where


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: torch.zeros(2, requires_grad=True), "requires-grad"),
        (lambda: torch.nn.Parameter(torch.zeros(2)), "requires-grad"),
        (lambda: torch.zeros(2, requires_grad=True) * 2, "requires-grad"),
        (lambda: torch.empty(2, device="meta"), "unsupported-tensor"),
        (lambda: torch.eye(2).to_sparse(), "unsupported-tensor"),
        (lambda: torch.zeros(2).as_subclass(Tensor), "unsupported-tensor"),
        (lambda: np.array([object()]), "unsupported-dtype"),
        (lambda: np.array([1], ">i4"), "unsupported-dtype"),
        (lambda: np.array(["a"]), "unsupported-dtype"),
        (lambda: np.str_("a"), "unsupported-dtype"),
        (lambda: np.datetime64("2026-01-01"), "unsupported-dtype"),
        (lambda: np.ma.array([1]), "unsupported-array"),
        (lambda: np.matrix([[1]]), "unsupported-array"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_an_array_that_would_not_come_back_is_refused(make, reason):
    with pytest.raises(Bypass) as caught:
        encode({"a": [make()]})
    assert caught.value.reason == reason


def test_a_memory_mapped_file_is_refused(tmp_path):
    np.zeros(4).tofile(tmp_path / "a")
    with pytest.raises(Bypass) as caught:
        encode([np.memmap(tmp_path / "a", "float64", "r")])
    assert caught.value.reason == "unsupported-result"


@pytest.fixture
def on_a_device(monkeypatch):
    """Tensors are seen as they would be with a device that this machine may not have."""
    view = codec.arrays.view
    monkeypatch.setattr(codec.arrays, "view", lambda value: view(value)._replace(device="cuda:0"))


def test_a_tensor_on_a_device_is_refused_unless_the_caller_takes_it_back(on_a_device):
    value = [torch.arange(3)]
    with pytest.raises(Bypass, match=r"result\[0\] is on cuda:0") as caught:
        encode(value)
    assert caught.value.reason == "device"
    encoded = encode(value, any_device=True)
    assert same(decode(encoded.codec, encoded.data), value)


@pytest.mark.parametrize(
    "wrap", [lambda v: [v], lambda v: (v,), lambda v: {"k": v}], ids=["list", "tuple", "dict"]
)
@pytest.mark.parametrize("levels", [MAX_DEPTH, MAX_DEPTH + 1, 500])
def test_what_is_nested_too_deep_is_refused(wrap, levels):
    with pytest.raises(Bypass) as caught:
        encode(nested(levels, wrap))
    assert caught.value.reason == "too-deep"


def test_a_value_that_contains_itself_is_refused():
    ring, table = [1], {}
    ring.append((ring,))
    table["self"] = table
    for value in (ring, table):
        with pytest.raises(Bypass) as caught:
            encode(value)
        assert caught.value.reason == "too-deep"


@pytest.mark.parametrize(
    "value",
    [([1] * 101,), [None] * 101, tuple("a" * 101), {"a": [2.0] * 101}, dict.fromkeys(range(101))],
    ids=["tokens", "list", "tuple", "inner", "dict"],
)
def test_more_items_than_can_be_read_are_not_written(value, monkeypatch):
    monkeypatch.setattr(codec, "MAX_ITEMS", 100)
    with pytest.raises(Bypass) as caught:
        encode(value)
    assert caught.value.reason == "too-large"


@pytest.mark.parametrize("value", [([7] * 100,), [None] * 100, dict.fromkeys(range(100))])
def test_as_many_items_as_can_be_written_are_read(value, monkeypatch):
    monkeypatch.setattr(codec, "MAX_ITEMS", 100)
    encoded = encode(value)
    assert same(decode(encoded.codec, encoded.data), value)


@pytest.mark.parametrize("value", [([1000] * 10,), "a" * 30, (b"a" * 30,), np.zeros(4)])
def test_more_bytes_than_can_be_read_are_not_written(value, monkeypatch):
    encoded = encode(value)
    monkeypatch.setattr(codec, "MAX_BYTES", len(encoded.data))
    assert same(decode(encoded.codec, encoded.data), value)
    monkeypatch.setattr(codec, "MAX_BYTES", len(encoded.data) - 1)
    with pytest.raises(Bypass) as caught:
        encode(value)
    assert caught.value.reason == "too-large"
    with pytest.raises(Damaged):
        decode(encoded.codec, encoded.data)
