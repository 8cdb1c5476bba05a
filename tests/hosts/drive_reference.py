"""A deployment's process, by script: load the reference host, do the steps given on stdin.

python drive_reference.py HOST MODEL < [["tokens", {"wav": "a.wav", "seed": 7}], …]

The last line of stdout is the list of results. On stderr each step begins with `@step`, so that a
test can tell what was said in which. Nothing here knows of any cache.
"""

import hashlib
import json
import os
import shutil
import sys
import time

sys.path.insert(0, sys.argv[1])
import torch
from audio import load_audio
from tokenizer import StepAudioTokenizer
from tts import StepAudioTTS


class Deployment:
    def __init__(self, model):
        self.model = model

    def load(self):
        self.tokenizer = StepAudioTokenizer(self.model)
        self.tts = StepAudioTTS(self.model, self.tokenizer)

    def tokens(self, wav, seed):
        torch.manual_seed(seed)
        return _plain(self.tokenizer.wav2token(*load_audio(wav)))

    def text(self, wav, seed):
        torch.manual_seed(seed)
        return self.tokenizer(*load_audio(wav))

    def prompt(self, wav, seed):
        torch.manual_seed(seed)
        return _plain(self.tts.preprocess_prompt_wav(wav))

    def stream(self, wav, seed):
        """Feed two sessions in turns, half a second at a time."""
        torch.manual_seed(seed)
        audio, _ = load_audio(wav)
        pieces = audio.split(8000, dim=1)
        codes = {"one": [], "two": []}
        for number, piece in enumerate(pieces):
            last = number == len(pieces) - 1
            for name in codes:
                codes[name] += self.tokenizer.get_vq02_code(piece, name, is_final=last)
        return codes

    def until(self, folder, files):
        """Serve nobody until a folder has so many files in it."""
        while sum(len(names) for _, _, names in os.walk(folder)) < files:
            time.sleep(0.01)

    def remove(self, path):
        os.rename(path, f"{path}.gone")  # in one step: counters may be on their way there

    def replace(self, path, by):
        shutil.copyfile(by, f"{path}.new")
        os.replace(f"{path}.new", path)

    def modules(self):
        return sorted(name for name in sys.modules if "stepaudio_cas" in name)


def _plain(value):
    """Say a result in JSON without losing what type anything has."""
    if type(value) in {tuple, list}:
        kinds = sorted({type(item).__name__ for item in value})
        items = value if kinds == ["int"] else [_plain(item) for item in value]
        return {"type": type(value).__name__, "of": kinds, "items": list(items)}
    content = hashlib.sha256(value.contiguous().numpy().tobytes()).hexdigest()
    return {"type": str(value.dtype), "of": list(value.shape), "items": content}


def main(model):
    deployment = Deployment(model)
    results = []
    for name, arguments in json.load(sys.stdin):
        os.write(2, b"@step\n")
        results.append(getattr(deployment, name)(**arguments))
    sys.stdout.write(json.dumps(results))


if __name__ == "__main__":
    main(sys.argv[2])
