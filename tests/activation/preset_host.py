"""A host of two classes that says what it encodes, and waits where a test wants it to."""

import threading

from stepaudio_cas.activation import patch
from stepaudio_cas.activation.gate import Gate
from stepaudio_cas.activation.plugin import HostClass, Method, Model, Parts, Plugin, content, path
from stepaudio_cas.activation.presets import Presets
from stepaudio_cas.prewarm import state
from stepaudio_cas.prewarm.daemon import Plan
from stepaudio_cas.prewarm.desk import Retry
from stepaudio_cas.prewarm.settle import Settle
from stepaudio_cas.prewarm.watched import Pace
from stepaudio_cas.store.layout import PINS, digest_in
from stepaudio_cas.store.pins import read_pin
from tests.support.processes import wait_until

QUICK = Plan(
    settle=Settle(0.02),
    retry=Retry(1, 0.05),
    pace=Pace(polling=0.05, first=0.2, longest=1.0),
    beat=0.2,
    poll=True,
)

HOST = """
import threading

ran = []
given = []
events = {}

class Loaded:
    pass

def event(name):
    return events.setdefault(name, threading.Event())

class Encoder:
    def __init__(self, loaded=True, meanwhile=None):
        self.model = Loaded() if loaded else None
        if meanwhile is not None:
            meanwhile()

    def encode(self, audio):
        ran.append(audio.decode())
        if audio.startswith(b"broken"):
            raise ValueError("this is no sound")
        if audio.startswith(b"no tokens"):
            return object()
        if audio.startswith(b"interrupt"):
            raise KeyboardInterrupt("as a host may")
        if audio.startswith(b"hold"):
            event("begun").set()
            event("go on").wait(60)
        return list(audio)

    def serve(self, audio):
        event("serving").set()
        event("served").wait(60)
        return self.encode(audio)

class Studio:
    def __init__(self, encoder):
        self.encoder = encoder

    def prepare(self, path):
        with open(path, "rb") as file:
            given.append(self.encoder.encode(b"studio: " + file.read()))
        return given[-1:]
"""


def _describe(instance):
    model = getattr(instance, "encoder", instance).model
    return Model((model,), lambda: Parts(settings={"v": 1})) if model is not None else None


def _encode(encoder, recording):
    with open(recording, "rb") as file:
        return encoder.encode(file.read())


def _plugin(*, studio, mute):
    encode = Method("encode", {"audio": content()}, _describe)
    prepare = Method("prepare", {"path": path()}, _describe, composed=True)
    encoder = HostClass("Encoder", ["host"], ["encode"], [encode])
    classes = [encoder._replace(voice=None if mute else _encode, requests=["serve", "no_such"])]
    if studio:
        made = HostClass("Studio", ["host"], ["prepare"], [prepare])
        classes.append(made._replace(voice=lambda studio, path: studio.prepare(path)))
    return Plugin("test", classes)


class PresetHost:
    """The host's module, patched, with a folder that is watched."""

    def __init__(self, loader, monkeypatch, folder, *, studio=False, mute=False, **gate):
        self._loader, self._monkeypatch, self.voices = loader, monkeypatch, folder
        folder.mkdir()
        monkeypatch.setenv("XDG_STATE_HOME", str(folder.parent / "states"))
        self.cache = loader.cache
        self.presets = self.watch(**gate)
        declared = _plugin(studio=studio, mute=mute)
        self.module = loader.patch(loader.module(HOST, "host_of_a_test"), declared)
        self.said = []
        monkeypatch.setattr(self.cache.recorder.log, "error", self.said.append)

    def watch(self, folders=None, **gate):
        """Make what watches; classes that are patched from now on tell it."""
        gate = Gate(**{"quiet": 0.0, "patience": 1000.0, **gate})
        made = Presets(self.cache, folders or [str(self.voices)], plan=QUICK, gate=gate)
        self._monkeypatch.setattr(patch, "shared_presets", lambda: made)
        return made

    @property
    def ran(self):
        return self.module.ran

    def event(self, name):
        return self.module.event(name)

    def voice(self, name, text):
        made = self.voices / name
        made.write_text(text)
        return str(made)

    def encode_elsewhere(self, call, *args):
        """Make a request in a thread of its own; return that, and where its answer will be."""
        answers = []
        thread = threading.Thread(target=lambda: answers.append(call(*args)), daemon=True)
        thread.start()
        return thread, answers

    def pins(self):
        """Return what the pins say, by key."""
        backend = self.cache.chain.tiers[0].store.backend
        keys = filter(None, (digest_in(entry.path) for entry in backend.list(PINS)))
        return {key: pin.label for key in keys if (pin := read_pin(backend, key)) is not None}

    def until_kept(self, *voices):
        wait_until(lambda: sorted(self.pins().values()) == sorted(voices))

    def until_counted(self, **counts):
        """Wait until the daemon's own state says so: `waiting=1`, `failed=2` …"""

        def reached():
            found = state.read_all(state.default_folder())
            return any(counts.items() <= each["voices"].items() for each in found)

        wait_until(reached)
