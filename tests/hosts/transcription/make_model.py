"""Write a folder as `funasr_onnx.SenseVoiceSmall` reads one, with random weights.

python make_model.py FOLDER [--size tiny|demo] [--seed N] [--dither 1.0]

With `tiny`, a recording is heard in milliseconds. `demo` takes as long as a deployment's model:
some 70 ms for six seconds of sound on one core.
"""

import argparse
import io
import string
import warnings
from pathlib import Path

import sentencepiece
import torch
import yaml
from torch import nn

SIZES = {"tiny": {"width": 32, "blocks": 1}, "demo": {"width": 512, "blocks": 20}}
FEATURES = 560  # seven frames of eighty mels
BPE = "chn_jpn_yue_eng_ko_spectok.bpe.model"
FRONTEND = {
    "fs": 16000, "window": "hamming", "n_mels": 80, "frame_length": 25, "frame_shift": 10,
    "lfr_m": 7, "lfr_n": 6,
}  # fmt: skip
INPUTS = ["speech", "speech_lengths", "language", "textnorm"]
OUTPUTS = ["ctc_logits", "encoder_out_lens"]


def make_model(folder, size="tiny", seed=0, dither=1.0):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    vocabulary = write_bpe(folder / BPE)
    export(Network(vocabulary=vocabulary, **SIZES[size]), folder / "model.onnx")
    (folder / "am.mvn").write_text(cmvn())
    config = {"model": "SenseVoiceSmall", "frontend_conf": {**FRONTEND, "dither": dither}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


class Network(nn.Module):
    """Features of a recording, its language and text form, to scores of tokens."""

    def __init__(self, width, blocks, vocabulary):
        super().__init__()
        self.embed = nn.Embedding(16, FEATURES)
        self.into = nn.Linear(FEATURES, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.ReLU(),
                nn.Linear(2 * width, width),
            )
            for _ in range(blocks)
        )  # fmt: skip
        self.out = nn.Linear(width, vocabulary)

    def forward(self, speech, speech_lengths, language, textnorm):
        asked = torch.stack((self.embed(language), self.embed(textnorm)), dim=1)
        x = self.into(torch.cat((asked, speech), dim=1))
        x = x + x.mean(dim=1, keepdim=True)
        for block in self.blocks:
            x = x + block(x)
        return self.out(x), speech_lengths + 2


def export(network, path):
    lengths, tag = torch.tensor([6, 30], dtype=torch.int32), torch.tensor([0, 0], dtype=torch.int32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.eval(),
            (torch.randn(2, 30, FEATURES), lengths, tag, tag),
            str(path),
            input_names=INPUTS,
            output_names=OUTPUTS,
            dynamic_axes={
                "speech": {0: "batch", 1: "frames"},
                **{name: {0: "batch"} for name in INPUTS[1:]},
                "ctc_logits": {0: "batch", 1: "scores"},
                "encoder_out_lens": {0: "batch"},
            },
            dynamo=False,
        )


def write_bpe(path):
    """Write a model of characters; return how many pieces it has."""
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join(string.ascii_lowercase)] * 4),
        model_writer=written,
        model_type="char",
        vocab_size=30,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    path.write_bytes(written.getvalue())
    return sentencepiece.SentencePieceProcessor(model_proto=written.getvalue()).get_piece_size()


def cmvn(shift=-8.0, scale=0.2):
    """Write statistics as Kaldi does: what is added to each feature, and what it is scaled by."""
    rows = {"<AddShift>": shift, "<Rescale>": scale}
    parts = [
        f"{name} {FEATURES} {FEATURES}\n<LearnRateCoef> 0 [ {' '.join([str(v)] * FEATURES)} ]\n"
        for name, v in rows.items()
    ]
    return f"<Nnet>\n<Splice> {FEATURES} {FEATURES}\n[ 0 ]\n{''.join(parts)}</Nnet>\n"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--size", choices=list(SIZES), default="tiny")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dither", type=float, default=1.0)
    make_model(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
