"""IndexTTS2: features of a speaker's or an emotion's recording, by W2V-BERT. Nothing is random."""

from __future__ import annotations

from typing import Any

from stepaudio_cas.activation.plugin import HostClass, Method, Model, Parts, Plugin, content
from stepaudio_cas_plugins._parts import moved


def _features(self: Any) -> Model | None:
    """Describe W2V-BERT, and the statistics its features are normalised by."""
    network, mean, std = self.semantic_model, self.semantic_mean, self.semantic_std
    if network is None:
        return None
    return Model(
        loaded=(),
        parts=Parts,
        settings={"statistics": [[str(part.dtype), part.tolist()] for part in (mean, std)]},
        networks={"w2v-bert": network},
    )


plugin = Plugin(
    name="indextts",
    classes=(
        HostClass(
            name="IndexTTS2",
            modules=("infer_v2", "infer_v2_5"),
            owns=("get_emb", "infer"),
            methods=(
                Method(
                    "get_emb",
                    arguments={"input_features": content(), "attention_mask": content()},
                    model=_features,
                    restore=lambda _, arguments, kept: moved(
                        kept, arguments["input_features"].device
                    ),
                ),
            ),
        ),
    ),
)
