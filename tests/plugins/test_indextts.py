"""IndexTTS2: features of W2V-BERT, as transformers has it, small, with random weights."""

import pytest
import torch
from stepaudio_cas_plugins.indextts import plugin

from tests.plugins.proofs import misses, proves_a_hit, refused

FEATURES = torch.linspace(-1, 1, 8 * 30).sin().reshape(1, 30, 8)
MASK = torch.ones(1, 30, dtype=torch.int64)


@pytest.fixture
def start(start_host):
    """A model of a host that has just been started, and that start."""

    def start_(changes=(), name="infer_v2", **options):
        started = start_host(plugin)
        started.host = started.load("indextts2", name, changes)
        started.model = started.host.IndexTTS2(**options)
        return started

    return start_


@pytest.mark.parametrize("name", ["infer_v2", "infer_v2_5"])
def test_a_hit_is_what_the_host_computes_bit_for_bit(start, name):
    started = start(name=name)
    proves_a_hit(started, started.model.get_emb, FEATURES, MASK)


def test_a_second_start_computes_nothing(start):
    for runs in (["get_emb"], []):
        started = start()
        started.model.infer((FEATURES, MASK), "text")
        assert runs == started.host.RUNS


def zero(name):
    @torch.no_grad()
    def change(model):
        model.semantic_model.get_parameter(name).zero_()

    return change


def set_(name):
    return lambda model: setattr(model, name, getattr(model, name) + 1)


def cast(name):
    return lambda model: setattr(model, name, getattr(model, name).double())


CHANGES = {
    "features": (lambda _: None, (FEATURES * 2, MASK)),
    "mask": (lambda _: None, (FEATURES, MASK.tril())),
    "weights": (zero("feature_projection.projection.bias"), (FEATURES, MASK)),
    "mean in place": (lambda model: model.semantic_mean.add_(1), (FEATURES, MASK)),
    "mean": (set_("semantic_mean"), (FEATURES, MASK)),
    "deviation": (set_("semantic_std"), (FEATURES, MASK)),
    "type": (lambda model: model.semantic_model.double().float().half().float(), (FEATURES, MASK)),
    "mask, type": (lambda _: None, (FEATURES, MASK.bool())),
    "mean, type": (cast("semantic_mean"), (FEATURES, MASK)),
    "deviation, type": (cast("semantic_std"), (FEATURES, MASK)),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_another_ingredient_gives_another_key_at_once(start, kind):
    started = start()
    change, call = CHANGES[kind]
    assert misses(started, started.model.get_emb, FEATURES, MASK)
    change(started.model)
    assert misses(started, started.model.get_emb, *call)
    assert not misses(started, started.model.get_emb, *call)


def test_another_configuration_seed_and_code_give_other_keys(start):
    for options in (
        {},
        {"seed": 1},
        {"hidden_act": "relu"},
        {"layer_norm_eps": 1e-3},
        {"changes": {"hidden_states[17]": "hidden_states[16]"}},
    ):
        started = start(**options)
        assert misses(started, started.model.get_emb, FEATURES, MASK)


def test_training_mode_is_passed_through(start):
    started = start()
    started.model.semantic_model.train()
    started.model.get_emb(FEATURES, MASK)
    assert started.counts() == {"bypass.training-mode": 1}


def test_another_version_is_refused_with_a_line(start_host, capfd):
    changes = {"(self, input_features, attention_mask)": "(self, input_features)"}
    _, said = refused(start_host(plugin), "indextts2", "infer_v2", changes, capfd)
    assert len(said) == 1
    assert "its parameters are (input_features), this plugin knows" in said[0]
