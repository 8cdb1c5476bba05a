"""`funasr.AutoModel` itself, with a small SenseVoice made from a configuration."""

import logging
import random
import shutil

import pytest
import torch
from stepaudio_cas_plugins import funasr_models

from tests.hosts.speech import speak, write_speech
from tests.plugins.listening import Patched, import_quietly, make_torch_model, make_vad_model

AUTO = "funasr.auto.auto_model"


@pytest.fixture(scope="module")
def funasr():
    level = logging.root.level
    package = import_quietly("funasr")
    yield package
    logging.root.setLevel(level)


@pytest.fixture(scope="module")
def made(funasr, tmp_path_factory):
    return make_torch_model(tmp_path_factory.mktemp("sensevoice"), funasr)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recordings")
    return [write_speech(folder / f"{n}.wav", 1 + n / 2, seed=n, rate=16000) for n in range(4)]


@pytest.fixture
def folder(made, tmp_path):
    return shutil.copytree(made, tmp_path / "model")


@pytest.fixture
def host(monkeypatch, open_cache, funasr):
    import_quietly(AUTO)
    return Patched(monkeypatch, funasr_models.plugin, AUTO, open_cache())


@pytest.fixture
def load(host, folder):
    def load_(**options):
        quiet = {"device": "cpu", "disable_update": True, "disable_pbar": True, "ncpu": 1}
        return host.found(model=str(folder), log_level="ERROR", **quiet, **options)

    return load_


@pytest.fixture
def heard_together(monkeypatch):
    """The recordings that the model was given, those of each time in a list."""
    module = import_quietly("funasr.models.sense_voice.model")
    read, batches = module.load_audio_text_image_video, []

    def noting(recordings, *args, **kwargs):
        batches.append(list(recordings))
        return read(recordings, *args, **kwargs)

    monkeypatch.setattr(module, "load_audio_text_image_video", noting)
    return batches


def states(host, calls):
    """What became of each call: a hit, a miss, or the reason it was passed through."""
    found = []
    for call in calls:
        before = host.counts()
        call()
        changed = {
            n: c - before.get(n, 0) for n, c in host.counts().items() if c != before.get(n, 0)
        }
        found.append(
            " ".join(sorted({n.removeprefix("bypass.").partition(".")[0] for n in changed}))
        )
    return found


def asks(host, model, wav, *options):
    return states(host, [lambda o=o: model.generate(wav, **o) for o in options])


def test_a_hit_is_what_the_model_would_have_heard(host, load, recordings):
    model = load()
    heard = [host.plain(model, path) for path in recordings]
    assert len({result["text"] for [result] in heard}) == len(recordings)
    for _ in range(2):
        assert [model.generate(path) for path in recordings] == heard
    assert host.counts() == {"miss": 4, "hit.memory": 4}


def test_a_recording_is_called_by_the_name_it_is_given_under(host, load, recordings, tmp_path):
    model = load()
    other = shutil.copy(recordings[0], tmp_path / "upload-7.wav")
    [first], [second] = model.generate(recordings[0]), model.generate(str(other))
    assert host.counts() == {"miss": 1, "hit.memory": 1}
    assert (first["key"], second["key"]) == ("0", "upload-7")
    assert first["text"] == second["text"]


def test_samples_are_called_by_chance_as_the_host_does(host, load):
    model, samples = load(), speak(1, seed=3, rate=16000)
    plain, keys = [], []
    for call, names in [(host.plain, plain), (host.found.generate, keys)]:
        call(model, samples)  # the first one is a miss
        random.seed(7)
        names += [call(model, samples)[0]["key"], random.random()]
    assert keys == plain
    assert host.counts() == {"miss": 1, "hit.memory": 1}


def test_what_stands_for_the_same_is_the_same(host, load, recordings):
    same = [
        {},
        {"language": "auto"},
        {"language": "of no kind"},
        {"use_itn": False},
        {"text_norm": "woitn"},
        {"text_norm": "woitn", "use_itn": True},
        {"progress_callback": print},
        {"device": "cuda:3", "disable_pbar": True},
    ]
    assert asks(host, load(), recordings[0], *same) == ["miss", *["hit"] * 7]
    assert asks(host, load(language="auto"), recordings[0], {}) == ["hit"]


