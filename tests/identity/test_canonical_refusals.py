"""What has no canonical encoding is a bypass that names the part."""

import collections
import datetime as dt
import decimal
import enum
import functools
import math
import pathlib
import sys
from typing import NamedTuple

import numpy as np
import pytest
import torch

from stepaudio_cas.errors import Bypass
from stepaudio_cas.identity.canonical import MAX_DEPTH, canonical


class Plain:
    pass


class Integer(int):
    pass


class Text(str):
    __slots__ = ()


class Items(list):
    pass


class Tensor(torch.Tensor):
    pass


class Holder(enum.Enum):
    ITEM = Plain()


class Pair(NamedTuple):
    a: int
    b: int


UNDESCRIBABLE = [
    object(), Plain(), Plain, Integer(1), Text("a"), Items([1]), Pair(1, 2), Holder.ITEM,
    collections.OrderedDict(a=1), collections.defaultdict(list), collections.deque([1]),
    bytearray(b"a"), memoryview(b"a"), range(3), slice(1), decimal.Decimal(1),
    dt.date(2026, 1, 1), pathlib.Path("/a"), len, lambda: 1, functools.partial(len),
    iter([]), (item for item in ()), NotImplemented, ..., {}.keys(), np.dtype("float32"),
    torch.strided, torch.Generator(), np.random.default_rng(0),
    {math.nan: 1}, {"a": {-math.nan: 1}}, "\ud800", ["a\udcff"], {"\udc80": 1}, 10**5000,
    -(10**5000),
]  # fmt: skip

ARRAYS = [
    (np.array(["a"]), "unsupported-dtype"),
    (np.array([None]), "unsupported-dtype"),
    (np.array([1], ">i4"), "unsupported-dtype"),
    (np.array(["2026-01-01"], "datetime64[D]"), "unsupported-dtype"),
    (np.zeros(2, "i4,f4"), "unsupported-dtype"),
    (np.zeros(2, np.longdouble), "unsupported-dtype"),
    (np.str_("a"), "unsupported-dtype"),
    (np.ma.array([1]), "unsupported-array"),
    (np.zeros(2).view(np.recarray), "unsupported-array"),
    (torch.eye(2).to_sparse(), "unsupported-tensor"),
    (torch.empty(2, device="meta"), "unsupported-tensor"),
    (torch.zeros(2).as_subclass(Tensor), "unsupported-tensor"),
]


@pytest.mark.parametrize("value", UNDESCRIBABLE, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("wrap", [lambda v: v, lambda v: {"k": (1, [v])}], ids=["bare", "nested"])
def test_what_is_not_in_the_table_is_undescribable(value, wrap):
    with pytest.raises(Bypass) as caught:
        canonical(wrap(value))
    assert caught.value.reason == "undescribable"


@pytest.mark.parametrize(("value", "reason"), ARRAYS, ids=range(len(ARRAYS)))
def test_an_array_without_exact_bytes_is_not_described(value, reason):
    with pytest.raises(Bypass) as caught:
        canonical([value])
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({"a": [1, {"b": Plain()}]}, "value['a'][1]['b']"),
        ([(0, Plain())], "value[0][1]"),
        ({"a": {(1, Pair(1, 2)): 0}}, "value['a'] key[1]"),
    ],
)
def test_the_part_is_named(value, where):
    with pytest.raises(Bypass) as caught:
        canonical(value)
    assert caught.value.detail.startswith(f"{where} is a ")


@pytest.mark.parametrize(
    "wrap",
    [
        lambda v: [v],
        lambda v: (v,),
        lambda v: {"k": v},
        lambda v: frozenset([v]),
    ],
    ids=["list", "tuple", "dict", "set"],
)
def test_one_more_level_is_too_deep(wrap):
    value = ()
    for _ in range(MAX_DEPTH):
        value = wrap(value)
    with pytest.raises(Bypass) as caught:
        canonical(value)
    assert caught.value.reason == "too-deep"


def test_a_key_counts_as_a_level():
    key = ()
    for _ in range(MAX_DEPTH - 2):
        key = (key,)
    canonical({key: 1})
    with pytest.raises(Bypass) as caught:
        canonical({(key,): 1})
    assert caught.value.reason == "too-deep"


def cycles():
    ring, table, left, right = [], {}, [], []
    ring.append(ring)
    table["self"] = (table,)
    left.append(right)
    right.append(left)
    return [ring, table, left]


@pytest.mark.parametrize("value", cycles(), ids=["list", "dict", "two lists"])
def test_a_value_that_contains_itself_is_too_deep(value):
    with pytest.raises(Bypass) as caught:
        canonical(value)
    assert caught.value.reason == "too-deep"


def test_two_arrays_as_keys_raise_nothing_but_are_told_apart_by_their_content():
    # Tensors can be keys, and refuse to be compared.
    assert canonical({torch.zeros(2): 1, torch.zeros(2): 2}).startswith(b"m2:a")


def test_no_library_is_imported_to_describe_a_value(monkeypatch):
    for name in ("torch", "numpy"):
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(Bypass, match="Plain"):
        canonical(Plain())
    assert not {"torch", "numpy"} & sys.modules.keys()
