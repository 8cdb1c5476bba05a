"""`funasr.AutoModel`: what else than its files makes a model another one."""
# ruff: noqa: F811 - fixtures

import copy
import json
import shutil

import pytest
import torch
import yaml
from stepaudio_cas_plugins import tuning_funasr

from stepaudio_cas.tuning.effects import effects
from tests.plugins.listening import make_vad_model
from tests.plugins.test_funasr_models import (  # noqa: F401 - fixtures
    CHANGES,
    asks,
    folder,
    funasr,
    host,
    load,
    made,
    older,
    recordings,
    rewrite,
)


def teach(model):
    model.model.load_state_dict({n: t * -1.5 for n, t in model.model.state_dict().items()})


def replace(model):
    other = copy.deepcopy(model.model)
    other.ctc.ctc_lo.bias.data += torch.arange(len(other.ctc.ctc_lo.bias))
    model.model = other


@pytest.mark.parametrize("change", [teach, replace])
def test_a_model_that_is_another_since_it_was_loaded_is_told_apart(host, load, recordings, change):
    model = load()
    assert asks(host, model, recordings[0], {}, {}) == ["miss", "hit"]
    change(model)
    assert asks(host, model, recordings[0], {}, {}) == ["miss", "hit"]
    assert model.generate(recordings[0]) == host.plain(model, recordings[0])


def test_how_a_model_is_run_is_seen(host, load, recordings):
    model = load()
    model.generate(recordings[0])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert asks(host, model, recordings[0], {}, {}) == ["miss", "hit"]
    model.model.encoder.register_forward_hook(lambda _module, _given, out: (-out[0], out[1]))
    assert asks(host, model, recordings[0], {}) == ["hooks"]


@pytest.mark.parametrize("what", ["statistics", "bpe"])
def test_a_file_in_the_working_directory_is_told_by_what_is_in_it(
    host, load, folder, recordings, tmp_path, monkeypatch, what
):
    monkeypatch.chdir(tmp_path)
    [conf, option, name] = {
        "statistics": ("frontend_conf", "cmvn_file", "am.mvn"),
        "bpe": ("tokenizer_conf", "bpemodel", "chn_jpn_yue_eng_ko_spectok.bpe.model"),
    }[what]
    shutil.copy(folder / name, name)
    shutil.copy(name, "copy")
    bare = lambda file: load(**{conf: {option: file}})  # noqa: E731
    assert asks(host, bare(name), recordings[0], {}) == ["miss"]
    assert asks(host, bare("copy"), recordings[0], {}) == ["hit"]
    CHANGES[what](tmp_path)
    assert asks(host, bare(name), recordings[0], {}, {}) == ["miss", "hit"]


