"""Chatterbox: the reference of its vocoder, and its voice encoder."""

import numpy as np
import pytest
import torch
from stepaudio_cas_plugins.chatterbox import plugin

from tests.plugins.proofs import misses, refused, same
from tests.plugins.small import features

SOUND = np.sin(np.arange(24000, dtype="float32") / 7)
S3GEN = ("chatterbox_s3gen", "chatterbox.models.s3gen.s3gen")
VOICE = ("chatterbox_voice_encoder", "chatterbox.models.voice_encoder.voice_encoder")


@pytest.fixture
def start(start_host):
    """Both models of a host that has just been started, and that start."""

    def start_(seed=0, changes=(), hp=()):
        started = start_host(plugin)
        started.host = started.load(*S3GEN, changes)
        started.voices = started.load(*VOICE, hp)
        torch.manual_seed(seed)
        started.s3gen = started.host.S3Token2Wav().eval()
        started.ve = started.voices.VoiceEncoder().eval()
        return started

    return start_


@pytest.mark.parametrize("sound", [SOUND, torch.from_numpy(SOUND), SOUND[None]])
def test_a_hit_is_the_hosts_reference_without_its_gradient(start, sound):
    started = start()
    plain = started.host.S3Token2Mel.embed_ref.__wrapped__(started.s3gen, sound, 24000)
    first, again = (started.s3gen.embed_ref(sound, 24000, device="cpu") for _ in range(2))
    assert started.counts() == {"miss": 1, "hit.memory": 1}
    assert same(plain, first)
    assert same(plain, again)
    assert [r["embedding"].requires_grad for r in (plain, first, again)] == [True, True, False]


def test_a_hit_of_the_voice_encoder_is_what_the_host_computes(start):
    started = start()
    original = started.voices.VoiceEncoder.embeds_from_wavs.__wrapped__
    plain = original(started.ve, [SOUND, SOUND[:9000]], sample_rate=16000)
    for counted in ({"miss": 1}, {"hit.memory": 1}):
        got = started.ve.embeds_from_wavs([SOUND, SOUND[:9000]], sample_rate=16000)
        assert same(plain, got)
        assert started.counts() == counted


def test_a_second_start_computes_neither(start):
    for runs in (["embed_ref", "embeds"], []):
        started = start()
        started.s3gen(None, SOUND, 24000)
        started.ve.embeds_from_wavs([SOUND], sample_rate=16000, as_spk=True)
        assert runs == started.host.RUNS + started.voices.RUNS


CALLS = {
    "recording": ((SOUND * 0.5, 24000), {}),
    "type": ((torch.from_numpy(SOUND), 24000), {}),
    "rate": ((SOUND, 48000), {}),
    "fade": ((SOUND, 24000), {"ref_fade_out": False}),
}


@pytest.mark.parametrize("kind", CALLS)
def test_another_call_of_embed_ref_has_another_key(start, kind):
    started = start()
    args, more = CALLS[kind]
    assert misses(started, started.s3gen.embed_ref, SOUND, 24000)
    assert misses(started, started.s3gen.embed_ref, *args, **more)


CALLS_OF_VOICES = {
    "recording": (([SOUND * 0.5], 16000), {}),
    "two": (([SOUND, SOUND], 16000), {}),
    "tuple": (((SOUND,), 16000), {}),
    "rate": (([SOUND], 32000), {}),
    "as_spk": (([SOUND], 16000), {"as_spk": True}),
    "batch_size": (([SOUND], 16000), {"batch_size": 1}),
    "trim_top_db": (([SOUND], 16000), {"trim_top_db": None}),
    "kwargs": (([SOUND], 16000), {"rate": 1.0}),
}


@pytest.mark.parametrize("kind", CALLS_OF_VOICES)
def test_another_call_of_the_voice_encoder_has_another_key(start, kind):
    started = start()
    args, more = CALLS_OF_VOICES[kind]
    assert misses(started, started.ve.embeds_from_wavs, [SOUND], 16000)
    assert misses(started, started.ve.embeds_from_wavs, *args, **more)


@torch.no_grad()
def zero(network):
    next(network.parameters()).zero_()


MODELS = {
    "tokenizer": lambda s3gen: zero(s3gen.tokenizer),
    "speaker": lambda s3gen: zero(s3gen.speaker_encoder),
    "running statistics": lambda s3gen: s3gen.speaker_encoder.norm.running_mean.add_(1),
    "type": lambda s3gen: s3gen.flow.double(),
    "mel_extractor": lambda s3gen: setattr(s3gen, "mel_extractor", features.without_gradient),
    "mel_extractor, place": lambda s3gen: setattr(s3gen, "mel_extractor", features.TWINS[0]),
    "layer": lambda s3gen: setattr(s3gen.speaker_encoder.norm, "eps", 1e-3),
}


