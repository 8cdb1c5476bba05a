"""Qwen3-TTS's model, as far as a cloned voice goes through it."""

from dataclasses import dataclass

import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.utils import ModelOutput

from tests.plugins.small import features
from tests.plugins.small.onnx_files import session

RUNS = []


def mel_spectrogram(y, num_mels):
    return features.mel_spectrogram(y, n_fft=1024, num_mels=num_mels, hop_size=256)


class Config(PretrainedConfig):
    model_type = "small_qwen3_tts"

    def __init__(self, clones=True, quantizers=4, **more):
        self.clones = clones
        self.quantizers = quantizers
        super().__init__(**more)


@dataclass
class Qwen3TTSTokenizerV2EncoderOutput(ModelOutput):
    audio_codes: list = None


@dataclass
class Qwen3TTSTokenizerV1EncoderOutput(ModelOutput):
    audio_codes: list = None
    xvectors: list = None
    ref_mels: list = None


class XVectorExtractor(nn.Module):
    def __init__(self, path):
        super().__init__()
        self.ort_session = session(path)

    def extract_code(self, audio):
        feat = features.fbank(torch.from_numpy(audio)[None])
        name = self.ort_session.get_inputs()[0].name
        return self.ort_session.run(None, {name: feat[None].numpy()})[0].flatten(), feat.numpy()


class Codec(PreTrainedModel):
    """Stands for the codecs of 12 Hz and, with a speaker model, of 25 Hz."""

    config_class = Config

    def __init__(self, config):
        super().__init__(config)
        self.embed = nn.Linear(320, 32)
        self.dropout = nn.Dropout(0.1)
        self.encoder_xvector_extractor = None
        self.post_init()

    def load_encoder_xvector_extractor(self, path):
        self.encoder_xvector_extractor = XVectorExtractor(path)

    def encode(self, input_values, padding_mask=None, return_dict=None):
        frames = input_values.unfold(1, 320, 320)
        scores = self.dropout(self.embed(frames)).topk(self.config.quantizers, dim=-1).indices
        lengths = (padding_mask.sum(1) // 320).tolist()
        codes = [code[:length] for code, length in zip(scores, lengths, strict=True)]
        if self.encoder_xvector_extractor is None:
            return Qwen3TTSTokenizerV2EncoderOutput(codes) if return_dict else (codes,)
        found = [self.encoder_xvector_extractor.extract_code(w.numpy()) for w in input_values]
        xvectors = [torch.tensor(vector) for vector, _ in found]
        mels = [torch.tensor(mel) for _, mel in found]
        if not return_dict:
            return codes, xvectors, mels
        return Qwen3TTSTokenizerV1EncoderOutput(codes, xvectors, mels)


class SpeakerEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.project = nn.Linear(128, 16)

    def forward(self, mels):
        return self.project(mels).mean(dim=1)


class Qwen3TTSForConditionalGeneration(PreTrainedModel):
    config_class = Config

    def __init__(self, config):
        super().__init__(config)
        self.talker = nn.Linear(4, 4)
        self.speaker_encoder = SpeakerEncoder() if config.clones else None
        self.speech_tokenizer = None
        self.post_init()

    def load_speech_tokenizer(self, speech_tokenizer):
        self.speech_tokenizer = speech_tokenizer

    @torch.inference_mode()
    def extract_speaker_embedding(self, audio, sr):
        assert sr == 24000, "Only support 24kHz audio"
        RUNS.append("speaker")
        mels = mel_spectrogram(torch.from_numpy(audio).unsqueeze(0), 128).transpose(1, 2)
        return self.speaker_encoder(mels.to(self.device).to(self.dtype))[0]
