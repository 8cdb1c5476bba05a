"""The pages of the documentation: their blocks, and a place in which these run as they stand."""

import fcntl
import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import termios
import time
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.plugins import hosts

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
PLACES = re.compile(r"(?<![\w/.])(?://)?(/(?:srv|mnt|app|models|tmp|opt|etc/cas)\b)")
HOST = re.compile(r"python3?( -S)? (app|main)\.py")
PRESETS = ("anna", "ben", "preset-calm", "preset-glad")

# The host of the pages: an encoder of a few lines, in classes as Step-Audio has them.
AUDIO = """
import wave
import numpy as np

def load_audio(path):
    with wave.open(str(path)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        return samples.astype("float32")[None] / 32768, file.getframerate()
"""
FRONTEND = """
from funasr_parts import Session

def mel_spectrogram(y, n_fft):
    return y[:, ::n_fft]

class CosyVoiceFrontEnd:
    def __init__(self, folder):
        self.mel_conf, self.sample_rate = {"n_fft": 64}, 24000
        self.campplus_session = Session(f"{folder}/campplus.onnx")

    def extract_speech_feat(self, audio, audio_sr):
        return mel_spectrogram(audio, **self.mel_conf), audio.shape[1]

    def extract_spk_embedding(self, audio, audio_sr):
        return audio.mean(axis=1)
"""
TOKENIZER = (
    hosts.TOKENIZER.replace("AutoModel", "Encoding")
    .replace("import numpy", "from pathlib import Path\nimport numpy", 1)
    .replace("(self, folder,", "(self, name,")
    .replace("self.funasr_model", "folder = Path(name)\n        self.funasr_model", 1)
)
TTS = """
from types import SimpleNamespace
from audio import load_audio
from frontend import CosyVoiceFrontEnd

class StepAudioTTS:
    def __init__(self, folder, tokenizer):
        self.audio_tokenizer = tokenizer
        self.cosy_model = SimpleNamespace(frontend=CosyVoiceFrontEnd(folder))

    def preprocess_prompt_wav(self, prompt_wav_path):
        audio, rate = load_audio(prompt_wav_path)
        frontend = self.cosy_model.frontend
        feat, length = frontend.extract_speech_feat(audio, rate)
        tokens = self.audio_tokenizer.wav2token(audio, rate)
        return *tokens, feat, length, frontend.extract_spk_embedding(audio, rate)

    def clone(self, prompt_wav_path, prompt_text, target_text):
        return self.preprocess_prompt_wav(prompt_wav_path)

    def edit(self, input_audio_path):
        return self.preprocess_prompt_wav(input_audio_path)
"""
# Libraries that the loader of the plugin asks for, and that take seconds to import.
TORCH = """
from types import SimpleNamespace

class Tensor: dtype = "torch.float32"
class dtype: pass
class device: pass

def zeros(*shape): return Tensor()

cuda = SimpleNamespace(is_available=lambda: True, empty_cache=lambda: None)
"""
TRANSFORMERS = "raise ImportError('this host has no language model')"
APP = """
from pathlib import Path
from tokenizer import StepAudioTokenizer
from tts import StepAudioTTS

tts = StepAudioTTS(MODEL, StepAudioTokenizer(MODEL))
for path in sorted(Path(VOICES).glob("*.wav")):
    tts.clone(str(path), "", "Good morning")
"""

NODES = """
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

folder = Path(__file__).parent / "custom_nodes/editx"
spec = spec_from_file_location(
    "editx", folder / "__init__.py", submodule_search_locations=[str(folder)]
)
sys.modules["editx"] = module_from_spec(spec)
spec.loader.exec_module(sys.modules["editx"])
"""


def blocks(page):
    """Yield language, text and the heading above of each block of a page."""
    text = page.read_text("utf-8")
    for found in BLOCK.finditer(text):
        headings = HEADING.findall(BLOCK.sub("", text[: found.start()]))
        yield found[1], found[2], headings[-1] if headings else ""


