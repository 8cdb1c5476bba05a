"""What is cached of Step-Audio, what is not, and how often."""

import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.plugins import hosts

AUDIO = torch.arange(64, dtype=torch.float32).reshape(1, 64)


def same(left, right):
    """Equal in value and type, down to the last bit."""
    if isinstance(left, torch.Tensor):
        return left.dtype == right.dtype and left.device == right.device and left.equal(right)
    if isinstance(left, (tuple, list)):
        pairs = zip(left, right, strict=True)
        return type(left) is type(right) and all(same(a, b) for a, b in pairs)
    return type(left) is type(right) and left == right


def test_tokens_are_hits_with_the_hosts_own_types(start):
    first = start().tokenizer().wav2token(AUDIO, 16000)
    host = start()
    again = host.tokenizer().wav2token(AUDIO, 16000)
    assert same(again, first)
    assert host.runs("tokenizer") == []
    again[0].clear()
    assert same(host.tokenizer().wav2token(AUDIO, 16000, True, energy_norm=True), first)


def test_calling_the_tokenizer_goes_through_the_tokens_and_is_counted_once(start):
    host = start()
    tokenizer = host.tokenizer()
    text = tokenizer(AUDIO, 16000)
    assert text.startswith("<audio_")
    assert host.counters() == {"miss": 1}
    assert tokenizer(AUDIO, 16000) == text
    assert host.counters() == {"miss": 1, "hit.memory": 1}
    tokenizer.wav2token(AUDIO, 16000, enable_trim=False)
    assert host.counters() == {"miss": 1, "hit.memory": 2}


def test_streaming_calls_are_not_touched(start):
    host = start()
    kind = host.modules["tokenizer"].StepAudioTokenizer
    assert not hasattr(kind.get_vq02_code, "__wrapped__")
    tokenizer = host.tokenizer()
    codes = [tokenizer.get_vq02_code(AUDIO, session_id="s", is_final=False) for _ in range(2)]
    assert codes[0] != codes[1]
    assert host.counters() == {}


def test_a_model_that_is_not_loaded_is_passed_through_until_it_is(start):
    host = start()
    tokenizer = host.tokenizer()
    loaded = tokenizer.funasr_model
    for attribute in ("funasr_model", "ort_session", "kms"):
        kept = getattr(tokenizer, attribute)
        setattr(tokenizer, attribute, None)
        tokenizer.wav2token(AUDIO, 16000)
        setattr(tokenizer, attribute, kept)
    assert host.counters() == {"bypass.not-loaded": 3}
    assert tokenizer.funasr_model is loaded
    first = tokenizer.wav2token(AUDIO, 16000)
    assert same(tokenizer.wav2token(AUDIO, 16000), first)


def test_a_fork_with_a_cache_of_its_own_has_ours_around_it(start):
    text = hosts.TOKENIZER.replace(
        'RUNS.append("wav2token")\n',
        'if getattr(self, "_cache_get", None): return self._cache_get(audio)\n'
        '        RUNS.append("wav2token")\n',
    )
    first = start(tokenizer=text).tokenizer().wav2token(AUDIO, 16000)
    tokenizer = start(tokenizer=text).tokenizer()
    tokenizer._cache_get = lambda audio: "of another model"
    assert same(tokenizer.wav2token(AUDIO, 16000), first)


def test_a_strict_fingerprint_passes_through_what_is_dithered(start):
    host = start({"fingerprint": "strict"})
    tokenizer = host.tokenizer()
    tokenizer.wav2token(AUDIO, 16000)
    assert host.counters() == {"bypass.random-result": 1}
    tokenizer.funasr_model.kwargs["frontend"].dither = 0.0
    tokenizer.wav2token(AUDIO, 16000)
    tokenizer.wav2token(AUDIO, 16000)
    assert host.counters() == {"bypass.random-result": 1, "miss": 1, "hit.memory": 1}


def test_a_strict_fingerprint_caches_the_speaker_by_what_really_computes_it(start):
    first = start({"fingerprint": "strict"}).frontend().extract_spk_embedding(AUDIO, 16000)
    host = start({"fingerprint": "strict"})
    assert same(host.frontend().extract_spk_embedding(AUDIO, 16000), first)
    elsewhere = host.frontend()
    session = host.modules["funasr_parts"].Session
    path = elsewhere.campplus_session._model_path
    elsewhere.campplus_session = session(path, ["CUDAExecutionProvider", "CPUExecutionProvider"])
    elsewhere.extract_spk_embedding(AUDIO, 16000)
    assert host.counters() == {"hit.disk": 1, "miss": 1}


