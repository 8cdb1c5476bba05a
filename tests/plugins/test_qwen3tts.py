"""Qwen3-TTS: codes of recordings in all their forms, and the speaker embedding."""

import numpy as np
import pytest
import torch
from stepaudio_cas_plugins.qwen3tts import plugin

from tests.plugins.proofs import misses, proves_a_hit, refused
from tests.plugins.small import onnx_files

SOUND = np.sin(np.arange(24000, dtype="float32"))


@pytest.fixture
def start(tmp_path, start_host):
    """A model of a host that has just been started, and that start."""

    def start_(hertz=12, seed=0, voice=0, rate=24000, changes=(), **config):
        started = start_host(plugin)
        modeling = started.load("qwen3_tts_modeling", "modeling_qwen3_tts")
        started.host = started.load("qwen3_tts_tokenizer", "qwen3_tts_tokenizer", changes)
        torch.manual_seed(seed)
        codec = modeling.Codec(modeling.Config(**config)).eval()
        if hertz == 25:
            onnx_files.campplus(tmp_path / "campplus.onnx", voice)
            codec.load_encoder_xvector_extractor(str(tmp_path / "campplus.onnx"))
        tokenizer = started.host.Qwen3TTSTokenizer()
        tokenizer.model, tokenizer.device = codec, codec.device
        tokenizer.feature_extractor = started.host.Extractor(sampling_rate=rate)
        started.model = modeling.Qwen3TTSForConditionalGeneration(modeling.Config(**config)).eval()
        started.model.load_speech_tokenizer(tokenizer)
        started.tokenizer = tokenizer
        return started

    return start_


@pytest.fixture
def forms(recordings):
    """All forms of recordings that are cached, as arguments."""
    names = [str(path) for path in recordings]
    return {
        "array": (SOUND, 24000),
        "arrays": ([SOUND, SOUND[:9600]], 24000),
        "path": (names[0],),
        "paths": (names,),
    }


@pytest.mark.parametrize("hertz", [12, 25])
@pytest.mark.parametrize("form", ["array", "arrays", "path", "paths"])
@pytest.mark.parametrize("return_dict", [True, False])
def test_a_hit_is_what_the_host_computes_bit_for_bit(start, forms, hertz, form, return_dict):
    started = start(hertz)
    proves_a_hit(started, started.tokenizer.encode, *forms[form], return_dict=return_dict)


def test_a_hit_can_be_decoded_as_the_hosts_own_output(start):
    started = start()
    started.tokenizer.encode(SOUND, 24000)
    kept = started.tokenizer.encode(SOUND, 24000)
    assert torch.equal(started.tokenizer.decode(kept)[0], kept["audio_codes"][0])


def test_every_form_and_every_item_has_a_key_of_its_own(start, forms, recordings):
    started = start()
    names = [str(path) for path in recordings]
    calls = [*forms.values(), (SOUND, 48000), ([SOUND], 24000), (names[::-1],), (names[:1],)]
    calls.append(([SOUND * 2, SOUND[:9600]], 24000))
    for _ in range(2):
        counted = [misses(started, started.tokenizer.encode, *call) for call in calls]
    assert counted == [False] * len(calls)
    assert ["encode"] * len(calls) == started.host.RUNS


CHANGES = {
    "weights": {"seed": 1},
    "configuration": {"quantizers": 5},
    "extractor": {"rate": 12000},
    "code": {"changes": {"RUNS.append": "RUNS.append  "}},
}


@pytest.mark.parametrize("hertz", [12, 25])
@pytest.mark.parametrize("kind", CHANGES)
def test_another_ingredient_gives_another_key(start, forms, kind, hertz):
    for options, missed in (({}, True), ({}, False), (CHANGES[kind], True)):
        started = start(hertz, **options)
        assert misses(started, started.tokenizer.encode, *forms["array"]) is missed


def test_another_speaker_model_gives_another_key_at_25_hz(start, forms):
    for voice in (0, 1):
        started = start(25, voice=voice)
        assert misses(started, started.tokenizer.encode, *forms["array"])


def set_(name, value, part=lambda codec: codec):
    return lambda codec: setattr(part(codec), name, value)


def zero(codec):
    torch.nn.init.zeros_(codec.encoder.embed.weight)


SET = {
    "quantizers": set_("encoder_valid_num_quantizers", 2),
    "frames": set_("encode_downsample_rate", 160),
    "configuration": set_("quantizers", 3, lambda codec: codec.encoder.config),
    "weights": zero,
    "type": lambda codec: codec.double().float().encoder.half().float(),
}


