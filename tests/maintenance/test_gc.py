import os

import pytest

from stepaudio_cas.errors import SettingError
from stepaudio_cas.identity.digest import digest_bytes
from stepaudio_cas.maintenance import sweep as sweeping
from stepaudio_cas.maintenance.gc import Asked, Collector
from stepaudio_cas.maintenance.plan import RECENT
from stepaudio_cas.runtime.keeper import GRACE
from stepaudio_cas.store import layout
from stepaudio_cas.store.counters import Subject, Tally, dump_tally
from stepaudio_cas.store.local import LocalBackend
from stepaudio_cas.store.uses import dump_uses, read_uses, short_of
from stepaudio_cas.units import Lifetimes
from tests.support.clocked import DAY, HOUR, Clock, Shelf
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


def test_without_bounds_every_entry_stays(shelf):
    filled(shelf)
    shelf.gc()
    assert shelf.left(range(10)) == list(range(10))


def test_over_its_size_what_was_used_longest_ago_goes_and_no_more_than_that(shelf):
    one = filled(shelf)
    swept = shelf.gc(max_size=6 * one)
    assert shelf.left(range(10)) == list(range(6))
    assert (swept.entries, swept.objects) == (4, 4)
    assert swept.bytes == 4 * one
    assert 5 * one < shelf.size() <= 6 * one


def test_over_their_number_what_was_used_longest_ago_goes(shelf):
    filled(shelf)
    shelf.gc(max_entries=3)
    assert shelf.left(range(10)) == [0, 1, 2]


def test_what_was_not_used_for_too_long_goes(shelf):
    filled(shelf)
    shelf.gc(max_age=4.5 * HOUR)
    assert shelf.left(range(10)) == [0, 1, 2, 3]


def test_entries_of_a_plugin_go_after_a_time_of_their_own(shelf):
    for number, plugin in enumerate(["funasr.AutoModel.generate/1", "stepaudio.x/1", ""] * 2):
        shelf.add(number, hours=1 + 2 * (number > 2), plugin=plugin)
    shelf.gc(max_age=Lifetimes(None, (("funasr", 2 * HOUR),)))
    assert shelf.left(range(6)) == [0, 1, 2, 4, 5]
    shelf.gc(max_age=Lifetimes(2 * HOUR, (("funasr", 0.5 * HOUR), ("stepaudio", 4 * HOUR))))
    assert shelf.left(range(6)) == [1, 2, 4]


def test_by_value_the_fewest_seconds_for_the_bytes_go_first(shelf):
    for number, (seconds, size) in enumerate([(9.0, 1000), (1.0, 1000), (9.0, 90_000)]):
        shelf.add(number, hours=1 + number, size=size, compute_seconds=seconds)
    shelf.gc(max_entries=2, by_value=True)
    assert shelf.left(range(3)) == [0, 1]
    shelf.gc(max_entries=1, by_value=True)
    assert shelf.left(range(3)) == [0]


def test_what_is_pinned_never_goes_whatever_is_asked(shelf):
    filled(shelf)
    shelf.pin(9)
    shelf.gc(max_size=0, max_age=1, max_entries=0)
    assert shelf.left(range(10)) == [9]


def test_what_was_used_in_the_last_minute_stays(shelf):
    filled(shelf)
    shelf.backend.age(layout.manifest_path(recipe(9).key), shelf.clock() - RECENT + 1)
    shelf.gc(max_entries=0)
    assert shelf.left(range(10)) == [9]


def test_only_the_entries_of_a_plugin_count_and_go(shelf):
    for number in range(8):
        shelf.add(number, hours=number + 1, plugin="ours" if number % 2 else "theirs")
    shelf.gc(plugin="ours", max_entries=1)
    assert shelf.left(range(8)) == [0, 1, 2, 4, 6]


def test_the_size_of_a_plugin_counts_an_object_once_and_leaves_what_others_share(shelf):
    for number in range(4):
        shelf.add(number, hours=number + 1, value=["shared", b"." * 5000], plugin="ours")
    shelf.add(4, value=["shared", b"." * 5000], plugin="theirs")
    shelf.gc(plugin="ours", max_size=8000)
    assert shelf.left(range(5)) == [0, 1, 2, 3, 4]
    shelf.gc(plugin="ours", max_size=0)
    assert shelf.left(range(5)) == [4]


def test_an_object_that_another_entry_has_stays_and_goes_with_the_last_one(shelf):
    shelf.add(1, hours=90, value=["shared"])
    shelf.add(2, hours=1, value=["shared"])
    shelf.gc(max_age=50 * HOUR)
    assert shelf.left([1, 2]) == [2]
    shelf.gc(max_age=0.5 * HOUR)
    assert shelf.objects() == set()


