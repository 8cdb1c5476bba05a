"""What `STEPAUDIO_CAS_TUNE` does to the libraries that speech hosts are made of.

Nothing is imported here but what the host has imported; each library's part is read when it is
there.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from stepaudio_cas.tuning.tuner import Tuner

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_PACKAGE = __name__.rpartition(".")[0]


def _later(module: str, name: str) -> Callable[..., Any]:
    """Return what calls a function of a module of ours, imported when it is called."""

    def call(*args: Any) -> Any:
        return getattr(import_module(f"{_PACKAGE}.{module}"), name)(*args)

    return call


def _tuner(words: tuple[str, ...], module: str, tails: Mapping[str, str]) -> Tuner:
    patches = {tail: _later(module, name) for tail, name in tails.items()}
    return Tuner(words, patches, _later(module, "trouble"))


tuners = (
    _tuner(("tf32",), "tuning_torch", {"torch": "allow_tf32"}),
    _tuner(
        ("ort.graph", "ort.intra", "ort.inter", "ort.parallel", "ort.providers", "ort.engines"),
        "tuning_onnxruntime",
        {"onnxruntime_inference_collection": "patch_sessions"},
    ),
    _tuner(("encoder", "compile"), "tuning_funasr", {"auto_model": "patch_models"}),
    _tuner(("llm", "attention"), "tuning_transformers", {"modeling_utils": "patch_models"}),
)
