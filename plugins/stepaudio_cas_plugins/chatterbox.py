"""Chatterbox: what it computes from the recording of a voice.

`embed_ref` records gradients that its callers have no use for: what is kept has none. A recording
that itself carries one is passed through. Nothing is random.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stepaudio_cas.activation.plugin import (
    Bypass,
    HostClass,
    Method,
    Model,
    Parts,
    Plugin,
    content,
    ignored,
    value,
)
from stepaudio_cas_plugins._parts import beside, by_text, detached, moved, named, told

if TYPE_CHECKING:
    from collections.abc import Mapping


def _reference(self: Any) -> Model:
    """Describe the speech tokenizer, the speaker encoder, and the mel spectrogram."""
    return Model(
        loaded=(self, self.mel_extractor),
        parts=lambda: _parts(self.mel_extractor),
        settings={"dtype": str(self.dtype)},
        networks={"tokenizer": self.tokenizer, "speaker": self.speaker_encoder},
    )


def _parts(mel_extractor: Any) -> Parts:
    function, settings = by_text(mel_extractor)
    code = [function, *named("s3tokenizer.utils", "padding")]
    return Parts(code=code, settings={"mel_extractor": settings})


def _without_gradient(_: Any, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    if getattr(arguments["ref_wav"], "requires_grad", False):
        raise Bypass("requires-grad", "the recording carries a gradient")
    return arguments


def _place(self: Any, arguments: Mapping[str, Any], kept: Any) -> Any:
    device = arguments["device"]
    return moved(kept, self.device if isinstance(device, str) and device == "auto" else device)


def _voice(self: Any) -> Model:
    """Describe the voice encoder, and what prepares audio for it."""
    hp = self.hp
    settings = {name: told(getattr(hp, name)) for name in dir(hp) if not name.startswith("_")}
    code = beside(self, "melspectrogram")
    return Model((hp,), lambda: Parts(code=code), {"hp": settings}, networks={"voice": self})


plugin = Plugin(
    name="chatterbox",
    classes=(
        HostClass(
            name="S3Token2Mel",
            modules=("s3gen",),
            owns=("embed_ref", "forward"),
            helpers=("get_resampler",),
            methods=(
                Method(
                    "embed_ref",
                    arguments={
                        "ref_wav": content(),
                        "ref_sr": value(),
                        "device": ignored(),  # where the result goes
                        "ref_fade_out": value(),
                    },
                    model=_reference,
                    resolve=_without_gradient,
                    pack=detached,
                    restore=_place,
                ),
            ),
        ),
        HostClass(
            name="VoiceEncoder",
            modules=("voice_encoder",),
            owns=("embeds_from_wavs", "embeds_from_mels", "inference"),
            helpers=("pack", "get_num_wins", "get_frame_step", "melspectrogram"),
            methods=(
                Method(
                    "embeds_from_wavs",
                    arguments={
                        "wavs": content(),
                        "sample_rate": value(),
                        "as_spk": value(),
                        "batch_size": value(),
                        "trim_top_db": value(),
                        "kwargs": value(),
                    },
                    model=_voice,
                ),
            ),
        ),
    ),
)
