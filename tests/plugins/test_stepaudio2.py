"""Step-Audio2: a prompt is encoded once, and what it goes through is in the key."""

import pytest
import torch
from s3tokenizer.model_v2 import ModelConfig, S3TokenizerV2
from stepaudio_cas_plugins.stepaudio2 import plugin

from tests.plugins.proofs import misses, proves_a_hit, refused
from tests.plugins.small import onnx_files


@pytest.fixture
def start(tmp_path, start_host):
    """The vocoder of a host that has just been started, and that start."""

    def start_(changes=(), seed=0, voice=0, **options):
        onnx_files.campplus(tmp_path / "campplus.onnx", voice)
        torch.manual_seed(seed)
        config = ModelConfig(n_audio_state=128, n_audio_head=2, n_audio_layer=1)
        tokenizer = S3TokenizerV2("speech_tokenizer_v2_25hz", config).eval()
        started = start_host(plugin)
        started.host = started.load("stepaudio2", "token2wav", changes)
        started.vocoder = started.host.Token2wav(str(tmp_path), tokenizer, **options)
        return started

    return start_


def test_a_hit_is_what_the_host_computes_bit_for_bit(start, recordings):
    started = start()
    proves_a_hit(started, started.vocoder._prepare_prompt, str(recordings[0]))


def test_a_prompt_is_encoded_once_for_all_starts_and_names(start, recordings):
    copy = recordings[0].with_name("upload.wav")
    copy.write_bytes(recordings[0].read_bytes())
    for name, runs in ((recordings[0], ["prompt"]), (copy, []), (recordings[1], ["prompt"])):
        started = start()
        started.vocoder([1, 2, 3], str(name))
        assert runs == started.host.RUNS


CHANGES = {
    "tokenizer": {"seed": 1},
    "speaker model": {"voice": 1},
    "precision": {"float16": True},
    "code": {"changes": {"dtype=torch.int32": "dtype=torch.int64"}},
}


@pytest.mark.parametrize("kind", CHANGES)
def test_another_ingredient_gives_another_key(start, recordings, kind):
    first = start()
    assert misses(first, first.vocoder._prepare_prompt, str(recordings[0]))
    again = start()
    assert not misses(again, again.vocoder._prepare_prompt, str(recordings[0]))
    other = start(**CHANGES[kind])
    assert misses(other, other.vocoder._prepare_prompt, str(recordings[0]))


def test_a_vocoder_that_has_loaded_nothing_is_passed_through(start, recordings):
    started = start()
    started.vocoder.audio_tokenizer = None
    with pytest.raises(AttributeError):
        started.vocoder._prepare_prompt(str(recordings[0]))
    assert started.counts() == {"bypass.not-loaded": 1}


def test_another_version_is_refused_with_a_line(start_host, capfd):
    changes = {"(self, prompt_wav):": "(self, prompt_wav, rate=16000):"}
    module, said = refused(start_host(plugin), "stepaudio2", "token2wav", changes, capfd)
    assert len(said) == 1
    assert "its parameters are (prompt_wav, rate), this plugin knows (prompt_wav)" in said[0]
    assert not hasattr(module.Token2wav._prepare_prompt, "__stepaudio_cas__")


def test_the_first_version_which_has_no_such_method_is_not_taken(start_host, capfd):
    changes = {"def _prepare_prompt(": "def _prepare("}
    module, said = refused(start_host(plugin), "stepaudio2", "token2wav", changes, capfd)
    assert said == []
    assert not hasattr(module.Token2wav.__init__, "__wrapped__")