def commands(text):
    """Take a console apart: each command, and the lines that it is shown to print."""
    found = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append([line[2:], []])
        elif found[-1][0].endswith("\\"):
            found[-1][0] += f"\n{line}"
        else:
            found[-1][1].append(line)
    return found


def statements(text):
    """Take a block of shell apart, a line each; one that ends with a backslash goes on."""
    return [line for line in re.findall(r"(?:.*\\\n)*.+", text) if not line.startswith("#")]


def shape(line):
    """Return how a line begins: its first words, numbers and digests taken out of them."""
    words = re.sub(r"[0-9a-f]{12}|\d[\d.]*", "#", line).split()
    return " ".join(words[:2])


@dataclass
class Done:
    code: int
    said: str


class Place:
    """A home, folders with the names that the pages use, a host, and a shell that stays open."""

    def __init__(self, folder, **instead):
        self.folder, self.instead = folder, instead
        for name in ("srv/presets", "app/voices", "app/presets", "mnt", "tmp", "bin", "home",
                     "etc/cas", "opt/editx/venv", "app/ComfyUI/venv"):  # fmt: skip
            (folder / name).mkdir(parents=True)
        for venv in ("opt/editx/venv", "app/ComfyUI/venv"):
            (folder / venv / "bin").symlink_to(folder / "bin")
        self._write_host()
        for name in PRESETS:
            for place in ("srv/presets", "app/presets", "app/voices"):
                record(folder / place / f"{name}.wav", PRESETS.index(name))
        self._write_commands()
        self.ours, self.shell = self._open_shell()

    def _write_host(self):
        app, models = self.folder / "app", self.folder / "models"
        models.mkdir()
        files = {
            "audio": AUDIO,
            "funasr_parts": hosts.FUNASR.replace("AutoModel", "Encoding"),
            "utils_parts": hosts.UTILS,
            "tokenizer": TOKENIZER,
            "frontend": FRONTEND,
            "tts": TTS,
            "torch": TORCH,
            "transformers": TRANSFORMERS,
            "app": f"MODEL, VOICES = {str(models)!r}, {str(self.folder / 'srv/presets')!r}{APP}",
        }  # fmt: skip
        for name, text in files.items():
            (app / f"{name}.py").write_text(text)
        self._write_nodes(app / "ComfyUI", files)
        for name in ("model.pt", "am.mvn", "config.yaml", "configuration.json", "cosyvoice.yaml",
                     "speech_tokenizer_v1.onnx", "campplus.onnx"):  # fmt: skip
            (models / name).write_text(name)
        self.change_model(0)

    def _write_nodes(self, comfy, files):
        """Have the same classes in a package of custom nodes, loaded as ComfyUI loads them."""
        inner = comfy / "custom_nodes/editx/inner"
        inner.mkdir(parents=True)
        own = re.compile(rf"^from (?=({'|'.join(files)}) import)", re.MULTILINE)
        for name in set(files) - {"torch", "transformers"}:
            (inner / f"{name}.py").write_text(own.sub("from .", files[name]))
        (inner.parent / "__init__.py").write_text("from .inner import app\n")
        (comfy / "main.py").write_text(NODES)

    def change_model(self, number):
        """Give the host another code book."""
        book = np.arange(8, dtype="float32") + number
        np.save(self.folder / "models" / "linguistic_tokenizer.npy", book)

    def _write_commands(self):
        """Have `python` be this one, `pip` know what there is, and a watch come to its end."""
        tool = f"{shlex.quote(sys.executable)} -m stepaudio_cas"
        for name, text in {
            "python": f'exec {shlex.quote(sys.executable)} "$@"',
            "python3": f'exec {shlex.quote(sys.executable)} "$@"',
            "pip": f'exec {shlex.quote(sys.executable)} -m tests.support.pages "$@"',
            "cas-tool": f'case "$1" in watch) set -- "$@" --once;; esac\nexec {tool} "$@"',
        }.items():
            path = self.folder / "bin" / name
            path.write_text(f"#!/bin/sh\n{text}\n")
            path.chmod(0o755)

    def _open_shell(self):
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 110, 0, 0))
        modes = termios.tcgetattr(theirs)
        modes[3] &= ~termios.ECHO
        termios.tcsetattr(theirs, termios.TCSANOW, modes)
        left_out = {"COLUMNS", "LINES", "CI", "FORCE_COLOR", "PYTHONWARNINGS"}
        environment = {name: text for name, text in os.environ.items() if name not in left_out}
        environment |= {
            "HERE": str(self.folder),
            "HOME": str(self.folder / "home"),
            "XDG_CACHE_HOME": str(self.folder / "home/.cache"),
            "XDG_STATE_HOME": str(self.folder / "home/.state"),
            "PATH": f"{self.folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "TERM": "xterm",
            "NO_COLOR": "1",
            "OMP_NUM_THREADS": "1",
            "PS1": "", "PS2": "",
        }  # fmt: skip
        shell = subprocess.Popen(
            ["bash", "--norc", "--noprofile", "-s"],
            stdin=subprocess.PIPE, stdout=theirs, stderr=theirs, env=environment,
            cwd=self.folder / "app",
        )  # fmt: skip
        os.close(theirs)
        return ours, shell

    def here(self, text):
        """Say a block with the places of this one."""
        for name, place in self.instead.items():
            text = text.replace(name, place)
        return PLACES.sub(
            lambda found: found[0].replace(found[1], f"{self.folder}{found[1]}"), text
        )

    def run(self, command):
        """Type a command, and return how it ended and what it wrote to the terminal."""
        script = self.folder / "typed.sh"
        script.write_text(f"{self.here(command)}\n")
        self.shell.stdin.write(f"source {script} </dev/null; printf '\\001%d\\001' $?\n".encode())
        self.shell.stdin.flush()
        seen = b""
        while not (ended := re.search(rb"\x01(\d+)\x01", seen)):
            seen += os.read(self.ours, 1 << 16)
        said = seen[: ended.start()].decode().replace("\r\n", "\n").replace(str(self.folder), "")
        return Done(int(ended[1]), re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", said))

    def run_block(self, language, text, codes):
        """Run a block as it stands; commands end with 0 or as `codes` says by their beginning."""
        if language == "python":
            (self.folder / "block.py").write_text(self.here(text))
            typed = [('python "$HERE/block.py"', [])]
        elif language == "console":
            typed = commands(text)
        else:
            typed = [(line, []) for line in statements(text)]
        ran = []
        for command, shown in typed:
            ran.append(done := self.run(command))
            wanted = next((n for name, n in codes.items() if command.startswith(name)), 0)
            assert done.code == wanted, (command, done)
            found = {shape(line) for line in re.split(r"[\n\r]", done.said)}
            missing = [line for line in shown if line.strip() and shape(line) not in found]
            assert not missing, (command, missing, done.said)
            if HOST.search(command) and "STEPAUDIO_CAS=off" not in command:
                assert "wav2token cached in file:///srv/voices" in done.said
        return ran

    def let_time_pass(self, hours):
        """Have all that is stored been used so long ago."""
        then = time.time() - hours * 3600
        for path in self.folder.glob("srv/voices/v1/*/*/*"):
            os.utime(path, (then, then))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.shell.stdin.close()
        self.shell.wait(30)
        os.close(self.ours)


def record(path, seed):
    """Write a recording of a quarter of a second."""
    samples = np.random.default_rng(seed).normal(scale=3000, size=6000).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(24000)
        file.writeframes(samples.tobytes())


def pip(words):
    """Be `pip install`, as far as names and extras go: nothing is fetched."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert words[:1] == ["install"], words
    for word in words[1:]:
        name, _, extras = word.rstrip("]").partition("[")
        known = set(project["optional-dependencies"])
        assert name == project["name"], word
        assert set(filter(None, extras.split(","))) <= known, word


if __name__ == "__main__":
    pip(sys.argv[1:])