def test_every_option_that_may_matter_is_in_the_key(host, load, recordings, tmp_path):
    hotwords = tmp_path / "words.txt"
    hotwords.write_text("a=>b")
    different = [
        {},
        {"language": "zh"},
        {"use_itn": True},
        {"fs": 8000},
        {"batch_size": 2},
        {"batch_size_s": 30},
        {"ban_emo_unk": False},
        {"data_type": "sound"},
        {"hotword": "voice"},
        {"hotword": str(hotwords)},
        {"postprocess_hotwords": {"a": "b"}},
        {"postprocess_hotwords": {"a": "c"}},
        {"postprocess_hotword_file": str(hotwords)},
        {"merge_vad": True},
    ]
    model = load()
    assert asks(host, model, recordings[0], *different) == ["miss"] * len(different)
    assert asks(host, model, recordings[0], *different) == ["hit"] * len(different)


def test_a_file_of_hotwords_is_told_by_what_is_in_it(host, load, recordings, tmp_path):
    model, words, copy = load(), tmp_path / "words.txt", tmp_path / "copy.txt"
    text = model.generate(recordings[0])[0]["text"]
    words.write_text(f"{text}=>one")
    shutil.copy(words, copy)
    say = lambda path: model.generate(recordings[0], postprocess_hotword_file=str(path))  # noqa: E731
    assert say(words)[0]["text"] == "one"
    assert states(host, [lambda: say(copy)]) == ["hit"]
    words.write_text(f"{text}=>two")
    assert say(words)[0]["text"] == "two"


def test_of_a_batch_only_what_is_missing_is_computed_and_the_order_is_kept(
    host, load, recordings, heard_together
):
    model = load()
    heard = host.plain(model, recordings)
    heard_together.clear()
    assert model.generate([recordings[2]]) == [heard[2]]
    assert model.generate([*recordings, recordings[0]]) == [*heard, heard[0]]
    assert heard_together == [[recordings[n]] for n in (2, 0, 1, 3)]
    assert model.generate(recordings[1]) == [heard[1]]
    assert host.counts() == {"miss": 4, "hit.memory": 2, "hit.shared": 1}


def test_what_is_missing_of_a_batch_is_computed_together(host, load, recordings, heard_together):
    model = load()
    model.generate(recordings[:1], batch_size=3)
    results = model.generate(recordings, batch_size=3)
    assert list(map(len, heard_together)) == [1, 3]
    assert [result["key"] for result in results] == ["0", "1", "2", "3"]


def test_names_in_a_mixed_batch_are_those_the_host_gives(host, load, recordings):
    model, samples = load(), speak(1, seed=3, rate=16000)
    mixed = [recordings[0], samples, torch.from_numpy(samples), recordings[1]]
    calls = (host.plain, host.found.generate, host.found.generate)
    names = []
    for call in calls:
        random.seed(7)
        names.append([result["key"] for result in call(model, mixed)])
    assert names[0] == names[1] == names[2]
    assert host.counts() == {"miss": 4, "hit.memory": 4}


def test_what_is_not_understood_is_passed_through_with_a_reason(host, load, recordings, tmp_path):
    model, wav = load(), recordings[0]
    scp = tmp_path / "wav.scp"
    scp.write_text(f"a {wav}\nb {recordings[1]}\n")
    [one, two] = model.generate(str(scp))
    assert (one["key"], two["key"]) == ("a", "b")
    assert host.counts() == {"bypass.file-list": 1}
    assert asks(host, model, str(scp), {}) == ["file-list"]
    options = [{"cache": {}}, {"is_final": True}, {"key": ["mine"]}, {"output_dir": str(tmp_path)}]
    assert asks(host, model, wav, *options) == [
        *("streaming", "streaming"),
        *("unsupported-option", "writes-files"),
    ]
    model.model.writer.close()
    assert model.generate(wav, key=["mine"])[0]["key"] == "mine"
    kinds = {
        "url": "http://127.0.0.1:1/a.wav",
        "unsupported-input": "a.pcm",
        "unreadable-file": "b",
    }
    for reason, given in kinds.items():
        before = host.counts().get(f"bypass.{reason}", 0)
        with pytest.raises(Exception):  # noqa: B017 - the host's own
            model.generate(given)
        assert host.counts()[f"bypass.{reason}"] == before + 1
    assert not {"miss", "hit.memory"} & set(host.counts())


def rewrite(name, old, new):
    def change(folder):
        path = folder / name
        path.write_bytes(path.read_bytes().replace(old, new, 1))

    return change


def train(folder):
    weights = torch.load(folder / "model.pt", weights_only=True)
    weights["state_dict"]["ctc.ctc_lo.bias"] += 1.0
    torch.save(weights, folder / "model.pt")


