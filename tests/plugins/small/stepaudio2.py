"""Step-Audio2's vocoder, as far as a prompt goes through it: s3tokenizer is the real one."""

from types import SimpleNamespace

import s3tokenizer
import torch

from tests.plugins.small.features import fbank, load_wav, mel_spectrogram
from tests.plugins.small.onnx_files import session

RUNS = []


class Token2wav:
    def __init__(self, model_path, audio_tokenizer, float16=False, up_rate=2):
        self.float16 = float16
        self.flow = SimpleNamespace(up_rate=up_rate)
        self.audio_tokenizer = audio_tokenizer
        self.spk_model = session(f"{model_path}/campplus.onnx")
        self.cache = {}

    def _prepare_prompt(self, prompt_wav):
        RUNS.append("prompt")
        audio = load_wav(prompt_wav, 16000)[0]
        mels, mels_lens = s3tokenizer.padding([s3tokenizer.log_mel_spectrogram(audio)])
        tokens, tokens_lens = self.audio_tokenizer.quantize(mels, mels_lens)
        feat = fbank(audio.unsqueeze(0), num_mel_bins=80)
        feat = feat - feat.mean(dim=0, keepdim=True)
        name = self.spk_model.get_inputs()[0].name
        spk_emb = torch.tensor(self.spk_model.run(None, {name: feat[None].numpy()})[0])
        prompt_mels = mel_spectrogram(load_wav(prompt_wav, 24000)).transpose(1, 2)
        prompt_mels_lens = torch.tensor([prompt_mels.shape[1]], dtype=torch.int32)
        missing = tokens.shape[1] * self.flow.up_rate - prompt_mels.shape[1]
        prompt_mels = torch.nn.functional.pad(prompt_mels, (0, 0, 0, missing), mode="replicate")
        return tokens, tokens_lens, spk_emb, prompt_mels, prompt_mels_lens

    def __call__(self, generated_speech_tokens, prompt_wav):
        if prompt_wav not in self.cache:
            self.cache[prompt_wav] = self._prepare_prompt(prompt_wav)
        return len(generated_speech_tokens), self.cache[prompt_wav]
