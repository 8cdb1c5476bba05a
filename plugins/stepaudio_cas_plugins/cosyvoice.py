"""CosyVoice 1, 2 and 3: what its frontend computes from a prompt, once for each text segment.

Nothing here is random: the speaker model's filter bank is asked for no dither.
"""

from __future__ import annotations

import functools
from typing import Any

from stepaudio_cas.activation.plugin import HostClass, Method, Model, Parts, Plugin, path
from stepaudio_cas_plugins._parts import by_text, exactly, moved, named, onnx_files

_ONE = {"prompt_wav": path()}
_BEFORE = {"speech": path()}  # a tensor, until CosyVoice 3


def _session(name: str) -> Any:
    """Describe an ONNX session, and whisper's mel spectrogram before it, where there is one."""

    def model(self: Any) -> Model | None:
        session = getattr(self, name, None)
        if session is None:
            return None
        code = named("whisper.audio", "log_mel_spectrogram")
        return Model((session,), lambda: Parts(files=onnx_files(name, session), code=code))

    return model


def _mel(self: Any) -> Model | None:
    """Describe the mel spectrogram: a function with arguments, as the yaml file names it."""
    extractor = getattr(self, "feat_extractor", None)
    if extractor is None:
        return None
    plain, settings = extractor, {}
    if isinstance(extractor, functools.partial):
        plain = extractor.func
        settings = {"args": exactly(extractor.args), "keywords": exactly(extractor.keywords)}

    def parts() -> Parts:
        function, own = by_text(plain)
        return Parts(code=[function], settings={"function": own})

    return Model((extractor,), parts, settings)


def _methods(name: str, model: Any, results: int) -> list[Method]:
    return [
        Method(
            name,
            arguments=arguments,
            model=model,
            restore=lambda self, _, kept: moved(kept, self.device),
            results=results,
        )
        for arguments in (_ONE, _BEFORE)
    ]


plugin = Plugin(
    name="cosyvoice",
    classes=(
        HostClass(
            name="CosyVoiceFrontEnd",
            modules=("frontend",),
            owns=("_extract_speech_token", "_extract_spk_embedding", "_extract_speech_feat"),
            helpers=("load_wav",),
            methods=(
                *_methods("_extract_speech_token", _session("speech_tokenizer_session"), 2),
                *_methods("_extract_spk_embedding", _session("campplus_session"), 1),
                *_methods("_extract_speech_feat", _mel, 2),
            ),
        ),
    ),
)
