"""What several tests of this room need."""

import threading
from concurrent.futures import Future

from stepaudio_cas.artifact.fresh import Ready
from stepaudio_cas.runtime.background import Background
from stepaudio_cas.runtime.call import Call, Once
from stepaudio_cas.runtime.chain import Chain
from stepaudio_cas.runtime.log import Log
from stepaudio_cas.runtime.memory import MemoryTier
from stepaudio_cas.runtime.recorder import Recorder
from stepaudio_cas.runtime.tier import Tier
from stepaudio_cas.settings import Level
from stepaudio_cas.store.store import Store
from tests.support.faulty import FaultyBackend
from tests.support.values import recipe, tokens

GENEROUS = 60.0


class Clock:
    """A clock that moves when told."""

    def __init__(self, now=1_000_000.0):
        self.now = now

    def __call__(self):
        return self.now

    def advance(self, seconds):
        self.now += seconds


def in_thread(function, *args):
    """Start a daemon thread; its result or exception is in the future."""
    future = Future()

    def run():
        try:
            future.set_result(function(*args))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


class SimpleLock:
    def __init__(self, backend, name):
        self._backend, self._name = backend, name

    def release(self):
        self._backend._before("release", self._name)
        self._backend.held.discard(self._name)


class Lockable(FaultyBackend):
    """A store in memory with locks; `held` are the names of those that somebody has."""

    def __init__(self, inner=None):
        super().__init__(inner)
        self.held = set()

    def try_lock(self, name):
        self._before("try_lock", name)
        if name in self.held:
            return None
        self.held.add(name)
        return SimpleLock(self, name)


def quiet():
    return Recorder(Log(Level.OFF))


def counted(recorder, name):
    return recorder.tally().total(name)


def call(number=0, **options):
    of = options.pop("recipe", None) or recipe(number)
    return Call(of, Once(lambda: tokens(number)), **options)


def tier(backend, recorder=None, *, name="tier", deadline=GENEROUS, writable=True, **options):
    return Tier(
        name, Store(backend), recorder or quiet(), deadline=deadline, writable=writable, **options
    )


def chain(*backends, recorder=None, memory=1 << 20, background=None, overwrite=False, ro=()):
    """Make a chain of stores named t0, t1, …; those whose numbers are in `ro` are read-only."""
    recorder = recorder or quiet()
    tiers = [
        tier(backend, recorder, name=f"t{n}", writable=n not in ro)
        for n, backend in enumerate(backends)
    ]
    background = Background() if background is None else background
    return Chain(MemoryTier(memory), tiers, recorder, background, overwrite=overwrite)


def store_entry(backend, number=0, value=None):
    """Put an entry into a backend as another process would."""
    chain(backend, memory=0).keep(call(number), tokens(number) if value is None else value, 1.5)


def value_in(backend, number=0):
    """Read what a backend holds for a key as another process would."""
    hit = chain(backend, memory=0, ro=(0,)).find(recipe(number).key)
    return None if hit is None else hit.ready.fresh()


def ready(value=(1, 2), size=None):
    """Make what the memory tier keeps, of a pretended size."""
    made = Ready(value, 1.0, owned=False)
    if size is not None:
        made.size = size
    return made
