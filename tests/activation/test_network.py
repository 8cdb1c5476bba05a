"""Torch modules in memory: whatever is changed in them, they are told apart from what they were."""

import enum
import functools
import gc
import types
import weakref
from collections import deque
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from stepaudio_cas.activation import network
from stepaudio_cas.errors import Bypass


class Mode(enum.Enum):
    ONE = 1
    TWO = 2


class Helper:
    def __init__(self):
        self.gain, self.table, self.inner = 1.0, [1, 2], None

    def amplify(self, x):
        return x * self.gain


class Small:
    __slots__ = ("gain",)

    def __init__(self):
        self.gain = 1.0


def double(x):
    return x * 2


def triple(x):
    return x * 3


def times(factors):
    return lambda x: x * factors[0]


def plus(numbers):
    return lambda x: x + numbers[0]


class Base(nn.Module):
    scale = 1.0
    table = (1.0, [2.0])


def linear():
    layer = nn.Linear(4, 4)
    with torch.no_grad():
        for number, tensor in enumerate(layer.parameters()):
            tensor.copy_(torch.arange(float(tensor.numel())).reshape(tensor.shape) + number)
    return layer.eval()


class Net(Base):
    def __init__(self):
        super().__init__()
        self.one, self.two, self.norm = linear(), linear(), nn.LayerNorm(4)
        self.lstm = nn.LSTM(4, 4)
        self.listed, self.named = [linear(), nn.LayerNorm(4).eval()], {"x": nn.LayerNorm(4).eval()}
        self.__dict__["hidden"] = nn.LayerNorm(4).eval()
        self.act, self.part, self.closure = double, functools.partial(double, x=1), times([1.0])
        self.helper, self.small, self.bound = Helper(), Small(), Helper().amplify
        self.mode, self.dtype, self.kinds = Mode.ONE, torch.float16, [torch.float16]
        self.raw, self.rest, self.line = b"a", 1j, deque([1, 2])
        self.array, self.number, self.kept = np.arange(4.0), np.int64(3), torch.zeros(3)
        self.deep, self.whole, self.size = {"a": [{"b": torch.ones(2)}]}, 1, torch.Size([1, 2])
        with torch.no_grad():
            for tensor in self.lstm.parameters():
                tensor.fill_(0.5)


def make():
    return Net().eval()


def describe(thing):
    return network.describe({"net": thing})


def exchange_names(net):
    weight, bias = net.norm.weight, net.norm.bias
    del net.norm.weight, net.norm.bias
    net.norm.bias, net.norm.weight = weight, bias


def exchange_parts(net):
    one, two = net.one, net.norm
    del net.one, net.norm
    net.norm, net.one = one, two


class Negative(nn.Linear):
    def forward(self, x):
        return -super().forward(x)


CHANGES = {
    "names of parameters": exchange_names,
    "names of parts": exchange_parts,
    "class of a part": lambda net: setattr(net.one, "__class__", Negative),
    "transposed": lambda net: setattr(net.one.weight, "data", net.one.weight.data.T),
    "gone": lambda net: setattr(net.one, "bias", None),
    "flat weights": lambda net: net.lstm._flat_weights.__setitem__(0, torch.ones(16, 4)),
    "weights in a list": lambda net: net.listed[0].weight.detach().fill_(1),
    "order of a list": lambda net: net.listed.reverse(),
    "class in a list": lambda net: setattr(net.listed[0], "__class__", Negative),
    "more in a list": lambda net: net.listed.append(linear()),
    "module in a dict": lambda net: setattr(net.named["x"], "eps", 1.0),
    "module past torch": lambda net: setattr(net.hidden, "eps", 1.0),
    "function": lambda net: setattr(net, "act", triple),
    "lambda": lambda net: setattr(net, "closure", lambda x: x),
    "lambda that keeps as much": lambda net: setattr(net, "closure", plus([1.0])),
    "what a lambda keeps": lambda net: net.closure.__closure__[0].cell_contents.append(2.0),
    "function of a partial": lambda net: setattr(net, "part", functools.partial(triple, x=1)),
    "options of a partial": lambda net: net.part.keywords.update(x=2),
    "attribute of a helper": lambda net: setattr(net.helper, "gain", 2.0),
    "list of a helper": lambda net: net.helper.table.append(3),
    "module of a helper": lambda net: setattr(net.helper, "inner", linear()),
    "slot of a helper": lambda net: setattr(net.small, "gain", 2.0),
    "self of a method": lambda net: setattr(net.bound.__self__, "gain", 2.0),
    "function of a method": lambda net: setattr(net, "bound", types.MethodType(double, Helper())),
    "enum": lambda net: setattr(net, "mode", Mode.TWO),
    "type of numbers": lambda net: setattr(net, "dtype", torch.bfloat16),
    "types in a list": lambda net: net.kinds.__setitem__(0, torch.bfloat16),
    "bytes": lambda net: setattr(net, "raw", b"b"),
    "complex": lambda net: setattr(net, "rest", 2j),
    "deque": lambda net: net.line.append(3),
    "array": lambda net: net.array.__setitem__(0, 9.0),
    "number of numpy": lambda net: setattr(net, "number", np.int64(4)),
    "tensor in place": lambda net: net.kept.fill_(1),
    "tensor with other data": lambda net: setattr(net.kept, "data", torch.ones(3)),
    "tensor deep down": lambda net: net.deep["a"][0]["b"].mul_(3),
    "size": lambda net: setattr(net, "size", torch.Size([2, 2])),
    "same number, other type": lambda net: setattr(net, "whole", True),
}


