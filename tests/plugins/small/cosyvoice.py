"""CosyVoice's frontend, as of May 2026; `{prompt_wav: speech}` makes it that of before."""

import numpy as np
import torch

from tests.plugins.small.features import fbank, load_wav, log_mel_spectrogram
from tests.plugins.small.onnx_files import session

RUNS = []


class CosyVoiceFrontEnd:
    def __init__(self, feat_extractor, campplus_model, speech_tokenizer_model):
        self.feat_extractor = feat_extractor
        self.device = torch.device("cpu")
        self.campplus_session = session(campplus_model)
        self.speech_tokenizer_session = session(speech_tokenizer_model)

    def _extract_speech_token(self, prompt_wav):
        RUNS.append("token")
        speech = load_wav(prompt_wav, 16000)
        assert speech.shape[1] / 16000 <= 30, "do not support audio longer than 30s"
        feat = log_mel_spectrogram(speech, n_mels=128)
        first, second = [i.name for i in self.speech_tokenizer_session.get_inputs()]
        fed = {first: feat.numpy(), second: np.array([feat.shape[2]], dtype=np.int32)}
        speech_token = self.speech_tokenizer_session.run(None, fed)[0].flatten().tolist()
        speech_token = torch.tensor([speech_token], dtype=torch.int32).to(self.device)
        speech_token_len = torch.tensor([speech_token.shape[1]], dtype=torch.int32)
        return speech_token, speech_token_len.to(self.device)

    def _extract_spk_embedding(self, prompt_wav):
        RUNS.append("embedding")
        feat = fbank(load_wav(prompt_wav, 16000), num_mel_bins=80)
        feat = feat - feat.mean(dim=0, keepdim=True)
        name = self.campplus_session.get_inputs()[0].name
        embedding = self.campplus_session.run(None, {name: feat[None].numpy()})[0]
        return torch.tensor([embedding.flatten().tolist()]).to(self.device)

    def _extract_speech_feat(self, prompt_wav):
        RUNS.append("feat")
        speech = load_wav(prompt_wav, 24000)
        feat = self.feat_extractor(speech).squeeze(dim=0).transpose(0, 1).to(self.device)
        feat = feat.unsqueeze(dim=0)
        return feat, torch.tensor([feat.shape[1]], dtype=torch.int32).to(self.device)

    def frontend_zero_shot(self, tts_text, prompt_wav):
        speech_feat, speech_feat_len = self._extract_speech_feat(prompt_wav)
        speech_token, speech_token_len = self._extract_speech_token(prompt_wav)
        token_len = min(int(speech_feat.shape[1] / 2), speech_token.shape[1])
        speech_feat, speech_feat_len[:] = speech_feat[:, : 2 * token_len], 2 * token_len
        speech_token, speech_token_len[:] = speech_token[:, :token_len], token_len
        embedding = self._extract_spk_embedding(prompt_wav)
        return {
            "text": tts_text,
            "llm_prompt_speech_token": speech_token,
            "llm_prompt_speech_token_len": speech_token_len,
            "prompt_speech_feat": speech_feat,
            "prompt_speech_feat_len": speech_feat_len,
            "llm_embedding": embedding,
        }
