"""Qwen3-TTS's codec behind the class that everybody calls."""

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import BatchFeature
from transformers.feature_extraction_sequence_utils import SequenceFeatureExtractor

from tests.plugins.small.features import load_wav

RUNS = []


class Extractor(SequenceFeatureExtractor):
    def __init__(self, feature_size=1, sampling_rate=24000, padding_value=0.0, **more):
        super().__init__(feature_size, sampling_rate, padding_value, **more)

    def __call__(self, raw_audio, sampling_rate, return_tensors):
        wavs = [torch.from_numpy(wav) for wav in raw_audio]
        padded = pad_sequence(wavs, batch_first=True, padding_value=self.padding_value)
        mask = pad_sequence([torch.ones(len(wav), dtype=torch.long) for wav in wavs], True)
        return BatchFeature({"input_values": padded[:, None], "padding_mask": mask[:, None]})


class Qwen3TTSTokenizer:
    def __init__(self):
        self.model = None
        self.feature_extractor = None
        self.config = None
        self.device = None

    def load_audio(self, x, target_sr):
        if x.startswith("http"):
            return np.ones(target_sr, dtype=np.float32)
        return load_wav(x, target_sr)[0].numpy()

    def _normalize_audio_inputs(self, audios, sr):
        if isinstance(audios, (str, np.ndarray)):
            audios = [audios]
        rate = self.feature_extractor.sampling_rate
        if isinstance(audios[0], str):
            return [self.load_audio(x, target_sr=rate) for x in audios]
        if sr is None:
            raise ValueError("For numpy waveform input, you must provide `sr`.")
        return [audio[:: max(1, sr // rate)].astype(np.float32) for audio in audios]

    def encode(self, audios, sr=None, return_dict=True):
        RUNS.append("encode")
        wavs = self._normalize_audio_inputs(audios, sr=sr)
        inputs = self.feature_extractor(
            raw_audio=wavs, sampling_rate=24000, return_tensors="pt"
        ).to(self.device)
        with torch.inference_mode():
            return self.model.encode(
                inputs["input_values"].squeeze(1).to(self.model.dtype),
                inputs["padding_mask"].squeeze(1),
                return_dict=return_dict,
            )

    def decode(self, encoded):
        return encoded.audio_codes
