"""Tokens of speech to a waveform."""

import json
import os

import torch
from frontend import CosyVoiceFrontEnd
from torch import nn

FAST_CODES = 4096
RATES = (8, 5, 4, 3, 2)  # 25 tokens a second to 24,000 samples


class Vocoder(nn.Module):
    def __init__(self, width, depth, voice=192, n_mels=80):
        super().__init__()
        self.codes = nn.Embedding(FAST_CODES, width)
        self.voice = nn.Linear(voice + n_mels, width)
        self.body = nn.ModuleList(nn.Conv1d(width, width, 5, padding=2) for _ in range(depth))
        self.rise = nn.ModuleList()
        for rate in RATES:
            self.rise.append(nn.ConvTranspose1d(width, max(8, width // 2), rate, rate))
            width = max(8, width // 2)
        self.out = nn.Conv1d(width, 1, 7, padding=3)

    def forward(self, codes, mel, embedding):
        x = self.codes(codes) + self.voice(torch.cat((embedding, mel.mean(dim=1)), dim=1))[:, None]
        x = x.transpose(1, 2)
        for layer in self.body:
            x = x + nn.functional.gelu(layer(x))
        for layer in self.rise:
            x = nn.functional.leaky_relu(layer(x), 0.1)
        return torch.tanh(self.out(x))[0]


class CosyVoice:
    """The vocoder with the frontend that belongs to it."""

    def __init__(self, folder):
        with open(os.path.join(folder, "vocoder.json")) as file:
            config = json.load(file)
        self.frontend = CosyVoiceFrontEnd(config["mel"], os.path.join(folder, "campplus.onnx"))
        self.sample_rate = config["mel"]["rate"]
        self.vocoder = Vocoder(**config["vocoder"]).eval()
        weights = torch.load(os.path.join(folder, "vocoder.pt"), weights_only=True)
        self.vocoder.load_state_dict(weights)

    def token2wav(self, vq06, speech_feat, embedding):
        with torch.inference_mode():
            return self.vocoder(torch.tensor([vq06]), speech_feat, embedding)