def test_an_object_that_nothing_refers_to_goes_when_it_is_an_hour_old(shelf):
    young = shelf.orphan(1, hours=GRACE / HOUR - 0.01)
    shelf.orphan(2, hours=GRACE / HOUR + 0.01)
    swept = shelf.gc()
    assert shelf.objects() == {young}
    assert (swept.entries, swept.objects) == (0, 1)


def test_the_object_of_an_entry_that_goes_stays_if_somebody_has_just_written_it_again(shelf):
    manifest = shelf.add(1, hours=90)
    shelf.backend.age(layout.object_path(manifest.object), shelf.clock() - 1)
    shelf.gc(max_age=HOUR)
    assert shelf.left([1]) == []
    assert shelf.objects() == {manifest.object}


def with_model(shelf, number, model, created, hours=26.0, schema="test/1"):
    shelf.add(number, hours, fingerprint=model, created=created, plugin="p", schema=schema)
    path = layout.fingerprint_path(model)
    if shelf.backend.stat(path) is None:
        shelf.put(path, hours=100)


def test_entries_of_other_models_go_with_what_describes_those(shelf):
    for number, model in enumerate([OLD, NEW, OTHER]):
        with_model(shelf, number, model, "2026")
    shelf.add(3)
    shelf.gc(models=["aaaa", "bbbbb"])
    assert shelf.left(range(4)) == [0, 1, 3]
    assert shelf.backend.stat(layout.fingerprint_path(OTHER)) is not None
    shelf.gc()
    assert shelf.backend.stat(layout.fingerprint_path(OTHER)) is None
    assert shelf.backend.stat(layout.fingerprint_path(NEW)) is not None


def test_a_current_model_is_that_of_the_newest_entry_of_its_plugin_and_schema(shelf):
    with_model(shelf, 0, OLD, "2026-01-01T00:00:00Z", hours=25)
    with_model(shelf, 1, NEW, "2026-01-02T00:00:00Z", hours=30)
    with_model(shelf, 2, OTHER, "2025-01-02T00:00:00Z", hours=30, schema="else/1")
    shelf.gc(models=["current"])
    assert shelf.left(range(3)) == [1, 2]


def count_for(shelf, model, hours):
    tally = Tally(since=1.0, updated=1.0, processes=1, subjects={Subject("p", model): {"miss": 1}})
    shelf.put(f"{layout.COUNTERS}/host-{model[:4]}.json", dump_tally(tally, {}), hours)


def test_a_current_model_is_also_one_that_a_process_has_used_within_a_day(shelf):
    for number, model in enumerate([OLD, OTHER, NEW]):
        with_model(shelf, number, model, f"2026-01-0{number + 1}")
    count_for(shelf, OLD, hours=23)
    count_for(shelf, OTHER, hours=25)
    shelf.gc(models=["current"])
    assert shelf.left(range(3)) == [0, 2]


def test_a_current_model_is_also_one_that_anybody_behind_another_store_has_used(shelf):
    """Such processes count elsewhere: what they have used is all that is seen of them."""
    for number, model in enumerate([OLD, OTHER, NEW]):
        with_model(shelf, number, model, f"2026-01-0{number + 1}", hours=[23, 25, 26][number])
    shelf.gc(models=["current"])
    assert shelf.left(range(3)) == [0, 2]


def test_the_description_of_a_model_stays_for_a_day_and_while_a_process_uses_it(shelf):
    for model, hours in ((OLD, 25), (NEW, 23), (OTHER, 25)):
        shelf.put(layout.fingerprint_path(model), hours=hours)
    count_for(shelf, OTHER, hours=1)
    shelf.gc()
    left = [layout.digest_in(found.path) for found in shelf.backend.list(layout.FINGERPRINTS)]
    assert left == [NEW, OTHER]


@pytest.mark.parametrize("word", ["", "abc", "newest", "ABCD", "a" * 65])
def test_a_model_that_is_none_is_refused(shelf, word):
    with pytest.raises(SettingError, match="neither current nor the first 4 or more digits"):
        shelf.collector(models=[word])


def test_a_model_that_no_entry_has_removes_nothing(shelf):
    with_model(shelf, 0, OLD, "2026", hours=9000)
    with pytest.raises(SettingError, match=r"no entry in .* begins with dddd; nothing was removed"):
        shelf.gc(models=["dddd", "current"], max_age=1)
    assert shelf.left([0]) == [0]


def journal(shelf, number, hours, name="host-1"):
    """Have another process say that it used an entry so many hours ago, by its own clock."""
    uses = {short_of(recipe(number).key): int(5000 - hours * HOUR)}
    shelf.put(f"{layout.USES}/{name}.json", dump_uses(uses, 5000))


def test_a_use_that_a_process_has_written_down_counts_like_the_time_of_the_manifest(shelf):
    filled(shelf)
    journal(shelf, 9, hours=0.5)
    shelf.gc(max_entries=3)
    assert shelf.left(range(10)) == [0, 1, 9]


