"""CosyVoice's frontend: prompts by path, as tensors and as open files, once for all segments."""

import functools
import io
import tempfile

import onnx
import pytest
import torch
from stepaudio_cas_plugins.cosyvoice import plugin

from tests.plugins.proofs import misses, proves_a_hit, refused, same
from tests.plugins.small import features, onnx_files

METHODS = ("_extract_speech_token", "_extract_spk_embedding", "_extract_speech_feat")
MEL = functools.partial(features.mel_spectrogram, n_fft=1920, num_mels=80, hop_size=480)
BEFORE_MAY = {"(self, prompt_wav)": "(self, speech)", "load_wav(prompt_wav": "load_wav(speech"}


@pytest.fixture
def model(tmp_path):
    onnx_files.campplus(tmp_path / "campplus.onnx")
    onnx_files.speech_tokenizer(tmp_path / "speech_tokenizer_v2.onnx")
    return tmp_path


@pytest.fixture
def start(model, start_host):
    """A frontend of a host that has just been started, and that start."""

    def start_(changes=(), mel=MEL, **settings):
        started = start_host(plugin, **settings)
        started.host = started.load("cosyvoice", "frontend", changes)
        kind = started.host.CosyVoiceFrontEnd
        files = model / "campplus.onnx", model / "speech_tokenizer_v2.onnx"
        started.frontend = kind(mel, *files)
        return started

    return start_


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("prompt", ["path", "tensor"])
def test_a_hit_is_what_the_host_computes_bit_for_bit(start, recordings, name, prompt):
    started = start()
    given = str(recordings[0]) if prompt == "path" else torch.linspace(-1, 1, 16000)[None]
    proves_a_hit(started, getattr(started.frontend, name), given)


@pytest.mark.parametrize("name", METHODS)
def test_a_hit_of_an_upload_is_what_the_host_computes(start, recordings, name):
    started = start()
    method = getattr(started.frontend, name)
    data = recordings[0].read_bytes()
    plain = getattr(type(started.frontend), name).__wrapped__(started.frontend, io.BytesIO(data))
    results = [method(io.BytesIO(data)) for _ in range(2)]
    assert started.counts() == {"miss": 1, "hit.memory": 1}
    assert same(plain, results[0])
    assert same(plain, results[1])


def test_a_long_text_encodes_its_prompt_once(start, recordings):
    started = start()
    inputs = [started.frontend.frontend_zero_shot(t, str(recordings[0])) for t in "abcdefgh"]
    assert sorted(started.host.RUNS) == ["embedding", "feat", "token"]
    for got in inputs[1:]:  # each segment cuts its own copy in place
        assert same({**got, "text": ""}, {**inputs[0], "text": ""})


def test_another_start_with_the_same_files_hits(start, recordings):
    first = start()
    for name in METHODS:
        getattr(first.frontend, name)(str(recordings[0]))
    again = start()
    for name in METHODS:
        getattr(again.frontend, name)(str(recordings[0]))
    assert again.host.RUNS == []


CHANGED = {
    "campplus": ("_extract_spk_embedding", lambda m: onnx_files.campplus(m / "campplus.onnx", 1)),
    "tokenizer": (
        "_extract_speech_token",
        lambda m: onnx_files.speech_tokenizer(m / "speech_tokenizer_v2.onnx", 1),
    ),
}


@pytest.mark.parametrize("kind", CHANGED)
def test_another_onnx_file_gives_another_key_to_what_it_computes(start, model, recordings, kind):
    changed, change = CHANGED[kind]
    first = start()
    for name in METHODS:
        getattr(first.frontend, name)(str(recordings[0]))
    change(model)
    started = start()
    for name in METHODS:
        method = getattr(started.frontend, name)
        assert misses(started, method, str(recordings[0])) == (name == changed)


def test_weights_that_are_in_a_file_beside_the_onnx_file_are_in_the_key(start, model, recordings):
    for seed, missed in ((0, True), (0, False), (1, True)):
        onnx_files.campplus(model / "campplus.onnx", seed)
        whole = onnx.load(model / "campplus.onnx")
        (model / "weights.bin").unlink(missing_ok=True)
        beside = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 0}
        onnx.save_model(whole, model / "campplus.onnx", **beside)
        started = start()
        method = started.frontend._extract_spk_embedding
        assert misses(started, method, str(recordings[0])) is missed


def test_another_mel_spectrogram_of_whisper_gives_tokens_another_key(start, recordings, whisper):
    for factor, missed in ((1, True), (2, True), (1, False)):
        whisper(f"def log_mel_spectrogram(audio):\n    return audio * {factor}")
        started = start()
        method = started.frontend._extract_speech_token
        assert misses(started, method, str(recordings[0])) is missed


READS_OTHERWISE = {
    "import fbank, load_wav,": "import load_wav as read, fbank,",
    "RUNS = []": "RUNS = []\n\ndef load_wav(wav, rate):\n    return read(wav, rate) * 0.5",
}


@pytest.mark.parametrize("name", METHODS)
def test_another_way_to_read_a_recording_gives_another_key(start, recordings, name):
    for changes in ((), READS_OTHERWISE):
        started = start(changes)
        assert misses(started, getattr(started.frontend, name), str(recordings[0]))


MELS = {
    "keywords": functools.partial(MEL.func, n_fft=1920, num_mels=40, hop_size=480),
    "function": functools.partial(features.log_mel_spectrogram, n_mels=80),
    "plain": features.mel_spectrogram,
}