def test_the_speaker_and_the_mel_are_cached(start):
    frontend = start().frontend()
    first = frontend.extract_spk_embedding(AUDIO, 16000), frontend.extract_speech_feat(AUDIO, 16000)
    host = start()
    again = host.frontend()
    assert same(again.extract_spk_embedding(AUDIO, 16000), first[0])
    assert same(again.extract_speech_feat(AUDIO, audio_sr=16000), first[1])
    assert host.runs("frontend") == []


CHANGES = {
    "campplus": ("extract_spk_embedding", "file"),
    "a rate": ("extract_spk_embedding", "rate"),
    "mel_conf": ("extract_speech_feat", {"n_fft": 3}),
    "mel rate": ("extract_speech_feat", {"sampling_rate": 22050}),
    "mel source": ("extract_speech_feat", "source"),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_another_ingredient_of_speaker_or_mel_gives_another_key(start, model, kind):
    method, change = CHANGES[kind]
    getattr(start().frontend(), method)(AUDIO, 16000)
    if change == "file":
        (model / "campplus.onnx").write_text("another")
    source = hosts.FRONTEND.replace("* n_fft", "* n_fft  # another") if change == "source" else ""
    host = start(**({"frontend": source} if source else {}))
    conf = change if isinstance(change, dict) else {}
    getattr(host.frontend(**conf), method)(AUDIO, 8000 if change == "rate" else 16000)
    assert host.runs("frontend") == [method]


def test_the_mel_does_not_depend_on_the_speaker_model(start, model):
    start().frontend().extract_speech_feat(AUDIO, 16000)
    (model / "campplus.onnx").write_text("another")
    host = start()
    host.frontend().extract_speech_feat(AUDIO, 16000)
    assert host.runs("frontend") == []


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "voice.wav"
    path.write_bytes(bytes(range(64)))
    return path


def test_a_reference_recording_is_told_by_its_bytes_whatever_its_name(start, clip, tmp_path):
    first = start().tts().preprocess_prompt_wav(str(clip))
    host = start()
    tts = host.tts()
    other = tmp_path / "another name.wav"
    other.write_bytes(clip.read_bytes())
    for way in (str(clip), clip, str(other), os.fspath(other), os.path.relpath(clip)):
        assert same(tts.preprocess_prompt_wav(way), first)
    assert same(tts.clone(str(clip), "text", "text"), first)
    assert host.runs("tts") == host.runs("frontend") == host.runs("tokenizer") == []
    clip.write_bytes(bytes(64))
    assert not same(tts.preprocess_prompt_wav(str(clip)), first)


def test_what_a_reference_recording_goes_through_is_cached_by_itself_too(start, clip):
    host = start()
    host.tts().preprocess_prompt_wav(str(clip))
    assert host.counters() == {"miss": 4}
    wav = torch.arange(64, dtype=torch.float32)[None]
    host.tokenizer().wav2token(wav, 16000)
    host.frontend().extract_spk_embedding(wav, 16000)
    assert host.counters() == {"miss": 4, "hit.memory": 2}


RECORDING = {
    "weights": "model.pt",
    "cmvn": "am.mvn",
    "onnx": "speech_tokenizer_v1.onnx",
    "speaker": "campplus.onnx",
}


@pytest.mark.parametrize("kind", RECORDING)
def test_another_file_of_any_model_on_the_way_gives_another_key(start, model, clip, kind):
    start().tts().preprocess_prompt_wav(str(clip))
    (model / RECORDING[kind]).write_text("another")
    host = start()
    host.tts().preprocess_prompt_wav(str(clip))
    assert host.runs("tts") == ["preprocess_prompt_wav"]


ON_THE_WAY = {
    "tts": ("tts", hosts.TTS, "16000)\n        codes", "16000 )\n        codes"),
    "frontend": ("frontend", hosts.FRONTEND, "* n_fft", "*  n_fft"),
    "tokenizer": ("tokenizer", hosts.TOKENIZER, "[:4]", "[: 4]"),
    "trimming": ("utils_parts", hosts.UTILS, "trim_silence(audio, rate)", "trim_silence(audio, r)"),
    "FunASR": ("funasr_parts", hosts.FUNASR, "pass", "layers = 2"),
}


@pytest.mark.parametrize("kind", ON_THE_WAY)
def test_another_source_on_the_way_gives_another_key(start, clip, kind):
    name, text, old, new = ON_THE_WAY[kind]
    assert old in text
    start().tts().preprocess_prompt_wav(str(clip))
    host = start(**{name: text.replace(old, new)})
    host.tts().preprocess_prompt_wav(str(clip))
    assert host.runs("tts") == ["preprocess_prompt_wav"]


SET_ON_THE_WAY = {
    "chunks": lambda tts: setattr(tts.audio_tokenizer, "chunk_size", [0, 8, 5]),
    "dither": lambda tts: setattr(tts.audio_tokenizer.funasr_model.kwargs["frontend"], "dither", 0),
    "mel": lambda tts: tts.cosy_model.frontend.mel_conf.update(n_fft=3),
}


@pytest.mark.parametrize("kind", SET_ON_THE_WAY)
def test_another_setting_on_the_way_gives_another_key(start, clip, kind):
    host = start()
    tts = host.tts()
    tts.preprocess_prompt_wav(str(clip))
    SET_ON_THE_WAY[kind](tts)
    tts.preprocess_prompt_wav(str(clip))
    assert host.runs("tts") == ["preprocess_prompt_wav"] * 2


def test_a_recording_whose_models_are_not_loaded_is_passed_through(start, clip):
    host = start()
    tts = host.tts()
    tts.audio_tokenizer.funasr_model = None
    tts.preprocess_prompt_wav(str(clip))
    assert host.counters()["bypass.not-loaded"] == 2  # the recording, and its tokens


def test_a_recording_that_is_not_there_is_the_hosts_to_refuse(start, tmp_path):
    host = start()
    with pytest.raises(FileNotFoundError):
        host.tts().preprocess_prompt_wav(str(tmp_path / "missing.wav"))
    assert host.counters() == {"bypass.unreadable-file": 1}


def test_a_text_is_kept_and_an_empty_one_never_is(start, model, clip):
    (model / "model.safetensors").write_text("weights")
    host = start()
    wrapper = host.modules["whisper_wrapper"].WhisperWrapper(model)
    wrapper.answer = ""
    assert [wrapper(str(clip)) for _ in range(2)] == ["", ""]
    wrapper.answer = "words"
    assert [wrapper(str(clip)) for _ in range(2)] == ["words"] * 2
    assert host.runs("whisper_wrapper") == ["whisper"] * 3


def test_a_whisper_model_is_told_by_its_files_or_its_commit(start, model, clip):
    (model / "model.safetensors").write_text("weights")
    host = start()
    made = host.modules["whisper_wrapper"].WhisperWrapper
    for wrapper in (made(model), made(model), made("id", "a"), made("id", "a"), made("id", "b")):
        wrapper(str(clip))
    assert len(host.runs("whisper_wrapper")) == 3
    (model / "model.safetensors").write_text("another")
    made(model)(str(clip))
    assert len(host.runs("whisper_wrapper")) == 4
    (model / "model.safetensors").unlink()
    for unknown in (made("id"), made(model)):
        assert [unknown(str(clip)) for _ in range(2)] == ["words"] * 2
    assert len(host.runs("whisper_wrapper")) == 8


def test_how_a_whisper_pipeline_is_set_is_in_the_key(start, clip):
    host = start()
    for parameters in ({}, {"language": "zh"}, {"language": "en"}, {}):
        wrapper = host.modules["whisper_wrapper"].WhisperWrapper("id", "a")
        wrapper.model = SimpleNamespace(model=wrapper.model.model, _forward_params=parameters)
        wrapper(str(clip))
    assert len(host.runs("whisper_wrapper")) == 3


def test_arrays_are_taken_as_well_as_tensors(start):
    host = start()
    tokenizer = host.tokenizer()
    array = np.arange(64, dtype="float32").reshape(1, 64)
    assert same(tokenizer.wav2token(array, 16000), tokenizer.wav2token(array, 16000))
    assert host.counters() == {"miss": 1, "hit.memory": 1}


def test_the_original_step_audio_tts_is_left_alone(start, capfd):
    text = (
        "class StepAudioTTS:\n"
        "    def preprocess_prompt_wav(self, prompt_wav, prompt_wav_sr): pass\n"
        "    def register_speakers(self): pass\n"
    )
    host = start(tts=text)
    assert not hasattr(host.modules["tts"].StepAudioTTS.preprocess_prompt_wav, "__wrapped__")
    assert "StepAudioTTS" not in capfd.readouterr().err
