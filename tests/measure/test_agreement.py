"""How far two results agree."""

import math

import numpy as np
import pytest
import torch

from stepaudio_cas.measure.agreement import NUMBERS, TOKENS, Agreement, agree, streams


def one(value):
    (stream,) = streams("x", value)
    return stream


def test_a_result_is_taken_apart_by_the_names_that_the_plugin_gives():
    found = streams("wav2token", ([1, 2], [3], [4]), ("speech", "vq02", "vq06"))
    assert [(s.name, s.kind, list(s.values)) for s in found] == [
        ("speech", TOKENS, [1, 2]),
        ("vq02", TOKENS, [3]),
        ("vq06", TOKENS, [4]),
    ]


def test_parts_without_names_are_numbered_and_mappings_have_their_keys():
    value = {"mel": torch.ones(1, 2), "codes": (np.arange(2), "ab", None, b"c", 3, 0.5)}
    found = {s.name: (s.kind, list(s.values)) for s in streams("x", value)}
    assert found == {
        "x.mel": (NUMBERS, [1.0, 1.0]),
        "x.codes.0": (TOKENS, [0, 1]),
        "x.codes.1": (TOKENS, [97, 98]),
        "x.codes.3": (TOKENS, [99]),
        "x.codes.4": (TOKENS, [3]),
        "x.codes.5": (NUMBERS, [0.5]),
    }


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_tensors_of_any_precision_are_numbers_and_are_copied(dtype):
    tensor = torch.ones(2, 2, dtype=dtype, requires_grad=True)
    stream = one(tensor)
    with torch.no_grad():
        tensor += 1
    assert list(stream.values) == [1.0] * 4


def test_what_cannot_be_compared_is_no_stream():
    assert streams("x", object()) == streams("x", None) == []


def test_tokens_agree_by_position_and_the_difference_in_length_is_told():
    assert agree(one([1, 2, 3, 4]), one([1, 2, 9, 4])) == Agreement(0.75)
    assert agree(one([1, 2, 3, 4]), one([1, 2, 3])) == Agreement(0.75, -1)
    assert agree(one([1, 2]), one([9, 1, 2])) == Agreement(0.0, 1)
    assert agree(one([]), one([])) == Agreement(1.0)


def test_numbers_of_another_size_agree_less_though_their_angle_is_the_same():
    assert agree(one([1.0, 2.0]), one([2.0, 4.0])).share == pytest.approx(0.8)
    assert agree(one([0.5]), one([0.7])).share < 0.95


def test_what_is_no_number_agrees_with_nothing_but_itself():
    assert agree(one([1.0, 2.0]), one([1.0, math.nan])) == Agreement(0.0, 0, math.inf)
    assert agree(one([math.inf, 2.0]), one([1.0, 2.0])) == Agreement(0.0, 0, math.inf)
    both = agree(one([math.nan, -math.inf, 1.0]), one([math.nan, -math.inf, 1.0]))
    assert both == Agreement(1.0)


def test_numbers_agree_by_their_angle_and_their_largest_difference():
    assert agree(one([1.0, 0.0]), one([1.0, 0.0])) == Agreement(1.0)
    turned = agree(one([1.0, 0.0]), one([0.0, 2.0]))
    assert turned == Agreement(0.0, 0, 2.0)
    near = agree(one([1.0, 2.0]), one([1.0, 2.001]))
    assert 0.99999 < near.share < 1
    assert math.isclose(near.distance, 0.001)
    assert agree(one([1.0]), one([1.0, 2.0])) == Agreement(0.0, 1, math.inf)
    assert agree(one([0.0, 0.0]), one([1.0, 0.0])).share == 0
