"""What happens to a keeper's pass when others use the store between its steps."""

import os
import threading
import time

import pytest

from stepaudio_cas.errors import Damaged
from stepaudio_cas.runtime import keeper as module
from stepaudio_cas.store import layout
from tests.runtime.keeping import HOUR, Shelf
from tests.support.processes import in_child, in_threads
from tests.support.values import entry, recipe, tokens

SHARDS = len(layout.SHARDS)


@pytest.fixture
def shelf(root):
    return Shelf(root)


def watch_paths(shelf, monkeypatch):
    """Return the folders that each step looks into: a list that the test may clear."""
    looked, everything = [], shelf.backend.everything

    def watching(prefix):
        looked.append(prefix)
        return everything(prefix)

    monkeypatch.setattr(shelf.backend, "everything", watching)
    return looked


def test_no_step_looks_at_more_than_one_shard(shelf, monkeypatch):
    for number in range(300):
        shelf.add(number, hours=number, size=1)
    keeper = shelf.keeper(max_size=shelf.size() // 2, ttl=200 * HOUR)
    looked, seen = watch_paths(shelf, monkeypatch), []
    for _ in keeper.steps():
        shards = {path.split("/")[2] for path in looked if path.count("/") == 2}
        seen.append(shards)
        looked.clear()
    assert max(map(len, seen)) == 1
    assert len(seen) == 4 * SHARDS


def test_a_store_within_its_bounds_costs_one_look_and_one_without_bounds_none(shelf):
    shelf.add(1, hours=1)
    assert len(list(shelf.keeper(max_size=10**9).steps())) == SHARDS
    assert list(shelf.keeper().steps()) == []


def test_only_one_keeper_works_at_a_time(shelf):
    shelf.add(1, hours=100)
    first = shelf.keeper(ttl=1).steps()
    next(first)
    shelf.keep(ttl=1)
    assert shelf.left([1]) == [1]
    assert in_child(lambda: len(list(shelf.keeper(ttl=1).steps()))) == 0
    first.close()
    shelf.keep(ttl=1)
    assert shelf.left([1]) == []


def test_a_listing_that_fails_ends_the_pass_before_anything_is_removed(shelf, monkeypatch):
    for number in range(20):
        shelf.add(number, hours=100)
    manifests = sorted(found.path for found in shelf.backend.list(layout.MANIFESTS))
    last = os.path.dirname(manifests[-1])
    listing = shelf.backend.list

    def failing(prefix):
        if prefix == last:
            raise OSError(5, "Input/output error")
        return listing(prefix)

    monkeypatch.setattr(shelf.backend, "list", failing)
    with pytest.raises(OSError, match="Input/output"):
        shelf.keep(ttl=1)
    monkeypatch.undo()
    assert shelf.left(range(20)) == list(range(20))
    shelf.keep(ttl=1)
    assert shelf.left(range(20)) == []


def test_a_manifest_that_cannot_be_opened_ends_the_pass_before_anything_is_removed(
    shelf, monkeypatch
):
    for number in range(20):
        shelf.add(number, hours=100)
    get, last = shelf.backend.get, max(f.path for f in shelf.backend.list(layout.MANIFESTS))

    def failing(path, **options):
        if path == last:
            raise PermissionError(13, "Permission denied")
        return get(path, **options)

    monkeypatch.setattr(shelf.backend, "get", failing)
    with pytest.raises(PermissionError):
        shelf.keep(ttl=1)
    monkeypatch.undo()
    assert shelf.left(range(20)) == list(range(20))


def paused_after(shelf, steps, **bounds):
    """Return a pass that has done so many steps."""
    running = shelf.keeper(**bounds).steps()
    for _ in range(steps):
        next(running)
    return running


def finish(running):
    for _ in running:
        pass


MEASURED, SURVEYED, CLEARED = SHARDS, 2 * SHARDS, 3 * SHARDS


@pytest.mark.parametrize("steps", [1, MEASURED, SURVEYED, CLEARED])
def test_an_entry_that_is_used_during_the_pass_survives(shelf, steps):
    shelf.add(1, hours=100)
    shelf.add(2, hours=100)
    running = paused_after(shelf, steps, ttl=HOUR)
    shelf.age(layout.manifest_path(recipe(1).key), hours=0)
    finish(running)
    assert shelf.left([1, 2]) == [1]


@pytest.mark.parametrize("steps", [1, MEASURED, SURVEYED, CLEARED])
def test_an_entry_that_is_written_again_during_the_pass_survives(shelf, steps):
    shelf.add(1, hours=100)
    running = paused_after(shelf, steps, ttl=HOUR)
    shelf.backend.delete(layout.manifest_path(recipe(1).key))
    shelf.add(1, hours=-0.001)
    finish(running)
    assert shelf.left([1]) == [1]


@pytest.mark.parametrize("steps", [1, MEASURED, SURVEYED, CLEARED])
def test_an_object_that_a_new_entry_has_written_again_during_the_pass_survives(shelf, steps):
    shelf.add(1, hours=100, value=["same"])
    running = paused_after(shelf, steps, ttl=HOUR)
    shelf.add(2, hours=-0.001, value=["same"])
    finish(running)
    assert shelf.left([1, 2]) == [2]


@pytest.mark.parametrize("steps", [MEASURED, SURVEYED])
def test_an_old_orphan_that_becomes_an_entry_during_the_pass_survives(shelf, steps):
    manifest = shelf.add(1, hours=100)
    shelf.backend.delete(layout.manifest_path(manifest.key))
    running = paused_after(shelf, steps, ttl=HOUR)
    shelf.add(1, hours=-0.001)
    finish(running)
    assert shelf.left([1]) == [1]


def test_an_object_written_between_two_looks_at_it_is_not_taken_from_its_new_entry(
    shelf, monkeypatch
):
    """The entry goes; meanwhile somebody commits the same object under another key."""
    shelf.add(1, hours=100, value=["same"])
    count = module._Sweep._count

    def late(sweep, digest):
        number = count(sweep, digest)
        if number == 1:
            shelf.add(2, hours=-0.001, value=["same"])
        return number

    monkeypatch.setattr(module._Sweep, "_count", late)
    shelf.keep(ttl=HOUR)
    assert shelf.left([1, 2]) == [2]


def test_a_file_that_disappears_under_the_pass_does_not_stop_it(shelf):
    for number in range(10):
        shelf.add(number, hours=100)
    running = paused_after(shelf, CLEARED, ttl=HOUR)
    for number in range(0, 10, 2):
        shelf.backend.delete(layout.manifest_path(recipe(number).key))
    finish(running)
    assert shelf.left(range(10)) == []


def test_readers_and_writers_beside_a_keeper_always_see_right_values(shelf):
    shelf.clock = time.time
    stop, rounds = threading.Event(), []

    def use(number):
        try:
            for round_ in range(60):
                n = (round_ * 7 + number) % 12
                manifest, blob = entry(n)
                shelf.store.commit(manifest, blob)
                try:
                    found = shelf.store.read(manifest.key, touch=False)
                except Damaged as damage:  # evicted between its manifest and its object: a miss
                    assert damage.kind == "object-missing"  # noqa: PT017
                    found = None
                assert found is None or found.blob == entry(n, tokens(n))[1]
                rounds.append(found is not None)
        finally:
            if number == 1:
                stop.set()

    def work(number):
        if number:
            use(number)
            return
        while not stop.is_set():
            shelf.keep(max_size=1)

    in_threads(4, work)
    assert len(rounds) == 180
