"""One process of the demo: a deployment of the reference host, and a stopwatch beside it.

python demo_host.py HOST MODEL TEXT WAV…

The last line of stdout is a list of requests: seconds by stage, and the recording's tokens.
Nothing here knows of any cache.
"""

import io
import json
import sys
import time

sys.path.insert(0, sys.argv[1])
import soundfile
import torch
from tokenizer import StepAudioTokenizer
from tts import StepAudioTTS


def main(model, text, *wavs):
    tokenizer = StepAudioTokenizer(model)
    tts = StepAudioTTS(model, tokenizer, quantization="int4")
    tokenizer.get_vq02_code(torch.zeros(1, 16000))  # a service that is warm
    prompt = (None, torch.zeros(1, 9, 80), None, torch.zeros(1, 192))
    tts.vocode(tts.llm.generate("Hi", "", []), prompt)
    torch.seed()  # every process dithers in its own way
    print(json.dumps([request(tts, wav, text) for wav in wavs]))


def request(tts, wav, text):
    """Do what `tts.clone` and the service around it do, and time it."""
    times = [time.perf_counter()]

    def lap():
        times.append(time.perf_counter())

    prompt = tts.preprocess_prompt_wav(wav)
    lap()
    tokens = tts.llm.generate(text, "", prompt[0])
    lap()
    audio = tts.vocode(tokens, prompt)
    lap()
    soundfile.write(io.BytesIO(), audio.numpy().T, tts.cosy_model.sample_rate, format="WAV")
    lap()
    stages = zip(("encode", "LLM", "vocoder", "other"), times, times[1:], strict=False)
    seconds = {stage: after - before for stage, before, after in stages}
    return {**seconds, "total": times[-1] - times[0], "tokens": prompt[:3]}


if __name__ == "__main__":
    main(*sys.argv[2:])
