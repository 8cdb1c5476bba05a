"""The classes that the Step-Audio plugin knows, with the structure they have and little behind it.

Each module is text that a test loads, perhaps changed; `RUNS` counts what the host computes.
"""

FUNASR = """
import torch

class WavFrontendOnline:
    def __init__(self, dither=1.0):
        self.dither = dither

class Encoder:
    pass

class ParaformerStreaming:
    def __init__(self):
        self.encoder = Encoder()
        self.weight = torch.zeros(1)

    def parameters(self):
        return iter([self.weight])

    def half(self):
        self.weight = self.weight.half()

class AutoModel:
    def __init__(self, folder, dither=1.0, **more):
        self.model = ParaformerStreaming()
        self.model_path = str(folder)
        self.kwargs = {
            "model": "ParaformerStreaming",
            "model_conf": {"sampling_ratio": 0.75},
            "encoder": "SANMEncoderChunkOpt",
            "encoder_conf": {"output_size": 64, "chunk_size": [12, 15]},
            "frontend": WavFrontendOnline(dither),
            "frontend_conf": {"fs": 16000, "n_mels": 80, "cmvn_file": str(folder / "am.mvn")},
            "predictor_conf": {"threshold": 1.0},
            "init_param": str(folder / "model.pt"),
            "model_path": str(folder),
            "device": "cpu",
            **more,
        }

class Session:
    def __init__(self, path, providers=("CPUExecutionProvider",)):
        self._model_path = str(path)
        self.providers = providers

    def get_providers(self):
        return list(self.providers)
"""

UTILS = """
def resample_audio(audio, rate, wanted):
    return audio

def energy_norm_fn(audio):
    return audio

def trim_silence(audio, rate):
    return audio
"""

TOKENIZER = """
import numpy as np
from funasr_parts import AutoModel, Session
from utils_parts import energy_norm_fn, resample_audio, trim_silence

RUNS = []

class StepAudioTokenizer:
    def __init__(self, folder, **more):
        self.funasr_model = AutoModel(folder, **more)
        self.kms = np.load(folder / "linguistic_tokenizer.npy")
        self.ort_session = Session(folder / "speech_tokenizer_v1.onnx")
        self.chunk_size = [0, 4, 5]
        self.encoder_chunk_look_back = 4
        self.decoder_chunk_look_back = 1

    def __call__(self, audio, sr):
        _, vq02, vq06 = self.wav2token(audio, sr, False)
        return self.merge_vq0206_to_token_str(vq02, vq06)

    def wav2token(self, audio, sample_rate, enable_trim=True, energy_norm=True):
        RUNS.append("wav2token")
        audio = resample_audio(audio, sample_rate, 16000)
        vq02, vq06 = self.get_vq02_code(audio), self.get_vq06_code(audio)
        return vq02 + vq06, vq02, vq06

    def get_vq02_code(self, audio, session_id=None, is_final=True):
        RUNS.append("get_vq02_code")
        return [len(RUNS)]

    def get_vq06_code(self, audio):
        return [int(x) for x in audio.reshape(-1)[:4]]

    def merge_vq0206_to_token_str(self, vq02, vq06):
        return "".join(f"<audio_{x}>" for x in vq02 + vq06)
"""

FRONTEND = """
import torch
from funasr_parts import Session

RUNS = []

def mel_spectrogram(y, n_fft, num_mels):
    return y.reshape(1, -1, num_mels) * n_fft

class CosyVoiceFrontEnd:
    def __init__(self, mel_conf, campplus_model):
        self.mel_conf = {k: v for k, v in mel_conf.items() if k != "sampling_rate"}
        self.sample_rate = mel_conf["sampling_rate"]
        self.campplus_session = Session(campplus_model)

    def extract_speech_feat(self, audio, audio_sr):
        RUNS.append("extract_speech_feat")
        feat = mel_spectrogram(y=audio, **self.mel_conf)
        return feat, torch.tensor([feat.shape[1]], dtype=torch.long)

    def extract_spk_embedding(self, audio, audio_sr):
        RUNS.append("extract_spk_embedding")
        return torch.stack([audio.mean(dim=1), torch.tensor([float(len(RUNS))])], dim=1)
"""

TTS = """
from types import SimpleNamespace
import torch

RUNS = []

class StepAudioTTS:
    def __init__(self, audio_tokenizer, frontend):
        self.audio_tokenizer = audio_tokenizer
        self.cosy_model = SimpleNamespace(frontend=frontend)

    def preprocess_prompt_wav(self, prompt_wav_path):
        RUNS.append("preprocess_prompt_wav")
        with open(prompt_wav_path, "rb") as file:
            wav = torch.frombuffer(bytearray(file.read()), dtype=torch.uint8).float()[None]
        frontend = self.cosy_model.frontend
        feat, feat_len = frontend.extract_speech_feat(wav, 16000)
        embedding = frontend.extract_spk_embedding(wav, 16000)
        codes, vq02, vq06 = self.audio_tokenizer.wav2token(wav, 16000)
        return codes, vq02, vq06, feat, feat_len, embedding

    def clone(self, prompt_wav_path, prompt_text, target_text):
        return self.preprocess_prompt_wav(prompt_wav_path)

    def edit(self, input_audio_path):
        return self.preprocess_prompt_wav(input_audio_path)
"""

WHISPER = """
from types import SimpleNamespace

RUNS = []

class WhisperWrapper:
    def __init__(self, source, commit=None):
        config = SimpleNamespace(_name_or_path=str(source), _commit_hash=commit)
        self.model = SimpleNamespace(
            model=SimpleNamespace(config=config, dtype="float32"), _forward_params={}
        )
        self.answer = "words"

    def __call__(self, audio_input):
        RUNS.append("whisper")
        return self.answer
"""
