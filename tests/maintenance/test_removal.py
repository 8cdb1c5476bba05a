"""What removing takes with it, and what it spares."""

import time
from dataclasses import replace

import pytest

from stepaudio_cas.artifact.signing import Signer
from stepaudio_cas.maintenance.pins import pin
from stepaudio_cas.maintenance.removal import Removed, carry_out, make_plan
from stepaudio_cas.maintenance.selection import NotThere, Selection, wanted
from stepaudio_cas.store import layout
from tests.maintenance.stock import HOUR, Stock, later
from tests.support.backends import BACKENDS
from tests.support.faulty import FaultyBackend


@pytest.fixture
def stock():
    return Stock()


def plan(stock, *words, clock=later, selection=None, **options):
    meant = wanted(stock.backend, selection or Selection(), words)
    return make_plan(stock.store, meant, clock=clock, **options)


def remove(stock, *words, **options):
    return carry_out(stock.store, plan(stock, *words, **options))


@pytest.mark.parametrize("name", BACKENDS)
def test_an_entry_goes_with_its_object_and_the_others_stay(name, tmp_path):
    (tmp_path / "unique-removal").mkdir()
    stock = Stock(BACKENDS[name](tmp_path / "unique-removal"))
    first, second = stock.add(1), stock.add(2)
    path = layout.manifest_path(first.key)
    freed = stock.backend.stat(path).size + first.size
    assert remove(stock, first.key) == Removed(1, 1, freed)
    assert stock.entries() == {second.key}
    assert stock.objects() == {second.object}
    remove(stock)
    assert stock.entries() == stock.objects() == set()


def test_an_object_that_another_entry_refers_to_stays(stock):
    first, second = stock.add(1, value=[5]), stock.add(2, value=[5])
    planned = plan(stock, first.key)
    assert (len(planned.objects), planned.shared) == (0, 1)
    carry_out(stock.store, planned)
    assert stock.objects() == {first.object}
    assert stock.store.read(second.key) is not None
    assert remove(stock, second.key).objects == 1


def test_an_object_whose_referrers_all_go_goes_once(stock):
    first, second = stock.add(1, value=[5]), stock.add(2, value=[5])
    sealed = [stock.backend.stat(layout.manifest_path(m.key)).size for m in (first, second)]
    assert remove(stock) == Removed(2, 1, sum(sealed) + first.size)
    assert stock.objects() == set()


@pytest.mark.parametrize("kind", ["unsigned", "format"])
def test_an_entry_that_is_not_ours_to_judge_keeps_its_object(kind):
    stock = Stock(signer=Signer([b"a secret of sixteen"]) if kind == "unsigned" else None)
    mine = stock.add(1, value=[5])
    other = mine._replace(key="0" * 64)
    sealed = other.seal() if kind == "unsigned" else b'{"format":2,"object":"%s"}'
    sealed = sealed.replace(b"%s", mine.object.encode())
    stock.backend.put(layout.manifest_path(other.key), sealed)
    remove(stock, mine.key)
    assert stock.objects() == {mine.object}


def test_a_young_object_stays_for_a_writer_that_has_not_come_to_its_manifest(stock):
    manifest = stock.add(1)
    planned = plan(stock, clock=lambda: time.time() + HOUR / 2)
    assert (len(planned.objects), planned.young) == (0, 1)
    assert carry_out(stock.store, planned).entries == 1
    assert stock.objects() == {manifest.object}


def test_an_object_written_again_since_the_plan_stays(stock):
    first = stock.add(1, value=[5])
    stock.age(layout.object_path(first.object), 3)
    planned = plan(stock, clock=time.time)
    assert len(planned.objects) == 1
    second = stock.add(2, value=[5])
    assert carry_out(stock.store, planned)[:2] == (1, 0)
    assert stock.entries() == {second.key}
    assert stock.store.read(second.key) is not None


