"""Step-Audio2: what its vocoder computes from a prompt.

Its first version has no method for that alone. There, the plugin for s3tokenizer keeps the tokens,
and the speaker model's session is called directly. Nothing is random.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from stepaudio_cas.activation.plugin import (
    Held,
    HostClass,
    Method,
    Model,
    Parts,
    Plugin,
    content,
    only,
    path,
    value,
)
from stepaudio_cas_plugins._parts import beside, device_of, moved, named, onnx_files

if TYPE_CHECKING:
    from collections.abc import Mapping


def _prompt(self: Any) -> Model | None:
    """Describe the speech tokenizer, the speaker model, and what prepares the audio for them.

    Newer hosts repeat the last frame of the prompt for as long as the flow takes it to be.
    """
    if not vars(self).get("_models_loaded", True):
        return None  # vLLM's loads with the first attribute that is looked at
    tokenizer, speaker = self.audio_tokenizer, self.spk_model
    if tokenizer is None or speaker is None:
        return None
    return Model(
        loaded=(speaker,),
        parts=lambda: Parts(
            files={**onnx_files("campplus", speaker), "filters": _filters()},
            code=[
                *named("s3tokenizer.utils", "load_audio", "log_mel_spectrogram", "padding"),
                *beside(self, "mel_spectrogram"),
            ],
        ),
        settings={
            "float16": getattr(self, "float16", None),
            "up_rate": getattr(getattr(self, "flow", None), "up_rate", None),
        },
        networks={"tokenizer": tokenizer},
    )


def _fed(_: Any, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """Tell the names that a session is fed under apart from what it is fed with."""
    feed = dict(arguments["input_feed"])
    names = [arguments["output_names"], list(feed)]
    return {**arguments, "output_names": names, "input_feed": list(feed.values())}


_RUN = Method(
    "run",
    arguments={"output_names": value(), "input_feed": content(), "run_options": only(None)},
    model=lambda session: Model((session,), lambda: Parts(files=onnx_files("campplus", session))),
    resolve=_fed,
)


def _filters() -> str | None:
    utils = getattr(sys.modules.get("s3tokenizer.utils"), "__file__", None) or ""
    found = os.path.join(os.path.dirname(utils), "assets", "mel_filters.npz")
    return found if os.path.isfile(found) else None


def _vocoder(name: str, module: str, called: str) -> HostClass:
    return HostClass(
        name=name,
        modules=(module,),
        owns=("_prepare_prompt", called),
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
    )


plugin = Plugin(
    name="stepaudio2",
    classes=(
        _vocoder("Token2wav", "token2wav", "__call__"),
        HostClass(
            name="Token2wav",
            modules=("token2wav",),
            owns=("__call__",),
            methods=(),
            lacks=("_prepare_prompt",),
            held=(Held(lambda self: getattr(self, "spk_model", None), _RUN),),
        ),
        _vocoder("StepAudio2Token2WavCore", "step_audio2_token2wav", "forward"),  # vLLM's
    ),
)
