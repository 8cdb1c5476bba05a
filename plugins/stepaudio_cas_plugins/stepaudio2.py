"""Step-Audio2: what its vocoder computes from a prompt.

Its first version has no method for that alone. There, the plugin for s3tokenizer keeps the tokens,
which are most of it. Nothing is random.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from stepaudio_cas.activation.plugin import HostClass, Method, Model, Parts, Plugin, path
from stepaudio_cas_plugins._parts import device_of, moved, named, onnx_file


def _prompt(self: Any) -> Model | None:
    """Describe the speech tokenizer, the speaker model, and what prepares the audio for them."""
    tokenizer, speaker = self.audio_tokenizer, self.spk_model
    if tokenizer is None or speaker is None:
        return None
    return Model(
        loaded=(speaker,),
        parts=lambda: Parts(
            files={"campplus": onnx_file(speaker), "filters": _filters()},
            code=[
                *named("s3tokenizer.utils", "load_audio", "log_mel_spectrogram", "padding"),
                *named(type(self).__module__, "mel_spectrogram"),
            ],
        ),
        settings={"float16": getattr(self, "float16", None)},
        networks={"tokenizer": tokenizer},
    )


def _filters() -> str | None:
    utils = getattr(sys.modules.get("s3tokenizer.utils"), "__file__", None) or ""
    found = os.path.join(os.path.dirname(utils), "assets", "mel_filters.npz")
    return found if os.path.isfile(found) else None


plugin = Plugin(
    name="stepaudio2",
    classes=(
        HostClass(
            name="Token2wav",
            modules=("token2wav",),
            owns=("_prepare_prompt", "__call__"),
            helpers=("mel_spectrogram", "load_audio", "log_mel_spectrogram", "padding"),
            methods=(
                Method(
                    "_prepare_prompt",
                    arguments={"prompt_wav": path()},
                    model=_prompt,
                    restore=lambda self, _, kept: moved(kept, device_of(self.audio_tokenizer)),
                    results=5,
                ),
            ),
        ),
    ),
)
