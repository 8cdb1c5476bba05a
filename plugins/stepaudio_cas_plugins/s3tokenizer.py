"""s3tokenizer, from PyPI: speech tokens of mel spectrograms, whichever host has loaded it.

A batch is one thing to keep: its items are padded, and each may depend on how far. Nothing is
random. The package has nothing that differs in training mode, and nobody calls its `eval()`.
"""

from __future__ import annotations

from typing import Any

from stepaudio_cas.activation.plugin import HostClass, Method, Model, Parts, Plugin, content
from stepaudio_cas_plugins._parts import moved, named

_HELPERS = ("make_non_pad_mask", "mask_to_bias", "merge_tokenized_segments")


def _tokenizer(self: Any) -> Model:
    code = named("s3tokenizer.utils", *_HELPERS)
    return Model((self,), lambda: Parts(code=code), networks={"tokenizer": self})


def _version(name: str, module: str) -> HostClass:
    quantize = Method(
        "quantize",
        arguments={"mel": content(), "mel_len": content()},
        model=_tokenizer,
        restore=lambda _, arguments, kept: moved(kept, arguments["mel"].device),
        results=2,
    )
    return HostClass(
        name,
        modules=(module,),
        owns=("quantize", "init_from_onnx", "freeze"),
        methods=(quantize,),
        helpers=_HELPERS,
    )


plugin = Plugin(
    name="s3tokenizer",
    classes=(
        _version("S3Tokenizer", "model"),
        _version("S3TokenizerV2", "model_v2"),
        _version("S3TokenizerV3", "model_v3"),
    ),
)