@pytest.mark.parametrize("kind", MODELS)
def test_another_model_of_the_reference_gives_another_key(start, kind):
    started = start()
    assert misses(started, started.s3gen.embed_ref, SOUND, 24000)
    MODELS[kind](started.s3gen)
    assert misses(started, started.s3gen.embed_ref, SOUND, 24000)


def test_mel_extractors_of_one_name_and_with_other_defaults_have_other_keys(start):
    started = start()
    for mel in features.TWINS:
        started.s3gen.mel_extractor = mel
        assert misses(started, started.s3gen.embed_ref, SOUND, 24000)


def test_a_mel_extractor_that_cannot_be_told_is_passed_through(start):
    started = start()
    plain = started.s3gen.mel_extractor
    started.s3gen.mel_extractor = lambda audio: plain(audio) * 2
    started.s3gen.embed_ref(SOUND, 24000)
    assert started.counts() == {"bypass.failed-key": 1}


def resampler(src_sr, dst_sr, device):
    return lambda wav: wav[:, 1 :: src_sr // dst_sr].to(device)


def test_another_resampler_gives_another_key_at_once(start, monkeypatch):
    started = start()
    assert misses(started, started.s3gen.embed_ref, SOUND, 24000)
    monkeypatch.setattr(started.host, "get_resampler", resampler)
    assert misses(started, started.s3gen.embed_ref, SOUND, 24000)


VOICES = {
    "weights": zero,
    "layer": lambda ve: setattr(ve.lstm, "dropout", 0.25),
    "hp": lambda ve: setattr(ve.hp, "ve_partial_frames", 160),
    "class of hp": lambda ve: setattr(type(ve.hp), "ve_partial_frames", 160),
    "another hp": lambda ve: setattr(ve, "hp", type("Config", (type(ve.hp),), {"pad": 1})()),
}


@pytest.mark.parametrize("kind", VOICES)
def test_another_voice_encoder_gives_another_key_at_once(start, kind):
    started = start()
    assert misses(started, started.ve.embeds_from_wavs, [SOUND], 16000)
    VOICES[kind](started.ve)
    assert misses(started, started.ve.embeds_from_wavs, [SOUND], 16000)


MELS_OF_VOICES = {
    "mel": {"features.fbank(": "0.5 * features.fbank("},
    "packing": {"batch_first=True)\n\n\nclass": "batch_first=True) * 2\n\n\nclass"},
    "setting": {"num_mels = 40": "num_mels = 20"},
}


@pytest.mark.parametrize("kind", MELS_OF_VOICES)
def test_another_way_to_prepare_audio_for_voices_gives_another_key(start, kind):
    for changes, missed in (((), True), ((), False), (MELS_OF_VOICES[kind], True)):
        started = start(hp=changes)
        assert misses(started, started.ve.embeds_from_wavs, [SOUND], 16000) is missed


def test_what_no_recording_goes_through_is_not_in_the_key(start):
    started = start()
    assert misses(started, started.s3gen.embed_ref, SOUND, 24000)
    zero(started.s3gen.flow)
    zero(started.s3gen.mel2wav)
    assert not misses(started, started.s3gen.embed_ref, SOUND, 24000)


def test_other_weights_settings_and_code_give_other_keys(start):
    options = {"hp": {"speaker_embed_size = 8": "speaker_embed_size = 8\n    extra = 1"}}
    changed = {"changes": {".to(dtype=self.dtype)": ".to(dtype=self.dtype) + 1"}}
    for more, missed in (
        ({}, (True, True)),
        ({}, (False, False)),
        ({"seed": 1}, (True, True)),
        (options, (False, True)),
        (changed, (True, False)),
    ):
        started = start(**more)
        counted = (
            misses(started, started.s3gen.embed_ref, SOUND, 24000),
            misses(started, started.ve.embeds_from_wavs, [SOUND], 16000),
        )
        assert counted == missed


def test_a_recording_that_carries_a_gradient_is_passed_through(start):
    started = start()
    started.s3gen.embed_ref(torch.from_numpy(SOUND).requires_grad_(), 24000)
    assert started.counts() == {"bypass.requires-grad": 1}


def test_training_mode_is_passed_through(start):
    started = start()
    started.s3gen.train()
    started.s3gen.embed_ref(SOUND, 24000)
    started.ve.train()
    started.ve.embeds_from_wavs([SOUND], 16000)
    assert started.counts() == {"bypass.training-mode": 2}


def test_other_versions_are_refused_with_a_line_each(start_host, capfd):
    started = start_host(plugin)
    _, said = refused(started, *S3GEN, {"ref_fade_out=True": "fade=1, trim=2"}, capfd)
    assert ["(ref_wav, ref_sr, device, fade, trim)" in line for line in said] == [True]
    _, said = refused(started, *VOICE, {"trim_top_db=20": "top_db=20"}, capfd)
    assert ["top_db, kwargs)" in line for line in said] == [True]
