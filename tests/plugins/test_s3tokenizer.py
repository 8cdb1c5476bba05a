"""s3tokenizer as PyPI has it, small, with random weights."""

import sys

import pytest
import s3tokenizer
import torch
from s3tokenizer.model import ModelConfig, S3Tokenizer
from s3tokenizer.model_v2 import ModelConfig as ModelConfigV2
from s3tokenizer.model_v2 import S3TokenizerV2
from s3tokenizer.model_v3 import ModelConfigV3, S3TokenizerV3
from stepaudio_cas_plugins.s3tokenizer import plugin

from stepaudio_cas.activation.patch import misfit
from tests.plugins.proofs import misses, proves_a_hit

VERSIONS = {
    "v1": (S3Tokenizer, ModelConfig, "speech_tokenizer_v1"),
    "v2": (S3TokenizerV2, ModelConfigV2, "speech_tokenizer_v2_25hz"),
    "v3": (S3TokenizerV3, ModelConfigV3, "speech_tokenizer_v3_25hz"),
}
MEL = torch.linspace(-1, 1, 128 * 40).sin().reshape(1, 128, 40)
LENGTH = torch.tensor([40])


def tokenizer(version, seed=0, name="", **config):
    kind, configured, usual = VERSIONS[version]
    torch.manual_seed(seed)
    made = kind(
        name or usual,
        configured(**{"n_audio_state": 128, "n_audio_head": 2, "n_audio_layer": 1} | config),
    )
    made.load_state_dict({n: torch.randn_like(t) * 0.1 for n, t in made.state_dict().items()})
    return made.eval()


@pytest.fixture(params=VERSIONS)
def version(request):
    return request.param


@pytest.fixture
def start(start_host):
    """A start of a host that has imported the package."""

    def start_(**settings):
        started = start_host(plugin, **settings)
        for kind, _, _ in VERSIONS.values():
            assert started.patch(sys.modules[kind.__module__]) == ["quantize"]
        return started

    return start_


def test_a_hit_is_what_the_package_computes_bit_for_bit(start, version):
    started = start()
    proves_a_hit(started, tokenizer(version).quantize, MEL, LENGTH)


def test_calling_the_module_is_cached_as_well(start, version):
    started = start()
    quantizer = tokenizer(version)
    assert misses(started, quantizer, MEL, LENGTH)
    assert not misses(started, quantizer.quantize, MEL, LENGTH)


def test_another_start_with_the_same_weights_hits(start, version):
    tokenizer_of_a_start = tokenizer(version)
    assert misses(start(), tokenizer_of_a_start.quantize, MEL, LENGTH)
    assert not misses(start(), tokenizer(version).quantize, MEL, LENGTH)


INPUTS = {
    "mel": (MEL * 2, LENGTH),
    "mel, shape": (MEL[:, :, :20], torch.tensor([20])),
    "length": (MEL, torch.tensor([30])),
    "length, dtype": (MEL, LENGTH.int()),
    "batch": (MEL.repeat(2, 1, 1), LENGTH.repeat(2)),
}


@pytest.mark.parametrize("kind", INPUTS)
def test_another_input_gives_another_key(start, kind):
    started = start()
    quantizer = tokenizer("v2")
    quantizer.quantize(MEL, LENGTH)
    assert misses(started, quantizer.quantize, *INPUTS[kind])


def write(quantizer):
    with torch.no_grad():
        next(quantizer.parameters()).add_(1e-3)


def load_other(quantizer):
    state = {name: tensor + 1e-3 for name, tensor in quantizer.state_dict().items()}
    quantizer.load_state_dict(state)


def replace(quantizer):
    quantizer.encoder.conv1.bias = torch.nn.Parameter(quantizer.encoder.conv1.bias + 1)


def point_elsewhere(quantizer):
    quantizer.encoder.conv1.bias.data = quantizer.encoder.conv1.bias.data + 1


@torch.no_grad()
def stand_in(quantizer):
    """Put another tensor in the place of one: at the same address, as often written to."""
    bias = quantizer.encoder.conv1.bias
    other = torch.nn.Parameter(bias.data)
    bias.data.add_(1)
    while other._version < bias._version:
        other.mul_(1)
    quantizer.encoder.conv1.bias = other


@pytest.mark.parametrize("change", [write, load_other, replace, point_elsewhere, stand_in])
def test_weights_that_change_in_memory_give_another_key_at_once(start, change):
    started = start()
    quantizer = tokenizer("v2")
    assert misses(started, quantizer.quantize, MEL, LENGTH)
    change(quantizer)
    assert misses(started, quantizer.quantize, MEL, LENGTH)
    assert not misses(started, quantizer.quantize, MEL, LENGTH)


OTHERS = {
    "weights": {"seed": 1},
    "heads": {"n_audio_head": 4},
    "attention": {"use_sdpa": True},
    "name": {"name": "speech_tokenizer_v1_25hz"},
    "layers": {"n_audio_layer": 2},
}