def test_what_nobody_writes_to_any_more_is_folded_and_says_the_same(shelf):
    filled(shelf)
    for name in ("host-1", "host-2"):
        journal(shelf, 9, hours=0.5, name=name)
        shelf.backend.age(f"{layout.USES}/{name}.json", shelf.clock() - 1.5 * DAY)
    journal(shelf, 8, hours=0.5, name="host-3")
    used = read_uses(shelf.backend).of(recipe(9).key, 0.0)
    assert used == shelf.clock() - 1.5 * DAY - HOUR / 2
    shelf.gc()
    names = [found.path.rsplit("/", 1)[-1] for found in shelf.backend.list(layout.USES)]
    assert len(names) == 2
    assert names[0].startswith("folded-")
    assert names[1] == "host-3.json"
    assert read_uses(shelf.backend).of(recipe(9).key, 0.0) == used


def temporary(root, path, hours):
    full = root / path
    full.parent.mkdir(parents=True, exist_ok=True)
    full.write_bytes(b"half")
    when = Clock()() - hours * HOUR
    os.utime(full, (when, when))
    return full


def test_what_dead_writers_and_probes_have_left_goes_after_an_hour(root):
    backend = LocalBackend(root)
    folders = [
        f"{layout.OBJECTS}/ab",
        f"{layout.MANIFESTS}/cd",
        layout.COUNTERS,
        layout.USES,
        layout.PROBES,
    ]
    old = [temporary(root, f"{folder}/.tmp-1-a", 1.01) for folder in folders]
    old.append(temporary(root, f"{layout.PROBES}/12-a", 1.01))
    young = [temporary(root, f"{folder}/.tmp-1-b", 0.99) for folder in folders]
    foreign = [temporary(root, f"{folder}/.gitignore", 900) for folder in folders]
    plan = Collector(backend, Asked(), look_only=True, clock=Clock()).plan()
    assert {f"{root}/{path}" for path, _ in plan.leftovers} == set(map(str, old))
    sweeping.Sweep(backend, plan, renew=lambda: None, advance=lambda: None).run()
    assert not any(path.exists() for path in old)
    assert all(path.exists() for path in young + foreign)


def test_a_damaged_manifest_keeps_its_object_and_goes_by_its_age(shelf):
    manifest = shelf.add(1, hours=900)
    path = layout.manifest_path(manifest.key)
    shelf.put(path, shelf.backend.get(path)[:-1] + b" }", hours=5)
    shelf.gc(max_age=6 * HOUR)
    assert shelf.objects() == {manifest.object}
    shelf.gc(max_age=4 * HOUR)
    assert shelf.objects() == set()
    assert shelf.backend.stat(path) is None


@pytest.mark.parametrize("data", [b"", b"{", b"[]", bytes(1 << 21)], ids=len)
def test_what_is_no_manifest_goes_by_its_age(shelf, data):
    path = layout.manifest_path(recipe(1).key)
    shelf.put(path, data, hours=5)
    shelf.gc(max_age=4 * HOUR)
    assert shelf.backend.stat(path) is None


def newer(shelf, manifest, text):
    """Put an entry as a later version might write it."""
    body = text % manifest.key.encode() + b',"format":2'
    sealed = body + b',"sum":"' + digest_bytes(body).encode() + b'"}'
    shelf.put(layout.manifest_path(manifest.key), sealed, hours=9000)


def test_an_entry_of_a_newer_version_stays_with_its_object(shelf):
    manifest = shelf.add(1, hours=9000)
    newer(shelf, manifest, b'{"key":"%s","object":"' + manifest.object.encode() + b'"')
    lost = shelf.orphan(2, hours=9000)
    shelf.gc(max_age=1, max_size=0)
    assert manifest.object in shelf.objects()
    assert lost not in shelf.objects()
    assert shelf.backend.stat(layout.manifest_path(manifest.key)) is not None


def test_if_it_does_not_say_which_object_it_has_no_unreferenced_one_goes(shelf):
    newer(shelf, entry(1)[0], b'{"key":"%s","parts":[]')
    lost = shelf.orphan(2, hours=9000)
    shelf.put(layout.fingerprint_path(OLD), hours=9000)
    shelf.gc()
    assert shelf.objects() == {lost}
    assert shelf.backend.stat(layout.fingerprint_path(OLD)) is not None


def test_documents_that_are_not_ours_are_left_alone(shelf):
    paths = [f"{layout.OBJECTS}/ab/README", f"{layout.MANIFESTS}/ab/x.txt", "v1/other/x", "y"]
    for path in paths:
        shelf.put(path, hours=9000)
    shelf.gc(max_size=0, max_age=1)
    assert [path for path in paths if shelf.backend.stat(path) is None] == []
