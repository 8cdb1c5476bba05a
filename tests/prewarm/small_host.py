"""A host in three small files, its plugin, and its files of sound: text that says what to do.

`die` kills the process that encodes it, `broken` cannot be read, `print` prints, `wait PATH` waits
until somebody writes to the pipe at PATH; anything else is encoded. What it encodes it notes in the
file that SMALL_HOST_NOTES names.
"""

ENCODER = """
import os, signal

class Encoder:
    def __init__(self, weights):
        self.path = weights
        self.weights = open(weights, "rb").read()

    def encode(self, audio, rate, trim=True):
        words = audio.decode().split()
        if "SMALL_HOST_NOTES" in os.environ:
            with open(os.environ["SMALL_HOST_NOTES"], "ab") as notes:
                notes.write(audio + b"\\n")
        if words[0] == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if words[0] == "wait":
            open(words[1]).read()
        if words[0] == "print":
            print("the host prints")
        return [len(audio), rate], [int(trim)], list(self.weights)

class Studio:
    def __init__(self, encoder):
        self.encoder = encoder

    def prepare(self, path):
        with open(path, "rb") as file:
            audio = file.read()
        if audio.startswith(b"broken"):
            raise ValueError("this is no sound")
        speech, *rest = self.encoder.encode(audio.strip(), 16000)
        return speech, rest
"""

PLUGIN = """
from stepaudio_cas.activation.plugin import (
    HostClass, Method, Model, Parts, Plugin, content, path, value,
)

def encoder(self):
    settings = {"weights": self.weights.decode()}
    return Model((self,), lambda: Parts(files={"weights.txt": self.path}, settings=settings))

def studio(self):
    return encoder(self.encoder)

plugin = Plugin("small", [
    HostClass("Encoder", ["encoder"], ["encode"], [
        Method("encode", {"audio": content(), "rate": value(), "trim": value()}, encoder, results=3)
    ]),
    HostClass("Studio", ["encoder"], ["prepare"], [
        Method("prepare", {"path": path()}, studio, composed=True)
    ]),
], loader="small_loader:load")
"""

LOADER = '''
def load(weights, ask="prepare"):
    """Load the encoder.

    weights  the file with its weights
    """
    from encoder import Encoder, Studio

    made = Encoder(weights)
    studio = Studio(made)
    asks = {
        "prepare": studio.prepare,
        "direct": lambda path: made.encode(open(path, "rb").read().strip(), 16000),
        "nothing": lambda path: None,
    }
    return [asks[name] for name in ask.split(",")]
'''

MINE = """
from encoder import Encoder

def make(weights):
    made = Encoder(weights)
    return lambda path: made.encode(open(path, "rb").read().strip(), 8000)
"""


class SmallHost:
    """The host's code in `code`, the plugin installed in `site`, the model's file."""

    def __init__(self, folder):
        self.site, self.code = folder / "site", folder / "code"
        self.weights = folder / "weights.txt"
        self.voices = folder / "voices"
        for path in (self.site / "small-1.dist-info", self.code, self.voices):
            path.mkdir(parents=True)
        (self.site / "small_plugin.py").write_text(PLUGIN)
        (self.site / "small_loader.py").write_text(LOADER)
        points = "[stepaudio_cas.plugins]\nsmall = small_plugin:plugin\n"
        (self.site / "small-1.dist-info/entry_points.txt").write_text(points)
        (self.code / "encoder.py").write_text(ENCODER)
        (self.code / "mine.py").write_text(MINE)
        self.weights.write_text("123")

    @property
    def spec(self):
        return f"small:{self.code}?weights={self.weights}"

    def voice(self, name, text):
        path = self.voices / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return str(path)
