"""Loading Step-Audio hosts for their voices: which module, which folders, and no language model."""

import sys
from types import ModuleType, SimpleNamespace

import pytest
from stepaudio_cas_plugins import stepaudio_host

TOKENIZER = """
class StepAudioTokenizer:
    def __init__(self, encoder_path, model_source="auto", funasr_model_id="default"):
        self.made_with = (encoder_path, model_source, funasr_model_id)
        self.funasr_model = {loaded}
        self.said = []

    def _load_models(self):
        self.funasr_model = "later"

    def wav2token(self, audio, sample_rate, enable_trim=True, energy_norm=True):
        self.said.append((audio, sample_rate, enable_trim))

    def __call__(self, audio, sr):
        self.wav2token(audio, sr, False)
"""

UTILS = """
def load_audio(path):
    return f"sound of {path}", 16000
"""

TTS = """
import os
from types import SimpleNamespace
from transformers import AutoModelForCausalLM, AutoTokenizer

made = []

class StepAudioTTS:
    def __init__(self, model_path, audio_tokenizer, model_source="auto"):
        made.append(self)
        self.made_with = (model_path, model_source)
        self.audio_tokenizer = audio_tokenizer
        self.llm = AutoModelForCausalLM.from_pretrained(model_path, device_map="cuda").to(1).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(model_path)
        frontend = os.path.join(model_path, "CosyVoice-300M-25Hz")
        self.cosy_model = SimpleNamespace(frontend=frontend, vocoder="large")

    def preprocess_prompt_wav(self, path):
        return f"prompt of {path}"
"""


@pytest.fixture
def transformers(monkeypatch):
    class Base:
        @classmethod
        def from_pretrained(cls, folder, **options):
            raise OSError(f"{folder} has no {cls.__name__}")

    module = ModuleType("transformers")
    names = ("AutoModelForCausalLM", "AutoTokenizer", "PreTrainedModel")
    for name in names:
        setattr(module, name, type(name, (Base,), {}))
    monkeypatch.setitem(sys.modules, "transformers", module)
    return module


@pytest.fixture
def load(tmp_path, monkeypatch, transformers):
    """Write a host's modules into a folder below its root, and load it."""
    monkeypatch.setattr(stepaudio_host, "_without_cuda", lambda: None)
    code, model = tmp_path / "code", tmp_path / "model"
    (model / "Step-Audio-Tokenizer").mkdir(parents=True)
    before = set(sys.modules)

    def load_(folder=".", loaded='"at once"', texts=(), how=stepaudio_host.load, **options):
        home = code / folder
        home.mkdir(parents=True, exist_ok=True)
        modules = {"tokenizer": TOKENIZER.format(loaded=loaded), "utils": UTILS, "tts": TTS}
        for name, text in {**modules, **dict(texts)}.items():
            (home / f"{name}.py").write_text(text)
        monkeypatch.setattr(sys, "path", [str(code), *sys.path])
        return how(**{"model": str(model), **options})

    yield load_
    for name in set(sys.modules) - before:
        if str(code) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def tokenizer_of(ask):
    return ask.__closure__[-1].cell_contents


def test_without_cosyvoice_the_tokenizer_is_asked_for_what_load_audio_returns(load, tmp_path):
    (ask,) = load()
    ask("a.wav")
    made = tokenizer_of(ask)
    assert made.said == [("sound of a.wav", 16000, True)]
    folder = str(tmp_path / "model/Step-Audio-Tokenizer")
    assert made.made_with == (folder, "local", "default")


def test_text_is_what_calling_the_tokenizer_makes(load):
    (ask,) = load(ask="text", funasr="paraformer")
    ask("a.wav")
    assert tokenizer_of(ask).said == [("sound of a.wav", 16000, False)]
    assert tokenizer_of(ask).made_with[2] == "paraformer"


def test_with_cosyvoice_the_whole_preparation_is_asked_for(load, tmp_path, transformers):
    voice = tmp_path / "model/Step-Audio-EditX"
    (voice / "CosyVoice-300M-25Hz").mkdir(parents=True)
    (ask,) = load()
    assert ask("a.wav") == "prompt of a.wav"
    tts = ask.__self__
    assert tts.made_with == (str(voice), "local")
    assert tts.cosy_model == SimpleNamespace(frontend=str(voice / "CosyVoice-300M-25Hz"))
    with pytest.raises(OSError, match="has no AutoTokenizer"):
        transformers.AutoTokenizer.from_pretrained("elsewhere")


