import json
import os

import pytest

from stepaudio_cas.runtime import uses as module
from stepaudio_cas.runtime.uses import AGAIN_AFTER, FLUSH_EVERY, MAX_WAITING, Uses
from stepaudio_cas.store import layout
from stepaudio_cas.store.local import LocalBackend
from stepaudio_cas.store.memory import MemoryBackend
from stepaudio_cas.store.uses import FOLD_AFTER, MAX_KEYS, read_uses, short_of
from tests.runtime.helpers import Clock, store_entry, tier
from tests.support.faulty import FaultyBackend
from tests.support.processes import in_child, wait_until
from tests.support.values import Computation, recipe

KEYS = [recipe(number).key for number in range(5)]
LONG_AGO = 1_000_000.0


@pytest.fixture
def clock():
    return Clock(2_000_000_000.0)


@pytest.fixture
def backend():
    """A store without a cheap time of access."""
    made = FaultyBackend()
    yield made
    made.mend()


def use(uses, *keys):
    for key in keys:
        uses.keys[key] = None


def written(backend):
    """What each document says, by name."""
    return {
        found.path.rsplit("/", 1)[-1]: json.loads(backend.get(found.path))["uses"]
        for found in backend.list(layout.USES)
    }


def said(backend):
    """All keys that are written down, by their beginnings."""
    return {key for uses in written(backend).values() for key in uses}


def test_uses_are_written_down_where_no_time_of_access_is_kept(backend, clock):
    uses = Uses([tier(backend)], clock=clock)
    use(uses, *KEYS[:2])
    uses.flush()
    ((name, found),) = written(backend).items()
    assert found == {key[:16]: int(clock()) for key in KEYS[:2]}
    assert f"-{os.getpid()}-" in name
    assert uses.keys == {}


def test_a_process_has_one_document_that_grows(backend, clock):
    uses = Uses([tier(backend)], clock=clock)
    for key in KEYS:
        use(uses, key)
        clock.advance(FLUSH_EVERY)
        uses.flush()
    ((_, found),) = written(backend).items()
    assert sorted(found.values()) == list(found.values())
    assert len(found) == len(KEYS)


def test_a_use_is_passed_on_once_an_hour(backend, clock):
    uses = Uses([tier(backend)], clock=clock)
    for _ in range(20):
        use(uses, KEYS[0])
        uses.flush()
        clock.advance(AGAIN_AFTER / 10)
    puts = [path for verb, path in backend.calls if verb == "put"]
    assert len(puts) == 2
    assert list(written(backend).values()) == [{KEYS[0][:16]: int(clock() - AGAIN_AFTER)}]


def test_nothing_used_nothing_written(backend, clock):
    Uses([tier(backend)], clock=clock).flush()
    assert backend.calls == []


def test_a_new_document_is_begun_long_before_the_old_one_may_be_folded(backend, clock):
    uses = Uses([tier(backend)], clock=clock)
    for key in KEYS:
        use(uses, key)
        uses.flush()
        clock.advance(FOLD_AFTER / 2)
    assert sorted(map(len, written(backend).values())) == [1] * len(KEYS)


def test_a_document_is_bounded(backend, clock, monkeypatch):
    monkeypatch.setattr(module, "MAX_KEYS", 2)
    uses = Uses([tier(backend)], clock=clock)
    use(uses, *KEYS)
    uses.flush()
    assert said(backend) == {key[:16] for key in KEYS}
    assert max(map(len, written(backend).values())) == 2
    assert MAX_KEYS * 40 < 1_000_000


def test_on_a_disk_manifests_older_than_an_hour_are_touched(root, clock):
    backend = LocalBackend(root)
    for key in KEYS:
        backend.put(layout.manifest_path(key), b"x")
        os.utime(f"{root}/{layout.manifest_path(key)}", (LONG_AGO, LONG_AGO))
    uses = Uses([tier(backend)], clock=clock)
    use(uses, *KEYS[:3], recipe(99).key)
    uses.flush()
    touched = [k for k in KEYS if backend.stat(layout.manifest_path(k)).mtime > LONG_AGO]
    assert touched == KEYS[:3]
    assert list(backend.list(layout.USES)) == []


class Expiring(FaultyBackend):
    """A store that forgets what is not used."""

    def expire_after(self, seconds):
        pass


def test_where_entries_expire_their_objects_are_touched_too_whatever_state_they_are_in(clock):
    backend = Expiring()
    for number in range(3):
        store_entry(backend, number)
    backend.inner.put(layout.manifest_path(KEYS[1]), b"damaged")
    touched = []
    backend.get = lambda path, touch=False, **options: (
        touched.append(path) if touch else None,
        backend.inner.get(path, **options),
    )[1]
    uses = Uses([tier(backend)], clock=clock)
    use(uses, *KEYS[:3])
    uses.flush()
    assert [path for path in touched if path.startswith(layout.MANIFESTS)] == [
        layout.manifest_path(key) for key in KEYS[:3]
    ]
    assert len([path for path in touched if path.startswith(layout.OBJECTS)]) == 2
    assert written(backend) == {}


