"""The reference host with real FunASR and onnxruntime, tuned by the variable alone."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch

from stepaudio_cas.identity.digest import digest_bytes
from tests.hosts.runs import _drive, copy_model
from tests.hosts.speech import write_speech

pytestmark = pytest.mark.timeout(600)

TUNE = "tf32,ort.graph=basic,ort.intra=2,ort.providers=cuda:cpu,encoder=lighter,nonsense"


class Run:
    """The host, tuned: what was said, and what the fingerprints in the store say."""

    def __init__(self, base, folder):
        self.model = copy_model(base, folder / "model")
        shutil.copytree(self.model / "paraformer-online", self.model / "lighter")
        path = self.model / "lighter/model.pt"
        weights = torch.load(path, weights_only=True)["state_dict"]
        weights["encoder.after_norm.bias"] += 1.0
        torch.save({"state_dict": weights}, path)
        wav = write_speech(folder / "a.wav", 2, seed=1)
        steps = [["load", {}], ["tokens", {"wav": wav, "seed": 7}]]
        store = folder / "store"
        done = _drive(folder, self.model, steps, STEPAUDIO_CAS=store, STEPAUDIO_CAS_TUNE=TUNE)
        self.lines = done["start"]
        files = (store / "v1/fingerprints").rglob("*.json")
        (self.tokenizer,) = [f for f in map(read, files) if "k-means" in f["settings"]]

    def said(self, text):
        return sum(text in line for line in self.lines)


def read(path):
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    return Run(base, tmp_path_factory.mktemp("tuned"))


def test_a_word_that_is_none_is_said_once_and_the_rest_is_in_force(run):
    assert run.said("no word 'nonsense'; there are tf32") == 1
    assert run.said("ort.graph=basic (speech_tokenizer_v1.onnx) is effective") == 1
    assert run.said("ort.graph=basic (campplus.onnx) is effective") == 1
    assert run.said("ort.intra=2 (speech_tokenizer_v1.onnx) is effective") == 1
    assert run.said("encoder=lighter (paraformer-online) is effective") == 1


def test_the_model_in_the_key_is_the_one_that_is_in_force(run):
    weights = (run.model / "lighter/model.pt").read_bytes()
    assert run.tokenizer["files"]["encoder"]["digest"] == digest_bytes(weights)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_what_changes_results_is_in_the_key_and_what_is_not_possible_is_not(run):
    assert run.said("tf32 is skipped: there is no CUDA device") == 1
    assert run.said("is skipped: it runs on CPUExecutionProvider; CUDAExecutionProvider") == 2
    assert run.tokenizer["settings"]["tuning"] == {
        "2 InferenceSession": {"ort.graph": "basic", "ort.intra": 2}
    }


LOADED = "import json, msgpack, sys; print(json.dumps(sorted(sys.modules)))"


@pytest.mark.parametrize("value", [None, "", "off", "nonsense"])
def test_without_a_word_nothing_that_tunes_is_loaded(value, monkeypatch, tmp_path):
    monkeypatch.setenv("STEPAUDIO_CAS", str(tmp_path))
    if value is not None:
        monkeypatch.setenv("STEPAUDIO_CAS_TUNE", value)
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, check=True)
    loaded = json.loads(done.stdout)
    assert "stepaudio_cas_plugins.stepaudio" in loaded
    assert not [name for name in loaded if name.startswith("stepaudio_cas_plugins.tuning")]


def test_libraries_that_are_not_imported_are_not_imported_for_tuning(monkeypatch, tmp_path):
    monkeypatch.setenv("STEPAUDIO_CAS", str(tmp_path))
    monkeypatch.setenv("STEPAUDIO_CAS_TUNE", "tf32,compile,ort.intra=2,llm=4bit,attention=sdpa")
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, check=True)
    loaded = json.loads(done.stdout)
    assert [n for n in loaded if n.startswith("stepaudio_cas_plugins.tuning")] == [
        "stepaudio_cas_plugins.tuning"
    ]
    assert not {"stepaudio_cas.settings", "stepaudio_cas.tuning.effects"} & set(loaded)
    assert not {"torch", "onnxruntime", "transformers", "funasr", "numpy"} & set(loaded)
