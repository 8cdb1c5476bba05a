"""What modules hold besides weights: values of the standard library, helpers, vocabularies."""

import argparse
import decimal
import functools
import operator
import re
import subprocess
import sys
import threading
import types
from array import array
from collections import ChainMap, OrderedDict, UserDict
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pytest
import torch
from torch import nn

from stepaudio_cas.activation import network
from stepaudio_cas.errors import Bypass


def holding(**things):
    layer = nn.LayerNorm(2).eval()
    vars(layer).update(things)
    return Holding(layer, **things)


class Holding(nn.Module):
    def __init__(self, layer, **things):
        super().__init__()
        self.layer = layer
        vars(self).update(things)
        self.eval()


def describe(thing):
    return network.describe({"net": thing})


def times(factor):
    return lambda x: x * factor


OneSlot = type("OneSlot", (), {"__slots__": "gain"})


class Private:
    __slots__ = ("__gain",)

    def __init__(self, gain):
        self.__gain = gain


class Slotted:
    __slots__ = ("gain",)


class Both(Slotted):
    pass


@dataclass
class Options:
    gain: int = 1


@dataclass
class OtherOptions:
    gain: int = 1


def slotted(kind, gain):
    thing = kind()
    thing.gain = gain
    return thing


def doing_more(more):
    options = Options()
    options.more = more
    return options


def configured(gain):
    return pytest.importorskip("omegaconf").OmegaConf.create({"a": {"gain": gain}})


SAME_LINE = [lambda x: x, lambda x: -x]
UNLIKE = {
    "one slot": (slotted(OneSlot, 1), slotted(OneSlot, 2)),
    "private slot": (Private(1), Private(2)),
    "slot of a base": (slotted(Both, 1), slotted(Both, 2)),
    "class of options": (Options(), OtherOptions()),
    "more than fields": (doing_more(1), doing_more(2)),
    "namespace": (argparse.Namespace(a=1), argparse.Namespace(a=2)),
    "simple namespace": (types.SimpleNamespace(a=1), types.SimpleNamespace(a=2)),
    "dict of Python": (UserDict(a=1), UserDict(a=2)),
    "chain": (ChainMap({"a": 1}), ChainMap({"a": 2})),
    "proxy": (types.MappingProxyType({"a": 1}), types.MappingProxyType({"a": 2})),
    "pattern": (re.compile("a"), re.compile("b")),
    "flags": (re.compile("a"), re.compile("a", re.IGNORECASE)),
    "distribution": (torch.distributions.Normal(0.0, 1.0), torch.distributions.Normal(0.0, 2.0)),
    "getter": (operator.itemgetter(1), operator.itemgetter(2)),
    "decimal": (decimal.Decimal("1.5"), decimal.Decimal("2.5")),
    "span": (timedelta(1), timedelta(2)),
    "array": (array("f", [1.0]), array("f", [2.0])),
    "bytes": (bytearray(b"a"), bytearray(b"b")),
    "type of numbers": (np.dtype("<f4"), np.dtype(">f4")),
    "cached function": (functools.lru_cache(times(2)), functools.lru_cache(times(3))),
    "kind of an item": ({1}, {"1"}),
    "kind of a key": ({1: "a"}, {"1": "a"}),
    "order": (OrderedDict(a=1, b=2), OrderedDict(b=2, a=1)),
    "lambdas of one line": SAME_LINE,
}


@pytest.mark.parametrize("what", UNLIKE)
def test_what_is_unlike_is_told_apart(what):
    one, other = UNLIKE[what]
    used = holding(thing=one)
    before = describe(used)
    assert describe(used) == describe(holding(thing=one)) == before
    used.thing = used.layer.thing = other
    assert before != describe(used) == describe(holding(thing=other))


def test_options_read_from_a_file_are_told_and_reading_them_changes_nothing():
    options = configured(1)
    net = holding(options=options)
    before = describe(net)
    assert options.a.gain == 1
    assert describe(net) == before == describe(holding(options=configured(1)))
    options.a.gain = 2
    assert before != describe(net) == describe(holding(options=configured(2)))


CHANGED = {
    "what goes from a dict to an empty one": lambda net: net.empty.update(a=net.full.pop("a")),
    "a slot that was empty": lambda net: setattr(net.unset, "gain", 1),
    "bytes in place": lambda net: net.raw.append(1),
    "numbers in place": lambda net: net.numbers.append(1.0),
    "a word of many": lambda net: net.words.__setitem__(50, "x"),
    "a number of many": lambda net: net.ids.update(w50=-1),
    "a word's type of many": lambda net: net.ids.update(w1=True),
    "the name of one of many": lambda net: net.ids.update(x=net.ids.pop("w99")),
    "kind of a long dict": lambda net: setattr(net, "ids", OrderedDict(net.ids)),
}


def many():
    words = [f"w{number}" for number in range(100)]
    ids = {word: number for number, word in enumerate(words)}
    return holding(
        empty={}, full={"a": 1}, unset=Slotted(), raw=bytearray(b"a"), numbers=array("f", [1.0]),
        words=words, ids=ids,
    )  # fmt: skip


