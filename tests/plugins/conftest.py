"""Step-Audio's classes, loaded into this process and patched by the plugin."""

import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from stepaudio_cas_plugins import stepaudio

from stepaudio_cas.activation import patch
from stepaudio_cas.activation.registry import is_host
from tests.plugins import hosts
from tests.plugins.proofs import Start

MODULES = {
    "funasr_parts": hosts.FUNASR,
    "utils_parts": hosts.UTILS,
    "tokenizer": hosts.TOKENIZER,
    "frontend": hosts.FRONTEND,
    "tts": hosts.TTS,
    "whisper_wrapper": hosts.WHISPER,
}


class Host:
    """One start of a host: its modules, its model's folder, and the cache it is patched with."""

    def __init__(self, folder, cache, monkeypatch, texts):
        self.folder = folder
        self.cache = cache
        self.modules = {}
        monkeypatch.setattr(patch, "shared_cache", lambda: cache)
        code = folder / f"code{len(list(folder.glob('code*')))}"
        code.mkdir()
        for name, text in (MODULES | texts).items():
            self.modules[name] = self._load(code, name, text, monkeypatch)

    def _load(self, code, name, text, monkeypatch):
        path = code / f"{name}.py"
        path.write_text(text)
        module = ModuleType(name)
        module.__file__ = str(path)
        monkeypatch.setitem(sys.modules, name, module)
        exec(compile(text, path, "exec"), vars(module))
        for host in stepaudio.plugin.classes:
            found = vars(module).get(host.name)
            if name in host.modules and is_host(found, host):
                patch.patch_class(stepaudio.plugin, host, found, vars(module), name)
        return module

    def runs(self, name):
        """What the host has computed in one of its modules."""
        return self.modules[name].RUNS

    def tokenizer(self, **more):
        return self.modules["tokenizer"].StepAudioTokenizer(self.folder / "model", **more)

    def frontend(self, **mel_conf):
        conf = {"sampling_rate": 24000, "n_fft": 2, "num_mels": 4} | mel_conf
        kind = self.modules["frontend"].CosyVoiceFrontEnd
        return kind(conf, self.folder / "model" / "campplus.onnx")

    def tts(self):
        return self.modules["tts"].StepAudioTTS(self.tokenizer(), self.frontend())

    def counters(self):
        return {
            name: number
            for name, number in self.cache.stats()["counters"].items()
            if name.startswith(("miss", "hit", "bypass", "error", "raised"))
        }


@pytest.fixture
def model(tmp_path):
    """A folder with a model's files."""
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("model.pt", "am.mvn", "config.yaml", "configuration.json"):
        (folder / name).write_text(name)
    for name in ("speech_tokenizer_v1.onnx", "campplus.onnx"):
        (folder / name).write_text(name)
    np.save(folder / "linguistic_tokenizer.npy", np.arange(8, dtype="float32"))
    return folder


@pytest.fixture
def start(model, tmp_path, open_cache, monkeypatch):
    """Start a host anew, as in a new process: with its modules, changed if texts are given."""

    def start_(settings=None, **texts):
        return Host(tmp_path, open_cache(**settings or {}), monkeypatch, texts)

    return start_


@pytest.fixture
def start_host(tmp_path, open_cache, monkeypatch):
    """Start a small host anew, as in a new process, patched by a plugin."""

    started = []

    def start_(plugin, **settings):
        for before in started:
            before.cache.flush()  # what is found now is a matter of keys alone
        code = tmp_path / "code"
        code.mkdir(exist_ok=True)
        started.append(Start(plugin, code, open_cache(**settings), monkeypatch))
        return started[-1]

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # such small models only wait for each other
    yield start_
    torch.set_num_threads(threads)


@pytest.fixture
def whisper(tmp_path, monkeypatch):
    """Install a text as whisper's audio module."""

    def install(text):
        path = tmp_path / f"whisper{len(list(tmp_path.glob('whisper*')))}.py"
        path.write_text(text)
        module = ModuleType("whisper.audio")
        module.__file__ = str(path)
        exec(compile(text, path, "exec"), vars(module))
        monkeypatch.setitem(sys.modules, "whisper.audio", module)

    return install


@pytest.fixture
def recordings(tmp_path):
    """Two recordings of one second."""
    made = []
    for seed in range(2):
        samples = np.random.default_rng(seed).normal(scale=3000, size=24000).astype("<i2")
        path = tmp_path / f"voice{seed}.wav"
        path.write_bytes(b"RIFF".ljust(44, b"\0") + samples.tobytes())
        made.append(path)
    return made
