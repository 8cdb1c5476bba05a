"""A backend that does what a test tells it to, before each verb."""

import itertools
import threading
from collections import defaultdict

from stepaudio_cas.store.memory import MemoryBackend

_numbers = itertools.count()
VERBS = ("get", "put", "stat", "delete", "list", "try_lock", "release")


class FaultyBackend:
    """`inner`, and before each of its verbs a hook of the test's: `hooks[verb](path)`."""

    def __init__(self, inner=None, url="faulty://"):
        self.inner = MemoryBackend(f"faulty-{next(_numbers)}") if inner is None else inner
        self.url = url
        self.hooks = defaultdict(lambda: lambda path: None)
        self.calls = []
        self._go = threading.Event()

    def hang(self, verb):
        """Let every call of a verb wait until `mend`."""
        go = self._go
        self.hooks[verb] = lambda path: go.wait(120) and None

    def fail(self, verb, error):
        """Let every call of a verb raise."""

        def hook(path):
            raise error

        self.hooks[verb] = hook

    def mend(self):
        """Let everything through again, and what hangs go on."""
        self.hooks.clear()
        self._go.set()
        self._go = threading.Event()

    def _before(self, verb, path):
        self.calls.append((verb, path))
        self.hooks[verb](path)

    def get(self, path, **options):
        self._before("get", path)
        return self.inner.get(path, **options)

    def put(self, path, data, **options):
        self._before("put", path)
        return self.inner.put(path, data, **options)

    def stat(self, path):
        self._before("stat", path)
        return self.inner.stat(path)

    def delete(self, path, **options):
        self._before("delete", path)
        return self.inner.delete(path, **options)

    def list(self, prefix):
        self._before("list", prefix)
        yield from self.inner.list(prefix)


class FaultyLockingBackend(FaultyBackend):
    """The same over a backend that has locks."""

    def try_lock(self, name):
        self._before("try_lock", name)
        lock = self.inner.try_lock(name)
        return None if lock is None else _Lock(self, name, lock)


class _Lock:
    def __init__(self, backend, name, lock):
        self._backend = backend
        self._name = name
        self._lock = lock

    def release(self):
        self._backend._before("release", self._name)
        self._lock.release()