OLDER = """
import json
from types import SimpleNamespace
from transformers import AutoModelForCausalLM

class CosyVoice:
    def __init__(self, folder, enable_cuda_graph=True):
        if enable_cuda_graph:
            raise RuntimeError("there is no GPU")
        self.frontend = folder
        self.network = "large"

class StepAudioTTS:
    def __init__(self, model_path, encoder):
        self.llm = AutoModelForCausalLM.from_pretrained(model_path)
        self.common_cosy_model = CosyVoice(model_path + "/CosyVoice-300M-25Hz")
        self.music_cosy_model = CosyVoice(model_path + "/CosyVoice-300M-25Hz-Music")
        self.encoder = encoder
        self.register_speakers()

    def register_speakers(self):
        with open("speakers/speakers_info.json") as file:
            self.speakers_info = json.load(file)

    def preprocess_prompt_wav(self, path):
        return self.common_cosy_model.frontend, path
"""


def test_step_audio_itself_is_made_without_its_speakers_and_networks(load, tmp_path):
    folder = tmp_path / "model/Step-Audio-TTS-3B"
    (folder / "CosyVoice-300M-25Hz").mkdir(parents=True)
    (ask,) = load(texts={"tts": OLDER})
    assert ask("a.wav") == (f"{folder}/CosyVoice-300M-25Hz", "a.wav")
    made = ask.__self__
    assert vars(made.common_cosy_model).keys() == vars(made.music_cosy_model).keys() == {"frontend"}
    with pytest.raises(FileNotFoundError, match="speakers_info"):
        made.register_speakers()
    with pytest.raises(RuntimeError, match="no GPU"):
        sys.modules["tts"].CosyVoice("folder")


def test_the_way_the_host_is_asked_can_be_said(load, tmp_path):
    (tmp_path / "model/Step-Audio-EditX/CosyVoice").mkdir(parents=True)
    assert len(load(ask="prompt,tokens")) == 2
    with pytest.raises(ValueError, match="ask=voice: there are prompt, tokens and text"):
        load(ask="voice")


def test_a_fork_in_a_package_is_found(load):
    (ask,) = load("forks/coreeditx")
    assert type(tokenizer_of(ask)).__module__ == "forks.coreeditx.tokenizer"


def test_the_tokenizer_of_somebody_else_is_not_taken(load, tmp_path):
    other = tmp_path / "code/other"
    other.mkdir(parents=True)
    (other / "tokenizer.py").write_text("class BertTokenizer: pass")
    (ask,) = load("forks/coreeditx")
    assert type(tokenizer_of(ask)).__module__ == "forks.coreeditx.tokenizer"
    with pytest.raises(LookupError, match="defines StepAudioTokenizer"):
        stepaudio_host._find_package(str(other))


def test_a_fork_that_loads_later_is_made_to_load(load):
    (ask,) = load(loaded="None")
    assert tokenizer_of(ask).funasr_model == "later"


def test_a_host_that_reads_no_recordings_itself_says_so(load):
    with pytest.raises(LookupError, match="no load_audio"):
        load(texts={"utils": ""})


def test_a_model_that_is_not_there(load):
    with pytest.raises(FileNotFoundError, match="/no-such is not a folder"):
        load(tokenizer="/no-such")


@pytest.mark.parametrize("place", [0, 1, "cuda", "cuda:1", SimpleNamespace(type="cuda")])
def test_without_a_gpu_what_names_one_means_the_cpu(place):
    to = stepaudio_host._on_cpu(lambda self, *args, **kwargs: (args, kwargs))
    assert to(None, place) == (("cpu",), {})
    assert to(None, device=place) == ((), {"device": "cpu"})


@pytest.mark.parametrize("place", ["cpu", True, "float32", SimpleNamespace(type="cpu"), None])
def test_what_names_no_gpu_is_left_as_it_is(place):
    to = stepaudio_host._on_cpu(lambda self, *args, **kwargs: args)
    assert to(None, place) == (place,)


WHOLE = """
class StepAudioTTS:
    def __init__(self, model_path, audio_tokenizer, model_source="auto"):
        self.made_with = (model_path, model_source)

    def clone(self, prompt_wav_path, prompt_text, target_text):
        return (*self.made_with, prompt_wav_path, prompt_text, target_text)
"""


def test_the_whole_host_is_loaded_by_its_own_constructor_and_clones(load, tmp_path):
    (tmp_path / "model/Step-Audio-EditX").mkdir(parents=True)
    ask = load(
        "engine", texts={"tts": WHOLE}, how=stepaudio_host.serve, text="Yes", prompt_text="No"
    )
    folder = str(tmp_path / "model/Step-Audio-EditX")
    assert ask("a.wav") == (folder, "local", "a.wav", "No", "Yes")


def test_a_host_that_cannot_clone_is_told_what_to_do(load):
    text = WHOLE.replace("def clone", "def speak")
    with pytest.raises(LookupError, match="has no clone; see cas-tool bench --encode"):
        load(texts={"tts": text}, how=stepaudio_host.serve)
