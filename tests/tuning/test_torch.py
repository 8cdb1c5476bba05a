"""TF32, and what becomes of it where there is no GPU."""

import pytest
import torch
from stepaudio_cas_plugins import tuning_torch
from stepaudio_cas_plugins.tuning_torch import allow_tf32

from stepaudio_cas.tuning.effects import EFFECTIVE, SKIPPED

WORD = ("tf32", "")


@pytest.fixture
def flags():
    """The flags of this process, put back afterwards."""
    cuda, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = cuda.allow_tf32, cudnn.allow_tf32
    cuda.allow_tf32 = cudnn.allow_tf32 = False
    tuning_torch._lacks_tf32.cache_clear()
    yield lambda: (cuda.allow_tf32, cudnn.allow_tf32)
    tuning_torch._lacks_tf32.cache_clear()
    cuda.allow_tf32, cudnn.allow_tf32 = before


@pytest.fixture
def gpu(monkeypatch):
    """A GPU, as far as anybody asks for it here."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 6))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")


def test_the_flags_are_set_when_torch_is_there(flags, effects):
    allow_tf32(vars(torch), {"tf32": True})
    assert flags() == (True, True)


def test_a_torch_that_is_only_there_in_part_is_left_for_later(flags, effects):
    allow_tf32({"__name__": "torch"}, {"tf32": True})
    allow_tf32({"__name__": "safetensors.torch", "backends": torch.backends}, {"tf32": True})
    assert flags() == (False, False)
    assert effects.of([]) == {}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_is_said_once_and_is_in_no_fingerprint(flags, effects, states, capfd):
    allow_tf32(vars(torch), {"tf32": True})
    assert effects.of([]) == effects.of([]) == {}
    assert states() == {WORD: (SKIPPED, "there is no CUDA device")}
    assert capfd.readouterr().err.count("tf32") == 1


def test_with_a_gpu_it_is_in_every_fingerprint(flags, effects, states, gpu):
    allow_tf32(vars(torch), {"tf32": True})
    assert effects.of([]) == {"process": {"tf32": True}}
    assert states() == {WORD: (EFFECTIVE, "")}


def test_a_gpu_that_is_too_old_is_named(flags, effects, states, gpu, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    allow_tf32(vars(torch), {"tf32": True})
    assert effects.of([]) == {}
    assert states() == {WORD: (SKIPPED, "a GPU has no TF32")}


def test_what_the_host_sets_back_is_in_no_fingerprint(flags, effects, states, gpu):
    allow_tf32(vars(torch), {"tf32": True})
    torch.backends.cuda.matmul.allow_tf32 = False
    assert effects.of([]) == {}
    assert states() == {WORD: (SKIPPED, "the host has set it back")}


def test_the_newer_names_of_the_flags_may_be_used_by_the_host(flags, effects, gpu):
    matmul = torch.backends.cuda.matmul
    if not hasattr(matmul, "fp32_precision"):
        pytest.skip("an older torch")
    allow_tf32(vars(torch), {"tf32": True})
    assert effects.of([]) == {"process": {"tf32": True}}
    before = matmul.fp32_precision
    try:
        matmul.fp32_precision = "ieee"
        assert effects.of([]) == {}
    finally:
        matmul.fp32_precision = before
