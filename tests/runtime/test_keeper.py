import os

import pytest

from stepaudio_cas.runtime.keeper import GRACE, KEEP_SHARE, Keeper
from stepaudio_cas.runtime.log import Log
from stepaudio_cas.runtime.recorder import Recorder
from stepaudio_cas.settings import Level
from stepaudio_cas.store import layout
from stepaudio_cas.store.counters import Subject, read_tally
from stepaudio_cas.store.local import LocalBackend
from stepaudio_cas.units import Lifetimes
from tests.runtime.helpers import counted
from tests.runtime.keeping import HOUR, NOW, Shelf
from tests.support.values import recipe


@pytest.fixture
def shelf(root):
    return Shelf(root)


def filled(shelf, count=10):
    """Add entries of equal size, each an hour older than the one before."""
    for number in range(count):
        shelf.add(number, hours=number + 1)
    return shelf.size() // count


def test_a_store_within_its_bounds_is_left_alone(shelf):
    filled(shelf)
    shelf.keep(max_size=shelf.size(), ttl=100 * HOUR)
    assert shelf.left(range(10)) == list(range(10))
    assert counted(shelf.recorder, "evicted.") == 0


def test_over_its_size_the_least_recently_used_go_until_nine_tenths_are_left(shelf):
    one = filled(shelf)
    limit = 8 * one
    shelf.keep(max_size=limit)
    assert shelf.left(range(10)) == list(range(7))
    assert shelf.size() <= KEEP_SHARE * limit < shelf.size() + one


def test_entries_of_a_plugin_go_after_a_time_of_their_own(shelf):
    for number, plugin in enumerate(["funasr.AutoModel.generate/1", "stepaudio.x/1", ""] * 2):
        shelf.add(number, hours=1 + 2 * (number > 2), plugin=plugin)
    shelf.pin(3)
    shelf.keep(ttl=Lifetimes(None, (("funasr", 2 * HOUR), ("stepaudio", 2.5 * HOUR))))
    assert shelf.left(range(6)) == [0, 1, 2, 3, 5]
    shelf.keep(ttl=Lifetimes(2 * HOUR, (("funasr", 0.5 * HOUR), ("stepaudio", 4 * HOUR))))
    assert shelf.left(range(6)) == [1, 2, 3]


def test_what_went_is_counted_with_its_bytes_and_its_objects_are_gone(shelf):
    filled(shelf)
    before = shelf.size()
    shelf.keep(max_size=before // 2)
    gone = 10 - len(shelf.left(range(10)))
    assert gone
    assert counted(shelf.recorder, "evicted.entries") == gone
    assert counted(shelf.recorder, "evicted.bytes") == before - shelf.size()
    assert len(shelf.objects()) == 10 - gone


def test_what_has_been_used_again_stays(shelf):
    one = filled(shelf)
    shelf.age(layout.manifest_path(recipe(9).key), hours=0.1)
    shelf.keep(max_size=5 * one)
    assert shelf.left(range(10)) == [0, 1, 2, 9]


def test_entries_of_the_same_minute_go_only_as_far_as_needed(shelf):
    for number in range(10):
        shelf.add(number, hours=1)
    limit = shelf.size() // 2
    shelf.keep(max_size=limit)
    assert KEEP_SHARE * limit - shelf.size() // 4 < shelf.size() <= KEEP_SHARE * limit


def test_within_a_minute_and_a_shard_the_order_of_use_still_counts(shelf):
    numbers = [n for n in range(2000) if recipe(n).key.startswith("00")][:6]
    for age, number in enumerate(numbers):
        shelf.add(number, hours=1 + age / HOUR)
    shelf.keep(max_size=shelf.size() * 2 // 3)
    assert shelf.left(numbers) == numbers[:3]


def test_what_was_not_used_for_longer_than_its_time_to_live_goes(shelf):
    filled(shelf)
    shelf.keep(ttl=4.5 * HOUR)
    assert shelf.left(range(10)) == [0, 1, 2, 3]
    assert len(shelf.objects()) == 4


def test_time_to_live_and_size_work_together(shelf):
    one = filled(shelf)
    shelf.keep(ttl=8.5 * HOUR, max_size=int(5 * one))
    assert shelf.left(range(10)) == [0, 1, 2, 3]


def test_what_is_pinned_never_goes(shelf):
    filled(shelf)
    shelf.pin(9)
    shelf.pin(5)
    shelf.keep(max_size=1)
    assert shelf.left(range(10)) == [5, 9]
    shelf.keep(ttl=1)
    assert shelf.left(range(10)) == [5, 9]


def test_the_object_of_a_pinned_entry_stays_though_another_entry_that_had_it_goes(shelf):
    shelf.add(1, hours=90, value=["shared"])
    shelf.add(2, hours=80, value=["shared"])
    shelf.pin(2)
    shelf.keep(max_size=1)
    assert shelf.left([1, 2]) == [2]


def test_an_object_that_another_entry_has_stays(shelf):
    shelf.add(1, hours=90, value=["shared"])
    shelf.add(2, hours=1, value=["shared"])
    shelf.keep(ttl=50 * HOUR)
    assert shelf.left([1, 2]) == [2]


def test_an_object_whose_entries_have_all_gone_goes_in_a_later_pass(shelf):
    for number in (1, 2):
        shelf.add(number, hours=90, value=["shared"])
    for _ in range(2):
        shelf.keep(ttl=50 * HOUR)
    assert shelf.objects() == set()


def orphan(shelf, number, hours):
    manifest = shelf.add(number, hours)
    shelf.backend.delete(layout.manifest_path(manifest.key))
    return manifest.object


def test_an_object_that_no_entry_has_goes_after_its_time_of_grace_and_not_before(shelf):
    young = orphan(shelf, 1, hours=GRACE / HOUR - 0.01)
    orphan(shelf, 2, hours=GRACE / HOUR + 0.01)
    shelf.keep(ttl=1000 * HOUR)
    assert shelf.objects() == {young}


def test_orphans_go_before_entries_do(shelf):
    one = filled(shelf)
    for number in range(10, 14):
        orphan(shelf, number, hours=2)
    shelf.keep(max_size=int(12 * one))
    assert shelf.left(range(10)) == list(range(10))
    assert len(shelf.objects()) == 10


def test_files_in_the_store_that_are_not_ours_are_left_alone(shelf):
    paths = [f"{layout.OBJECTS}/ab/README", f"{layout.MANIFESTS}/ab/notes.txt", "v1/other/x", "y"]
    for path in paths:
        shelf.write(path, hours=900)
    shelf.keep(max_size=1, ttl=1)
    assert [path for path in paths if not shelf.exists(path)] == []


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"null", b'{"object": 1}', b'{"object": "ab", "size": "x"}',
     b'{"object": "zz", "size": 1}', bytes(1 << 21)],
    ids=["empty", "torn", "list", "null", "no size", "odd size", "odd object", "huge"],
)  # fmt: skip
def test_a_manifest_that_cannot_be_read_does_not_stop_the_pass(shelf, data):
    filled(shelf)
    shelf.write(layout.manifest_path(recipe(99).key), data, hours=900)
    shelf.keep(ttl=4.5 * HOUR)
    assert shelf.left(range(10)) == [0, 1, 2, 3]


