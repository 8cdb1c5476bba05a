"""Small hosts that are loaded into the test's own process, and plugins for them."""

import importlib.util
import sys

from stepaudio_cas.activation import patch
from stepaudio_cas.activation.plugin import (
    HostClass,
    Method,
    Model,
    Parts,
    Plugin,
    content,
    value,
)

ENCODER = '''
import functools

runs = []

def shift(codes):
    return [code + 1 for code in codes]

class Encoder:
    """Encodes."""

    scale = 2

    def __init__(self, weights=b"w"):
        self.model = Loaded()
        self.weights = weights

    def encode(self, audio: bytes, rate: int = 16000, *, trim=True) -> list:
        """Turn audio into codes."""
        runs.append(rate)
        return shift(self.quantise(list(audio)))

    def quantise(self, codes):
        return [code * self.scale for code in codes]

class Loaded:
    pass
'''


def model(instance):
    """Describe the encoder as a plugin would."""
    if instance.model is None:
        return None
    return Model((instance.model,), lambda: Parts(settings={"weights": len(instance.weights)}))


def plugin(**options):
    """Declare the encoder; options are those of its one method."""
    arguments = {"audio": content(), "rate": value(), "trim": value()}
    method = Method("encode", **{"arguments": arguments, "model": model} | options)
    host = HostClass("Encoder", ["encoder"], ["encode", "quantise"], [method], helpers=["shift"])
    return Plugin("test", [host])


class Loader:
    """Loads modules from text and patches their classes."""

    def __init__(self, folder, monkeypatch, open_cache):
        self._folder, self._monkeypatch, self._open = folder, monkeypatch, open_cache
        self.cache = open_cache()
        self.modules = []

    def module(self, text=ENCODER, name="encoder_of_a_test"):
        path = self._folder / f"{len(self.modules)}" / f"{name}.py"
        path.parent.mkdir()
        path.write_text(text)
        spec = importlib.util.spec_from_file_location(name, path)
        made = importlib.util.module_from_spec(spec)
        self._monkeypatch.setitem(sys.modules, name, made)
        spec.loader.exec_module(made)
        self.modules.append(made)
        return made

    def patch(self, module, declared=None, **settings):
        """Patch the module's host classes, on a cache with these settings."""
        if settings:
            self.cache = self._open(**settings)
        self._monkeypatch.setattr(patch, "shared_cache", lambda: self.cache)
        declared = plugin() if declared is None else declared
        for host in declared.classes:
            found = getattr(module, host.name)
            patch.patch_class(declared, host, found, vars(module), module.__name__)
        return module

    def counters(self):
        return {
            name: number
            for name, number in self.cache.stats()["counters"].items()
            if name.startswith(("miss", "hit", "bypass", "error", "raised"))
        }
