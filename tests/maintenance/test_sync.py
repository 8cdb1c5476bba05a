"""Copying between stores: only what is missing, whole, and nobody's artifact is replaced."""

import pytest

from stepaudio_cas import make_recipe
from stepaudio_cas.artifact.signing import Signer
from stepaudio_cas.errors import Unavailable
from stepaudio_cas.maintenance.pins import pin
from stepaudio_cas.maintenance.selection import Selection
from stepaudio_cas.maintenance.sync import SourceIsEmpty, Sync
from stepaudio_cas.store import layout
from stepaudio_cas.store.local import LocalBackend
from stepaudio_cas.store.memory import MemoryBackend
from stepaudio_cas.store.store import Store
from tests.maintenance.filled import MODEL, documents, fill, found, in_memory, readable
from tests.support.backends import BACKENDS
from tests.support.faulty import FaultyBackend
from tests.support.values import entry

FIRST, BLOB = entry(0)
OBJECT, MANIFEST = layout.object_path(FIRST.object), layout.manifest_path(FIRST.key)
PAIRS = [("local", "memory"), ("memory", "fsspec-file"), ("fsspec-memory", "local")]


@pytest.fixture(params=PAIRS, ids="-".join)
def pair(request, tmp_path):
    """A store with five entries, and an empty one elsewhere."""
    folders = [tmp_path / f"{tmp_path.name}-{name}" for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    here, there = (
        Store(BACKENDS[kind](folder)) for kind, folder in zip(request.param, folders, strict=True)
    )
    fill(here, range(5))
    return here, there


@pytest.fixture
def source(tmp_path):
    return in_memory(f"{tmp_path}-source", 5)


@pytest.fixture
def target(tmp_path):
    return in_memory(f"{tmp_path}-target", 0)


def sync(source, target, **options):
    """Sync; return what became of which entry."""
    return sorted((e.what, e.key) for e in Sync(source, target, **options).run())


def test_what_is_missing_is_copied_byte_by_byte_and_only_once(pair):
    source, target = pair
    assert [what for what, _ in sync(source, target)] == ["copied"] * 5
    assert documents(target) == documents(source)
    assert found(target) == []
    assert sync(source, target) == []
    new = fill(source, [7])
    assert sync(source, target) == [("copied", new[0].key)]


def test_a_second_run_reads_nothing_and_writes_nothing(source, target):
    sync(source, target)
    ends = [FaultyBackend(store.backend, store.url) for store in (source, target)]
    assert sync(*map(Store, ends)) == []
    assert {verb for end in ends for verb, path in end.calls} <= {"list", "get"}
    read = {path for end in ends for verb, path in end.calls if verb == "get"}
    assert read <= {layout.fingerprint_path(MODEL.id)}


def test_objects_are_written_before_manifests(source, target):
    backend = FaultyBackend(target.backend)
    sync(source, Store(backend))
    written = [path for verb, path in backend.calls if verb == "put"]
    assert written.index(OBJECT) < written.index(MANIFEST)
    assert written[0] == layout.fingerprint_path(MODEL.id)


def test_who_was_first_on_the_other_side_stays(pair):
    source, target = pair
    other, blob = entry(0, value=([9], [9], [9]))
    target.commit(other, blob)
    assert [what for what, _ in sync(source, target)] == ["copied"] * 4
    assert target.read(FIRST.key).blob == blob
    assert sync(source, target) == []


def test_who_comes_first_while_it_is_copied_stays(source, target):
    backend = FaultyBackend(target.backend)
    other, blob = entry(0, value=([9], [9], [9]))

    def somebody_is_faster(path):
        if path == OBJECT:
            backend.hooks.clear()
            target.commit(other, blob)

    backend.hooks["put"] = somebody_is_faster
    assert ("there", FIRST.key) in sync(source, Store(backend))
    assert target.read(FIRST.key).blob == blob


@pytest.mark.parametrize("path", [OBJECT, MANIFEST])
def test_a_damaged_entry_of_the_source_is_named_and_not_copied(pair, path):
    source, target = pair
    source.backend.put(path, b"damaged")
    assert [e for e in sync(source, target) if e[0] != "copied"] == [("damaged", FIRST.key)]
    assert len(readable(target)) == 4
    assert found(target) == []
    fill(source, [0])
    assert sync(source, target) == [("copied", FIRST.key)]


def test_an_entry_that_goes_meanwhile_is_nothing(source, target):
    backend = FaultyBackend(source.backend)

    def gone(path):
        if path == OBJECT:
            source.backend.delete(MANIFEST)
            source.backend.delete(OBJECT)

    backend.hooks["get"] = gone
    assert [what for what, _ in sync(Store(backend), target)] == ["copied"] * 4


def test_an_entry_that_has_lost_its_object_gets_it_again(pair):
    source, target = pair
    sync(source, target)
    target.backend.delete(OBJECT)
    assert sync(source, target, dry=True) == [("healed", FIRST.key)]
    assert target.backend.get(OBJECT) is None
    assert sync(source, target) == [("healed", FIRST.key)]
    assert target.read(FIRST.key).blob == BLOB
    assert found(target) == []


def test_objects_of_nobody_in_the_source_are_no_reason_to_copy(pair):
    source, target = pair
    sync(source, target)
    source.backend.put(layout.object_path(entry(9)[0].object), entry(9)[1])
    assert sync(source, target) == []


def test_unknown_fields_and_signatures_of_others_come_along(source, target):
    manifest, blob = entry(7, extra={"later": {"a": [[[[[[[[["deep"]]]]]]]]]}})
    source.commit(manifest, blob)
    signer = Signer([b"0123456789abcdef"])
    Store(source.backend, signer=signer).commit(*entry(8))
    sync(source, target)
    assert documents(target) == documents(source)
    assert Store(target.backend, signer=signer).read(entry(8)[0].key)


def test_with_a_key_only_what_it_signed_is_copied(source, tmp_path):
    signer = Signer([b"0123456789abcdef"])
    source = Store(source.backend, signer=signer)
    source.commit(*entry(8))
    target = Store(MemoryBackend(str(tmp_path)), signer=signer)
    events = sync(source, target)
    assert [what for what, _ in events] == ["copied"] + ["damaged"] * 5
    assert readable(target).keys() == {entry(8)[0].key}


def test_filters_say_what_is_copied(source, target):
    events = sync(source, target, matches=Selection(label="voice-[12].wav").matcher())
    assert sorted(key for _, key in events) == sorted(entry(n)[0].key for n in (1, 2))
    assert {path for path in documents(target) if "/objects/" in path} == {
        layout.object_path(entry(n)[0].object) for n in (1, 2)
    }


def test_fingerprints_come_along_even_if_their_entries_are_there(pair):
    source, target = pair
    for number in range(5):
        target.commit(*entry(number, fingerprint=MODEL.id))
    assert sync(source, target) == []
    assert target.backend.get(layout.fingerprint_path(MODEL.id)) == MODEL.document


def test_a_damaged_fingerprint_does_not_come_along(source, target):
    source.backend.put(layout.fingerprint_path(MODEL.id), b"damaged")
    assert len(sync(source, target)) == 5
    assert target.backend.get(layout.fingerprint_path(MODEL.id)) is None


def test_a_dry_run_says_all_of_it_and_writes_nothing(source, target):
    fill(target, [9])
    pin(source.backend, FIRST.key)
    before = documents(target)
    events = sync(source, target, dry=True, delete=True, pins=True)
    assert [what for what, _ in events] == ["copied"] * 5 + ["deleted"]
    assert documents(target) == before


def test_delete_takes_what_the_source_lacks_but_never_what_is_pinned(pair):
    source, target = pair
    lost, kept = fill(target, [8, 9])
    pin(target.backend, kept.key)
    assert ("deleted", lost.key) not in sync(source, target)
    assert sync(source, target, delete=True) == [("deleted", lost.key)]
    assert readable(target).keys() == {*readable(source), kept.key}
    assert target.backend.get(layout.object_path(lost.object)) is not None, "that is left to gc"


def test_delete_with_filters_takes_only_what_is_meant(source, target):
    meant, other = fill(target, [8, 9])
    matches = Selection(label="voice-8.wav").matcher()
    assert sync(source, target, delete=True, matches=matches) == [("deleted", meant.key)]
    assert readable(target).keys() == {other.key}


def test_an_empty_source_is_no_reason_to_delete(source, target):
    with pytest.raises(SourceIsEmpty, match="is it mounted"):
        sync(target, source, delete=True)
    assert len(readable(source)) == 5


def test_what_was_written_on_the_other_side_meanwhile_is_not_deleted(source, target):
    backend = FaultyBackend(source.backend)
    backend.hooks["list"] = lambda path: path == f"{layout.OBJECTS}/ff" and fill(target, [9])
    assert [what for what, _ in sync(Store(backend), target, delete=True)] == ["copied"] * 5
    assert entry(9)[0].key in readable(target)


def test_an_entry_that_a_listing_of_the_source_lacks_is_not_deleted(source, target):
    class Forgetful(FaultyBackend):
        def list(self, prefix):
            return (e for e in self.inner.list(prefix) if e.path != MANIFEST)

    sync(source, target)
    assert sync(Store(Forgetful(source.backend)), target, delete=True) == []
    assert len(readable(target)) == 5


def test_pins_come_along_if_asked(pair):
    source, target = pair
    for number in (0, 1, 99):  # nothing has been encoded for the last one
        pin(source.backend, entry(number)[0].key, label="preset")
    sync(source, target)
    assert list(target.backend.list(layout.PINS)) == []
    only = Selection(label="voice-0.wav").matcher()
    assert sync(source, target, pins=True, matches=only) == [("pinned", FIRST.key)]
    assert sync(source, target, pins=True) == [("pinned", entry(1)[0].key)]
    path = layout.pin_path(FIRST.key)
    assert target.backend.get(path) == source.backend.get(path)


def test_one_that_fails_is_told_and_the_rest_is_copied(source, target):
    backend = FaultyBackend(target.backend)

    def refuse(path):
        if path == MANIFEST:
            raise ConnectionError("no route")

    backend.hooks["put"] = refuse
    events = sync(source, Store(backend))
    assert [e for e in events if e[0] != "copied"] == [("failed", FIRST.key)]
    backend.mend()
    assert sync(source, Store(backend)) == [("copied", FIRST.key)]


def test_a_store_that_does_not_answer_ends_it(tmp_path, target):
    source = in_memory(tmp_path, 60)
    backend = FaultyBackend(target.backend)
    backend.hooks["put"] = _down
    with pytest.raises(Unavailable, match="run it again to go on"):
        sync(source, Store(backend))
    backend.mend()
    assert len(sync(source, Store(backend))) == 60


def _down(path):
    if path.startswith(layout.OBJECTS):
        raise ConnectionError("no route")


def test_what_is_there_and_not_ours_to_judge_stays(source, tmp_path):
    signer = Signer([b"0123456789abcdef"])
    source = in_memory(f"{tmp_path}-signed", 3, signer=signer)
    target = Store(MemoryBackend(str(tmp_path)), signer=signer)
    theirs = FIRST.seal(Signer([b"fedcba9876543210"]))
    backend = FaultyBackend(target.backend)
    backend.hooks["put"] = lambda path: path == MANIFEST and target.backend.put(MANIFEST, theirs)
    events = sync(source, Store(backend, signer=signer))
    assert [e for e in events if e[0] != "copied"] == [("refused", FIRST.key)]
    assert target.backend.get(MANIFEST) == theirs


def test_voices_that_were_copied_are_hits(open_cache, root, tmp_path):
    cache = open_cache(root)
    recipes = [make_recipe("voice/1", params={"voice": number}) for number in range(4)]
    values = [
        cache.get_or_compute(recipe, lambda n=number: ([n], [n, n], [7]))
        for number, recipe in enumerate(recipes)
    ]
    cache.flush()
    middle = Store(BACKENDS["fsspec-file"](tmp_path))
    sync(Store(LocalBackend(root)), middle)
    sync(middle, Store(LocalBackend(tmp_path / "end")))
    end = open_cache(tmp_path / "end", memory="0")
    assert [end.get(recipe) for recipe in recipes] == values
    assert end.stats()["counters"]["hit.disk"] == 4


def test_as_many_steps_are_made_as_were_said(source, target):
    steps = []
    list(Sync(source, target).run(lambda: steps.append(1)))
    assert len(steps) == Sync.steps


def test_many_are_copied_at_once_where_a_store_is_far_away(tmp_path):
    source = in_memory(tmp_path, 300)
    far = Store(BACKENDS["fsspec-memory"](tmp_path))
    assert len(sync(source, far)) == 300
    assert readable(far) == readable(source)
