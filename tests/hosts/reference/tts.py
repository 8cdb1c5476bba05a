"""The service's voice: clone a speaker, or say a recording again in another way."""

import os
from functools import cached_property

from audio import limit_peak, load_audio
from tokenizer import AUDIO_BASE, VQ06_BASE
from vocoder import CosyVoice


class StepAudioTTS:
    def __init__(self, model_path, audio_tokenizer, quantization=None):
        self.model_path = model_path
        self.audio_tokenizer = audio_tokenizer
        self.quantization = quantization
        self.cosy_model = CosyVoice(os.path.join(model_path, "cosyvoice"))

    @cached_property
    def llm(self):
        from llm import LanguageModel  # takes a while, and not every request speaks

        return LanguageModel(os.path.join(self.model_path, "llm"), self.quantization)

    def clone(self, prompt_wav_path, prompt_text, target_text):
        """Say `target_text` with the voice of a recording; return (audio, sample rate)."""
        prompt = self.preprocess_prompt_wav(prompt_wav_path)
        tokens = self.llm.generate(target_text, prompt_text, prompt[0])
        return self.vocode(tokens, prompt), self.cosy_model.sample_rate

    def edit(self, input_audio_path, audio_text, edit_type, edit_info=None, text=None):
        """Say a recording again, e.g. `edit_type="emotion", edit_info="happy"`."""
        wish = f"[{edit_type}: {edit_info or ''}] {audio_text}"
        return self.clone(input_audio_path, wish, text or audio_text)

    def preprocess_prompt_wav(self, prompt_wav_path):
        """Return (tokens, vq02, vq06, mel, length of the mel, speaker embedding)."""
        audio, rate = load_audio(prompt_wav_path)
        audio = limit_peak(audio)
        feat, feat_len = self.cosy_model.frontend.extract_speech_feat(audio, rate)
        embedding = self.cosy_model.frontend.extract_spk_embedding(audio, rate)
        tokens, vq02, vq06 = self.audio_tokenizer.wav2token(audio, rate)
        return tokens, vq02, vq06, feat, feat_len, embedding

    def vocode(self, tokens, prompt):
        codes = [token - AUDIO_BASE - VQ06_BASE for token in tokens]
        *_, feat, _, embedding = prompt
        return self.cosy_model.token2wav([c for c in codes if c >= 0], feat, embedding)