@pytest.mark.parametrize("what", CHANGES)
def test_whatever_is_changed_makes_it_another_model(what):
    used, fresh, before = make(), make(), describe(make())
    assert describe(used) == describe(used) == before
    with torch.no_grad():
        CHANGES[what](used)
        CHANGES[what](fresh)
    assert before != describe(used) == describe(fresh)


@pytest.mark.parametrize(("name", "value"), [("scale", 2.0), ("table", (1.0, [3.0])), ("more", 1)])
def test_what_a_class_has_besides_its_code_is_told(monkeypatch, name, value):
    used, before = make(), describe(make())
    assert describe(used) == before
    with monkeypatch.context() as patched:
        patched.setattr(Base, name, value, raising=False)
        assert before != describe(used) == describe(make())
    assert describe(used) == before


def test_what_is_in_a_list_of_a_class_is_told():
    used, before = make(), describe(make())
    assert describe(used) == before
    Base.table[1].append(9.0)
    try:
        assert before != describe(used) == describe(make())
    finally:
        Base.table[1].pop()
    assert describe(used) == before


def test_weights_that_went_to_another_type_and_back_are_others():
    for _ in range(100):  # now and then they come to lie where they were
        layer = nn.Linear(300, 300).eval()
        before = describe(layer)
        layer.bfloat16().float()
        assert describe(layer) != before


def test_weights_are_read_again_when_parts_come_or_go():
    net = make()
    before = describe(net)
    net.one = nn.Sequential(net.one)
    describe(net)
    net.one[0].weight.data += 1.0  # as merging an adapter does: torch counts no write
    net.one = net.one[0]
    assert describe(net) != before


def test_modules_in_lists_are_looked_at_like_others():
    net = make()
    describe(net)
    net.listed[0].register_forward_hook(lambda *_: None)
    with pytest.raises(Bypass, match="hook"):
        describe(net)
    net = make()
    net.listed.append(nn.Dropout(0.5))
    with pytest.raises(Bypass, match="training"):
        describe(net)


def test_another_thing_that_cannot_be_told_passes_calls_through():
    kind = type("Vocabulary", (), {"__module__": "elsewhere.vocabulary"})
    net = make()
    net.vocabulary = kind()
    before = describe(net)
    first, net.vocabulary = net.vocabulary, kind()
    for _ in range(2):
        with pytest.raises(Bypass, match="a Vocabulary was replaced"):
            describe(net)
    net.vocabulary = first
    assert describe(net) == before


def test_a_function_without_a_text_cannot_be_told():
    net = make()
    net.act = eval("lambda x: x")
    with pytest.raises(Bypass, match="no text"):
        describe(net)


class Writer:
    unknown = "?"

    def __init__(self):
        self.words, self.numbers, self.net = ["a", "b"], {"a": 0, "b": 1}, nn.LayerNorm(2).eval()

    def write(self, number):
        return self.words[number]


THINGS = {
    "list": lambda writer: writer.words.reverse(),
    "dict": lambda writer: writer.numbers.update(a=1),
    "module": lambda writer: writer.net.weight.detach().fill_(3),
    "method": lambda writer: setattr(writer, "write", double),
    "attribute": lambda writer: setattr(writer, "unknown", "!"),
}


@pytest.mark.parametrize("what", THINGS)
def test_objects_that_are_no_modules_are_told_as_well(what):
    used, fresh, before = Writer(), Writer(), describe(Writer())
    assert describe(used) == before
    THINGS[what](used)
    THINGS[what](fresh)
    assert before != describe(used) == describe(fresh)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "pack",
    [
        torch.jit.script,
        lambda layer: torch.jit.trace(layer, torch.ones(1, 4)),
        lambda layer: torch.ao.quantization.quantize_dynamic(nn.Sequential(layer)),
        torch.compile,
    ],
)
def test_layers_that_hide_their_weights_are_passed_through(pack):
    packed = pack(linear()).eval()
    for hiding in (packed, nn.Sequential(packed).eval()):
        with pytest.raises(Bypass, match="no-source"):
            describe(hiding)
    net = make()
    net.listed.append(packed)
    with pytest.raises(Bypass, match="no-source"):
        describe(net)


@dataclass
class Vocabulary:
    words: list[str]


def test_objects_that_are_equal_are_still_told_each_by_itself():
    one, other = Vocabulary(["a"]), Vocabulary(["a"])
    before = describe(one)
    assert describe(other) == before
    other.words.append("b")
    assert describe(one) == before != describe(other)


def test_what_cannot_be_referred_to_is_described_each_time():
    small = Small()
    before = describe(small)
    small.gain = 2.0
    assert describe(small) != before


def test_the_type_that_new_numbers_are_of_is_told():
    net = make()
    before = describe(net)
    torch.set_default_dtype(torch.float64)
    try:
        assert describe(net) != before
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_replaced_function_of_an_objects_class_passes_calls_through(monkeypatch):
    writer = Writer()
    describe(writer)
    monkeypatch.setattr(Writer, "write", lambda _, number: number)
    with pytest.raises(Bypass, match="write of Writer was replaced"):
        describe(writer)


def test_nothing_is_kept_alive():
    net, writer = make(), Writer()
    describe(net)
    describe(writer)
    things = [*net.modules(), *net.listed, net.hidden, net.helper, net.kept, net.one.weight]
    things += [writer, writer.net]
    alive = [weakref.ref(thing) for thing in things]
    del net, writer, things
    gc.collect()
    assert [ref() for ref in alive] == [None] * len(alive)
    assert all(who() is not None for who, _ in network._known.values())


def test_what_is_nested_without_end_is_passed_through():
    net = make()
    net.deep = net.number
    for _ in range(40):
        net.deep = [net.deep]
    with pytest.raises(Bypass, match="too deeply"):
        describe(net)
    net.deep = []
    net.deep.append(net.deep)
    assert describe(net) == describe(net)
