"""FunASR's own packages, patched in this process, on models that are made here."""

import importlib
import importlib.util
import json
import sys
import warnings
from pathlib import Path

import torch
import yaml

from stepaudio_cas.activation import patch

HOST = Path(__file__).parents[1] / "hosts" / "transcription"


def make_model(folder, **options):
    """Write the folder that `funasr_onnx` reads; return it."""
    _maker().make_model(folder, **options)
    return folder


def make_torch_model(folder, funasr):
    """Write a folder that `funasr` reads, and the weights that it starts with; return it."""
    maker = _maker()
    maker.write_bpe(folder / maker.BPE)
    (folder / "am.mvn").write_text(maker.cmvn())
    rates = ("dropout_rate", "positional_dropout_rate", "attention_dropout_rate")
    config = {
        "model": "SenseVoiceSmall",
        "model_conf": {"length_normalized_loss": True, "sos": 1, "eos": 2, "ignore_id": -1},
        "encoder": "SenseVoiceEncoderSmall",
        "encoder_conf": {
            "attention_heads": 2, "linear_units": 32, "kernel_size": 11, "output_size": 16,
            "num_blocks": 2, "tp_blocks": 1, "input_layer": "pe", "normalize_before": True,
            "pos_enc_class": "SinusoidalPositionEncoder", "sanm_shfit": 0,
            "selfattention_layer_type": "sanm", **dict.fromkeys(rates, 0.0),
        },
        "frontend": "WavFrontend",
        "frontend_conf": {**maker.FRONTEND, "dither": 0.0},
        "tokenizer": "SentencepiecesTokenizer",
        "tokenizer_conf": {"unk_symbol": "<unk>", "split_with_space": True},
    }  # fmt: skip
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    files = {
        "init_param": "model.pt",
        "config": "config.yaml",
        "tokenizer_conf": {"bpemodel": maker.BPE},
        "frontend_conf": {"cmvn_file": "am.mvn"},
    }
    (folder / "configuration.json").write_text(json.dumps({"file_path_metas": files}))
    torch.save({"state_dict": {}}, folder / "model.pt")
    model = funasr.AutoModel(model=str(folder), device="cpu", disable_update=True, ncpu=1)
    torch.save({"state_dict": model.model.state_dict()}, folder / "model.pt")
    return folder


def make_vad_model(folder, funasr):
    """Write a small model that finds pauses; return the folder."""
    config = {
        "model": "FsmnVADStreaming",
        "model_conf": {"max_end_silence_time": 800, "speech_noise_thres": 0.0},
        "encoder": "FSMN",
        "encoder_conf": {
            "input_dim": 400, "input_affine_dim": 16, "fsmn_layers": 1, "linear_dim": 16,
            "proj_dim": 16, "lorder": 4, "rorder": 0, "lstride": 1, "rstride": 0,
            "output_affine_dim": 16, "output_dim": 8,
        },
        "frontend": "WavFrontendOnline",
        "frontend_conf": {**_maker().FRONTEND, "lfr_m": 5, "lfr_n": 1, "dither": 0.0},
    }  # fmt: skip
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    torch.save({"state_dict": {}}, folder / "model.pt")
    model = funasr.AutoModel(model=str(folder), device="cpu", disable_update=True, ncpu=1)
    torch.save({"state_dict": model.model.state_dict()}, folder / "model.pt")
    return folder


def _maker():
    spec = importlib.util.spec_from_file_location("make_transcription", HOST / "make_model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def import_quietly(name):
    """Import a host's package; what it warns of is not ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(name)


class Patched:
    """A host class whose methods are cached, from here to the end of a test."""

    def __init__(self, monkeypatch, plugin, module, cache):
        [self.host] = plugin.classes
        self.module = sys.modules[module]
        self.found = getattr(self.module, self.host.name)
        self.runs = []
        self._name = self.host.methods[0].name
        self._original = vars(self.found)[self._name]
        monkeypatch.setattr(self.found, self._name, self._original)
        monkeypatch.setattr(self.found, "__init__", self.found.__init__)
        self._monkeypatch, self._plugin = monkeypatch, plugin
        self.use(cache)

    def use(self, cache, original=None):
        """Start over on a cache, as a new process would, perhaps with another method."""
        self.cache = cache
        self._original = self._original if original is None else original
        setattr(self.found, self._name, self._original)
        self._monkeypatch.setattr(patch, "shared_cache", lambda: cache)
        patch.patch_class(
            self._plugin, self.host, self.found, vars(self.module), self.module.__name__
        )

    def plain(self, *args, **kwargs):
        """Call the host's own method."""
        return self._original(*args, **kwargs)

    def counts(self):
        """What has been counted of calls."""
        return {
            name: int(number)
            for name, number in self.cache.stats()["counters"].items()
            if name.startswith(("miss", "hit", "bypass", "error", "raised"))
        }
