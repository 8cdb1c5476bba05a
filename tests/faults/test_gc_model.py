"""gc held against a model: its steps interleaved with readers, writers, clocks and faults."""

import threading

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from stepaudio_cas.artifact.manifest import open_manifest
from stepaudio_cas.errors import CasError, Damaged
from stepaudio_cas.maintenance.gc import Asked, Collector
from stepaudio_cas.maintenance.lease import DURATION
from stepaudio_cas.maintenance.plan import RECENT, Bounds
from stepaudio_cas.store import layout
from stepaudio_cas.store.backend import Entry
from stepaudio_cas.store.store import Store
from tests.support.clocked import HOUR, Clock, ClockedBackend
from tests.support.values import entry, recipe

VOICES = range(3)
KEYS = {recipe(voice).key: voice for voice in VOICES}
LAG = 30.0
LONGEST_WRITE = 20.0
LEASE = f"{layout.LEASES}/gc.json"
assert LAG + LONGEST_WRITE < RECENT

voices = st.sampled_from(VOICES)
values = st.sampled_from([["one"], ["two"]])


class Killed(BaseException):
    """What ends a thread as a signal ends a process."""


class Wrong(BaseException):
    """gc did what it must not do; not an `Exception`, which gc would take for a fault."""


def must(holds, otherwise):
    if not holds:
        raise Wrong(otherwise)


class LateBackend(ClockedBackend):
    """Its listings may lack what is new, and have what is gone, for `lag` seconds."""

    def __init__(self, clock):
        super().__init__(clock)
        self.lag = 0.0
        self.created, self.ghosts = {}, {}

    def put(self, path, data, *, create=False):
        new = path not in self._documents
        wrote = super().put(path, data, create=create)
        if wrote and new:
            self.created[path] = self.clock()
        return wrote

    def delete(self, path, *, expect=None):
        found = self._documents.get(path)
        gone = super().delete(path, expect=expect)
        if gone:
            self.ghosts[path] = Entry(path, len(found[0]), found[1]), self.clock()
        return gone

    def list(self, prefix):
        since = self.clock() - self.lag
        for found in super().list(prefix):
            if not self.lag or self.created[found.path] <= since:
                yield found
        for path, (ghost, when) in list(self.ghosts.items()):
            if path.startswith(f"{prefix}/") and when > since and path not in self._documents:
                yield ghost


class Stepped:
    """A gc in a thread that goes on to its next look at something when it is told to."""

    def __init__(self, backend, max_age, watch):
        self.backend, self.watch, self.error, self.kill = backend, watch, None, False
        self.over = False
        self._ours, self._its = threading.Semaphore(0), threading.Semaphore(0)
        self._max_age = max_age
        self._thread = threading.Thread(target=self._run, daemon=True)
        backend.before = self._before
        self._thread.start()
        self._ours.acquire()

    def _run(self):
        try:
            bounds = Bounds(max_age=self._max_age)
            collector = Collector(self.backend, Asked(bounds), clock=self.backend.clock)
            with collector.alone():
                collector.sweep(collector.plan())
        except BaseException as error:
            self.error = error
        self.over = True
        self._ours.release()

    def _before(self, verb, path):
        if threading.current_thread() is not self._thread:
            return
        if self.kill:
            raise Killed
        documents = [d for d in list(self.backend._documents) if not d.startswith(layout.PROBES)]
        if any(document.startswith(path) for document in documents):
            self._ours.release()
            self._its.acquire()
            if self.kill:
                raise Killed
        self.watch(verb, path)

    def step(self):
        if not self.over:
            self._its.release()
            assert self._ours.acquire(timeout=60), "gc hangs"