def test_a_list_of_tokens_in_a_file_is_told_by_what_is_in_it(host, load, folder, recordings):
    tokens = [*map(chr, range(0x4E00, 0x4E00 + len(load().model.ctc.ctc_lo.bias) - 1)), "<unk>"]
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config |= {"tokenizer": "CharTokenizer", "tokenizer_conf": {"unk_symbol": "<unk>"}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    rewrite("configuration.json", b'"bpemodel"', b'"token_list"')(folder)
    listed = folder / "chn_jpn_yue_eng_ko_spectok.bpe.model"
    named = listed.rename(folder / "tokens.json")
    rewrite("configuration.json", listed.name.encode(), b"tokens.json")(folder)
    for written in (tokens, [*tokens[-2::-1], "<unk>"]):
        named.write_text(json.dumps(written))
        model = load()
        assert asks(host, model, recordings[0], {}, {}) == ["miss", "hit"]
        [heard], [would] = model.generate(recordings[0]), host.plain(model, recordings[0])
        assert heard["text"] == would["text"]


def test_options_for_parts_of_a_model_count(host, load, recordings):
    for beams in (1, 4):
        model = load(llm_kwargs={"num_beams": beams})
        assert asks(host, model, recordings[0], {}, {}) == ["miss", "hit"]
    model = load()
    model.spk_model, model.spk_mode = copy.deepcopy(model.model), "vad_segment"
    for threshold in (0.78, 0.3):
        model.spk_kwargs = {**model.kwargs, "cb_kwargs": {"merge_thr": threshold}}
        model._store_base_configs()
        assert asks(host, model, recordings[0], {}, {}) == ["miss", "hit"]


def test_options_in_options_are_put_together_as_the_host_does(host, load, recordings):
    one, two = load(decode={"x": 1}), load(decode={"x": 2})
    assert asks(host, one, recordings[0], {"decode": {"y": 1}}) == ["miss"]
    assert asks(host, two, recordings[0], {"decode": {"y": 1}}) == ["miss"]
    assert asks(host, load(decode={"x": 1, "y": 1}), recordings[0], {}) == ["hit"]


def test_what_a_call_leaves_behind_in_a_model_makes_it_no_other(host, load, recordings):
    model = load()
    model.generate(recordings[0])
    model.model.hotword_list = [[1]]  # as contextual models do, anew in each call
    assert asks(host, model, recordings[0], {}) == ["hit"]


def test_a_model_that_is_compiled_is_cached_as_another_one(host, load, recordings, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda plain, mode=None: plain)
    monkeypatch.setattr(tuning_funasr, "cannot_compile", lambda _: "")
    assert asks(host, load(), recordings[0], {}) == ["miss"]
    model = load()
    try:
        tuning_funasr._compile(model, True, "compile")
        assert asks(host, model, recordings[0], {}, {}) == ["miss", "hit"]
        layer = model.model.encoder.encoders0[0]
        layer.forward = lambda *given, **options: type(layer).forward(layer, *given, **options)
        assert asks(host, model, recordings[0], {}) == ["hooks"]
    finally:
        effects.forget()


IN_PLACE = {
    "statistics": lambda model: model.kwargs["frontend"].cmvn.mul_(3),
    "frames": lambda model: setattr(model.kwargs["frontend"], "lfr_n", 3),
    "words": lambda model: setattr(model.kwargs["tokenizer"], "decode", lambda _: "a word"),
}


@pytest.mark.parametrize("what", IN_PLACE)
def test_what_a_model_hears_and_writes_with_is_looked_at_in_each_call(host, load, recordings, what):
    model = load()
    assert asks(host, model, recordings[0], {}, {}) == ["miss", "hit"]
    IN_PLACE[what](model)
    assert asks(host, model, recordings[0], {}, {}) == ["miss", "hit"]
    assert model.generate(recordings[0]) == host.plain(model, recordings[0])


def test_another_tokenizer_is_not_taken_for_the_one_before(host, load, recordings):
    model = load()
    model.generate(recordings[0])
    other = copy.copy(model.kwargs["tokenizer"])
    other.decode = lambda _: "another word"
    model._base_kwargs_map["kwargs"]["tokenizer"] = other
    assert model.generate(recordings[0])[0]["text"] == "another word"


def test_the_silence_that_was_asked_for_once_stays_after_hits_too(
    host, load, funasr, recordings, tmp_path
):
    pauses = tmp_path / "vad"
    pauses.mkdir()
    make_vad_model(pauses, funasr)
    asked, other = load(vad_model=str(pauses)), load(vad_model=str(pauses))
    assert asks(host, asked, recordings[3], {}, {"max_end_silence_time": 100}) == ["miss"] * 2
    assert asks(host, other, recordings[3], {}, {"max_end_silence_time": 100}) == ["hit"] * 2
    assert other.vad_model.vad_opts.max_end_silence_time == 100
    assert asks(host, other, recordings[3], {}, {}) == ["miss", "hit"]
    assert asks(host, asked, recordings[3], {}) == ["hit"]


def test_what_an_older_version_was_given_to_be_built_with_sticks(
    host, load, recordings, monkeypatch
):
    monkeypatch.delattr(host.found, "_reset_runtime_configs")
    host.use(host.cache, older)
    model = load()
    asked = [{}, {"decoder_conf": {"x": 1}}, {}, {}]
    assert asks(host, model, recordings[0], *asked) == ["miss", "miss", "miss", "hit"]