@pytest.mark.parametrize("what", CHANGED)
def test_what_changes_in_its_place_is_seen(what):
    used, fresh = many(), many()
    before = describe(used)
    assert describe(used) == before
    CHANGED[what](used)
    CHANGED[what](fresh)
    assert before != describe(used) == describe(fresh)


class Helper:
    gain = 1.0

    def amplify(self, x):
        return x * self.gain


def test_the_class_of_a_helper_is_told(monkeypatch):
    net = holding(helper=Helper())
    before = describe(net)
    assert Helper in network.kinds({"net": net})
    with monkeypatch.context() as patched:
        patched.setattr(Helper, "gain", 2.0)
        assert before != describe(net) == describe(holding(helper=Helper()))
    assert describe(net) == before
    monkeypatch.setattr(Helper, "amplify", lambda _, x: -x)
    with pytest.raises(Bypass, match="amplify of Helper was replaced"):
        describe(net)


def test_layers_in_things_of_a_package_that_is_met_later_are_looked_at():
    kind = type("Thing", (), {"__module__": "elsewhere.things"})
    layer = type("Layer", (nn.LayerNorm,), {"__module__": "elsewhere.layers"})
    thing = kind()
    thing.inner = nn.LayerNorm(2).eval()
    net = Holding(layer(2), thing=thing)
    before = describe(net)
    with torch.no_grad():
        thing.inner.weight.fill_(2)
    assert describe(net) != before


class Named(dict):
    __getattr__ = dict.__getitem__

    def __bool__(self):
        raise ValueError


class Difficult:
    def refuse(self, *_):
        raise ValueError

    __getattr__ = __eq__ = __len__ = __iter__ = __bool__ = __repr__ = __str__ = __hash__ = refuse


class Asking:
    asked = 0

    @property
    def costly(self):
        type(self).asked += 1
        return 1


def test_what_is_difficult_is_asked_nothing():
    net = holding(named=Named(a=1), one=Difficult(), more=[Difficult(), (Difficult(),)])
    vars(net)["asking"] = Asking()
    before = describe(net)
    assert describe(net) == before
    assert Asking.asked == 0
    net.named["a"] = 2
    assert describe(net) != before


class Deriving(nn.Module):
    def __init__(self):
        super().__init__()
        self._table = torch.ones(2)

    @property
    def table(self):
        if self._table is None:
            self._table = self.made_when_it_was_loaded()
        return self._table


def test_what_cannot_be_computed_again_is_told_by_its_content():
    net, other = Deriving().eval(), Deriving().eval()
    other._table.fill_(2)
    assert describe(net) != describe(other)


def test_a_sparse_attribute_is_passed_through_with_a_reason():
    with pytest.raises(Bypass, match="unsupported-tensor"):
        describe(holding(thing=torch.eye(2).to_sparse()))


def test_what_a_call_leaves_behind_for_the_next_does_not_count():
    transformers = pytest.importorskip("transformers")
    config = transformers.Wav2Vec2BertConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        feature_projection_input_dim=8, conv_depthwise_kernel_size=3,
        position_embeddings_type="rotary",
    )  # fmt: skip
    model = transformers.Wav2Vec2BertModel(config).eval()
    before = describe(model)
    for length in (20, 30):
        with torch.no_grad():
            model(torch.ones(1, length, 8))
        assert describe(model) == before


ELSEWHERE = """
import torch
from torch import nn
from stepaudio_cas.activation import network

class Helper:
    pass

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.keys = {"a", "b", "c", ("d", 1)}, {str: 1, Helper: 2, None: 3, 4: 5}
        self.test = lambda x: x in {"a", "b", "c"}
        self.helper, self.kinds = Helper(), frozenset(map(str, range(9)))

print(network.describe({"net": Net().eval()}))
"""


def test_keys_are_the_same_in_processes_that_order_sets_otherwise(tmp_path):
    told = set()
    for seed in ("1", "2", "3"):
        script = tmp_path / seed / "host.py"
        script.parent.mkdir()
        script.write_text(ELSEWHERE)
        done = subprocess.run(
            [sys.executable, script],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(filter(None, sys.path))},
            capture_output=True,
            text=True,
            check=True,
        )
        told.add(done.stdout)
    assert len(told) == 1


def test_calls_at_once_while_weights_are_cast_tell_what_is_there_at_the_end():
    net, done = nn.Sequential(*[nn.Linear(8, 8) for _ in range(8)]).eval(), threading.Event()

    def call():
        while not done.is_set():
            describe(net)

    threads = [threading.Thread(target=call) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for kind in [torch.float16, torch.bfloat16, torch.float64] * 5:
            net.to(kind)
        with torch.no_grad():
            net[0].weight.fill_(1)
    finally:
        done.set()
        for thread in threads:
            thread.join()
    now = describe(net)
    network._known.clear()
    assert describe(net) == now
