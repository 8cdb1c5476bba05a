"""Chatterbox's voice encoder."""

import numpy as np
import torch
from torch import nn

from tests.plugins.small import features

RUNS = []


class VoiceEncConfig:
    num_mels = 40
    sample_rate = 16000
    ve_hidden_size = 16
    speaker_embed_size = 8


def melspectrogram(wav, hp):
    return features.fbank(torch.from_numpy(wav)[None], hp.num_mels).T.numpy()


def pack(arrays):
    return torch.nn.utils.rnn.pad_sequence([torch.as_tensor(a) for a in arrays], batch_first=True)


class VoiceEncoder(nn.Module):
    def __init__(self, hp=VoiceEncConfig()):  # noqa: B008 - as the host has it
        super().__init__()
        self.hp = hp
        self.lstm = nn.LSTM(hp.num_mels, hp.ve_hidden_size, num_layers=2, batch_first=True)
        self.proj = nn.Linear(hp.ve_hidden_size, hp.speaker_embed_size)

    def inference(self, mels, overlap=0.5, rate=None, batch_size=None):
        _, (hidden, _) = self.lstm(mels)
        raw = self.proj(hidden[-1]) * (rate or 1)
        return raw / (1 + torch.linalg.norm(raw, dim=1, keepdim=True))

    def embeds_from_mels(self, mels, mel_lens=None, as_spk=False, batch_size=32, **kwargs):
        with torch.inference_mode():
            embeds = self.inference(pack(mels), batch_size=batch_size, **kwargs).numpy()
        return np.mean(embeds, axis=0) if as_spk else embeds

    def embeds_from_wavs(
        self,
        wavs,
        sample_rate,
        as_spk=False,
        batch_size=32,
        trim_top_db=20,
        **kwargs,
    ):
        RUNS.append("embeds")
        if trim_top_db:
            wavs = [wav[np.abs(wav) > 10 ** (-trim_top_db / 20) / 100] for wav in wavs]
        if "rate" not in kwargs:
            kwargs["rate"] = 1.3
        mels = [melspectrogram(w[:: sample_rate // 16000], self.hp).T for w in wavs]
        return self.embeds_from_mels(mels, as_spk=as_spk, batch_size=batch_size, **kwargs)
