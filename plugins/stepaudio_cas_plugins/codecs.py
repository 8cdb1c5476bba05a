"""The audio codecs of transformers: Mimi, EnCodec, DAC and X-Codec.

`encode` is cached in eval mode and without gradients. Calls that continue a stream are passed
through.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from stepaudio_cas.activation.plugin import (
    Bypass,
    HostClass,
    Method,
    Model,
    Parts,
    Plugin,
    content,
    only,
    value,
)
from stepaudio_cas_plugins._parts import moved

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stepaudio_cas.activation.plugin import Role

_SAYS_NOTHING = {"transformers_version", "architectures", "id2label", "label2id"}
_SAYS_SOMETHING = {
    *("_attn_implementation_internal", "_attn_implementation", "_output_attentions"),
}


def _codec(self: Any) -> Model:
    """Describe a codec: the network as it is in memory, and what its configuration says now."""
    if self.training:
        raise Bypass("training-mode", f"{type(self).__qualname__} is in training mode")
    if sys.modules["torch"].is_grad_enabled():
        raise Bypass("gradients", "they are recorded; call it under torch.no_grad()")
    if getattr(self.config, "use_streaming", False):
        raise Bypass("stateful", "it is configured for streaming")
    return Model((self,), Parts, {"config": _configuration(self.config)}, networks={"codec": self})


def _configuration(config: Any) -> dict[str, Any]:
    """Return what is set, and not where it is from."""
    return {
        name: _configuration(value) if hasattr(value, "to_dict") else _plain(value)
        for name, value in vars(config).items()
        if name not in _SAYS_NOTHING and (name in _SAYS_SOMETHING or not name.startswith("_"))
    }


def _plain(value: Any) -> Any:
    return str(value) if type(value).__module__ == "torch" else value


def _encoder(name: str, output: str, *versions: Mapping[str, Role]) -> HostClass:
    """Declare a codec whose `encode` returns an `output`, a tuple or a tensor."""
    module = f"modeling_{name.removesuffix('Model').lower()}"

    def restore(self: Any, arguments: Mapping[str, Any], kept: Any) -> Any:
        kept = moved(kept, arguments["input_values"].device)
        if type(kept) is not dict:
            return kept
        kind = next(kind for kind in type(self).__mro__ if kind.__name__ == name)
        return getattr(sys.modules[kind.__module__], output)(**kept)

    def pack(result: Any) -> Any:
        return dict(result) if type(result).__name__ == output else result

    methods = [Method("encode", v, _codec, restore=restore, pack=pack) for v in versions]
    return HostClass(name, modules=[module], owns=["encode", "decode", "forward"], methods=methods)


_MIMI = {
    "input_values": content(),
    "padding_mask": content(),
    "num_quantizers": value(),
    "encoder_past_key_values": only(None),
    "padding_cache": only(None),
    "use_streaming": only(None, False),
}

plugin = Plugin(
    name="codecs",
    classes=(
        _encoder(
            "MimiModel",
            "MimiEncoderOutput",
            {**_MIMI, "kwargs": value()},
            {**_MIMI, "return_dict": value()},  # before transformers 5
        ),
        _encoder(
            "EncodecModel",
            "EncodecEncoderOutput",
            {
                "input_values": content(),
                "padding_mask": content(),
                "bandwidth": value(),
                "return_dict": value(),
            },
        ),
        _encoder(
            "DacModel",
            "DacEncoderOutput",
            {"input_values": content(), "n_quantizers": value(), "return_dict": value()},
        ),
        _encoder(
            "XcodecModel",
            "XcodecEncoderOutput",
            {"input_values": content(), "bandwidth": value(), "return_dict": value()},
        ),
    ),
)
