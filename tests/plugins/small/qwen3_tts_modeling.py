"""Qwen3-TTS's model, as far as a cloned voice goes through it."""

import copy
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


class MelSpectrogram(nn.Module):
    """Keeps its filters from its first run on."""

    def __init__(self, n_mels=80):
        super().__init__()
        self.n_mels = n_mels
        self.mel_basis = {}

    def extract(self, audio):
        filters = self.mel_basis.setdefault(str(audio.device), torch.ones(self.n_mels, 1))
        return features.fbank(audio, self.n_mels) * filters.T


class XVectorExtractor(nn.Module):
    def __init__(self, path):
        super().__init__()
        self.ort_session = session(path)
        self.mel_ext = MelSpectrogram()

    def extract_code(self, audio):
        audio = torch.from_numpy(audio)[None]
        feat = features.fbank(audio)
        name = self.ort_session.get_inputs()[0].name
        vector = self.ort_session.run(None, {name: feat[None].numpy()})[0].flatten()
        return vector, self.mel_ext.extract(audio).numpy()


class Encoder(PreTrainedModel):
    config_class = Config

    def __init__(self, config):
        super().__init__(config)
        self.embed = nn.Linear(320, 32)
        self.dropout = nn.Dropout(0.1)
        self.post_init()

    def forward(self, frames):
        if self.training:
            RUNS.append("training")
        return self.dropout(self.embed(frames)).topk(self.config.quantizers, dim=-1).indices


class Codec(PreTrainedModel):
    """Stands for the codecs of 12 Hz and, with a speaker model, of 25 Hz."""

    config_class = Config

    def __init__(self, config):
        super().__init__(config)
        self.encoder = Encoder(copy.deepcopy(config))
        self.encode_downsample_rate = 320
        self.encoder_valid_num_quantizers = 16
        self.encoder_xvector_extractor = None
        self.post_init()

    def load_encoder_xvector_extractor(self, path):
        self.encoder_xvector_extractor = XVectorExtractor(path)

    def encode(self, input_values, padding_mask=None, return_dict=None):
        return_dict = self.config.return_dict if return_dict is None else return_dict
        scores = self.encoder(input_values.unfold(1, 320, self.encode_downsample_rate))
        scores = scores[..., : self.encoder_valid_num_quantizers]
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