@pytest.mark.parametrize("hertz", [12, 25])
@pytest.mark.parametrize("kind", SET)
def test_what_is_set_in_memory_gives_another_key_at_once(start, forms, kind, hertz):
    started = start(hertz)
    assert misses(started, started.tokenizer.encode, *forms["array"])
    SET[kind](started.tokenizer.model)
    assert misses(started, started.tokenizer.encode, *forms["array"])


def test_casting_the_codec_gives_another_key(start, forms):
    started = start(12)
    assert misses(started, started.tokenizer.encode, *forms["array"])
    started.tokenizer.model.to(torch.bfloat16)
    assert misses(started, started.tokenizer.encode, *forms["array"])


@pytest.mark.parametrize("kind", ["mel", "return_dict", "rate"])
def test_what_only_the_codec_of_25_hz_has_is_in_the_key(start, forms, kind):
    started = start(25)
    codec, encode = started.tokenizer.model, started.tokenizer.encode
    assert misses(started, encode, *forms["array"], return_dict=None)
    if kind == "mel":
        codec.encoder_xvector_extractor.mel_ext.n_mels = 40
        codec.encoder_xvector_extractor.mel_ext.mel_basis.clear()
    elif kind == "return_dict":
        codec.config.return_dict = False
    else:
        started.tokenizer.feature_extractor.sampling_rate = 12000
    assert misses(started, encode, *forms["array"], return_dict=None)
    assert not misses(started, encode, *forms["array"], return_dict=None)


def test_filters_that_are_made_with_the_first_recording_change_no_key(start, forms):
    """As the package has it: its speaker model is in training mode, and nobody minds."""
    for missed in (True, False):
        started = start(25)
        assert started.tokenizer.model.encoder_xvector_extractor.training
        for form in ("array", "path"):
            assert misses(started, started.tokenizer.encode, *forms[form]) is missed
            assert not misses(started, started.tokenizer.encode, *forms[form])


@pytest.mark.parametrize("kind", ["codec", "voice", "mel"])
def test_a_codec_of_25_hz_with_a_replaced_method_is_passed_through(start, forms, kind):
    started = start(25)
    codec = started.tokenizer.model
    voice = codec.encoder_xvector_extractor
    replace = {
        "codec": lambda: setattr(codec, "encode", codec.encode),
        "voice": lambda: setattr(voice, "extract_code", voice.extract_code),
        "mel": lambda: setattr(voice.mel_ext, "extract", voice.mel_ext.extract),
    }
    replace[kind]()
    started.tokenizer.encode(*forms["array"])
    assert started.counts() == {"bypass.changed-host": 1}


@pytest.mark.parametrize("audio", ["https://voices/one.wav", "data:audio/wav;base64,UklGRg=="])
def test_what_is_no_file_is_passed_through(start, audio):
    started = start(changes={'startswith("http")': 'startswith(("http", "data"))'})
    started.tokenizer.encode(audio)
    assert started.counts() == {"bypass.unreadable-file": 1}


def test_a_codec_in_training_mode_is_passed_through(start):
    started = start()
    started.tokenizer.model.train()
    started.tokenizer.encode(SOUND, 24000)
    assert started.counts() == {"bypass.training-mode": 1}


def test_a_speaker_embedding_that_hits_is_what_the_host_computes(start):
    started = start()
    proves_a_hit(started, started.model.extract_speaker_embedding, audio=SOUND, sr=24000)


def test_the_speaker_encoder_and_its_type_are_in_the_key_and_the_talker_is_not(start):
    started = start()
    embed = started.model.extract_speaker_embedding
    assert misses(started, embed, SOUND, 24000)
    assert misses(started, embed, SOUND * 2, 24000)
    with torch.no_grad():
        started.model.talker.weight.zero_()
        assert not misses(started, embed, SOUND, 24000)
        started.model.speaker_encoder.project.weight.zero_()
    assert misses(started, embed, SOUND, 24000)
    started.model.to(torch.bfloat16)
    assert misses(started, embed, SOUND, 24000)


def test_a_model_that_does_not_clone_is_passed_through(start):
    started = start(clones=False)
    with pytest.raises(TypeError):
        started.model.extract_speaker_embedding(SOUND, 24000)
    assert started.counts() == {"bypass.not-loaded": 1}


def test_other_versions_are_refused_with_a_line_each(start_host, capfd):
    started = start_host(plugin)
    changes = {"(self, audios, sr=None, ": "(self, audios, sr=None, hop=None, "}
    _, said = refused(started, "qwen3_tts_tokenizer", "qwen3_tts_tokenizer", changes, capfd)
    assert ["(audios, sr, hop, return_dict)" in line for line in said] == [True]
    changes = {"(self, audio, sr)": "(self, audio, sr, mean=False)"}
    _, said = refused(started, "qwen3_tts_modeling", "modeling_qwen3_tts", changes, capfd)
    assert ["(audio, sr, mean)" in line for line in said] == [True]
