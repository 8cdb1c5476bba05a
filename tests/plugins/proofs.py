"""What every plugin is asked to prove, and hosts that are started anew to prove it on."""

import sys
import weakref
from pathlib import Path
from types import ModuleType

import numpy as np
import torch

from stepaudio_cas.activation import patch
from stepaudio_cas.activation.registry import is_host

_SMALL = Path(__file__).with_name("small")
_UNPATCHED = weakref.WeakKeyDictionary()
_COUNTED = ("miss", "hit", "bypass", "error", "raised")


class Start:
    """One start of a host: its modules, patched by a plugin, with a cache that is its own."""

    def __init__(self, plugin, folder, cache, monkeypatch):
        self.plugin = plugin
        self.cache = cache
        self._folder = folder
        self._monkeypatch = monkeypatch
        self._seen = {}
        monkeypatch.setattr(patch, "shared_cache", lambda: cache)

    def load(self, small, name, changes=()):
        """Load the text of a small host as the module `name`; changed, if pairs are given."""
        text = (_SMALL / f"{small}.py").read_text()
        for old, new in dict(changes).items():
            assert old in text
            text = text.replace(old, new)
        path = self._folder / f"{name}{len(list(self._folder.glob('*.py')))}.py"
        path.write_text(text)
        module = ModuleType(name)
        module.__file__ = str(path)
        self._monkeypatch.setitem(sys.modules, name, module)
        exec(compile(text, path, "exec"), vars(module))
        self.patch(module)
        return module

    def patch(self, module):
        """Patch what the plugin knows of a module; return the names of the methods."""
        done = []
        for host in self.plugin.classes:
            found = vars(module).get(host.name)
            tail = module.__name__.rpartition(".")[2]
            if found is not None and tail in host.modules and is_host(found, host):
                for name, own in _before(found, host).items():
                    self._monkeypatch.setattr(found, name, own)
                name = module.__name__
                done += patch.patch_class(self.plugin, host, found, vars(module), name)
        return done

    def counts(self):
        """What has been counted since this was last asked."""
        now = {
            name: number
            for name, number in self.cache.stats()["counters"].items()
            if name.startswith(_COUNTED)
        }
        new = {n: int(c - self._seen.get(n, 0)) for n, c in now.items() if c != self._seen.get(n)}
        self._seen = now
        return new


def _before(found, host):
    """What a class had before it was first patched: one of a package is patched again and again."""
    names = {"__init__", *(method.name for method in host.methods)}
    own = {name: vars(found)[name] for name in names & vars(found).keys()}
    return _UNPATCHED.setdefault(found, own)


def same(one, other):
    """Tell whether two results are alike: types, dtypes, names, order, and every bit."""
    if type(one) is not type(other):
        return False
    if isinstance(one, torch.Tensor):
        alike = one.dtype == other.dtype and one.device == other.device
        return alike and one.shape == other.shape and torch.equal(one, other)
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and bool((one == other).all())
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[name], other[name]) for name in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def proves_a_hit(start, method, *args, **kwargs):
    """See that a miss, a hit, and the host's own code return the same."""
    start.counts()
    owner = method.__self__
    plain = type(owner).__dict__.get(method.__name__) or getattr(type(owner), method.__name__)
    plain = plain.__wrapped__(owner, *args, **kwargs)
    miss = method(*args, **kwargs)
    assert start.counts() == {"miss": 1}
    hit = method(*args, **kwargs)
    assert start.counts() == {"hit.memory": 1}
    assert same(plain, miss)
    assert same(plain, hit)


def misses(start, method, *args, **kwargs):
    """Tell whether a call was a miss; it is the one or the other."""
    start.counts()
    method(*args, **kwargs)
    counts = start.counts()
    assert set(counts) <= {"miss", "hit.memory", "hit.disk", "hit.local"}, counts
    return "miss" in counts


def refused(start, small, name, changes, capfd):
    """Load a version of a host that the plugin does not know; return what is said about it."""
    capfd.readouterr()
    module = start.load(small, name, changes)
    said = capfd.readouterr().err.splitlines()
    return module, [line for line in said if "left alone" in line]
