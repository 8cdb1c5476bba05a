"""Writers that are killed at random instants, and what must be true of a store afterwards.

`tests/faults/test_kill.py` does this for seconds, `tools/soak_kill.py` for minutes.
"""

import errno
import faulthandler
import fcntl
import os
import random
import signal
import threading
import time
import traceback
from collections import deque
from mmap import mmap
from typing import NamedTuple

import stepaudio_cas as cas
from stepaudio_cas.artifact import codec
from stepaudio_cas.identity.digest import digest_bytes
from stepaudio_cas.store import layout
from stepaudio_cas.store.local import LocalBackend
from stepaudio_cas.store.store import Store
from tests.support.values import recipe, tokens

PATIENT = {"log": "off", "memory": "0", "deadline": "60s"}
"""A busy machine is no reason to give up a store, and every look-up goes to the disk."""

HANGING = 90.0
"""After so many seconds a child is not slow but hangs."""

_REFRESHED = 4
"""Every so many-th voice may be written anew; all others keep their first artifact for ever."""


def voice(number):
    """What stands for one voice."""
    return cas.make_recipe("killed/1", params={"voice": number})


def encode(number, nonce=None):
    """Compute what no two runs agree on, but of which anybody can tell whether it is right."""
    nonce = random.getrandbits(32) if nonce is None else nonce
    tokens = [number, nonce], [(number * 31 + nonce) % 1024] * (nonce % 50)
    if nonce % 8:
        return tokens
    size = 1 << 19 if nonce % 32 == 0 else nonce % 9999
    return *tokens, b"%016x" % (nonce ^ number) * (size // 16)


def is_right(number, value):
    """Tell whether `value` is the result of some run for this voice."""
    return type(value) is tuple and value == encode(number, value[0][1])


def watched(work):
    """Have a child that hangs say where, in all of its threads, and end.

    Not for the children of such a child.
    """

    def watching(*args):
        faulthandler.dump_traceback_later(HANGING, exit=True)
        return work(*args)

    return watching


def start(work):
    """Run `work()` in a forked child and return its process id; what it raises ends it with 1."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        watched(work)()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def end_of(pid):
    """Wait for a child; return its exit code, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def refuse_links():
    """Let this process live on a file system without hard links."""

    def link(*_, **__):
        raise OSError(errno.EPERM, "no hard links here")

    os.link = link


def stub_locks():
    """Let this process live on a file system whose locks do nothing."""
    fcntl.flock = lambda *_: None


class Frontier:
    """How many voices there are so far, known to all forked processes."""

    def __init__(self):
        self._memory = mmap(-1, 8)

    @property
    def value(self):
        return int.from_bytes(self._memory[:], "little")

    def advance(self, number):
        self._memory[:] = (self.value + number).to_bytes(8, "little")

    def pick(self, chance):
        """Return a voice: half of the time one of the newest, which others want just now."""
        last = self.value
        return chance.randrange(max(0, last - 40) if chance.random() < 0.5 else 0, last)


class Writer:
    """A process that asks for voices, new and old, until it is killed."""

    def __init__(self, root, frontier, serial, prepare):
        self._ready, ready = os.pipe()
        self.pid = start(lambda: _write_for_ever(root, frontier, serial, ready, prepare))
        os.close(ready)

    def kill(self, after):
        """Kill it so many seconds after it has written its first voice, or later."""
        assert os.read(self._ready, 1) == b"!", "a writer has failed before it was killed"
        time.sleep(after)
        return self.end()

    def end(self):
        os.kill(self.pid, signal.SIGKILL)
        os.close(self._ready)
        return end_of(self.pid)


def _write_for_ever(root, frontier, serial, ready, prepare):
    prepare()
    chance = random.Random(serial)
    refreshes = serial % _REFRESHED == 0
    random.seed()
    cache = cas.open(root, mode="refresh" if refreshes else "rw", **PATIENT)
    number = -1 - serial  # its own
    while True:
        value = cache.get_or_compute(voice(number), lambda n=number: encode(n))
        assert is_right(number, value), f"voice {number}: {value!r:.200}"
        if ready is not None:
            os.write(ready, b"!")
            os.close(ready)
            ready = None
        if chance.random() < 0.1:
            cache.flush()
        number = frontier.pick(chance)
        if refreshes:
            number -= number % _REFRESHED


class Reader(threading.Thread):
    """Reads voices while writers write and die. `failures` says what it should not have seen."""

    def __init__(self, root, frontier, *, stable):
        super().__init__(daemon=True)
        self.failures = []
        self.reads = self.hits = 0
        self._cache = cas.open(root, mode="ro", **PATIENT)
        self._frontier = frontier
        self._stable = stable
        self._first = {}
        self._over = threading.Event()

    def run(self):
        chance = random.Random(0)
        try:
            while not self._over.is_set():
                self._look(self._frontier.pick(chance))
                time.sleep(0.0005)  # leave the processors to the writers
        except BaseException as error:
            self.failures.append(repr(error))

    def _look(self, number):
        value = self._cache.get(voice(number))
        self.reads += 1
        if value is None:
            return
        self.hits += 1
        if not is_right(number, value):
            self.failures.append(f"voice {number}: {value!r:.200}")
        nonce = value[0][1]
        changed = self._first.setdefault(number, nonce) != nonce
        if changed and self._stable and number % _REFRESHED:
            self.failures.append(f"voice {number} has become another one")

    def finish(self):
        """Stop; return what was wrong, failures of the cache among it."""
        self._over.set()
        self.join(60)
        assert not self.is_alive(), "the reader hangs"
        counted = self._cache.stats()["counters"]
        self._cache.close()
        if self._stable:
            self.failures += [name for name in counted if name.startswith("error.")]
        return self.failures


def harass(root, enough, *, prepare=lambda: None, writers=3, longest=0.03):
    """Have `writers` processes write and kill one after the other until `enough(kills)`.

    `prepare` is called first in each of them. Returns the number of kills and the reader that has
    watched.
    """
    frontier, serials, living, kills = Frontier(), iter(range(1 << 60)), deque(), 0
    frontier.advance(40)
    reader = Reader(root, frontier, stable=prepare is not refuse_links)
    reader.start()
    try:
        while not enough(kills):
            while len(living) < writers:
                living.append(Writer(root, frontier, next(serials), prepare))
            ended = living.popleft().kill(random.uniform(0, longest))
            assert ended == -signal.SIGKILL, f"a writer has ended by itself: {ended}"
            kills += 1
            frontier.advance(10)
    finally:
        for writer in living:
            writer.end()
        failures = reader.finish()
    assert failures == []
    return kills, reader


class Survey(NamedTuple):
    """What is in a store: values by voice, what cannot be read, and what no listing shows."""

    values: dict
    unreadable: list
    hidden: list


def survey(root):
    """Read all there is, straight from the disk, and hold it against what it must be."""
    backend = LocalBackend(root)
    store = Store(backend)
    values, unreadable = {}, []
    for entry in backend.list(layout.MANIFESTS):
        key = layout.digest_in(entry.path)
        try:
            found = store.read(key, touch=False)
        except cas.CasError as damage:
            unreadable.append((entry.path, damage.kind))
            continue
        number = found.manifest.params["voice"]
        value = codec.decode(found.manifest.codec, found.blob)
        assert voice(number).key == key
        assert is_right(number, value), (number, value)
        values[number] = value
    for entry in backend.list(layout.OBJECTS):
        assert digest_bytes(backend.get(entry.path)) == layout.digest_in(entry.path)
    listed = {entry.path for entry in backend.list(layout.VERSION)}
    everything = {entry.path for entry in backend.everything(layout.VERSION)}
    return Survey(values, unreadable, sorted(everything - listed))


def ask(cache, numbers):
    """Ask for voices; every value must be right."""
    for number in numbers:
        value = cache.get_or_compute(recipe(number), lambda n=number: tokens(n))
        assert value == tokens(number), f"voice {number}: {value!r:.200}"


def ask_anew(root, numbers):
    """Do so in a process that opens the store for itself, and neither flushes nor closes it."""
    watched(ask)(cas.open(root, **PATIENT), numbers)
