"""Change any ingredient of a result and its key changes; what is no ingredient is not in it."""

import numpy as np
import pytest
import torch

from tests.plugins import hosts

AUDIO = np.arange(64, dtype="float32").reshape(1, 64)


def encodes(host, tokenizer=None, audio=AUDIO, rate=16000, **more):
    """How often a host encodes for one call."""
    runs = host.runs("tokenizer")
    before = runs.count("wav2token")
    (tokenizer or host.tokenizer()).wav2token(audio, rate, **more)
    return runs.count("wav2token") - before


def test_another_start_of_the_same_host_hits(start):
    assert encodes(start()) == 1
    assert encodes(start()) == 0


def write(name):
    return lambda folder: (folder / name).write_text("another")


FILES = {
    "weights": write("model.pt"),
    "cmvn": write("am.mvn"),
    "config": write("config.yaml"),
    "configuration": write("configuration.json"),
    "onnx": write("speech_tokenizer_v1.onnx"),
    "k-means": lambda f: np.save(f / "linguistic_tokenizer.npy", np.ones(8, dtype="float32")),
    "k-means, dtype": lambda f: np.save(f / "linguistic_tokenizer.npy", np.arange(8.0)),
    "no cmvn": lambda f: (f / "config.yaml").unlink(),
}


@pytest.mark.parametrize("kind", FILES)
def test_another_file_of_the_model_gives_another_key(start, model, kind):
    assert encodes(start()) == 1
    FILES[kind](model)
    assert encodes(start()) == 1
    assert encodes(start()) == 0


def set_(name, value):
    return lambda tokenizer: setattr(tokenizer, name, value)


def configure(name, value):
    return lambda tokenizer: tokenizer.funasr_model.kwargs.__setitem__(name, value)


SETTINGS = {
    "chunk_size": set_("chunk_size", [0, 8, 5]),
    "encoder_chunk_look_back": set_("encoder_chunk_look_back", 5),
    "decoder_chunk_look_back": set_("decoder_chunk_look_back", 2),
    "dither": lambda tokenizer: setattr(tokenizer.funasr_model.kwargs["frontend"], "dither", 0.5),
    "fs": configure("fs", 8000),
    "data_type": configure("data_type", "fbank"),
    "type": lambda tokenizer: tokenizer.funasr_model.model.half(),
}


@pytest.mark.parametrize("kind", SETTINGS)
def test_another_setting_gives_another_key_at_once(start, kind):
    host = start()
    tokenizer = host.tokenizer()
    assert encodes(host, tokenizer) == 1
    SETTINGS[kind](tokenizer)
    assert [encodes(host, tokenizer) for _ in range(2)] == [1, 0]


CONFIGURED = {
    "model": "Paraformer",
    "model_conf": {"sampling_ratio": 0.5},
    "encoder": "SANMEncoder",
    "encoder_conf": {"output_size": 64, "chunk_size": [12, 16]},
    "frontend_conf": {"fs": 16000, "n_mels": 40},
    "predictor_conf": {"threshold": 0.5},
}


@pytest.mark.parametrize("name", CONFIGURED)
def test_another_configuration_of_funasr_gives_another_key(start, name):
    assert encodes(start()) == 1
    host = start()
    assert encodes(host, host.tokenizer(**{name: CONFIGURED[name]})) == 1