class Collecting(RuleBasedStateMachine):
    """What is committed may go only if it was old and not pinned when a gc began."""

    @initialize(first=st.lists(values, min_size=len(VOICES), max_size=len(VOICES)))
    def begin(self, first):
        self.clock = Clock()
        self.backend = LateBackend(self.clock)
        self.store = Store(self.backend)
        self.committed, self.raced, self.pins = {}, set(), set()
        self.flight, self.gc, self.fails_in = None, None, None
        self.turn, self.puts, self.looks = 0, {}, {}
        self.selected, self.pinned_throughout = set(), set()
        for voice, value in zip(VOICES, first, strict=True):
            self.write(voice, value, refresh=False)
        self.clock.now += 3 * HOUR

    def object_of(self, voice):
        return layout.object_path(entry(voice, self.committed[voice])[0].object)

    def wrote(self, voice, value):
        self.turn += 1
        self.puts[layout.object_path(entry(voice, value)[0].object)] = self.turn
        self.raced = {v for v in self.raced if self.object_of(v) not in self.puts
                      or self.backend._documents.get(self.object_of(v)) is None}  # fmt: skip

    @rule(voice=voices, value=values, refresh=st.booleans())
    def write(self, voice, value, refresh):
        manifest, blob = entry(voice, value)
        found = self.store.commit(manifest, blob, overwrite=refresh)
        was = self.committed.get(voice)
        assert found.blob == blob or (was is not None and found.blob == entry(voice, was)[1])
        self.committed[voice] = value if found.blob == blob else was
        self.wrote(voice, value)

    @precondition(lambda self: self.flight is None)
    @rule(voice=voices, value=values)
    def begin_to_write(self, voice, value):
        manifest, blob = entry(voice, value)
        self.backend.put(layout.object_path(manifest.object), blob)
        self.wrote(voice, value)
        self.flight = voice, value, self.clock()

    @precondition(lambda self: self.flight is not None)
    @rule(dies=st.booleans())
    def finish_to_write(self, dies):
        voice, value, _ = self.flight
        self.flight = None
        manifest, _ = entry(voice, value)
        path = layout.manifest_path(manifest.key)
        if not dies and self.backend.put(path, manifest.seal(), create=True):
            self.committed[voice] = value
            if self.backend.stat(layout.object_path(manifest.object)) is None:
                assert self.lost_between(layout.object_path(manifest.object))
                self.raced.add(voice)

    @rule(voice=voices)
    def read(self, voice):
        if voice in self.raced:
            with pytest.raises(Damaged, match="object-missing"):
                self.store.read(recipe(voice).key)
            return
        found = self.store.read(recipe(voice).key)
        expected = self.committed.get(voice)
        assert (found is None) == (expected is None)
        assert found is None or found.blob == entry(voice, expected)[1]

    @rule(voice=voices, pinned=st.booleans())
    def pin(self, voice, pinned):
        if pinned:
            self.backend.put(layout.pin_path(recipe(voice).key), b"")
            self.pins.add(voice)
        else:
            self.backend.delete(layout.pin_path(recipe(voice).key))
            self.pins.discard(voice)
            self.pinned_throughout.discard(voice)

    @rule(seconds=st.sampled_from([1.0, 15.0, 70.0, HOUR + 1, 3 * HOUR, 3 * HOUR]))
    def wait(self, seconds):
        began = self.clock() if self.flight is None else self.flight[2]
        if self.flight is None or self.clock() + seconds - began < LONGEST_WRITE:
            self.clock.now += seconds

    @rule(lag=st.sampled_from([0.0, LAG]))
    def lag(self, lag):
        self.backend.lag = lag

    @precondition(lambda self: self.gc is None)
    @rule(
        max_age=st.sampled_from([100.0, HOUR, 2 * HOUR]),
        fails_in=st.sampled_from([None, None, None, 0, 3, 9, 30]),
    )
    def start(self, max_age, fails_in):
        if self.backend.stat(LEASE) is not None:
            self.backend.age(LEASE, self.clock() - DURATION)
        self.max_age = max_age
        self.fails_in = fails_in
        self.gc = Stepped(self.backend, max_age, self.watch)
        self.look_at_the_end()

    @precondition(lambda self: self.gc is not None)
    @rule(steps=st.sampled_from([1, 2, 3, 5, 10, 1000]))
    def step(self, steps):
        for _ in range(steps):
            self.gc.step()
        self.look_at_the_end()

    @precondition(lambda self: self.gc is not None)
    @rule(really=st.sampled_from([False, False, True]))
    def kill(self, really):
        self.gc.kill = really
        self.gc.step()
        self.look_at_the_end()

    def select(self):
        """Note what may go: gc takes the time just now."""
        oldest = self.clock() - self.max_age
        times = {v: self.backend._documents[layout.manifest_path(recipe(v).key)][1]
                 for v in self.committed}  # fmt: skip
        self.selected = {voice for voice, used in times.items() if used < oldest}
        self.pinned_throughout = set(self.pins)

    def look_at_the_end(self):
        if self.gc.over:
            error, self.gc = self.gc.error, None
            self.backend.before = lambda verb, path: None
            assert not isinstance(error, Wrong), error
            if error is not None and not isinstance(error, (CasError, Killed)):
                raise error

    def watch(self, verb, path):
        """Hold a step of gc against what it may do."""
        if self.fails_in is not None and verb in {"list", "get"}:
            self.fails_in -= 1
            if self.fails_in < 0:
                raise OSError("I/O error")
        key = layout.digest_in(path)
        self.turn += 1
        if (verb, path) == ("list", layout.USES):
            self.select()
        elif verb == "stat":
            self.looks[path] = self.turn
        elif verb == "delete" and path.startswith(layout.MANIFESTS):
            to_go = KEYS[key] in self.selected - self.pinned_throughout
            must(to_go, f"voice {KEYS[key]} was not to go")
            if self.backend.stat(path) is not None:
                self.committed.pop(KEYS[key], None)
                self.raced.discard(KEYS[key])
        elif verb == "delete" and path.startswith(layout.OBJECTS):
            needed = {v for v in self.committed if self.object_of(v) == path} - self.raced
            flying = self.flight and layout.object_path(entry(*self.flight[:2])[0].object) == path
            must(not (needed or flying) or self.lost_between(path), f"{needed} need {path}")
            self.raced |= needed

    def lost_between(self, path):
        """Whether an object was written in the instant between gc's last look and its deletion."""
        return self.puts.get(path, 0) > self.looks.get(path, 0)

    @invariant()
    def nothing_else_is_lost(self):
        if not hasattr(self, "committed"):
            return
        for voice, value in self.committed.items():
            manifest, blob = entry(voice, value)
            found = self.backend._documents.get(layout.manifest_path(manifest.key))
            assert found is not None, f"voice {voice} is lost"
            assert open_manifest(found[0], manifest.key).object == manifest.object
            kept = self.backend._documents.get(layout.object_path(manifest.object))
            assert voice in self.raced or kept is not None, f"the object of {voice} is lost"
            assert kept is None or kept[0] == blob

    def teardown(self):
        if getattr(self, "gc", None) is not None:
            while not self.gc.over:
                self.gc.step()
        if not hasattr(self, "committed"):
            return
        self.backend.before = lambda verb, path: None
        for voice in VOICES:  # whatever was lost to a race is mended by the next encode
            value = self.committed.get(voice, ["new"])
            found = self.store.commit(*entry(voice, value))
            assert found.blob == entry(voice, value)[1]
            assert self.store.read(recipe(voice).key).blob == found.blob


TestCollecting = Collecting.TestCase
TestCollecting.settings = settings(
    max_examples=80,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
