"""What a plugin says of results of a host's own class, and of hosts of several versions."""

import pytest

from stepaudio_cas.activation import patch
from stepaudio_cas.activation.plugin import (
    Bypass,
    HostClass,
    Method,
    Plugin,
    content,
    digest,
    value,
)
from tests.activation.in_process import ENCODER, model, plugin
from tests.runtime.helpers import GENEROUS

OWN_CLASS = (
    ENCODER.replace(
        "return shift(self.quantise(list(audio)))",
        "return Codes(shift(self.quantise(list(audio))))",
    )
    + """
class Codes:
    def __init__(self, codes):
        self.codes = codes
    def __eq__(self, other):
        return type(self) is type(other) and self.codes == other.codes
"""
)


def packing(module_of, pack=lambda result: {"codes": result.codes}):
    def restore(instance, arguments, kept):
        return module_of().Codes(kept["codes"])

    return plugin(pack=pack, restore=restore)


@pytest.fixture
def packed(loader):
    made = loader.patch(loader.module(OWN_CLASS), packing(lambda: made))
    return made


def test_a_result_of_an_own_class_is_packed_and_made_again(packed, loader, open_cache):
    one = packed.Encoder()
    first, again = one.encode(b"ab"), one.encode(b"ab")
    assert first == again == packed.Codes([195, 197])
    assert first is not again
    assert loader.counters() == {"miss": 1, "hit.memory": 1}
    recipe = packed.Encoder.encode.__stepaudio_cas__.recipe(one, b"ab")
    assert open_cache(memory=0).get(recipe) == {"codes": [195, 197]}


def test_a_result_that_cannot_be_packed_is_still_the_hosts(loader):
    made = loader.patch(loader.module(OWN_CLASS), packing(lambda: made, pack=lambda _: 1 / 0))
    assert made.Encoder().encode(b"a") == made.Codes([195])
    assert loader.counters() == {"error.internal": 1}
    made = loader.patch(loader.module(OWN_CLASS), packing(lambda: made, pack=lambda one: one))
    assert made.Encoder().encode(b"a") == made.Codes([195])
    assert loader.counters()["bypass.unsupported-result"] == 1


def test_a_hit_that_is_verified_is_compared_as_it_was_packed(monkeypatch, loader, open_cache):
    loader.cache = open_cache(verify=1.0)
    made = loader.patch(loader.module(OWN_CLASS), packing(lambda: made))
    one = made.Encoder()
    for _ in range(2):
        one.encode(b"a")
    assert loader.cache._shadow.queue.flush(GENEROUS) == 0
    assert loader.cache.stats()["counters"]["shadow.equal"] == 1


def versions(*methods):
    return Plugin("test", [HostClass("Encoder", ["encoder"], ["encode", "quantise"], methods)])


NOW = Method("encode", {"audio": content(), "rate": value(), "trim": value()}, model)
BEFORE = Method("encode", {"audio": content(), "session": value()}, model)
OLDER = Method("encode", {"wav": content()}, model)


@pytest.mark.parametrize("methods", [[NOW, BEFORE], [BEFORE, NOW], [BEFORE, NOW, OLDER, NOW]])
def test_of_several_versions_of_a_method_the_one_that_fits_is_taken(methods, loader, capfd):
    made = loader.patch(loader.module(), versions(*methods))
    assert made.Encoder.encode.__stepaudio_cas__.method is NOW
    assert capfd.readouterr().err == ""


def test_if_none_fits_that_is_said_once(loader, capfd):
    made = loader.patch(loader.module(), versions(BEFORE, OLDER))
    assert not hasattr(made.Encoder.encode, patch.MARK)
    said = capfd.readouterr().err
    assert said.count("is left alone") == 1
    assert "its parameters are (audio, rate, trim), this plugin knows (audio, session)" in said


def test_content_that_may_be_left_out_is_in_the_key_as_none(loader):
    arguments = {"audio": content(), "rate": content(), "trim": value()}
    made = loader.patch(loader.module(), plugin(arguments=arguments))
    one = made.Encoder()
    for rate in (None, None, b"r", b"r"):
        one.encode(b"a", rate)
    assert loader.counters() == {"miss": 2, "hit.memory": 2}


def test_a_plugin_passes_calls_through_with_a_reason_of_its_own(loader):
    def refuse(_):
        raise Bypass("in-training", "call its eval()")

    made = loader.patch(loader.module(), plugin(model=refuse))
    made.Encoder().encode(b"a")
    assert loader.counters() == {"bypass.in-training": 1}


def test_digests_for_settings_tell_content():
    import numpy as np

    assert digest(b"a") == digest(b"a") != digest(b"b")
    assert digest(np.arange(3)) == digest(np.arange(6)[::2] // 2) != digest(np.arange(4))