SOURCES = {
    "the class": ("tokenizer", hosts.TOKENIZER, "[len(RUNS)]", "[len(RUNS) ]"),
    "a helper": ("utils_parts", hosts.UTILS, "rate, wanted):\n    return audio", "r, w): return 1"),
    "the trimming": ("utils_parts", hosts.UTILS, "def trim_silence(audio", "def trim_silence(wav"),
    "FunASR": ("funasr_parts", hosts.FUNASR, "pass", "layers = 2"),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_another_source_gives_another_key(start, kind):
    name, text, old, new = SOURCES[kind]
    assert old in text
    assert encodes(start()) == 1
    changed = text.replace(old, new).replace("return 1", "\n    return audio")
    assert encodes(start(**{name: changed})) == 1
    assert encodes(start()) == 0


def test_another_mel_spectrogram_of_whisper_gives_another_key(start, whisper):
    for text, encoded in (("", 1), ("a = 1", 1), ("a = 2", 1), ("a = 1", 0)):
        if text:
            whisper(f"{text}\ndef log_mel_spectrogram(audio):\n    return a")
        assert encodes(start()) == encoded


def test_what_the_mel_spectrogram_calls_is_in_its_key(start):
    changed = hosts.FRONTEND + "\ndef compress(mel):\n    return mel\n"
    for text, runs in ((hosts.FRONTEND, 1), (changed, 1), (hosts.FRONTEND, 0)):
        host = start(frontend=text)
        host.frontend().extract_speech_feat(torch.from_numpy(AUDIO), 16000)
        assert len(host.runs("frontend")) == runs


ARGUMENTS = {
    "another rate": {"rate": 24000},
    "no trim": {"enable_trim": False},
    "no norm": {"energy_norm": False},
    "one sample": {"audio": AUDIO + (np.arange(64) == 63)},
    "dtype": {"audio": AUDIO.astype("float64")},
    "shape": {"audio": AUDIO.reshape(64)},
}


@pytest.mark.parametrize("kind", ARGUMENTS)
def test_another_argument_gives_another_key(start, kind):
    host = start()
    assert encodes(host) == 1
    assert [encodes(host, **ARGUMENTS[kind]) for _ in range(2)] == [1, 0]


def test_where_the_model_lies_is_not_in_the_key(start, model, tmp_path):
    assert encodes(start()) == 1
    moved = tmp_path / "elsewhere"
    model.rename(moved)
    host = start()
    tokenizer = host.modules["tokenizer"].StepAudioTokenizer(moved)
    assert encodes(host, tokenizer) == 0


def test_what_does_not_change_the_result_is_not_in_the_key(start):
    assert encodes(start()) == 1
    host = start()
    assert encodes(host, host.tokenizer(device="cuda", disable_pbar=True, batch_size=4)) == 0


def test_a_model_whose_weights_are_in_no_file_is_not_cached(start, model):
    (model / "model.pt").unlink()
    host = start()
    tokenizer = host.tokenizer(init_param=None)
    assert [encodes(host, tokenizer) for _ in range(2)] == [1, 1]
    assert host.counters() == {"bypass.failed-key": 2}


def test_weights_are_found_in_the_models_folder_where_funasr_does_not_say(start, model):
    def fresh():
        host = start()
        return encodes(host, host.tokenizer(init_param=None))

    assert [fresh(), fresh()] == [1, 0]
    (model / "model.pt").write_text("another")
    assert fresh() == 1


def test_a_session_that_was_made_from_bytes_is_not_cached(start):
    host = start()
    tokenizer = host.tokenizer()
    tokenizer.ort_session = host.modules["funasr_parts"].Session("")
    assert [encodes(host, tokenizer) for _ in range(2)] == [1, 1]
    assert host.counters() == {"bypass.failed-key": 2}


def test_the_tokenizer_that_the_first_frontends_have_is_in_the_key_of_a_prompt(
    start, model, tmp_path
):
    clip = tmp_path / "voice.wav"
    clip.write_bytes(bytes(64))

    def prepares():
        host = start()
        tts = host.tts()
        session = host.modules["funasr_parts"].Session(model / "frontend.onnx")
        tts.cosy_model.frontend.speech_tokenizer_session = session
        tts.preprocess_prompt_wav(str(clip))
        return len(host.runs("tts"))

    (model / "frontend.onnx").write_text("one")
    assert [prepares(), prepares()] == [1, 0]
    (model / "frontend.onnx").write_text("another")
    assert [prepares(), prepares()] == [1, 0]
