"""Writers killed at random instants, and at every single step, leave a store that is right."""

import os
import random
import signal
import time
from itertools import count

import pytest

from stepaudio_cas.runtime.log import Log
from stepaudio_cas.runtime.recorder import Recorder
from stepaudio_cas.settings import Level
from stepaudio_cas.store import layout
from stepaudio_cas.store.counters import Subject, load_tally, read_tally
from stepaudio_cas.store.local import LocalBackend, is_temporary
from stepaudio_cas.store.store import Store
from tests.support.processes import wait_until
from tests.support.values import entry
from tests.support.writers import (
    PATIENT,
    encode,
    end_of,
    harass,
    is_right,
    refuse_links,
    start,
    stub_locks,
    survey,
    voice,
)

KILLS = 200
CHANGES = ("open", "write", "fchmod", "close", "link", "replace", "unlink", "mkdir", "chmod")


def assert_it_goes_on(root, open_cache, values):
    """Locks are free, what is there is served, what is not is encoded; return the errors."""
    cache = open_cache(root, **PATIENT)
    for number in range(40):
        value = cache.get_or_compute(voice(number), lambda n=number: encode(n))
        assert is_right(number, value)
        assert value == values.get(number, value)
        assert cache.get(voice(number)) == value
    backend = LocalBackend(root)
    for left in list(backend.list(layout.LEASES)):
        name = left.path.removeprefix(f"{layout.LEASES}/").removesuffix(".lock")
        assert backend.try_lock(name) is not None, f"{name} is locked by the dead"
    return {name for name in cache.stats()["counters"] if name.startswith("error.")}


def test_after_two_hundred_kills_everything_in_the_store_is_right(root, open_cache):
    kills, reader = harass(root, lambda kills: kills >= KILLS)
    found = survey(root)
    assert kills == KILLS
    assert sum(number < 0 for number in found.values) >= KILLS  # each had written one at least
    assert reader.hits > 0
    assert found.unreadable == []
    assert all(map(is_temporary, found.hidden))
    assert assert_it_goes_on(root, open_cache, found.values) == set()
    assert read_tally(LocalBackend(root)).total("miss") > 0


def test_without_working_locks_it_is_right_too(root, open_cache):
    harass(root, lambda kills: kills >= KILLS // 5, prepare=stub_locks)
    found = survey(root)
    assert found.unreadable == []
    assert all(map(is_temporary, found.hidden))
    assert assert_it_goes_on(root, open_cache, found.values) == set()


def test_without_hard_links_what_a_killed_writer_leaves_half_done_is_a_miss(root, open_cache):
    harass(root, lambda kills: kills >= KILLS // 5, prepare=refuse_links)
    found = survey(root)
    assert sum(number < 0 for number in found.values) >= KILLS // 5
    assert {kind for _, kind in found.unreadable} <= {"manifest"}
    assert all(map(is_temporary, found.hidden))
    assert assert_it_goes_on(root, open_cache, found.values) <= {"error.manifest"}
    assert read_tally(LocalBackend(root)).total("miss") > 0


def dies_at(step, work, *, prepare, half):
    """Run `work()` in a child that is killed when it comes to its `step`-th change of the disk.

    With `half`, to its `step`-th write, half of which it does. Returns False if there are fewer.
    """

    def child():
        prepare()
        steps = count()

        def deadly(function):
            def call(*args, **options):
                if next(steps) == step:
                    if half:
                        function(args[0], args[1][: len(args[1]) // 2])
                    os.kill(os.getpid(), signal.SIGKILL)
                return function(*args, **options)

            return call

        for name in ["write"] if half else CHANGES:
            setattr(os, name, deadly(getattr(os, name)))
        work()

    status = end_of(start(child))
    assert status in {0, -signal.SIGKILL}, "the child has failed"
    return status != 0


def every_death(folder, work, *, before=lambda _: None, prepare=lambda: None):
    """Yield a store for each step at which `work(store)` can die, after it has died there."""
    for half in (False, True):
        for step in count():
            root = folder / f"{step}-{half}"
            before(root)
            if not dies_at(step, lambda here=root: work(here), prepare=prepare, half=half):
                assert step >= (2 if half else 12)
                break
            yield root


def commit(root, nonce, **options):
    """Write one entry while holding its lock: what the hot path does, in one thread."""
    manifest, blob = entry(value=encode(0, nonce), key=voice(0).key, params={"voice": 0})
    backend = LocalBackend(root)
    lock = backend.try_lock(manifest.key)
    Store(backend).commit(manifest, blob, **options)
    lock.release()


@pytest.mark.parametrize("prepare", [lambda: None, refuse_links], ids=["links", "no links"])
def test_killed_at_any_step_a_first_write_is_all_there_or_not_at_all(root, open_cache, prepare):
    outcomes = []
    for here in every_death(root, lambda root: commit(root, nonce=1), prepare=prepare):
        found = survey(here)
        assert found.unreadable == [] or prepare is refuse_links
        assert all(map(is_temporary, found.hidden))
        outcomes.append(found.values.get(0))
        standing = outcomes[-1] or encode(0, 2)
        cache = open_cache(here, **PATIENT)
        assert cache.get_or_compute(voice(0), lambda: encode(0, 2)) == standing
        assert survey(here).values == {0: standing}
        cache.close()
    assert None in outcomes
    assert encode(0, 1) in outcomes


def test_killed_at_any_step_a_rewrite_leaves_the_old_or_the_new(root):
    outcomes = []
    for here in every_death(
        root,
        lambda root: commit(root, nonce=2, overwrite=True),
        before=lambda root: commit(root, nonce=1),
    ):
        found = survey(here)
        assert found.unreadable == []
        outcomes.append(found.values[0])
    assert encode(0, 1) in outcomes
    assert encode(0, 2) in outcomes
    assert len({repr(value) for value in outcomes}) == 2


def count_and_save(root, times, after=lambda: None):
    recorder, backend = Recorder(Log(Level.OFF)), LocalBackend(root)
    for _ in range(times):
        recorder.count(Subject(), {"miss": 1})
        recorder.save(backend)
        after()


def counted(root):
    """Sum the counters; every document there must be whole."""
    backend = LocalBackend(root)
    documents = [backend.get(entry.path) for entry in backend.list(layout.COUNTERS)]
    assert None not in [load_tally(document) for document in documents]
    return read_tally(backend).total("miss")


def test_killed_at_any_step_a_save_leaves_the_counters_of_before_or_after(root):
    outcomes = [counted(here) for here in every_death(root, lambda root: count_and_save(root, 2))]
    assert set(outcomes) == {0, 1, 2}


def test_what_was_saved_before_a_kill_is_in_the_sum_and_nothing_twice(root, tmp_path):
    journal = os.open(tmp_path / "saves", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def saved():
        return os.fstat(journal).st_size

    def write():
        count_and_save(root, 1 << 30, after=lambda: os.write(journal, b"."))

    for kills in range(1, 31):
        before, writer = saved(), start(write)
        wait_until(lambda so_far=before: saved() > so_far)
        time.sleep(random.uniform(0, 0.01))
        os.kill(writer, signal.SIGKILL)
        assert end_of(writer) == -signal.SIGKILL
        assert saved() <= counted(root) <= saved() + kills
    os.close(journal)
