"""Qwen3-TTS: the codes and the speaker embedding of a voice that is cloned.

Recordings are arrays with their rate, paths, or lists of these; a list is one thing to keep,
because its items are padded. URLs and base64 text are passed through. Nothing is random.
"""

from __future__ import annotations

import sys
from typing import Any

from stepaudio_cas.activation.plugin import (
    Bypass,
    HostClass,
    Method,
    Model,
    Parts,
    Plugin,
    content,
    value,
)
from stepaudio_cas.activation.plugin import path as recording
from stepaudio_cas_plugins._parts import moved, onnx_files, told

_MEL = ("mel_spectrogram", "dynamic_range_compression_torch")
_SCALARS = (bool, int, float, str, type(None))


def _codec(self: Any) -> Model | None:
    """Describe the codec and its feature extractor."""
    network, extractor = self.model, self.feature_extractor
    if network is None or extractor is None:
        return None
    settings = {"extractor": told(extractor.to_dict()), "dtype": str(network.dtype)}
    voice = getattr(network, "encoder_xvector_extractor", None)
    if voice is not None:
        return _with_voice(network, voice, extractor, settings)
    return Model(
        loaded=(extractor,),
        parts=lambda: Parts(code=[type(extractor)]),
        settings=settings,
        networks={"codec": network},
    )


def _with_voice(network: Any, voice: Any, extractor: Any, settings: dict[str, Any]) -> Model:
    """Describe the codec of 25 Hz, which has a speaker model as well, and a mel spectrogram.

    Those have no weights and nobody calls their `eval()`. The spectrogram keeps its filters from
    its first run on, so it is told by what they are made of.
    """
    session, mel = voice.ort_session, voice.mel_ext
    own = {"codec": network, "voice": voice, "mel": mel}
    return Model(
        loaded=(extractor, session, *own.values()),
        parts=lambda: Parts(
            files=onnx_files("campplus", session),
            code=[type(extractor), *map(type, own.values())],
        ),
        settings={
            **settings,
            **{role: _scalars(module) for role, module in own.items()},
            "return_dict": network.config.return_dict,
        },
        networks={"encoder": network.encoder},
    )


def _scalars(module: Any) -> dict[str, Any]:
    """Tell what a module is set to; one whose methods were replaced is another one."""
    own = {n: v for n, v in vars(module).items() if n != "training" and not n.startswith("_")}
    replaced = [name for name in own if callable(getattr(type(module), name, None))]
    if replaced:
        raise Bypass("changed-host", f"{replaced[0]} of one {type(module).__qualname__}")
    return {name: value for name, value in own.items() if type(value) in _SCALARS}


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
