"""The language model: a text and a voice's tokens in, tokens of speech out."""

import logging

import torch
from transformers import BitsAndBytesConfig, LlamaForCausalLM, LogitsProcessor

_log = logging.getLogger(__name__)

TEXT = 256
VQ02 = range(TEXT, TEXT + 1024)
VQ06 = range(VQ02.stop, VQ02.stop + 4096)
VOCABULARY = VQ06.stop
GROUP_SECONDS = 0.12  # two slow and three fast codes
SECONDS_PER_CHARACTER = 0.07
AUDIO_BASE = 65536


class LanguageModel:
    def __init__(self, folder, quantization=None):
        self.network = _load(folder, quantization)

    def generate(self, text, prompt_text, prompt_tokens):
        """Speak `text` as the prompt is spoken; return tokens in the tokenizer's numbering."""
        said = list((prompt_text + "\n" + text + "\n").encode())
        ids = torch.tensor([said + [TEXT + token - AUDIO_BASE for token in prompt_tokens]])
        ids = ids.to(self.network.device)
        groups = max(2, round(len(text) * SECONDS_PER_CHARACTER / GROUP_SECONDS))
        with torch.inference_mode():
            made = self.network.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                repetition_penalty=1.3,
                min_new_tokens=5 * groups,
                max_new_tokens=5 * groups,
                pad_token_id=0,
                logits_processor=[_OnlySpeech(ids.shape[1])],
            )
        return [AUDIO_BASE + token - TEXT for token in made[0, ids.shape[1] :].tolist()]


class _OnlySpeech(LogitsProcessor):
    """Two codes of the slow stream, then three of the fast one."""

    def __init__(self, start):
        self.start = start

    def __call__(self, input_ids, scores):
        allowed = VQ02 if (input_ids.shape[1] - self.start) % 5 < 2 else VQ06
        masked = torch.full_like(scores, -torch.inf)
        masked[:, allowed.start : allowed.stop] = scores[:, allowed.start : allowed.stop]
        return masked


def _load(folder, quantization):
    if quantization == "int4":
        try:
            config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype=torch.float32)
            return LlamaForCausalLM.from_pretrained(folder, quantization_config=config).eval()
        except Exception as error:
            _log.warning("no 4-bit weights (%s): full precision", error)
    return LlamaForCausalLM.from_pretrained(folder).eval()
