"""Step-Audio2: a prompt is encoded once, and what it goes through is in the key."""

import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import s3tokenizer
import torch
from s3tokenizer.model_v2 import ModelConfig, S3TokenizerV2
from stepaudio_cas_plugins.stepaudio2 import plugin

from tests.plugins.proofs import misses, proves_a_hit, refused, same
from tests.plugins.small import onnx_files


@pytest.fixture
def start(tmp_path, start_host):
    """The vocoder of a host that has just been started, and that start."""

    def start_(changes=(), seed=0, voice=0, name="Token2wav", module="token2wav", **options):
        onnx_files.campplus(tmp_path / "campplus.onnx", voice)
        torch.manual_seed(seed)
        config = ModelConfig(n_audio_state=128, n_audio_head=2, n_audio_layer=1)
        tokenizer = S3TokenizerV2("speech_tokenizer_v2_25hz", config).eval()
        started = start_host(plugin)
        started.host = started.load("stepaudio2", module, changes)
        started.vocoder = getattr(started.host, name)(str(tmp_path), tokenizer, **options)
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
    "rate of the flow": {"up_rate": 4},
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


def test_other_mel_filters_give_another_key(start, recordings, monkeypatch, tmp_path):
    package = Path(s3tokenizer.utils.__file__).parent
    shutil.copytree(package / "assets", tmp_path / "assets")
    shutil.copy(package / "utils.py", tmp_path)
    monkeypatch.setattr(s3tokenizer.utils, "__file__", str(tmp_path / "utils.py"))
    for missed in (True, False):
        started = start()
        assert misses(started, started.vocoder._prepare_prompt, str(recordings[0])) is missed
    with (tmp_path / "assets" / "mel_filters.npz").open("ab") as file:
        file.write(b"more")
    started = start()
    assert misses(started, started.vocoder._prepare_prompt, str(recordings[0]))


LATE = """
    @property
    def audio_tokenizer(self):
        LOADS.append(self._models_loaded)
        self._models_loaded = True
        return self._audio_tokenizer

    def _prepare_prompt("""
OF_VLLM = {
    "class Token2wav": "LOADS = []\n\nclass StepAudio2Token2WavCore",
    "self.audio_tokenizer =": "self._models_loaded = False; self._audio_tokenizer =",
    "\n    def _prepare_prompt(": LATE,
    "def __call__(": "def forward(",
}


def test_the_vocoder_of_vllm_is_cached_once_it_has_loaded_and_not_made_to(start, recordings):
    for second in ("miss", "hit.disk"):
        started = start(OF_VLLM, name="StepAudio2Token2WavCore", module="step_audio2_token2wav")
        assert started.host.LOADS == []
        for count in ("bypass.not-loaded", second):
            started.vocoder._prepare_prompt(str(recordings[0]))
            assert started.counts() == {count: 1}
        assert started.host.LOADS.count(False) == 1


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


FIRST = {"def _prepare_prompt(": "def _prepare(", "self._prepare_prompt(": "self._prepare("}


def test_of_the_first_version_the_speaker_models_run_is_cached(start, recordings):
    results = []
    for counted in ({"miss": 1}, {"hit.disk": 1}):
        started = start(FIRST)
        results.append(started.vocoder([1, 2], str(recordings[0])))
        assert started.counts() == counted
        assert started.host.RUNS == ["prompt"]
    plain = started.host.Token2wav.__call__(started.vocoder, [1, 2], str(recordings[0]))
    assert same(results[0], results[1])
    assert same(results[0], plain)


FEEDS = {
    "frames": lambda session, feed: session.run(None, {"input": feed * 2}),
    "shape": lambda session, feed: session.run(None, {"input": feed[:, :10]}),
    "outputs": lambda session, feed: session.run(["output"], {"input": feed}),
}


@pytest.mark.parametrize("kind", FEEDS)
def test_what_the_speaker_model_is_fed_with_is_in_the_key(start, kind):
    started = start(FIRST)
    session, feed = started.vocoder.spk_model, np.ones((1, 20, 80), dtype=np.float32)
    plain = type(session).run(session, None, {"input": feed})
    for _ in range(3):
        [found] = session.run(None, {"input": feed})
        assert same(plain, [found])
        found[:] = 0
    assert started.counts() == {"miss": 1, "hit.memory": 2}
    assert misses(started, FEEDS[kind].__get__(session), feed)


def test_another_speaker_model_of_the_first_version_gives_another_key(start, recordings):
    for voice, counted in ((0, {"miss": 1}), (1, {"miss": 1}), (0, {"hit.disk": 1})):
        started = start(FIRST, voice=voice)
        started.vocoder([1], str(recordings[0]))
        assert started.counts() == counted


def test_what_cannot_be_told_of_a_run_reaches_the_session(start):
    started = start(FIRST)
    feed = {"input": np.ones((1, 20, 80), dtype=np.float32)}
    options = onnxruntime.RunOptions()
    assert len(started.vocoder.spk_model.run(None, feed, options)) == 1
    with pytest.raises(Exception, match="missing from input feed") as raised:
        started.vocoder.spk_model.run(None, {"other": feed["input"]})
    assert raised.value.__context__ is None
    assert started.counts() == {"bypass.stateful": 1, "raised": 1}


def test_other_sessions_are_as_onnxruntime_has_made_them(start, tmp_path):
    start(FIRST)
    assert "run" not in vars(onnx_files.session(str(tmp_path / "campplus.onnx")))


def test_of_a_later_version_the_session_is_left_alone(start):
    assert "run" not in vars(start().vocoder.spk_model)
