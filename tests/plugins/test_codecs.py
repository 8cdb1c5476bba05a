"""The audio codecs of transformers, as it is installed, with small random weights."""

import sys

import pytest
import torch
from stepaudio_cas_plugins import codecs

from stepaudio_cas.activation import patch
from stepaudio_cas.activation.registry import is_host
from tests.plugins.small_codecs import CODECS, SOUND, made, make

every_codec = pytest.mark.parametrize("name", CODECS, indirect=True)


@pytest.fixture
def name(request):
    return getattr(request, "param", "MimiModel")


def declared(name):
    [host] = [host for host in codecs.plugin.classes if host.name == name]
    return host


@pytest.fixture
def cache(name, monkeypatch, open_cache):
    """What the codec's class is patched with, for one test."""
    cache = open_cache()
    monkeypatch.setattr(patch, "shared_cache", lambda: cache)
    host, kind = declared(name), type(made(name))
    module = sys.modules[kind.__module__]
    assert module.__name__.rpartition(".")[2] in host.modules
    assert is_host(kind, host)
    for own in ("encode", "__init__"):
        monkeypatch.setattr(kind, own, vars(kind)[own])
    found = patch.patch_class(codecs.plugin, host, kind, vars(module), module.__name__)
    assert found == ["encode"]
    return cache


@pytest.fixture
def counts(cache):
    """What has been counted since it was last asked."""
    seen = {}

    def since():
        now = {
            name: number
            for name, number in cache.stats()["counters"].items()
            if name.startswith(("miss", "hit", "bypass", "error", "raised"))
        }
        new = {name: n - seen.get(name, 0) for name, n in now.items() if n != seen.get(name, 0)}
        seen.update(now)
        return new

    return since


@torch.no_grad()
def encode(model, sound=SOUND, **more):
    return model.encode(sound, **more)


@torch.no_grad()
def recipe(model, sound=SOUND, **more):
    return type(model).encode.__stepaudio_cas__.recipe(model, sound, **more)


def key(*args, **more):
    return recipe(*args, **more).key


def same(one, other):
    """Tell whether two results are alike: types, names, order, and every bit."""
    if type(one) is not type(other):
        return False
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[name], other[name]) for name in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


@every_codec
@pytest.mark.parametrize("more", [{}, {"return_dict": False}], ids=["output", "tuple"])
def test_a_hit_is_what_the_codec_returns_bit_for_bit(name, more, counts, open_cache):
    model = make(name)
    with torch.no_grad():
        plain = type(model).encode.__wrapped__(model, SOUND, **more)
    first, again = encode(model, **more), encode(model, **more)
    assert same(plain, first)
    assert same(plain, again)
    assert same(plain, encode(make(name), **more))
    assert counts() == {"miss": 1, "hit.memory": 2}
    if not more:
        assert again.audio_codes is again["audio_codes"]
        assert same(again.to_tuple(), plain.to_tuple())
    kept = open_cache(memory=0).get(recipe(model, **more))
    method = type(model).encode.__stepaudio_cas__.method
    assert same(plain, method.restore(model, {"input_values": SOUND}, kept))


def replace_a_weight(model):
    part = next(part for part in model.modules() if part._parameters)
    name, weight = next(iter(part._parameters.items()))
    setattr(part, name, torch.nn.Parameter(weight + 1))


CHANGES = [
    lambda model: next(model.parameters()).mul_(1.5),
    lambda model: [*model.parameters(), *model.buffers()][-1].add_(1),
    replace_a_weight,
    lambda model: model.load_state_dict(make(type(model).__name__, seed=2).state_dict()),
    lambda model: model.double(),
    lambda model: setattr(model, "further", torch.nn.ReLU().eval()),
    lambda model: setattr(model.config, "anything", 7),
    lambda model: setattr(model.config, "return_dict", False),
    lambda model: setattr(model.config, "_attn_implementation_internal", "another"),
]


@every_codec
def test_what_the_codec_computes_with_is_in_the_key(name, cache):
    first = key(make(name))
    assert first == key(make(name))
    keys = {first}
    for number, change in enumerate(CHANGES, 2):
        model = make(name)
        assert key(model) == first
        with torch.no_grad():
            change(model)
        keys.add(key(model))
        assert len(keys) == number, change
        assert key(model) in keys


@every_codec
def test_every_argument_is_in_the_key(name, cache):
    model = make(name)
    ways = [{}, {"return_dict": False}, *CODECS[name].arguments]
    keys = [key(model, **way) for way in ways] + [key(model, SOUND * 0.5)]
    assert len(set(keys)) == len(keys)


