"""Writers, gc and readers at work between any two steps of verify: no false finding."""

import pytest

from stepaudio_cas.maintenance import verify
from stepaudio_cas.maintenance.verify import Verification
from stepaudio_cas.store import layout
from stepaudio_cas.store.store import Store
from tests.maintenance.filled import fill, found, in_memory, later
from tests.support.faulty import FaultyBackend
from tests.support.values import entry


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(verify, "_PATIENCE", 0.0)


@pytest.fixture
def backend(tmp_path):
    return FaultyBackend(in_memory(tmp_path).backend)


MANIFEST, BLOB = entry(3)
PATH, OBJECT = layout.manifest_path(MANIFEST.key), layout.object_path(MANIFEST.object)


def once(backend, verb, where, work):
    """Do something the first time a verb is asked for this path."""

    def hook(path):
        if path == where and not done:
            done.append(path)
            work()

    done = []
    backend.hooks[verb] = hook
    return done


def remove(backend):
    """What gc does."""
    backend.inner.delete(PATH)
    backend.inner.delete(OBJECT)


@pytest.mark.parametrize(
    ("verb", "where"),
    [
        ("get", OBJECT),
        ("list", f"{layout.MANIFESTS}/{MANIFEST.key[:2]}"),
        ("list", f"{layout.OBJECTS}/{MANIFEST.object[:2]}"),
        ("get", PATH),
    ],
)
def test_an_entry_that_gc_removes_meanwhile_is_nothing(backend, verb, where):
    done = once(backend, verb, where, lambda: remove(backend))
    assert found(Store(backend)) == []
    assert done


def test_an_entry_removed_between_its_manifest_and_its_object_is_nothing(backend):
    backend.inner.delete(OBJECT)  # its manifest is just being looked at
    done = once(backend, "stat", OBJECT, lambda: backend.inner.delete(PATH))
    assert found(Store(backend)) == []
    assert done


def test_an_entry_whose_object_comes_back_is_nothing(backend):
    backend.inner.delete(OBJECT)
    done = once(backend, "stat", OBJECT, lambda: backend.inner.put(OBJECT, BLOB))
    assert found(Store(backend)) == []
    assert done


def test_an_entry_written_after_its_shards_of_objects_were_listed_is_nothing(backend):
    new, _ = entry(50)
    where = f"{layout.MANIFESTS}/{new.key[:2]}"
    done = once(backend, "list", where, lambda: fill(Store(backend.inner), [50]))
    assert list(Verification(Store(backend)).run()) == []
    assert done


def test_what_is_half_written_at_the_first_look_is_nothing(backend):
    """Where a document does not appear in one step."""
    for path, whole in ((OBJECT, BLOB), (PATH, backend.inner.get(PATH))):
        backend.inner.put(path, whole[:3])
        looks = []

        def finish(asked, path=path, whole=whole, looks=looks):
            if asked == path:
                looks.append(asked)
                if len(looks) == 2:
                    backend.inner.put(path, whole)

        backend.hooks["get"] = finish
        assert found(Store(backend)) == []
        assert len(looks) >= 2


def test_an_orphan_that_somebody_writes_again_is_none(backend):
    backend.inner.delete(PATH)
    store = Store(backend)
    old = later()
    assert [f.kind for f in Verification(store, clock=lambda: old).run()] == ["orphan"]

    def write_again():
        _, written = backend.inner._documents[OBJECT]
        backend.inner._documents[OBJECT] = (BLOB, written + 10_000)

    done = once(backend, "stat", OBJECT, write_again)
    assert list(Verification(store, clock=lambda: old).run()) == []
    assert done


def test_only_what_is_fresh_and_may_be_half_written_is_waited_for(backend, monkeypatch):
    pauses = []
    monkeypatch.setattr(verify.time, "sleep", pauses.append)
    backend.inner.put(OBJECT, b"damaged")
    for clock, store, expected in (
        (later, Store(backend), 0),  # it is old
        (verify.time.time, Store(backend), 1),
        (verify.time.time, Store(backend.inner), 0),  # it appeared in one step
    ):
        assert [f.kind for f in Verification(store, clock=clock).run()] == ["object"]
        assert len(pauses) == expected
        pauses.clear()