def built(**options):
    if "n_audio_head" in options:  # the same weights, read otherwise
        made = tokenizer("v1")
        for block in made.encoder.blocks:
            block.attn.n_head = options["n_audio_head"]
        return made
    return tokenizer("v1", **options)


@pytest.mark.parametrize("kind", OTHERS)
def test_another_model_gives_another_key(start, kind):
    assert misses(start(), tokenizer("v1").quantize, MEL, LENGTH)
    assert misses(start(), built(**OTHERS[kind]).quantize, MEL, LENGTH)


def blocks(quantizer):
    return quantizer.encoder.blocks[0]


SET = {
    "eps of attention": lambda q: setattr(blocks(q).attn_ln, "eps", 1e-3),
    "eps of feed-forward": lambda q: setattr(blocks(q).mlp_ln, "eps", 1e-3),
    "activation": lambda q: blocks(q).mlp.__setitem__(1, torch.nn.ReLU()),
    "configuration": lambda q: setattr(q.config, "n_codebook_size", 17),
}


@pytest.mark.parametrize("kind", SET)
def test_another_setting_of_a_layer_gives_another_key_at_once(start, version, kind):
    started = start()
    quantizer = tokenizer(version)
    assert misses(started, quantizer.quantize, MEL, LENGTH)
    SET[kind](quantizer)
    assert misses(started, quantizer.quantize, MEL, LENGTH)


def mask_to_bias(mask, dtype):
    return (1.0 - mask.to(dtype)) * -1.0e9


@pytest.mark.parametrize("module", ["model", "model_v2", "model_v3"])
def test_another_function_in_the_place_of_the_packages_gives_another_key(
    start, monkeypatch, module
):
    started = start()
    quantizer = tokenizer("v1" if module == "model" else module[-2:])
    assert misses(started, quantizer.quantize, MEL, LENGTH)
    monkeypatch.setattr(sys.modules[f"s3tokenizer.{module}"], "mask_to_bias", mask_to_bias)
    assert misses(started, quantizer.quantize, MEL, LENGTH)


def test_casting_the_model_gives_another_key(start):
    started = start()
    quantizer = tokenizer("v1")
    assert misses(started, quantizer.quantize, MEL, LENGTH)
    assert misses(started, quantizer.to(torch.bfloat16).quantize, MEL, LENGTH)


def test_a_precision_that_torch_was_told_of_gives_another_key(start):
    started = start()
    quantizer = tokenizer("v1")
    assert misses(started, quantizer.quantize, MEL, LENGTH)
    with torch.autocast("cpu", torch.bfloat16):
        assert misses(started, quantizer.quantize, MEL, LENGTH)
    assert not misses(started, quantizer.quantize, MEL, LENGTH)


def test_the_place_of_the_checkpoint_is_not_in_the_key(start):
    named = "/models/{}/speech_tokenizer_v2_25hz.onnx".format
    assert misses(start(), tokenizer("v2", name=named("a")).quantize, MEL, LENGTH)
    assert not misses(start(), tokenizer("v2", name=named("b")).quantize, MEL, LENGTH)


def test_a_model_on_which_nobody_called_eval_is_cached_as_it_knows_no_training(start, version):
    started = start()
    proves_a_hit(started, tokenizer(version).train().quantize, MEL, LENGTH)


class Noisy(S3Tokenizer):
    """A host's own, which knows training."""

    def __init__(self, *args):
        super().__init__(*args)
        self.dropout = torch.nn.Dropout(0.5)


def test_a_subclass_in_training_mode_is_passed_through(start):
    started = start()
    config = ModelConfig(n_audio_state=64, n_audio_head=1, n_audio_layer=1)
    noisy = Noisy("speech_tokenizer_v1", config)
    noisy.quantize(MEL, LENGTH)
    assert started.counts() == {"bypass.training-mode": 1}
    noisy.eval()
    assert misses(started, noisy.quantize, MEL, LENGTH)


def test_a_model_with_hooks_is_passed_through(start):
    started = start()
    quantizer = tokenizer("v1")
    quantizer.encoder.register_forward_hook(lambda module, args, result: result)
    quantizer.quantize(MEL, LENGTH)
    assert started.counts() == {"bypass.hooks": 1}


def test_weights_whose_writes_are_not_counted_are_passed_through(start):
    started = start()
    with torch.inference_mode():
        quantizer = tokenizer("v1")
    quantizer.quantize(MEL, LENGTH)
    assert started.counts() == {"bypass.untracked-weights": 1}


def test_results_can_be_written_to(start):
    start()
    quantizer = tokenizer("v2")
    quantizer.quantize(MEL, LENGTH)
    codes, lengths = quantizer.quantize(MEL, LENGTH)
    codes[0, 0], lengths[0] = 7, 1
    assert quantizer.quantize(MEL, LENGTH)[0][0, 0] != 7


def test_another_version_of_quantize_does_not_fit():
    def quantize(self, mel, mel_len, return_hidden=False):
        return mel, mel_len, return_hidden

    [method] = plugin.classes[0].methods
    assert "return_hidden" in misfit(method, quantize)
    assert misfit(method, s3tokenizer.S3TokenizerV2.quantize.__wrapped__) == ""
