"""Qwen3-TTS: the codes and the speaker embedding of a voice that is cloned.

Recordings are arrays with their rate, paths, or lists of these; a list is one thing to keep,
because its items are padded. URLs and base64 text are passed through. Nothing is random.
"""

from __future__ import annotations

import sys
from typing import Any

from stepaudio_cas.activation.plugin import HostClass, Method, Model, Parts, Plugin, content, value
from stepaudio_cas.activation.plugin import path as recording
from stepaudio_cas_plugins._parts import moved, onnx_file, told

_MEL = ("mel_spectrogram", "dynamic_range_compression_torch")


def _codec(self: Any) -> Model | None:
    """Describe the codec and its feature extractor; that of 25 Hz has a speaker model as well."""
    network, extractor = self.model, self.feature_extractor
    if network is None or extractor is None:
        return None
    voice = getattr(network, "encoder_xvector_extractor", None)
    session = getattr(voice, "ort_session", None)
    files = {} if voice is None else {"campplus": onnx_file(session)}
    return Model(
        loaded=(extractor,) if session is None else (extractor, session),
        parts=lambda: Parts(files=files, code=[type(extractor)]),
        settings={"extractor": told(extractor.to_dict()), "dtype": str(network.dtype)},
        networks={"codec": network},
    )


def _pack(result: Any) -> Any:
    """Write what `encode` returns as a dict; it is one already, of a class of its own."""
    return {type(result).__name__: dict(result)} if hasattr(result, "to_tuple") else result


def _unpack(self: Any, _: Any, kept: Any) -> Any:
    kept = moved(kept, self.device)
    if type(kept) is not dict:
        return kept
    [(name, fields)] = kept.items()
    return getattr(sys.modules[type(self.model).__module__], name)(**fields)


def _speaker(self: Any) -> Model | None:
    """Describe the speaker encoder; only models that clone have one."""
    network = self.speaker_encoder
    if network is None:
        return None
    return Model((), Parts, {"dtype": str(self.dtype)}, networks={"speaker": network})


plugin = Plugin(
    name="qwen3tts",
    classes=(
        HostClass(
            name="Qwen3TTSTokenizer",
            modules=("qwen3_tts_tokenizer",),
            owns=("encode", "decode", "load_audio"),
            methods=(
                Method(
                    "encode",
                    arguments={"audios": recording(), "sr": value(), "return_dict": value()},
                    model=_codec,
                    restore=_unpack,
                    pack=_pack,
                ),
            ),
        ),
        HostClass(
            name="Qwen3TTSForConditionalGeneration",
            modules=("modeling_qwen3_tts",),
            owns=("extract_speaker_embedding", "load_speech_tokenizer"),
            helpers=_MEL,
            methods=(
                Method(
                    "extract_speaker_embedding",
                    arguments={"audio": content(), "sr": value()},
                    model=_speaker,
                    restore=lambda self, _, kept: moved(kept, self.device),
                ),
            ),
        ),
    ),
)
