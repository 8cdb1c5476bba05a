"""IndexTTS2, as far as the recording of a voice goes through W2V-BERT."""

import torch
from transformers import Wav2Vec2BertConfig, Wav2Vec2BertModel

RUNS = []


class IndexTTS2:
    def __init__(self, seed=0, **config):
        torch.manual_seed(seed)
        self.semantic_model = Wav2Vec2BertModel(
            Wav2Vec2BertConfig(
                hidden_size=16,
                num_hidden_layers=18,
                num_attention_heads=2,
                intermediate_size=16,
                output_hidden_size=16,
                feature_projection_input_dim=8,
                **config,
            )
        )
        self.semantic_model.eval()
        self.semantic_mean = torch.full((16,), 0.25)
        self.semantic_std = torch.sqrt(torch.full((16,), 2.0))
        self.cache_spk_cond = None

    @torch.no_grad()
    def get_emb(self, input_features, attention_mask):
        RUNS.append("get_emb")
        vq_emb = self.semantic_model(
            input_features=input_features,
            attention_mask=attention_mask,
            output_hidden_states=True,
        )
        feat = vq_emb.hidden_states[17]  # (B, T, C)
        return (feat - self.semantic_mean) / self.semantic_std

    def infer(self, spk_audio_prompt, text):
        return self.get_emb(*spk_audio_prompt), text