def test_every_store_that_may_be_written_is_told_and_no_other(clock):
    stores = [FaultyBackend(), MemoryBackend("uses"), FaultyBackend()]
    stores[1].put(layout.manifest_path(KEYS[0]), b"x")
    before = stores[1].stat(layout.manifest_path(KEYS[0])).mtime
    uses = Uses([tier(store) for store in stores], clock=clock)
    use(uses, KEYS[0])
    uses.flush()
    assert said(stores[0]) == said(stores[2]) == {KEYS[0][:16]}
    assert stores[1].stat(layout.manifest_path(KEYS[0])).mtime > before


def test_a_store_that_is_down_is_told_next_time(backend, clock):
    uses = Uses([tier(backend)], clock=clock)
    backend.fail("put", OSError("down"))
    use(uses, KEYS[0])
    uses.flush()
    backend.mend()
    uses.flush()
    assert said(backend) == {KEYS[0][:16]}


def test_it_is_due_after_some_minutes_or_when_there_is_much(clock):
    uses = Uses([], clock=clock)
    assert not uses.due()
    clock.advance(FLUSH_EVERY)
    assert uses.due()
    uses.flush()
    assert not uses.due()
    use(uses, *map(str, range(MAX_WAITING + 1)))
    assert uses.due()
    uses.flush()
    clock.advance(-1)  # set back
    assert uses.due()


def test_what_is_remembered_is_bounded(clock, monkeypatch):
    monkeypatch.setattr(module, "_MAX_KNOWN", 3)
    uses = Uses([], clock=clock)
    for key in KEYS:
        use(uses, key)
        uses.flush()
        assert len(uses._known) <= 3


def test_a_forked_child_says_what_it_has_used_itself_under_a_name_of_its_own(root, clock):
    backend = LocalBackend(root)  # documents that both processes see
    backend_ = FaultyBackend(backend, url="journalled://")
    uses = Uses([tier(backend_)], clock=clock)
    use(uses, KEYS[0])
    uses.flush()
    use(uses, KEYS[1])

    def child():
        left = list(uses.keys)
        use(uses, KEYS[0])
        uses.flush()
        return left

    assert in_child(child) == []
    assert len(written(backend)) == 2
    uses.flush()
    assert said(backend) == {key[:16] for key in KEYS[:2]}


def age(root, key):
    path = f"{root}/{layout.manifest_path(key)}"
    os.utime(path, (LONG_AGO, LONG_AGO))
    return path


def test_a_hit_in_memory_counts_as_a_use_on_disk(open_cache, root):
    cache = open_cache()
    cache.get_or_compute(recipe(), Computation())
    path = age(root, recipe().key)
    cache.get_or_compute(recipe(), Computation())
    assert cache.stats()["counters"]["hit.memory"] == 1
    assert os.stat(path).st_mtime == LONG_AGO
    cache.flush()
    assert os.stat(path).st_mtime > LONG_AGO


def test_the_housekeeping_passes_it_on_by_itself(open_cache, root, monkeypatch):
    monkeypatch.setattr("stepaudio_cas.runtime.housekeeping.SAVE_EVERY", 0.01)
    monkeypatch.setattr(module, "FLUSH_EVERY", 0.01)
    cache = open_cache()
    cache.get_or_compute(recipe(), Computation())
    path = age(root, recipe().key)
    cache.get_or_compute(recipe(), Computation())
    wait_until(lambda: os.stat(path).st_mtime > LONG_AGO)


def test_a_cache_that_is_closed_passes_it_on(open_cache, tmp_path):
    url = f"file://{tmp_path}/remote"  # opened by fsspec below
    from stepaudio_cas.store.remote import FsspecBackend

    cache = open_cache(f"memory://{tmp_path.name}")
    remote = FsspecBackend(url)
    cache._housekeeping.uses = Uses([tier(remote)])
    cache._used = cache._housekeeping.uses.keys
    cache.get_or_compute(recipe(), Computation())
    cache.get_or_compute(recipe(), Computation())
    cache.close()
    assert read_uses(remote).of(recipe().key, 0.0) > LONG_AGO
    assert said(remote) == {f"{short_of(recipe().key):016x}"}


def test_a_store_that_is_read_only_is_told_nothing(open_cache, root):
    open_cache().get_or_compute(recipe(), Computation())
    path = age(root, recipe().key)
    reader = open_cache(mode="ro")
    for _ in range(2):
        reader.get_or_compute(recipe(), Computation())
    reader.close()
    assert os.stat(path).st_mtime == LONG_AGO
    assert not os.path.exists(f"{root}/{layout.USES}")
