"""`funasr_onnx.SenseVoiceSmall` itself, on a small model: a hit is what it would have heard."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile
from stepaudio_cas_plugins import sensevoice

from stepaudio_cas.activation.patch import misfit
from tests.hosts.speech import speak, write_speech
from tests.plugins.listening import Patched, import_quietly, make_model

BIN = "funasr_onnx.sensevoice_bin"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("sensevoice"), dither=0.0)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recordings")
    return [write_speech(folder / f"{n}.wav", 1 + n / 2, seed=n, rate=16000) for n in range(4)]


@pytest.fixture
def folder(made, tmp_path):
    return shutil.copytree(made, tmp_path / "model")


@pytest.fixture
def host(monkeypatch, open_cache):
    for name in ("librosa.core.audio", "audioread.rawread", BIN):
        import_quietly(name)
    return Patched(monkeypatch, sensevoice.plugin, BIN, open_cache())


@pytest.fixture
def load(host, folder):
    return lambda **options: host.found(folder, intra_op_num_threads=1, **options)


def misses(host, call):
    """How often the model was asked in a call."""
    before = host.counts().get("miss", 0)
    call()
    return host.counts().get("miss", 0) - before


def bypassed(host, call):
    """The reasons for which a call was passed through."""
    before = host.counts()
    call()
    return [
        n[7:] for n, count in host.counts().items() if "bypass" in n and count > before.get(n, 0)
    ]


def test_a_hit_is_what_the_model_would_have_heard(host, load, recordings):
    model = load()
    heard = [host.plain(model, path) for path in recordings]
    assert len({tuple(texts) for texts in heard}) == len(recordings)
    assert [model(path) for path in recordings] == heard
    assert [model(path) for path in recordings] == heard
    assert host.counts() == {"miss": 4, "hit.memory": 4}


def test_another_process_with_the_same_model_and_another_name_hits(
    host, load, recordings, open_cache, tmp_path
):
    heard = load()(recordings[0])
    host.use(open_cache())
    upload = shutil.copy(recordings[0], tmp_path / "tmp123.WAV")
    assert load()(str(upload)) == heard
    assert host.counts() == {"hit.disk": 1}


def test_recordings_that_begin_alike_are_two(host, load, tmp_path):
    long, short = speak(2, seed=1, rate=16000), speak(2, seed=2, rate=16000)
    short[:8000] = long[:8000]
    for name, samples in {"a.wav": long, "b.wav": short}.items():
        soundfile.write(tmp_path / name, samples, 16000, "PCM_16")
    heads = {(tmp_path / name).read_bytes()[:1024] for name in ("a.wav", "b.wav")}
    assert len(heads) == 1
    model = load()
    texts = [model(str(tmp_path / name)) for name in ("a.wav", "b.wav")]
    assert texts[0] != texts[1]
    assert texts == [host.plain(model, str(tmp_path / name)) for name in ("a.wav", "b.wav")]


def test_samples_are_told_by_what_they_hold(host, load):
    model, samples = load(), speak(1, seed=3, rate=16000)
    other = samples.copy()
    other[100] += 0.5
    given = [samples, other, samples.copy(), samples.astype("float64")]
    assert [misses(host, lambda g=g: model(g)) for g in given] == [1, 1, 0, 1]
    assert model(samples) == host.plain(model, samples)


SAME = [
    {},
    {"language": "auto"},
    {"textnorm": "woitn"},
    {"use_itn": True},
    {"language": ["auto"], "textnorm": ["woitn"]},
]
OTHER = [{"language": "zh"}, {"textnorm": "withitn"}, {"unheard_of": 1}]


def test_what_is_not_said_is_what_it_stands_for(host, load, recordings):
    model = load()
    assert [misses(host, lambda o=o: model(recordings[0], **o)) for o in SAME] == [1, 0, 0, 0, 0]
    assert [misses(host, lambda o=o: model(recordings[0], **o)) for o in OTHER * 2] == [
        *(1, 1, 1),
        *(0, 0, 0),
    ]


@pytest.mark.filterwarnings(  # the host does not close it
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
def test_a_language_in_a_file_is_read_each_time(host, load, recordings, tmp_path):
    model, file = load(), tmp_path / "language"
    file.write_text("zh\n")
    model(recordings[0], language="zh")
    assert misses(host, lambda: model(recordings[0], language=str(file))) == 0
    file.write_text("ja\n")
    assert misses(host, lambda: model(recordings[0], language=str(file))) == 1


def test_of_a_batch_only_what_is_missing_is_computed_and_the_order_is_kept(
    host, load, recordings, monkeypatch
):
    model = load()
    heard = [host.plain(model, path)[0] for path in recordings]
    asked = []
    infer = host.found.infer
    monkeypatch.setattr(
        host.found,
        "infer",
        lambda self, feats, *more: asked.append(len(feats)) or infer(self, feats, *more),
    )
    host.use(host.cache)
    first = [recordings[2], recordings[0]]
    assert model(first) == [heard[2], heard[0]]
    assert model([*recordings, recordings[0]]) == [*heard, heard[0]]
    assert asked == [1] * 4
    assert model(recordings[3]) == [heard[3]]
    assert host.counts() == {"miss": 4, "hit.memory": 4}


def test_each_of_a_batch_has_its_language(host, load, recordings):
    model = load()
    tags = {"language": ["zh", "en"], "textnorm": ["withitn", "woitn"]}
    alone = [
        model(path, language=tags["language"][n], textnorm=tags["textnorm"][n])[0]
        for n, path in enumerate(recordings[:2])
    ]
    assert misses(host, lambda: model(recordings[:2], **tags)) == 0
    assert model(recordings[:2], **tags) == alone


def test_a_model_that_pads_its_batches_hears_each_as_if_alone(host, load, recordings):
    model = load(batch_size=4)
    heard = [host.plain(model, path)[0] for path in recordings]
    assert host.plain(model, recordings) != heard  # what the padding does
    assert model(recordings) == heard


def write(name, data):
    return lambda folder: (folder / name).write_bytes(data(folder / name))


def configure(**changes):
    def change(folder):
        text = (folder / "config.yaml").read_text()
        for name, value in changes.items():
            text = "\n".join(
                f"  {name}: {value}" if line.strip().startswith(f"{name}:") else line
                for line in text.splitlines()
            )
        (folder / "config.yaml").write_text(text)

    return change


CHANGES = {
    "weights": lambda folder: make_model(folder, seed=1, dither=0.0),
    "statistics": write("am.mvn", lambda path: path.read_bytes().replace(b"-8.0", b"-7.0")),
    "window": configure(window="povey"),
    "dither": configure(dither=1.0),
    "bpe": write(
        "chn_jpn_yue_eng_ko_spectok.bpe.model",
        lambda path: path.read_bytes().replace(b"a", b"A", 1),
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_another_file_of_the_model_is_another_model(host, load, folder, recordings, what):
    load()(recordings[0])
    assert misses(host, lambda: load()(recordings[0])) == 0
    CHANGES[what](folder)
    assert misses(host, lambda: load()(recordings[0])) == 1
    assert misses(host, lambda: load()(recordings[0])) == 0


def test_a_quantised_model_is_another_one(host, load, folder, recordings):
    network = onnx.load(folder / "model.onnx")
    network.doc_string = "quantised"
    onnx.save(network, folder / "model_quant.onnx")
    load()(recordings[0])
    assert misses(host, lambda: load(quantize=True)(recordings[0])) == 1


def test_weights_beside_the_model_are_in_the_key(host, load, folder, recordings):
    network = onnx.load(folder / "model.onnx")
    beside = {"location": "weights.bin", "size_threshold": 0}
    onnx.save(network, folder / "model.onnx", save_as_external_data=True, **beside)
    load()(recordings[0])
    weights = folder / "weights.bin"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert misses(host, lambda: load()(recordings[0])) == 1


def test_statistics_of_the_sound_that_the_host_has_kept_are_in_the_key(host, load, recordings):
    first, second = load(), load()
    second.frontend.cmvn = first.frontend.cmvn + 1
    first(recordings[0])
    assert misses(host, lambda: second(recordings[0])) == 1


def test_with_dither_the_first_result_is_everybody_s(host, load, folder, recordings, open_cache):
    configure(dither=1.0)(folder)
    heard = load()(recordings[0])
    assert [load()(recordings[0]) for _ in range(3)] == [heard] * 3
    host.use(open_cache(fingerprint="strict"))
    assert bypassed(host, lambda: load()(recordings[0])) == ["random-result"]


def test_what_is_not_understood_is_passed_through_with_a_reason(host, load, recordings, tmp_path):
    model, samples = load(), speak(1, seed=3, rate=16000)
    wav = recordings[0]

    def fails(*args, **kwargs):
        def call():
            with pytest.raises(Exception):  # noqa: B017 - the host's own
                model(*args, **kwargs)

        return call

    assert bypassed(host, fails([samples, wav])) == ["unsupported-input"]
    assert bypassed(host, fails(str(tmp_path / "song.mp3"))) == ["unsupported-input"]
    assert bypassed(host, fails(Path(wav))) == ["unsupported-input"]
    assert bypassed(host, fails(str(tmp_path / "none.wav"))) == ["unreadable-file"]
    assert bypassed(host, fails("https://example.org/a.wav")) == ["unreadable-file"]
    assert bypassed(host, fails(wav, language="klingon")) == ["failed-key"]
    assert bypassed(host, fails(wav, language=["zh", "en"])) == ["unsupported-input"]
    assert bypassed(host, fails(recordings, language=["zh", "en"])) == ["unsupported-input"]
    assert "miss" not in host.counts()


def test_another_version_of_the_class_is_left_alone(host):
    [method] = host.host.methods

    class Later:
        def __call__(self, wav_content, language="auto", **kwargs):
            """Take the language by name."""

    assert misfit(method, vars(Later)["__call__"]) == (
        "its parameters are (wav_content, language, kwargs),"
        " this plugin knows (wav_content, kwargs)"
    )


def test_an_entry_can_be_read_without_the_host(host, load, recordings, root):
    load()(recordings[0], language="en")
    host.cache.flush()
    [path] = (root / "v1" / "manifests").rglob("*.json")
    manifest = json.loads(path.read_bytes())
    assert manifest["plugin"] == "sensevoice.SenseVoiceSmall.__call__/1"
    assert manifest["params"] == {"kwargs": {"language": 4, "textnorm": 15}}
    assert np.isclose(manifest["compute_seconds"], 0, atol=60)
