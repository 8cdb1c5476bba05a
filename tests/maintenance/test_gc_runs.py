import os

import pytest

from stepaudio_cas.errors import CasError
from stepaudio_cas.maintenance.gc import MAX_SKEW, Asked, Collector
from stepaudio_cas.maintenance.lease import Taken
from stepaudio_cas.maintenance.plan import Bounds
from stepaudio_cas.store import layout
from stepaudio_cas.store.local import LocalBackend
from stepaudio_cas.store.store import Store
from tests.support.backends import BACKENDS
from tests.support.clocked import HOUR, Clock, Shelf, dangling, doomed
from tests.support.values import entry, recipe

OLD, NEW, OTHER = "a" * 64, "b" * 64, "c" * 64


@pytest.fixture
def shelf():
    return Shelf()


def filled(shelf, count=10):
    """Add entries of equal size, each an hour older than the one before."""
    for number in range(count):
        shelf.add(number, hours=number + 1)
    return shelf.size() // count


@pytest.mark.parametrize("prefix", [layout.MANIFESTS, layout.OBJECTS, layout.PINS, layout.USES])
def test_a_listing_that_fails_ends_it_with_nothing_removed(shelf, prefix):
    filled(shelf)
    shelf.orphan(20, hours=90)
    seen = []

    def fail(verb, path):
        seen.append(verb)
        if verb == "list" and path in {f"{prefix}/c0", prefix}:
            raise OSError("I/O error")

    shelf.backend.before = fail
    before = dict(shelf.backend._documents)
    collector = shelf.collector(max_size=0)
    seen.clear()
    with pytest.raises(CasError, match="looked through: I/O error; nothing was removed"):
        collector.plan()
    assert "delete" not in seen
    assert shelf.backend._documents == before


@pytest.mark.parametrize("skew", [-2 * MAX_SKEW, 2 * MAX_SKEW])
def test_clocks_that_differ_too_much_end_it(shelf, skew):
    filled(shelf)
    with pytest.raises(CasError, match=r"is off from ours by [+-]600 s: .*nothing was removed"):
        Collector(shelf.backend, Asked(), clock=lambda: shelf.clock() - skew)


def test_the_age_of_everything_is_by_the_clock_of_the_store(shelf):
    filled(shelf)
    asked = Asked(Bounds(max_age=4.01 * HOUR))
    ahead = Collector(shelf.backend, asked, clock=lambda: shelf.clock() + 200)
    assert doomed(ahead.plan()) == {"age": 6}


@pytest.mark.parametrize(
    "path", [layout.manifest_path, layout.object_path], ids=["entry", "object"]
)
def test_a_time_in_the_future_ends_it(shelf, path):
    manifest = shelf.add(1)
    place = path(manifest.key if path is layout.manifest_path else manifest.object)
    shelf.backend.age(place, shelf.clock() + MAX_SKEW - 1)
    shelf.collector().plan()
    shelf.backend.age(place, shelf.clock() + MAX_SKEW + 7)
    with pytest.raises(
        CasError, match=f"{place} in memory.* 307 s in the future: a clock is wrong"
    ):
        shelf.collector().plan()


def test_a_store_that_cannot_be_written_is_said(shelf):
    def fail(verb, path):
        if verb == "put":
            raise PermissionError("read-only")

    shelf.backend.before = fail
    with pytest.raises(CasError, match="cannot be written: PermissionError: read-only"):
        shelf.collector()


def test_looking_only_writes_nothing(shelf):
    filled(shelf)
    verbs = []
    shelf.backend.before = lambda verb, path: verbs.append(verb)
    collector = Collector(
        shelf.backend, Asked(Bounds(max_entries=1)), look_only=True, clock=shelf.clock
    )
    assert doomed(collector.plan()) == {"entries": 9}
    assert set(verbs) == {"list", "get"}


def test_a_second_run_is_refused(shelf):
    filled(shelf)
    with shelf.collector().alone(), pytest.raises(Taken, match="another gc is at work"):
        shelf.gc(max_size=0)
    assert shelf.left(range(10)) == list(range(10))


def test_who_loses_the_lease_stops_before_the_next_shard(shelf):
    filled(shelf)
    collector = shelf.collector(max_entries=0)
    with collector.alone():
        plan = collector.plan()
        shelf.put(f"{layout.LEASES}/gc.json", b'{"holder": "the other one"}')
        shelf.clock.now += 100
        with pytest.raises(Taken, match="the other one"):
            collector.sweep(plan)
    assert len(shelf.left(range(10))) >= 9


