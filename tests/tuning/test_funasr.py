"""FunASR's encoder, another one in its place, and compiled: the part that needs no FunASR."""

import copy
import functools

import pytest
import torch
from stepaudio_cas_plugins import tuning_funasr
from stepaudio_cas_plugins.tuning_funasr import patch_models

from stepaudio_cas.tuning.effects import EFFECTIVE, SKIPPED


class Layer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(4, 4)

    def forward(self, x):
        return self.linear(x).relu()

    def forward_chunk(self, x, cache):
        cache["seen"] = cache.get("seen", 0) + 1
        if x.dim() != 2:
            raise ValueError("the host's own")
        return self.forward(x)


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = torch.nn.Module()
        self.encoder.encoders = torch.nn.ModuleList([Layer(), Layer()])


@pytest.fixture
def load(plan, effects, tmp_path):
    """Load models of a class like FunASR's by a plan; each notes what it was given."""

    def load_(text, **kwargs):
        class AutoModel:
            def __init__(self, **given):
                if "broken" in given["model"]:
                    raise RuntimeError("no such encoder")
                self.given, self.model, self.repo_path = given, Network(), "elsewhere"
                self.kwargs = {"encoder_conf": {"output_size": given.get("width", 4)}}

            def build_model(self):
                pass

            def generate(self):
                pass

        patch_models({"AutoModel": AutoModel}, plan(text))
        once = AutoModel.__init__
        patch_models({"AutoModel": AutoModel}, plan(text))
        assert AutoModel.__init__ is once
        return AutoModel(**kwargs)

    return load_


@pytest.fixture(
    params=["nothing", pytest.param("torch's own", marks=pytest.mark.soak)]  # 10 s to import
)
def eager(monkeypatch, request):
    """Compile without a compiler: by doing nothing, and by what torch has for the purpose."""
    own = functools.partial(torch.compile, backend="eager")
    monkeypatch.setattr(
        torch, "compile", lambda f, mode=None: f if request.param == "nothing" else own(f)
    )
    tuning_funasr.cannot_compile.cache_clear()
    yield
    tuning_funasr.cannot_compile.cache_clear()


def encoder(folder, width):
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(f"encoder_conf:\n  output_size: {width}\n")
    return str(folder)


def test_another_encoder_is_found_beside_the_hosts(load, tmp_path, states):
    own, other = encoder(tmp_path / "m/own/v1", 4), encoder(tmp_path / "m/lighter", 4)
    root = str(tmp_path / "m")
    model = load("encoder=lighter", model=own, model_revision="main", repo_path=root, hub="ms")
    assert model.given == {
        "model": other, "model_revision": "main", "repo_path": root, "hub": "ms",
    }  # fmt: skip
    assert model.repo_path == root
    assert states()["encoder=lighter", "v1"][0] == EFFECTIVE


def test_an_encoder_that_is_nowhere_here_is_an_id_for_the_hub(load, tmp_path):
    own = encoder(tmp_path / "own", 4)
    model = load("encoder=iic/small", model=own, model_revision="main", model_hub="local")
    assert model.given == {"model": "iic/small", "model_hub": "ms"}


def test_an_encoder_of_another_width_is_not_even_loaded(load, tmp_path, states):
    own, other = encoder(tmp_path / "own", 4), encoder(tmp_path / "broken", 8)
    assert load(f"encoder={other}", model=own).given == {"model": own}
    state, why = states()[f"encoder={other}", "own"]
    assert state == SKIPPED
    assert "8 wide and those of the host's 4" in why


def test_nor_used_where_that_is_seen_only_after_loading(load, tmp_path, states):
    own = encoder(tmp_path / "own", 3)
    model = load("encoder=iic/small", model=own, width=4)
    assert model.given["model"] == own
    assert states()["encoder=iic/small", "own"][0] == SKIPPED


def test_an_encoder_that_cannot_be_loaded_leaves_the_host_its_own(load, tmp_path, states):
    own = encoder(tmp_path / "own", 4)
    assert load("encoder=iic/broken", model=own).given == {"model": own}
    state, why = states()["encoder=iic/broken", "own"]
    assert state == SKIPPED
    assert "no such encoder; the host's own encoder is used" in why


def test_what_is_wrong_with_the_hosts_own_is_raised_as_without_us(load):
    with pytest.raises(RuntimeError, match="no such encoder"):
        load("encoder=iic/broken", model="broken/own")


def test_compiled_layers_answer_as_before_and_say_that_they_are(load, eager, states, effects):
    torch.manual_seed(1)
    model = load("compile", model="own")
    layer, x, cache = model.model.encoder.encoders[0], torch.randn(3, 4), {}
    assert (layer.forward_chunk(x, cache) == layer.linear(x).relu()).all()
    assert (layer(x) == layer.linear(x).relu()).all()
    assert cache == {"seen": 1}
    assert states() == {("compile", "Module"): (EFFECTIVE, "2 layers")}
    assert effects.of([model]) == effects.of([model, model.model]) != {}


def test_a_deep_copy_computes_with_its_own_weights_and_says_nothing(load, eager, effects):
    model = load("compile", model="own")
    other = copy.deepcopy(model.model)
    layer = other.encoder.encoders[0]
    assert layer.forward.__self__ is layer
    assert effects.of([model.model])
    assert not effects.of([other])


def test_what_the_host_raises_in_a_compiled_layer_is_its_own(load, eager, effects):
    model = load("compile", model="own")
    with pytest.raises(ValueError, match="the host's own"):
        model.model.encoder.encoders[0].forward_chunk(torch.ones(2, 3, 4), {})
    assert effects.of([model]) != {}


def test_where_nothing_can_be_compiled_it_is_said_and_left(load, states, effects, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("no compiler")

    monkeypatch.setattr(torch, "compile", broken)
    tuning_funasr.cannot_compile.cache_clear()
    model = load("compile", model="own")
    tuning_funasr.cannot_compile.cache_clear()
    assert "forward" not in vars(model.model.encoder.encoders[0])
    (state, why) = states()["compile", "Module"]
    assert (state, why) == (
        SKIPPED, "torch.compile does not work here: RuntimeError: no compiler",
    )  # fmt: skip
    assert effects.of([model]) == {}


def test_what_fails_at_work_runs_as_it_was_and_is_out_of_the_fingerprint(
    load, states, effects, monkeypatch
):
    def fails(*_):
        raise RuntimeError("at work")

    monkeypatch.setattr(torch, "compile", lambda f, **_: fails)
    monkeypatch.setattr(tuning_funasr, "cannot_compile", lambda device: "")
    model = load("compile", model="own")
    assert effects.of([model]) != {}
    layer, x = model.model.encoder.encoders[0], torch.randn(3, 4)
    assert (layer.forward_chunk(x, {}) == layer.linear(x).relu()).all()
    assert effects.of([model]) == {}
    state, why = states()["compile", "Module"]
    assert state == SKIPPED
    assert "RuntimeError: at work" in why


def test_a_class_of_that_name_that_is_another_is_left_alone(plan, effects):
    class AutoModel:
        pass

    patch_models({"AutoModel": AutoModel}, plan("compile"))
    assert "__init__" not in vars(AutoModel)
    patch_models({}, plan("compile"))
