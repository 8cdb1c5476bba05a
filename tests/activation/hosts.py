"""A host of a few lines, with the class that the Step-Audio plugin knows and nothing behind it.

Its result is random, as the real one's is, so that an equal result can only be a kept one; each
encode leaves a line in the file that `HOST_ENCODES` names.
"""

MODELS = """
import os

class Frontend:
    dither = 1.0

class Network:
    def __init__(self):
        self.encoder = Frontend()

class AutoModel:
    def __init__(self, folder):
        self.model = Network()
        self.model_path = folder
        self.kwargs = {"init_param": os.path.join(folder, "model.pt"), "frontend": Frontend()}

class Session:
    def __init__(self, path):
        self._model_path = path
"""

UTILS = """
def resample_audio(audio, rate, wanted):
    return audio
"""

CLASS = '''
import os
import numpy as np
from models import AutoModel, Session
from utils import resample_audio

class StepAudioTokenizer:
    def __init__(self, folder):
        self.funasr_model = AutoModel(folder)
        self.ort_session = Session(os.path.join(folder, "speech_tokenizer_v1.onnx"))
        self.kms = np.arange(8, dtype="float32")
        self.chunk_size = [0, 4, 5]
        self.encoder_chunk_look_back = 4
        self.decoder_chunk_look_back = 1

    def __call__(self, audio, sr):
        _, vq02, vq06 = self.wav2token(audio, sr, False)
        return self.merge_vq0206_to_token_str(vq02, vq06)

    def wav2token(self, audio, sample_rate, enable_trim=True, energy_norm=True):
        """Encode a recording."""
        with open(os.environ["HOST_ENCODES"], "a") as file:
            file.write("encode\\n")
        vq02 = self.get_vq02_code(resample_audio(audio, sample_rate, 16000))
        vq06 = self.get_vq06_code(audio)
        return vq02 + vq06, vq02, vq06

    def get_vq02_code(self, audio, session_id=None, is_final=True):
        return [int(x) for x in os.urandom(16)]

    def get_vq06_code(self, audio):
        return [int(x) for x in audio.reshape(-1)[:8]]

    def merge_vq0206_to_token_str(self, vq02, vq06):
        return "".join(f"<audio_{x}>" for x in vq02 + vq06)
'''

CALLS = """
import json, sys
import numpy as np

AUDIO = np.arange(64, dtype="float32").reshape(1, 64)

def encode(kind, times=2, audio=AUDIO):
    tokenizer = kind("model")
    return [tokenizer.wav2token(audio, 16000) for _ in range(times)]

def say(**facts):
    ours = sorted(name for name in sys.modules if "stepaudio_cas" in name)
    print(json.dumps({"ours": ours, **facts}), flush=True)
"""

APP = """
import calls
from tokenizer import StepAudioTokenizer
calls.say(results=calls.encode(StepAudioTokenizer))
"""

SCRIPT = f"""
{CLASS}
import calls
if __name__ == "__main__":
    calls.say(results=calls.encode(StepAudioTokenizer))
"""
"""A program whose host class is in the script itself."""