@every_codec
def test_the_code_of_all_layers_is_in_the_key(name, cache):
    files = recipe(make(name)).fingerprint.document.decode()
    for module in CODECS[name].modules:
        assert f'"modeling_{module}.' in files


def test_where_a_model_is_from_is_not_in_the_key(cache):
    model, other = make("MimiModel"), make("MimiModel")
    other.config._name_or_path = "/elsewhere"
    other.config.transformers_version = "99"
    assert key(model) == key(other)


def test_another_type_to_compute_in_is_in_the_key(cache):
    model = make("MimiModel")
    before = key(model)
    with torch.autocast("cpu", torch.bfloat16):
        assert key(model) != before
    assert key(model) == before


def train_a_part(model):
    next(iter(model.children())).train()


def hook(model):
    next(iter(model.children())).register_forward_hook(lambda *_: None)


def replace_forward(model):
    part = next(iter(model.children()))
    part.forward = part.forward


@every_codec
def test_a_model_with_effects_of_its_own_is_passed_through(name, counts):
    for spoil, reason in [
        (lambda model: model.train(), "training-mode"),
        (train_a_part, "training-mode"),
        (hook, "hooks"),
        (replace_forward, "hooks"),
    ]:
        model = make(name)
        spoil(model)
        encode(model)
        assert counts() == {f"bypass.{reason}": 1}


@every_codec
def test_a_call_that_records_gradients_is_passed_through(name, counts):
    make(name).encode(SOUND.clone().requires_grad_())
    assert counts() == {"bypass.gradients": 1}


def test_hooks_on_all_modules_are_seen(counts):
    hook = torch.nn.modules.module.register_module_forward_hook(lambda *_: None)
    try:
        encode(make("MimiModel"))
    finally:
        hook.remove()
    assert counts() == {"bypass.hooks": 1}


@every_codec
def test_inference_mode_is_as_good_as_no_grad(name, counts):
    model = make(name)
    with torch.inference_mode():
        first, again = model.encode(SOUND), model.encode(SOUND)
    assert same(first, again)
    assert counts() == {"miss": 1, "hit.memory": 1}


def test_what_the_codec_refuses_it_refuses_still(counts):
    with pytest.raises(ValueError, match="not enough values to unpack"):
        encode(make("MimiModel"), SOUND[0])
    assert counts() == {"raised": 1}


def test_a_stream_is_passed_through(counts):
    model = make("MimiModel")
    first = encode(model, use_streaming=True)
    assert counts() == {"bypass.stateful": 1}
    encode(model, padding_cache=first.padding_cache)
    encode(model, encoder_past_key_values=first.encoder_past_key_values)
    assert counts() == {"bypass.stateful": 2}
    model.config.use_streaming = True
    encode(model)
    assert counts() == {"bypass.stateful": 1}


def test_what_is_asked_for_besides_the_codes_is_kept_as_well(counts):
    model = make("MimiModel")
    first, again = (encode(model, output_hidden_states=True) for _ in range(2))
    assert len(first.hidden_states) > 1
    assert same(first, again)
    assert counts() == {"miss": 1, "hit.memory": 1}
    assert any(part._forward_hooks for part in model.modules())  # those of transformers
    encode(model)
    assert counts() == {"miss": 1}


def test_a_class_that_only_has_the_name_is_left_alone(cache, capfd):
    class MimiModel:
        def encode(self, wav): ...

    host = declared("MimiModel")
    assert patch.patch_class(codecs.plugin, host, MimiModel, {}, "modeling_mimi") == []
    assert not hasattr(MimiModel.encode, patch.MARK)
    said = "codecs: modeling_mimi.MimiModel.encode is left alone: its parameters are (wav)"
    assert capfd.readouterr().err.count(said) == 1


def test_the_mimi_of_transformers_4_is_known(cache):
    class MimiModel:
        def encode(
            self, input_values, padding_mask=None, num_quantizers=None,
            encoder_past_key_values=None, padding_cache=None, use_streaming=None, return_dict=None,
        ): ...  # fmt: skip

    host, names = declared("MimiModel"), vars(sys.modules[__name__])
    assert patch.patch_class(codecs.plugin, host, MimiModel, names, __name__) == ["encode"]
    assert list(MimiModel.encode.__stepaudio_cas__.method.arguments)[-1] == "return_dict"
