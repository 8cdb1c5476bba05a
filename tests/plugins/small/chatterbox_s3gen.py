"""Chatterbox's S3Gen, as far as a reference recording goes through it."""

from functools import lru_cache

import numpy as np
import torch
from torch import nn

from tests.plugins.small import features

RUNS = []


def mel_spectrogram(y):
    return features.mel_spectrogram(y)


@lru_cache(100)
def get_resampler(src_sr, dst_sr, device):
    return lambda wav: wav[:, :: src_sr // dst_sr].to(device)


class S3Tokenizer(nn.Module):
    def __init__(self):
        super().__init__()
        self.project = nn.Linear(640, 9)

    def forward(self, wavs):
        tokens = self.project(wavs.unfold(1, 640, 640)).argmax(-1).detach()
        return tokens, torch.tensor([tokens.shape[1]])


class CAMPPlus(nn.Module):
    def __init__(self):
        super().__init__()
        self.project = nn.Linear(80, 192)
        self.norm = nn.BatchNorm1d(192)

    def inference(self, audio_list):
        return self.norm(self.project(features.fbank(audio_list.float()))).mean(0, keepdim=True)


class S3Token2Mel(nn.Module):
    def __init__(self, meanflow=False):
        super().__init__()
        self.tokenizer = S3Tokenizer()
        self.mel_extractor = mel_spectrogram
        self.speaker_encoder = CAMPPlus()
        self.meanflow = meanflow
        self.flow = nn.Linear(4, 4)
        self.resamplers = {}

    @property
    def device(self):
        return next(self.tokenizer.parameters()).device

    @property
    def dtype(self):
        return next(self.flow.parameters()).dtype

    def embed_ref(
        self,
        ref_wav: torch.Tensor,
        ref_sr: int,
        device="auto",
        ref_fade_out=True,
    ):
        RUNS.append("embed_ref")
        device = self.device if device == "auto" else device
        if isinstance(ref_wav, np.ndarray):
            ref_wav = torch.from_numpy(ref_wav).float()
        ref_wav = ref_wav.to(device)
        if len(ref_wav.shape) == 1:
            ref_wav = ref_wav.unsqueeze(0)
        ref_wav_24 = ref_wav if ref_sr == 24000 else get_resampler(ref_sr, 24000, device)(ref_wav)
        ref_mels_24 = self.mel_extractor(ref_wav_24).transpose(1, 2).to(dtype=self.dtype)
        ref_wav_16 = get_resampler(ref_sr, ref_sr // 2, device)(ref_wav)
        ref_x_vector = self.speaker_encoder.inference(ref_wav_16)
        ref_speech_tokens, ref_speech_token_lens = self.tokenizer(ref_wav_16.float())
        return {
            "prompt_token": ref_speech_tokens.to(device),
            "prompt_token_len": ref_speech_token_lens,
            "prompt_feat": ref_mels_24,
            "prompt_feat_len": None,
            "embedding": ref_x_vector,
        }

    def forward(self, speech_tokens, ref_wav, ref_sr, ref_dict=None):
        return ref_dict or self.embed_ref(ref_wav, ref_sr)


class S3Token2Wav(S3Token2Mel):
    """What everybody calls S3Gen."""

    def __init__(self, meanflow=False):
        super().__init__(meanflow)
        self.mel2wav = nn.Linear(4, 4)