def test_a_manifest_that_names_a_path_outside_the_store_deletes_nothing_there(shelf, tmp_path):
    outside = tmp_path / "precious"
    outside.write_bytes(b"kept")
    name = f"../../../../{outside.name}"
    text = f'{{"object": "{name}", "size": 4}}'.encode()
    shelf.write(layout.manifest_path(recipe(1).key), text, hours=900)
    shelf.keep(ttl=1)
    assert outside.read_bytes() == b"kept"


def temporaries(shelf, hours):
    paths = [f"{folder}/ab/.tmp-1-aa" for folder in (layout.OBJECTS, layout.MANIFESTS)]
    for path in paths:
        shelf.write(path, b"half", hours=hours)
    return paths


def test_temporary_files_of_dead_writers_go_and_those_of_living_ones_stay(shelf):
    for path in temporaries(shelf, GRACE / HOUR - 0.01):
        shelf.keep(max_size=1000)
        assert shelf.exists(path)
    for path in temporaries(shelf, GRACE / HOUR + 0.01):
        shelf.keep(max_size=1000)
        assert not shelf.exists(path)


def test_temporary_files_do_not_count_against_the_size(shelf):
    filled(shelf, 2)
    shelf.write(f"{layout.OBJECTS}/ab/.tmp-1-aa", bytes(100_000))
    shelf.keep(max_size=shelf.size())
    assert shelf.left([0, 1]) == [0, 1]


def test_an_empty_store_and_one_that_is_not_there_are_kept_too(shelf):
    shelf.keep(max_size=1, ttl=1)
    assert shelf.size() == 0


def test_counters_of_dead_processes_are_folded_even_without_bounds(shelf):
    for _ in range(3):
        recorder = Recorder(Log(Level.OFF), clock=shelf.clock)
        recorder.count(Subject(), {"miss": 1})
        recorder.save(shelf.backend)
    shelf.clock.now = NOW + 2 * 86400
    shelf.keep()
    assert len(list(shelf.backend.list(layout.COUNTERS))) == 1
    assert read_tally(shelf.backend).total("miss") == 3


def test_without_bounds_nothing_is_removed(shelf):
    shelf.add(1, hours=9000)
    lost = orphan(shelf, 2, hours=9000)
    shelf.keep()
    assert shelf.left([1]) == [1]
    assert lost in shelf.objects()


def test_lock_files_of_the_dead_go_and_those_of_the_living_stay(tmp_path):
    backend = LocalBackend(tmp_path / "store")
    held = backend.try_lock("held")
    assert held is not None
    leases = tmp_path / "store" / layout.LEASES
    (leases / "dead.lock").write_bytes(b"")
    for file in leases.iterdir():
        os.utime(file, (1, 1))
    Keeper(backend, Recorder(Log(Level.OFF)), max_size=None, ttl=None).run()
    assert [file.name for file in leases.iterdir()] == ["held.lock"]
    held.release()
