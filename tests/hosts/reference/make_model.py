"""Write a model folder with random weights.

python make_model.py FOLDER [--size tiny|demo] [--seed N]

With `tiny`, a recording is encoded in a tenth of a second. `demo` has the proportions of a
deployment: encoding the reference recording is what takes longest.
"""

import argparse
import json
import warnings
from pathlib import Path

import numpy as np
import torch
import yaml
from llm import VOCABULARY
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM
from vocoder import Vocoder

SIZES = {
    "tiny": {
        "encoder": {"width": 64, "blocks": 2, "inner": 128},
        "speech_tokenizer": {"width": 64, "depth": 1},
        "campplus": {"width": 32},
        "llm": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2},
        "vocoder": {"width": 32, "depth": 1},
    },
    "demo": {
        "encoder": {"width": 512, "blocks": 14, "inner": 2048},
        "speech_tokenizer": {"width": 512, "depth": 4},
        "campplus": {"width": 256},
        "llm": {"hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 2},
        "vocoder": {"width": 512, "depth": 8},
    },
}
MEL = {"rate": 24000, "n_fft": 1920, "hop": 480, "n_mels": 80, "f_min": 0.0, "f_max": 8000.0}
FEATURES = 560  # seven frames of eighty mels
TOKENS = ["<blank>", "<s>", "</s>", *(chr(c) for c in range(ord("a"), ord("z") + 1)), "<unk>"]


def make_model(folder, size="tiny", seed=0):
    shape, root = SIZES[size], Path(folder)
    torch.manual_seed(seed)
    for part in ("paraformer-online", "cosyvoice", "llm"):
        (root / part).mkdir(parents=True, exist_ok=True)
    codes = torch.randn(1024, shape["encoder"]["width"])
    np.save(root / "linguistic_tokenizer.npy", codes.numpy())
    with torch.random.fork_rng():
        _paraformer(root / "paraformer-online", seed=seed, **shape["encoder"])
    _export(
        SpeechTokenizer(**shape["speech_tokenizer"]),
        {"feats": torch.randn(1, 128, 400), "feats_length": torch.IntTensor([400])},
        root / "speech_tokenizer_v1.onnx",
        {"feats": {2: "frames"}, "codes": {1: "tokens"}},
        "codes",
    )
    _export(
        SpeakerModel(**shape["campplus"]),
        {"feats": torch.randn(1, 300, 80)},
        root / "cosyvoice" / "campplus.onnx",
        {"feats": {1: "frames"}},
        "embedding",
    )
    config = {"mel": MEL, "vocoder": shape["vocoder"]}
    (root / "cosyvoice" / "vocoder.json").write_text(json.dumps(config, indent=1))
    torch.save(Vocoder(**shape["vocoder"]).state_dict(), root / "cosyvoice" / "vocoder.pt")
    llama = LlamaConfig(
        vocab_size=VOCABULARY, num_attention_heads=8, num_key_value_heads=2, **shape["llm"]
    )
    LlamaForCausalLM(llama).save_pretrained(root / "llm")


class SpeechTokenizer(nn.Module):
    """(1, 128, T) mel at 100 Hz to codes at 25 Hz."""

    def __init__(self, width, depth):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(128, width, 3, 2, 1),
            nn.GELU(),
            nn.Conv1d(width, width, 3, 2, 1),
            nn.GELU(),
            *(m for _ in range(depth) for m in (nn.Conv1d(width, width, 5, 1, 2), nn.GELU())),
            nn.Conv1d(width, 4096, 1),
        )

    def forward(self, feats, feats_length):
        codes = self.layers(feats).argmax(dim=1)
        return (codes + 0 * feats_length[:, None]).to(torch.int32)


class SpeakerModel(nn.Module):
    """(1, T, 80) filter-bank energies to one vector: mean and deviation over time, as CAM++."""

    def __init__(self, width, size=192):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(80, width, 5, 1, 2), nn.ReLU(), nn.Conv1d(width, width, 3, 2, 1), nn.ReLU()
        )
        self.out = nn.Linear(2 * width, size)

    def forward(self, feats):
        x = self.layers(feats.transpose(1, 2))
        return self.out(torch.cat((x.mean(dim=2), x.var(dim=2).clamp_min(1e-8).sqrt()), dim=1))


def _export(network, inputs, path, axes, output):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.eval(),
            tuple(inputs.values()),
            str(path),
            input_names=list(inputs),
            output_names=[output],
            dynamic_axes=axes,
            dynamo=False,
        )


def _paraformer(folder, width, blocks, inner, seed):
    """Have FunASR build its network from a configuration, and keep the weights it starts with."""
    from funasr import AutoModel

    (folder / "config.yaml").write_text(yaml.safe_dump(_paraformer_config(width, blocks, inner)))
    (folder / "tokens.json").write_text(json.dumps(TOKENS))
    (folder / "am.mvn").write_text(_cmvn())
    files = {"init_param": "model.pt", "config": "config.yaml"}
    files["tokenizer_conf"] = {"token_list": "tokens.json"}
    files["frontend_conf"] = {"cmvn_file": "am.mvn"}
    (folder / "configuration.json").write_text(json.dumps({"file_path_metas": files}, indent=1))
    built = AutoModel(model=str(folder), hub="ms", device="cpu", seed=seed, disable_update=True)
    torch.save({"state_dict": built.model.state_dict()}, folder / "model.pt")


def _paraformer_config(width, blocks, inner):
    layer = {
        "attention_heads": 4,
        "linear_units": inner,
        "dropout_rate": 0.1,
        "positional_dropout_rate": 0.1,
        "kernel_size": 11,
    }
    encoder = {
        **layer,
        "output_size": width,
        "num_blocks": blocks,
        "attention_dropout_rate": 0.1,
        "input_layer": "pe_online",
        "pos_enc_class": "SinusoidalPositionEncoder",
        "normalize_before": True,
        "selfattention_layer_type": "sanm",
        "chunk_size": [12, 15],
        "stride": [8, 10],
        "pad_left": [0, 0],
        "encoder_att_look_back_factor": [4, 4],
        "decoder_att_look_back_factor": [1, 1],
    }
    return {
        "model": "ParaformerStreaming",
        "model_conf": {"ctc_weight": 0.0, "predictor_weight": 1.0, "predictor_bias": 1},
        "encoder": "SANMEncoderChunkOpt",
        "encoder_conf": encoder,
        "decoder": "ParaformerSANMDecoder",  # never asked for anything here
        "decoder_conf": {**layer, "num_blocks": 1, "att_layer_num": 1, "sanm_shfit": 5},
        "predictor": "CifPredictorV2",
        "predictor_conf": {"idim": width, "threshold": 1.0, "l_order": 1, "r_order": 1},
        "frontend": "WavFrontendOnline",
        "frontend_conf": {"fs": 16000, "window": "hamming", "n_mels": 80, "lfr_m": 7, "lfr_n": 6},
        "tokenizer": "CharTokenizer",
        "tokenizer_conf": {"unk_symbol": "<unk>", "split_with_space": True},
    }


def _cmvn():
    """Shift and scale of log-mel features, in Kaldi's text form."""

    def part(name, value):
        values = " ".join([str(value)] * FEATURES)
        return f"<{name}> {FEATURES} {FEATURES}\n<LearnRateCoef> 0 [ {values} ]\n"

    return f"<Nnet>\n{part('AddShift', -12.0)}{part('Rescale', 0.25)}</Nnet>\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--size", choices=SIZES, default="tiny")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    make_model(args.folder, args.size, args.seed)