def test_where_the_clock_of_the_store_is_behind_nothing_is_taken_for_old(stock, monkeypatch):
    manifest = stock.add(1)
    stock.age(layout.object_path(manifest.object), 2)
    capabilities = stock.store.capabilities()
    behind = replace(capabilities, clock_skew=-5 * HOUR)
    monkeypatch.setattr(stock.store, "_capabilities", behind)
    planned = plan(stock, clock=time.time)
    assert len(planned.objects) == 1
    assert carry_out(stock.store, planned).objects == 0


def test_what_is_pinned_stays_unless_it_is_meant(stock):
    first, second = stock.add(1, value=[5]), stock.add(2, value=[5])
    pin(stock.backend, first.key)
    planned = plan(stock)
    assert (len(planned.entries), planned.pinned, len(planned.objects)) == (1, 1, 0)
    carry_out(stock.store, planned)
    assert stock.entries() == {first.key}
    assert stock.objects() == {second.object}
    assert remove(stock, pinned_too=True).entries == 1
    assert stock.entries() == stock.objects() == stock.pins() == set()


def test_what_is_pinned_since_the_plan_stays(stock):
    manifest = stock.add(1)
    planned = plan(stock)
    pin(stock.backend, manifest.key)
    assert carry_out(stock.store, planned).entries == 0
    assert stock.store.read(manifest.key) is not None


def test_a_plan_changes_nothing(stock):
    stock.add(1)
    faulty = FaultyBackend(stock.backend)
    watched = Stock(faulty)
    plan(watched)
    assert {verb for verb, _ in faulty.calls} <= {"list", "get", "stat"}


def test_manifests_go_before_objects(stock):
    for number in range(5):
        stock.add(number)
    faulty = FaultyBackend(stock.backend)
    watched = Stock(faulty)
    planned = plan(watched)
    faulty.calls.clear()
    carry_out(watched.store, planned)
    deleted = [path.split("/")[1] for verb, path in faulty.calls if verb == "delete"]
    deleted = [place for place in deleted if place != "probes"]
    assert deleted == ["manifests"] * 5 + ["objects"] * 5


def test_a_removal_cut_short_leaves_whole_entries_and_can_be_done_again(stock):
    for number in range(5):
        stock.add(number)
    planned = plan(stock)
    calls = iter(range(3))

    def interrupt():
        if next(calls, None) is None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        carry_out(stock.store, planned, advance=interrupt)
    assert all(stock.store.read(key) is not None for key in stock.entries())
    assert 0 < len(stock.entries()) < 5
    assert carry_out(stock.store, planned).objects == 5
    assert stock.entries() == stock.objects() == set()


def test_a_listing_that_fails_removes_nothing(stock):
    stock.add(1)
    faulty = FaultyBackend(stock.backend)

    def hook(path):
        if path.endswith("/80"):
            raise OSError("a page is missing")

    faulty.hooks["list"] = hook
    with pytest.raises(OSError, match="a page is missing"):
        remove(Stock(faulty))
    assert len(stock.entries()) == 1


def test_objects_may_be_left_to_gc_and_then_nothing_else_is_looked_at(stock):
    first, second = stock.add(1), stock.add(2)
    faulty = FaultyBackend(stock.backend)
    watched = Stock(faulty)
    assert remove(watched, first.key, objects=False)[:2] == (1, 0)
    assert not [path for _, path in faulty.calls if second.key in path]
    assert stock.objects() == {first.object, second.object}


def test_a_damaged_entry_goes_by_its_key(stock):
    manifest = stock.add(1)
    stock.damage(manifest)
    assert remove(stock, manifest.key[:12])[:2] == (1, 0)
    assert stock.entries() == set()


def test_a_name_that_nothing_has_removes_nothing(stock):
    stock.add(1, label="anna.wav")
    with pytest.raises(NotThere, match=r"bob\.wav"):
        remove(stock, "anna.wav", "bob.wav")
    assert len(stock.entries()) == 1


def test_the_first_few_are_named(stock):
    manifest = stock.add(1, label="anna.wav")
    assert plan(stock).names == {manifest.key: "anna.wav"}
