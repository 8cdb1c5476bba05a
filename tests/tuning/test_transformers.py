"""Language models that the real transformers loads, in fewer bits and with another attention."""

import pytest
import torch
import transformers
from stepaudio_cas_plugins import tuning_transformers
from stepaudio_cas_plugins.tuning_transformers import patch_models

from stepaudio_cas.tuning.effects import EFFECTIVE, SKIPPED, UNCHANGED

SMALL = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1,
    "num_attention_heads": 2, "vocab_size": 64, "max_position_embeddings": 64,
}  # fmt: skip
needs_bitsandbytes = pytest.mark.skipif(
    bool(tuning_transformers.trouble("llm", {"llm": "4bit"})), reason="no bitsandbytes here"
)
quiet = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def tune(plan, effects, monkeypatch):
    kind = transformers.modeling_utils.PreTrainedModel
    monkeypatch.setattr(kind, "from_pretrained", vars(kind)["from_pretrained"])
    return lambda text: patch_models(vars(transformers.modeling_utils), plan(text))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("models") / "speaker"
    torch.manual_seed(1)
    transformers.LlamaForCausalLM(transformers.LlamaConfig(**SMALL)).save_pretrained(made)
    return str(made)


@needs_bitsandbytes
@quiet
@pytest.mark.parametrize("kind", ["LlamaForCausalLM", "AutoModelForCausalLM"])
def test_a_language_model_is_loaded_in_four_bits(tune, folder, kind, states, effects):
    tune("llm=4bit")
    model = getattr(transformers, kind).from_pretrained(folder)
    assert model.is_loaded_in_4bit
    layer = model.model.layers[0].mlp.up_proj
    assert "4bit" in type(layer).__name__
    assert model(torch.tensor([[1, 2, 3]])).logits.isfinite().all()
    assert states() == {("llm=4bit", "speaker"): (EFFECTIVE, "")}
    assert effects.of([model]) == {"0 LlamaForCausalLM": {"llm": "4bit"}}


@needs_bitsandbytes
@quiet
def test_eight_bits_and_another_attention_together(tune, folder, effects):
    tune("llm=8bit,attention=eager")
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    assert model.is_loaded_in_8bit
    assert model.config._attn_implementation == "eager"
    assert effects.of([model]) == {"0 LlamaForCausalLM": {"llm": "8bit", "attention": "eager"}}


@quiet
def test_without_bitsandbytes_it_is_loaded_as_it_is(tune, folder, states, effects, monkeypatch):
    find = tuning_transformers.importlib.util.find_spec
    monkeypatch.setattr(
        tuning_transformers.importlib.util,
        "find_spec",
        lambda name: None if name == "bitsandbytes" else find(name),
    )
    tune("llm=4bit,attention=eager")
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    assert states()["llm=4bit", "speaker"] == (SKIPPED, "bitsandbytes is not installed")
    assert effects.of([model]) == {"0 LlamaForCausalLM": {"attention": "eager"}}


@quiet
def test_what_the_host_quantises_itself_is_left_to_it(tune, folder, states, effects):
    tune("llm=8bit")
    own = transformers.BitsAndBytesConfig(load_in_4bit=True)
    try:
        model = transformers.LlamaForCausalLM.from_pretrained(folder, quantization_config=own)
    except ImportError:
        pytest.skip("no bitsandbytes here")
    assert model.is_loaded_in_4bit
    assert states()["llm=8bit", "speaker"][0] == UNCHANGED
    assert effects.of([model]) == {}


@quiet
def test_an_attention_that_needs_a_gpu_is_skipped_and_the_host_has_its_own(
    tune, folder, states, effects
):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    tune("attention=flash_attention_2")
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    assert model.config._attn_implementation == "sdpa"
    assert states() == {
        ("attention=flash_attention_2", "speaker"): (SKIPPED, "there is no CUDA device")
    }
    assert effects.of([model]) == {}


@quiet
def test_an_attention_that_cannot_be_loaded_costs_the_bits_nothing(
    tune, folder, states, effects, monkeypatch
):
    """transformers refuses what its model does not have; then each word is tried alone."""
    monkeypatch.setattr(
        tuning_transformers, "_quantisation", lambda *_: ({"attn_implementation": "sdpa"}, "", "")
    )
    monkeypatch.setattr(
        tuning_transformers, "_attention", lambda *_: ({"attn_implementation": "none/such"}, "", "")
    )
    monkeypatch.setattr(
        tuning_transformers, "_in_force", lambda model, word: {"llm": "4bit"}.get(word, "")
    )
    tune("llm=4bit,attention=eager")
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    assert model.config._attn_implementation == "sdpa"
    assert states()["llm=4bit", "speaker"][0] == EFFECTIVE
    assert states()["attention=eager", "speaker"][0] == SKIPPED
    assert effects.of([model]) == {"0 LlamaForCausalLM": {"llm": "4bit"}}


@quiet
def test_other_models_than_language_models_are_left_alone(tune, tmp_path, states):
    transformers.LlamaModel(transformers.LlamaConfig(**SMALL)).save_pretrained(tmp_path / "m")
    tune("attention=eager")
    model = transformers.LlamaModel.from_pretrained(tmp_path / "m")
    assert model.config._attn_implementation == "sdpa"
    assert states() == {}


@quiet
def test_a_folder_that_is_not_there_raises_what_transformers_raises(tune, tmp_path, states):
    missing = str(tmp_path / "none")
    with pytest.raises(OSError) as plain:
        transformers.LlamaForCausalLM.from_pretrained(missing)
    tune("attention=eager")
    with pytest.raises(OSError) as tuned:
        transformers.LlamaForCausalLM.from_pretrained(missing)
    assert str(tuned.value) == str(plain.value)
    assert states() == {}