def change(shelf, number, how):
    """Do something to an entry between the two phases."""
    path = layout.manifest_path(recipe(number).key)
    if how == "used":
        shelf.backend.get(path, touch=True)
    elif how == "pinned":
        shelf.pin(number)
    elif how == "encoded anew":
        manifest, blob = entry(number, ["another"])
        when = shelf.backend.stat(path).mtime
        shelf.store.commit(manifest, blob, overwrite=True)
        shelf.backend.age(path, when)
    else:
        shelf.backend.delete(path)


@pytest.mark.parametrize("how", ["used", "pinned", "encoded anew"])
def test_what_has_changed_since_the_plan_was_made_is_spared_with_its_object(shelf, how):
    filled(shelf)
    collector = shelf.collector(max_entries=2)
    plan = collector.plan()
    change(shelf, 5, how)
    swept = collector.sweep(plan)
    assert shelf.left(range(10)) == [0, 1, 5]
    assert swept.spared == 1
    assert dangling(shelf.backend) == []


def test_what_has_gone_since_is_no_error_and_its_object_is_left_to_the_next_run(shelf):
    filled(shelf)
    collector = shelf.collector(max_entries=2)
    plan = collector.plan()
    change(shelf, 5, "removed")
    swept = collector.sweep(plan)
    assert (swept.entries, swept.objects, swept.spared, swept.failures) == (7, 7, 0, [])
    shelf.gc()
    assert len(shelf.objects()) == 2


def test_what_cannot_be_removed_is_said_and_the_rest_goes(shelf):
    filled(shelf)

    def fail(verb, path):
        if verb == "delete" and path == layout.manifest_path(recipe(5).key):
            raise PermissionError("not permitted")

    shelf.backend.before = fail
    swept = shelf.gc(max_entries=0)
    assert shelf.left(range(10)) == [5]
    assert swept.failures == ["not permitted"]


def test_if_nothing_can_be_removed_it_stops(shelf):
    filled(shelf, 40)
    tried = []

    def fail(verb, path):
        if verb == "delete" and path.startswith(layout.MANIFESTS):
            tried.append(path)
            raise PermissionError("not permitted")

    shelf.backend.before = fail
    with pytest.raises(CasError, match="does not let itself be changed: not permitted"):
        shelf.gc(max_entries=0)
    assert len(tried) == 10
    assert len(shelf.left(range(40))) == 40


@pytest.mark.parametrize("name", BACKENDS)
def test_it_works_on_every_backend(name, tmp_path):
    backend = BACKENDS[name](tmp_path)
    store = Store(backend)
    for number in range(12):
        store.commit(*entry(number))
    store.backend.put(layout.pin_path(recipe(3).key), b"")
    clock = Clock(__import__("time").time())
    later = Collector(backend, Asked(Bounds(max_entries=0)), clock=clock)
    plan = later.plan()
    assert doomed(plan) == {}
    later._skew = 2 * HOUR
    with later.alone():
        swept = later.sweep(later.plan())
    left = [n for n in range(12) if store.read(recipe(n).key) is not None]
    assert (left, swept.entries, swept.objects) == ([3], 11, 11)


def test_what_is_replaced_while_it_is_looked_at_is_spared(shelf):
    manifest = shelf.add(1, hours=90)
    path, collector = layout.manifest_path(manifest.key), shelf.collector(max_entries=0)
    plan = collector.plan()

    def replace(verb, at):
        if (verb, at) == ("delete", path):
            shelf.backend.before = lambda verb, path: None
            shelf.store.commit(*entry(1, ["another"]), overwrite=True)

    shelf.backend.before = replace
    assert collector.sweep(plan).entries == 0
    assert shelf.left([1]) == [1]


@pytest.mark.parametrize("hours", [0.0, 0.9])
def test_an_object_that_was_written_again_since_the_plan_was_made_stays(shelf, hours):
    lost = shelf.orphan(1, hours=90)
    collector = shelf.collector()
    plan = collector.plan()
    assert plan.orphaned.objects == 1
    shelf.backend.age(layout.object_path(lost), shelf.clock() - hours * HOUR)
    assert collector.sweep(plan).objects == 0
    assert collector.plan().orphaned.objects == 0
    assert shelf.objects() == {lost}


def test_a_manifest_that_another_one_clears_away_at_the_same_moment_is_gone(root, monkeypatch):
    backend = LocalBackend(root)
    backend.put("v1/a", b"old")
    rename = os.rename

    def rename_and_lose(source, target):
        rename(source, target)
        os.unlink(target)

    monkeypatch.setattr(os, "rename", rename_and_lose)
    assert backend.delete("v1/a", expect=b"old")
    assert backend.get("v1/a") is None