CHANGES = {
    "weights": train,
    "statistics": rewrite("am.mvn", b"-8.0", b"-7.0"),
    "configuration": rewrite("config.yaml", b"window: hamming", b"window: povey"),
    "dither": rewrite("config.yaml", b"dither: 0.0", b"dither: 0.5"),
    "layout": rewrite("configuration.json", b"{", b"{ "),
    "bpe": rewrite("chn_jpn_yue_eng_ko_spectok.bpe.model", b"a", b"A"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_another_file_of_the_model_is_another_model(host, load, folder, recordings, what):
    assert asks(host, load(), recordings[0], {}) == ["miss"]
    assert asks(host, load(), recordings[0], {}) == ["hit"]
    CHANGES[what](folder)
    assert asks(host, load(), recordings[0], {}, {}) == ["miss", "hit"]


def test_a_model_in_another_folder_is_the_same(host, load, folder, recordings, tmp_path):
    load().generate(recordings[0])
    folder.rename(tmp_path / "elsewhere")
    shutil.copytree(tmp_path / "elsewhere", folder.with_name("copied"))
    (tmp_path / "copied").rename(folder)
    assert asks(host, load(), recordings[0], {}) == ["hit"]


def test_with_dither_nothing_is_kept_if_that_was_forbidden(
    host, load, folder, recordings, open_cache
):
    host.use(open_cache(fingerprint="strict"))
    assert asks(host, load(), recordings[0], {}) == ["miss"]
    CHANGES["dither"](folder)
    assert asks(host, load(), recordings[0], {}) == ["random-result"]


def test_a_model_whose_weights_are_in_no_file_is_passed_through(host, load, recordings):
    model = load(init_param="/nowhere/model.pt")
    assert asks(host, model, recordings[0], {}) == ["failed-key"]


def test_the_model_that_finds_pauses_and_its_options_are_in_the_key(
    host, load, funasr, recordings, tmp_path
):
    pauses = tmp_path / "vad"
    pauses.mkdir()
    make_vad_model(pauses, funasr)
    vad = lambda **options: load(vad_model=str(pauses), vad_kwargs=options)  # noqa: E731
    heard = host.plain(vad(), recordings[3])
    given = [{}, {}, {"merge_vad": True}, {"max_end_silence_time": 100}, {"batch_size_s": 1}]
    assert asks(host, load(), recordings[3], {}) == ["miss"]
    assert asks(host, vad(), recordings[3], *given) == ["miss", "hit", "miss", "miss", "miss"]
    assert vad().generate(recordings[3]) == heard
    assert asks(host, vad(max_single_segment_time=500), recordings[3], {}, {}) == ["miss", "hit"]
    state = torch.load(pauses / "model.pt", weights_only=True)
    torch.save({**state, "epoch": 2}, pauses / "model.pt")
    assert asks(host, vad(), recordings[3], {}, {}) == ["miss", "hit"]


def older(self, input, input_len=None, **cfg):  # noqa: A002 - the host's name
    """Do as versions did that had no progress to tell, and forgot no option."""
    return self.inference(input, input_len=input_len, kwargs=self.kwargs, **cfg)


def test_options_that_stick_in_older_versions_stick_after_hits_too(
    host, load, recordings, monkeypatch
):
    monkeypatch.delattr(host.found, "_reset_runtime_configs")
    host.use(host.cache, older)
    sticky, fresh = load(), load()
    asked = [{"language": "zh"}, {}, {"language": "zh"}]
    assert asks(host, sticky, recordings[0], *asked) == ["miss", "hit", "hit"]
    assert asks(host, fresh, recordings[0], {}, *asked) == ["miss", "hit", "hit", "hit"]
    assert fresh.kwargs["language"] == "zh"
    sticky.generate(recordings[0], decode={"x": 1})
    for model in (sticky, fresh):
        model.kwargs["decode"] = {"y": 1}
    assert asks(host, fresh, recordings[0], {"decode": {"x": 1}}) == ["miss"]
    assert asks(host, sticky, recordings[0], {"decode": {"x": 1}}) == ["hit"]
    assert sticky.kwargs["decode"] == fresh.kwargs["decode"] == {"x": 1, "y": 1}
    assert host.plain(sticky, recordings[1]) == fresh.generate(recordings[1])


def test_another_version_is_left_alone_with_a_line(host, capfd):
    def generate(self, input, input_len=None, *, hotwords=(), **cfg):  # noqa: A002
        """Take hotwords by name."""

    host.use(host.cache, generate)
    assert vars(host.found)["generate"] is generate
    assert (
        "AutoModel.generate is left alone: its parameters are (input, input_len, hotwords, cfg)"
    ) in capfd.readouterr().err
