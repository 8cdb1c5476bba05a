import numpy as np
import pytest
import torch
from hypothesis import assume, given

from stepaudio_cas.artifact.codec import TOKENS, decode, encode
from stepaudio_cas.artifact.fresh import Ready
from tests.artifact.examples import ndarray, nested, same, searching, tensor, tokens, values


def mutable_parts(value):
    """Where in memory is everything of a value that can be changed."""
    if isinstance(value, torch.Tensor):
        return {value.data_ptr()} if value.numel() else set()
    if isinstance(value, np.ndarray):
        return {value.ctypes.data} if value.size else set()
    found = {id(value)} if isinstance(value, (list, dict)) else set()
    if isinstance(value, (list, tuple, dict)):
        found.update(*map(mutable_parts, value.values() if isinstance(value, dict) else value))
    return found


@searching
@given(values)
def test_a_copy_is_the_same_and_shares_nothing(value):
    for owned in (False, True):
        ready = Ready(value, 0.0, owned=owned)
        first, second = ready.fresh(), ready.fresh()
        assert same(first, value)
        assert same(second, value)
        parts = [mutable_parts(each) for each in (value, first, second)]
        assert sum(map(len, parts)) == len(set().union(*parts))


@searching
@given(tokens)
def test_a_copy_of_decoded_tokens_is_the_same_and_shares_nothing(value):
    ready = Ready.of_tokens(decode(TOKENS, encode(value).data), 1.5)
    first, second = ready.fresh(), ready.fresh()
    assert same(first, value)
    assert same(second, value)
    assert not mutable_parts(first) & mutable_parts(second)
    assert ready.seconds == 1.5


VALUES = {
    "triple": ([1, 2], [3], [4]),
    "tensors": [tensor("float32"), (tensor("bfloat16"),), {"a": tensor("bool")}],
    "arrays": {"a": ndarray("int16"), "b": (ndarray("float32"), np.float32(2))},
    "strided": [tensor("float32").t(), ndarray("float32").T],
    "nested": [[[1], {"a": [2, (3, [4])]}], ([5],)],
    "mixed": [1, 2.0, None, True, "a", b"b", [1, "a"]],
    "text": ["a", b"b"],
    "two": ([1], [2]),
    "four": ([1], [2], [3], [4]),
}


def spoil(value):
    """Change everything that can be changed."""
    if isinstance(value, dict):
        for item in value.values():
            spoil(item)
        value.clear()
    elif isinstance(value, (list, tuple)):
        for item in value:
            spoil(item)
        if isinstance(value, list):
            value.append("spoilt")
            value[0] = "spoilt"
    elif isinstance(value, (torch.Tensor, np.ndarray)):
        value[...] = ~value if str(value.dtype).endswith("bool") else 99


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_what_a_caller_does_to_a_copy_reaches_no_other(value):
    ready = Ready(value, 0.0, owned=False)
    before = Ready(value, 0.0, owned=False).fresh()
    for _ in range(2):
        given_out = ready.fresh()
        assert same(given_out, before)
        spoil(given_out)
        assert not same(given_out, before)
    assert same(value, before)


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_what_happens_to_a_value_that_is_not_owned_does_not_matter(value):
    hosts = Ready(value, 0.0, owned=False).fresh()
    ready = Ready(hosts, 0.0, owned=False)
    spoil(hosts)
    assert same(ready.fresh(), value)


def test_a_value_that_is_owned_is_not_copied_on_the_way_in():
    value = [1, 2]
    ready = Ready(value, 0.0, owned=True)
    value.append(3)
    assert ready.fresh() == [1, 2, 3]


@pytest.mark.parametrize("value", [None, True, 1, 2**70, 1.5, "a", b"b", np.float32(1)])
def test_what_cannot_be_changed_is_handed_out_as_it_is(value):
    assert Ready(value, 0.0, owned=False).fresh() is value


def test_a_set_is_copied():
    # It stands in no artifact, but in arguments that are kept for a second computation.
    value = {1, "a"}
    copy = Ready([value], 0.0, owned=False).fresh()[0]
    assert copy == value
    assert copy is not value


def test_the_order_of_a_dictionary_is_kept():
    assert list(Ready({"b": 1, "a": [2]}, 0.0, owned=False).fresh()) == ["b", "a"]


def test_a_copy_of_a_strided_tensor_is_small():
    ready = Ready(tensor("float32", (2, 1))[:, :1].expand(2, 500), 0.0, owned=False)
    assert ready.fresh().is_contiguous()
    assert ready.size >= 4000


@searching
@given(values, values)
def test_a_larger_value_is_estimated_larger(left, right):
    sizes = [Ready(value, 0.0, owned=False).size for value in (left, right, [left, right])]
    assert all(type(size) is int and size > 0 for size in sizes)
    assume(isinstance(left, (list, tuple, dict)))
    assert sizes[2] > max(sizes[:2])


@pytest.mark.parametrize(
    "make",
    [
        lambda n: [0] * n, lambda n: ["a"] * n, lambda n: "a" * n, lambda n: b"a" * n,
        lambda n: ([1] * n, [2], [3]), lambda n: {i: i for i in range(n)}, lambda n: [[1]] * n,
        torch.zeros, lambda n: np.zeros(n, "int8"), lambda n: [("a" * n,)],
        lambda n: {"a": [None] * n}, lambda n: [b"a" * n, 1],
    ],
    ids=range(12),
)  # fmt: skip
def test_the_estimate_grows_with_the_value_and_is_not_less_than_its_content(make):
    sizes = [Ready(make(n), 0.0, owned=False).size for n in (0, 1, 10, 100, 10_000)]
    assert sizes == sorted(set(sizes))
    assert sizes[-1] >= 10_000


@searching
@given(tokens)
def test_decoded_tokens_are_estimated_by_their_length(value):
    size = Ready.of_tokens(value, 0.0).size
    more = Ready.of_tokens((*value, [1, 2, 3]), 0.0).size
    assert 0 < size < more
    assert size >= 8 * sum(map(len, value))


def test_the_deepest_that_can_be_kept_can_be_copied():
    for wrap in (lambda v: [v], lambda v: (v,), lambda v: {"k": v}):
        value = nested(63, wrap)
        assert same(Ready(value, 0.0, owned=False).fresh(), value)
