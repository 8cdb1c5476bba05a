"""A codec that is changed in other ways than by new weights."""

import types

import pytest
import torch

from tests.plugins.small_codecs import make
from tests.plugins.test_codecs import cache, counts, encode, key  # noqa: F401


@pytest.fixture
def name():
    return "DacModel"


class Adapter(torch.nn.Module):
    def __init__(self, base):
        super().__init__()
        self.base, self.gain, self.shift = base, 1.0, torch.zeros(1)
        self.scaling, self._disable_adapters = {"default": 1.0}, False

    def forward(self, x):
        scale = 1.0 if self._disable_adapters else self.scaling["default"] * self.gain
        return self.base(x) * scale + self.shift


def adapted():
    model = make("DacModel")
    model.encoder.conv1 = Adapter(model.encoder.conv1).eval()
    return model


CHANGES = [
    lambda model: setattr(model.encoder.conv1, "_disable_adapters", True),
    lambda model: model.encoder.conv1.scaling.update(default=8.0),
    lambda model: setattr(model.encoder.conv1, "gain", -2.0),
    lambda model: model.encoder.conv1.shift.add_(1),
    lambda model: setattr(model.quantizer, "n_codebooks", 1),
    lambda model: setattr(model.encoder.conv1.base, "stride", (2,)),
]


def test_attributes_are_in_the_key_whenever_they_are_set(cache):  # noqa: F811
    first = key(adapted())
    keys = {first}
    for number, change in enumerate(CHANGES, 2):
        used, fresh = adapted(), adapted()
        assert key(used) == first
        change(used)
        change(fresh)
        keys.add(key(used))
        assert len(keys) == number, number
        assert key(fresh) == key(used)


def test_an_attribute_that_is_set_to_what_it_was_changes_nothing(cache):  # noqa: F811
    model = adapted()
    first = key(model)
    model.encoder.conv1.gain = float("1.0")
    model.encoder.conv1.scaling = {"default": float("1.0")}
    assert key(model) == first


def nothing(quantizer, hidden, *_, **__):
    return hidden * 0, torch.zeros(hidden.shape[0], hidden.shape[2], dtype=torch.long)


def test_a_replaced_method_of_a_part_is_passed_through(counts):  # noqa: F811
    model = make("DacModel")
    encode(model)
    part = model.quantizer.quantizers[0]
    part.decode_latents = types.MethodType(nothing, part)
    encode(model)
    assert counts() == {"miss": 1, "bypass.changed-host": 1}


def test_a_replaced_function_of_a_parts_class_is_passed_through(counts, monkeypatch):  # noqa: F811
    model = make("DacModel")
    encode(model)
    with monkeypatch.context() as patched:
        patched.setattr(type(model.quantizer.quantizers[0]), "decode_latents", nothing)
        encode(model)
        encode(make("DacModel"))
        assert counts() == {"miss": 1, "bypass.changed-host": 2}
    encode(model)
    assert counts() == {"hit.memory": 1}