@pytest.mark.parametrize("kind", MELS)
def test_another_mel_spectrogram_gives_another_key(start, recordings, kind):
    start().frontend._extract_speech_feat(str(recordings[0]))
    started = start(mel=MELS[kind])
    assert misses(started, started.frontend._extract_speech_feat, str(recordings[0]))


def test_a_setting_of_the_mel_spectrogram_is_read_at_each_call(start, recordings):
    started = start(mel=functools.partial(MEL.func, **MEL.keywords))
    frontend = started.frontend
    assert misses(started, frontend._extract_speech_feat, str(recordings[0]))
    frontend.feat_extractor.keywords["hop_size"] = 240
    assert misses(started, frontend._extract_speech_feat, str(recordings[0]))


class Mel:
    def __call__(self, y):
        return MEL(y)


def around(y, *, louder=features.mel_spectrogram):
    return louder(y)


def louder(y):
    return features.mel_spectrogram(y) * 2


def closed_over(n_fft):
    def mel_spectrogram(y):
        return features.mel_spectrogram(y, n_fft=n_fft)

    return mel_spectrogram


UNTOLD = {
    "object": Mel(),
    "lambda": lambda y: MEL(y * 2),
    "closure": closed_over(1024),
    "wrapped": functools.wraps(features.mel_spectrogram)(louder),
    "default": around,
    "keyword": functools.partial(around, louder=MEL),
    "array": functools.partial(features.mel_spectrogram, n_fft=torch.tensor(1920)),
}


@pytest.mark.parametrize("kind", UNTOLD)
def test_a_mel_spectrogram_that_cannot_be_told_is_passed_through(start, recordings, kind):
    started = start(mel=UNTOLD[kind])
    started.frontend._extract_speech_feat(str(recordings[0]))
    assert [n for n in started.counts() if n.startswith("bypass")] == ["bypass.failed-key"]


def test_what_torch_puts_around_a_mel_spectrogram_is_in_its_text(start, recordings):
    started = start(mel=features.without_gradient)
    proves_a_hit(started, started.frontend._extract_speech_feat, str(recordings[0]))


def test_functions_of_one_name_and_with_other_defaults_have_other_keys(start, recordings):
    for mel in features.TWINS:
        started = start(mel=mel)
        assert misses(started, started.frontend._extract_speech_feat, str(recordings[0]))


def test_another_recording_and_other_code_give_other_keys(start, recordings):
    started = start()
    for name in METHODS:
        method = getattr(started.frontend, name)
        assert misses(started, method, str(recordings[0]))
        assert misses(started, method, str(recordings[1]))
        assert misses(started, method, torch.ones(1, 16000))
        assert misses(started, method, torch.ones(1, 16000) * 2)
    changed = start({"dtype=torch.int32)\n        return": "dtype=torch.int64)\n        return"})
    assert misses(changed, changed.frontend._extract_speech_token, str(recordings[0]))


def test_an_upload_has_the_key_of_the_file_with_its_content(start, recordings):
    started = start()
    name = "_extract_spk_embedding"
    assert misses(started, getattr(started.frontend, name), str(recordings[0]))
    for kind in (io.BytesIO, tempfile.SpooledTemporaryFile):
        with kind() as upload:
            upload.write(recordings[0].read_bytes())
            upload.seek(0)
            assert not misses(started, getattr(started.frontend, name), upload)
            assert upload.tell() == recordings[0].stat().st_size  # as when the host has read it


def test_an_upload_that_stands_elsewhere_is_the_hosts_own_affair(start, recordings):
    started = start()
    started.frontend._extract_spk_embedding(str(recordings[0]))
    read = io.BytesIO(recordings[0].read_bytes())
    read.seek(0, 2)
    with pytest.raises(ValueError, match="not recognised"):
        started.frontend._extract_spk_embedding(read)
    assert read.tell() == len(read.getvalue())


@pytest.mark.parametrize("make", [io.StringIO, lambda: io.BytesIO(b"RIFF").detach])
def test_a_file_that_cannot_be_digested_reaches_the_host_as_it_is(start, make):
    started = start()
    with pytest.raises((TypeError, ValueError, AttributeError, OSError)):
        started.frontend._extract_spk_embedding(make())
    counts = started.counts()
    assert [n for n in counts if n.startswith("bypass")]


def test_results_go_where_the_frontend_is(start, recordings):
    started = start()
    first = started.frontend._extract_speech_token(str(recordings[0]))
    started.frontend.device = torch.device("meta")
    moved = started.frontend._extract_speech_token(str(recordings[0]))
    assert [t.device.type for t in (*first, *moved)] == ["cpu", "cpu", "meta", "meta"]


def test_the_frontend_that_took_tensors_is_known_too(start):
    started = start(BEFORE_MAY)
    for name in METHODS:
        proves_a_hit(started, getattr(started.frontend, name), torch.ones(1, 16000))


def test_another_version_is_refused_with_a_line_for_each_method(start, start_host, capfd):
    changes = {"(self, prompt_wav)": "(self, prompt_wav, sample_rate=16000)"}
    module, said = refused(start_host(plugin), "cosyvoice", "frontend", changes, capfd)
    assert len(said) == 3
    assert all("its parameters are (prompt_wav, sample_rate)" in line for line in said)
    assert not hasattr(module.CosyVoiceFrontEnd._extract_speech_feat, "__stepaudio_cas__")


def test_an_upload_that_hits_can_be_checked_in_the_background(start, recordings):
    started = start(verify=1.0)
    data = recordings[0].read_bytes()
    for _ in range(2):
        with io.BytesIO(data) as upload:
            started.frontend._extract_spk_embedding(upload)
    assert started.cache._shadow.queue.flush(60) == 0
    assert started.cache.stats()["counters"]["shadow.equal"] == 1
