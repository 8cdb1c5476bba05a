"""gc killed before and after everything it removes: the next run does the rest."""

import contextlib
import itertools
import os
import shutil
import signal
import time

import pytest

from stepaudio_cas.maintenance.gc import Asked, Collector
from stepaudio_cas.maintenance.lease import DURATION
from stepaudio_cas.maintenance.plan import Bounds
from stepaudio_cas.maintenance.sweep import Sweep
from stepaudio_cas.store import layout
from stepaudio_cas.store.local import LocalBackend
from stepaudio_cas.store.store import Store
from tests.support.clocked import DAY, HOUR, Shelf, dangling
from tests.support.values import entry, recipe
from tests.support.writers import end_of, start

ASKED = Asked(Bounds(max_age=4.5 * HOUR))
VOICES = range(8)
STAY = [0, 1, 2, 3, 7]


def value_of(number):
    """Of these, 3 and 4 have one object, and so have 5 and 6."""
    return [f"{number if number < 3 else (number + 1) // 2}"]


@pytest.fixture
def filled(tmp_path):
    """A store of which the entries 4, 5 and 6 go, an object, a description and a half file."""
    root = tmp_path / "filled"
    backend = LocalBackend(root)
    store, now = Store(backend), time.time()
    for number in VOICES:
        store.commit(*entry(number, value_of(number)))
    lost = layout.object_path(store.commit(*entry(20, ["lost"])).manifest.object)
    backend.delete(layout.manifest_path(recipe(20).key))
    backend.put(layout.fingerprint_path("a" * 64), b"x")
    os.rename(f"{root}/{lost}", f"{root}/{os.path.dirname(lost)}/.tmp-9-half")
    backend.put(lost, entry(20, ["lost"])[1])
    for path in backend.everything(layout.VERSION):
        os.utime(f"{root}/{path.path}", (now - 2 * DAY, now - 2 * DAY))
    for number in VOICES:
        age = (number + 1) * HOUR if number < 7 else HOUR
        path = f"{root}/{layout.manifest_path(recipe(number).key)}"
        os.utime(path, (now - age, now - age))
    return root


def collect(backend):
    collector = Collector(backend, ASKED)
    with collector.alone():
        return collector.sweep(collector.plan())


def die_at(number, *, before):
    """Have this process killed at its `number`-th change of a folder in a sweep."""
    steps = itertools.count()

    def fatal(change):
        def changing(*args, **options):
            mine = next(steps) == number
            if mine and before:
                os.kill(os.getpid(), signal.SIGKILL)
            change(*args, **options)
            if mine:
                os.kill(os.getpid(), signal.SIGKILL)

        return changing

    run = Sweep.run

    def run_fatally(self):
        for name in ("unlink", "rename", "link"):
            setattr(os, name, fatal(getattr(os, name)))
        return run(self)

    Sweep.run = run_fatally


def left(store):
    return [n for n in VOICES if store.read(recipe(n).key, touch=False) is not None]


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_killed_at_anything_it_removes_the_next_run_does_the_rest(filled, tmp_path, before):
    for number in itertools.count():
        root = tmp_path / f"{before}{number}"
        shutil.copytree(filled, root)
        backend = LocalBackend(root)

        def die(backend=backend, number=number):
            die_at(number, before=before)
            collect(backend)

        ended = end_of(start(die))
        store = Store(backend)
        assert set(STAY) <= set(left(store))
        assert dangling(backend) == []
        collect(backend)
        assert left(store) == STAY
        assert dangling(backend) == []
        objects = {entry(n, value_of(n))[0].object for n in STAY}
        assert {layout.digest_in(e.path) for e in backend.list(layout.OBJECTS)} == objects
        rest = {e.path for e in backend.everything(layout.VERSION)}
        rest -= {layout.object_path(digest) for digest in objects}
        assert rest == {layout.manifest_path(recipe(n).key) for n in STAY}
        if ended == 0:
            assert number > 10
            return
        assert ended == -signal.SIGKILL


class Killed(BaseException):
    """What ends a thread as a signal ends a process."""


def test_where_leases_are_documents_the_next_run_waits_until_the_dead_ones_has_run_out():
    for number in itertools.count():
        shelf, steps = Shelf(), itertools.count()
        for voice in range(6):
            shelf.add(voice, hours=voice + 1, value=[voice // 2])
        shelf.orphan(20, hours=9)
        dead = []

        def die(verb, path, number=number, steps=steps, dead=dead):
            ours = path.startswith((layout.OBJECTS, layout.MANIFESTS))
            if dead or (verb == "delete" and ours and next(steps) == number):
                dead.append(verb)
                raise Killed

        shelf.backend.before = die
        with contextlib.suppress(Killed):
            shelf.gc(max_age=3.5 * HOUR)
        shelf.backend.before = lambda verb, path: None
        shelf.clock.now += DURATION
        shelf.gc(max_age=3.5 * HOUR)
        assert shelf.left(range(6)) == [0, 1, 2]
        assert len(shelf.objects()) == 2
        assert list(shelf.backend.list(layout.LEASES)) == []
        if not dead:
            assert number > 3
            return
