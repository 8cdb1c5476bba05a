"""A host of three stages and its plugin; what it encodes it notes in a file."""

HOST = """
import os

class Encoder:
    def __init__(self, weights):
        self.weights = open(weights, "rb").read()

    def encode(self, audio):
        with open(os.environ["SERVED_NOTES"], "a") as notes:
            notes.write("encode\\n")
        return [len(audio), *self.weights]

class Writer:
    def write(self, tokens, text):
        return tokens + list(text.encode())

class Speaker:
    def __init__(self, writer):
        self.writer = writer

    def speak(self, tokens, text):
        return bytes(code % 256 for code in self.writer.write(tokens, text))
"""

PLUGIN = """
from stepaudio_cas.activation.plugin import HostClass, Method, Model, Parts, Plugin, content

def encoder(self):
    return Model((self,), Parts, {"weights": self.weights.decode()})

plugin = Plugin(
    "served",
    [HostClass("Encoder", ["voices"], ["encode"], [
        Method("encode", {"audio": content()}, encoder)
    ])],
    loader="served_loader:load",
    service="served_loader:serve",
    stages={"llm": ["voices:Writer.write"], "vocoder": ["voices:Speaker.speak"]},
)
"""

LOADER = '''
def load(weights):
    """Load the encoder.

    weights  the file with its weights
    """
    from voices import Encoder

    encoder = Encoder(weights)

    def encode(path):
        with open(path, "rb") as file:
            return encoder.encode(file.read())

    return encode

def serve(weights, text="hello"):
    """Load all of it.

    text  what is said
    """
    from voices import Speaker, Writer

    encode, speaker = load(weights), Speaker(Writer())

    def request(path):
        if text == "fail":
            raise ValueError("nothing to say")
        return speaker.speak(encode(path), text)

    return request
'''

MINE = """
def nothing():
    return lambda path: None
"""


class Served:
    """The host's code in `code`, the plugin installed in `site`."""

    def __init__(self, folder):
        self.site, self.code = folder / "site", folder / "code"
        self.notes, weights = folder / "notes", folder / "weights"
        (self.site / "served-1.dist-info").mkdir(parents=True)
        self.code.mkdir()
        weights.write_text("123")
        (self.site / "served_plugin.py").write_text(PLUGIN)
        (self.site / "served_loader.py").write_text(LOADER)
        points = "[stepaudio_cas.plugins]\nserved = served_plugin:plugin\n"
        (self.site / "served-1.dist-info/entry_points.txt").write_text(points)
        (self.code / "voices.py").write_text(HOST)
        (self.code / "mine.py").write_text(MINE)
        self.spec = f"served:{self.code}?weights={weights}"

    def encodes(self):
        return len(self.notes.read_text().splitlines()) if self.notes.exists() else 0
