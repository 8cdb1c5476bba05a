"""The codecs of transformers, built from small configurations."""

import copy
from functools import cache
from typing import Any, NamedTuple

import torch
from transformers import (
    DacConfig,
    DacModel,
    EncodecConfig,
    EncodecModel,
    HubertConfig,
    MimiConfig,
    MimiModel,
    XcodecConfig,
    XcodecModel,
)

SOUND = torch.sin(torch.arange(1600.0) ** 1.3 / 40).reshape(1, 1, -1)
MASK = torch.ones(1, 1, 1600, dtype=torch.bool)

MIMI = {
    "hidden_size": 16, "num_filters": 4, "num_residual_layers": 1, "upsampling_ratios": [4, 2],
    "codebook_size": 16, "codebook_dim": 8, "vector_quantization_hidden_dimension": 8,
    "num_quantizers": 4, "num_semantic_quantizers": 1, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8, "intermediate_size": 32,
    "upsample_groups": 16, "frame_rate": 12.5, "sampling_rate": 200,
}  # fmt: skip
ENCODEC = {
    "target_bandwidths": [4.0, 8.0], "sampling_rate": 8000, "num_filters": 4, "hidden_size": 16,
    "num_residual_layers": 1, "upsampling_ratios": [4, 2], "codebook_size": 16,
    "codebook_dim": 16, "num_lstm_layers": 1, "chunk_length_s": 0.1, "overlap": 0.01,
    "normalize": True,
}  # fmt: skip
DAC = {
    "encoder_hidden_size": 4, "downsampling_ratios": [2, 4], "decoder_hidden_size": 16,
    "upsampling_ratios": [4, 2], "n_codebooks": 3, "codebook_size": 16, "codebook_dim": 4,
}  # fmt: skip
HUBERT = {
    "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16,
    "conv_dim": [8, 8], "conv_kernel": [4, 4], "conv_stride": [2, 4], "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2, "vocab_size": 5,
}  # fmt: skip


class Codec(NamedTuple):
    """How to make a model, what its layers are from, and ways to ask it besides the plain one."""

    make: Any
    modules: list[str]
    arguments: list[dict[str, Any]]


def _xcodec() -> Any:
    acoustic, semantic = DacConfig(**DAC, hidden_size=8), HubertConfig(**HUBERT)
    return XcodecModel(
        XcodecConfig(
            target_bandwidths=[0.5, 2.0],
            sample_rate=1600,
            codebook_size=16,
            acoustic_model_config=acoustic,
            semantic_model_config=semantic,
        )
    )


CODECS = {
    "MimiModel": Codec(
        lambda: MimiModel(MimiConfig(**MIMI)),
        ["mimi"],
        [
            {"num_quantizers": 2},
            {"padding_mask": MASK},
            {"output_hidden_states": True},
            {"use_streaming": None, "output_attentions": True},
        ],
    ),
    "EncodecModel": Codec(
        lambda: EncodecModel(EncodecConfig(**ENCODEC)),
        ["encodec"],
        [{"bandwidth": 8.0}, {"padding_mask": MASK}, {"padding_mask": ~MASK}],
    ),
    "DacModel": Codec(lambda: DacModel(DacConfig(**DAC)), ["dac"], [{"n_quantizers": 2}]),
    "XcodecModel": Codec(_xcodec, ["xcodec", "dac", "hubert"], [{"bandwidth": 0.5}]),
}


def make(name: str, seed: int = 1) -> Any:
    """Make a codec with the random weights of a seed."""
    return copy.deepcopy(made(name, seed))


@cache
def made(name: str, seed: int = 1) -> Any:
    """Return one that is not to be changed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return CODECS[name].make().eval()
