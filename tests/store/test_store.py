"""Objects and manifests: the order of writing, who was first, and what is refused."""

import os

import pytest

from stepaudio_cas import make_fingerprint
from stepaudio_cas.artifact.signing import Signer
from stepaudio_cas.errors import Damaged
from stepaudio_cas.store import layout
from stepaudio_cas.store.store import Found, Store
from tests.support.backends import ATOMIC
from tests.support.faulty import FaultyBackend
from tests.support.processes import in_threads
from tests.support.values import entry

FINGERPRINT = make_fingerprint(settings={"chunk": 5})


def test_what_was_committed_is_read(store):
    manifest, blob = entry()
    assert store.commit(manifest, blob) == Found(manifest, blob)
    assert store.read(manifest.key) == Found(manifest, blob)
    assert Store(store.backend).read(manifest.key) == Found(manifest, blob)


def test_a_key_that_nobody_has_committed_is_none(store):
    assert store.read(entry()[0].key) is None


def test_an_object_is_its_bytes_under_their_digest(store):
    manifest, blob = entry()
    store.commit(manifest, blob)
    assert store.backend.get(f"v1/objects/{manifest.object[:2]}/{manifest.object}") == blob
    found = {found.path for found in store.backend.list("v1")}
    assert found == {layout.object_path(manifest.object), layout.manifest_path(manifest.key)}


def test_two_keys_may_share_an_object(store):
    one, blob = entry(1, value="same")
    two, _ = entry(2, value="same")
    store.commit(one, blob)
    store.commit(two, blob)
    assert len(list(store.backend.list(layout.OBJECTS))) == 1
    assert store.read(one.key).blob == store.read(two.key).blob == blob


def test_the_first_writer_wins_and_the_second_is_told(store):
    first, second = entry(value="first"), entry(value="second")
    store.commit(*first)
    standing = store.commit(*second)
    assert standing == Found(*first)
    assert store.read(first[0].key) == Found(*first)


@pytest.mark.parametrize("connect", ATOMIC, indirect=True)
def test_of_many_writers_at_once_all_are_told_of_the_same_winner(connect):
    stores = [Store(connect()) for _ in range(8)]
    entries = [entry(value=f"writer {number}") for number in range(8)]
    for store in stores[::2]:
        store.capabilities()
    standing = in_threads(8, lambda n: stores[n].commit(*entries[n]))
    assert len({found.blob for found in standing}) == 1
    assert stores[0].read(entries[0][0].key) == standing[0]


def test_overwrite_wins_over_the_first(store):
    first, second = entry(value="first"), entry(value="second")
    store.commit(*first)
    assert store.commit(*second, overwrite=True) == Found(*second)
    assert store.read(first[0].key) == Found(*second)


def test_an_object_is_written_before_the_manifest_that_names_it():
    backend = FaultyBackend()
    manifest, blob = entry()
    Store(backend).commit(manifest, blob, FINGERPRINT)
    assert [path for verb, path in backend.calls if verb == "put"] == [
        layout.fingerprint_path(FINGERPRINT.id),
        layout.object_path(manifest.object),
        layout.manifest_path(manifest.key),
    ]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("failing", ["fingerprints", "objects", "manifests"])
def test_whichever_write_fails_no_manifest_is_without_its_object(failing, overwrite):
    backend = FaultyBackend()
    manifest, blob = entry()

    def fail(path):
        if f"/{failing}/" in path:
            raise OSError(5, "broken")

    backend.hooks["put"] = fail
    store = Store(backend)
    with pytest.raises(OSError, match="broken"):
        store.commit(manifest, blob, FINGERPRINT, overwrite=overwrite)
    assert store.read(manifest.key) is None
    assert list(backend.list(layout.MANIFESTS)) == []
    backend.mend()
    assert store.commit(manifest, blob, FINGERPRINT) == Found(manifest, blob)
    assert backend.get(layout.fingerprint_path(FINGERPRINT.id)) == FINGERPRINT.document


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("wrong", ["other bytes", "too short", "size"])
def test_bytes_that_are_not_what_the_manifest_says_are_not_stored(store, wrong, overwrite):
    manifest, blob = entry()
    if wrong == "size":
        manifest = manifest._replace(size=manifest.size + 1)
    else:
        blob = blob[:-1] + b"!" if wrong == "other bytes" else blob[:-1]
    with pytest.raises(Damaged) as damage:
        store.commit(manifest, blob, overwrite=overwrite)
    assert damage.value.kind == "object"
    with pytest.raises(Damaged):
        store.adopt(Found(manifest, blob))
    assert list(store.backend.list("v1")) == []


def test_a_fingerprint_is_written_once_by_each_process_and_never_replaced():
    backend = FaultyBackend()
    path = layout.fingerprint_path(FINGERPRINT.id)
    store = Store(backend)
    for number in range(3):
        store.commit(*entry(number), FINGERPRINT)
    assert backend.calls.count(("put", path)) == 1
    assert backend.get(path) == FINGERPRINT.document
    backend.put(path, b"as another version wrote it")
    Store(backend).commit(*entry(4), FINGERPRINT)
    assert backend.get(path) == b"as another version wrote it"


def test_adopting_puts_an_entry_of_another_store_over_what_stands(store):
    ours, theirs = entry(value="ours"), entry(value="theirs", label="theirs", extra={"new": 1})
    store.commit(*ours)
    assert store.adopt(Found(*theirs)) == Found(*theirs)
    assert store.read(ours[0].key) == Found(*theirs)


def test_adopting_signs_with_our_own_key():
    backend, theirs = FaultyBackend(), entry()
    unsigned = Store(FaultyBackend())
    unsigned.commit(*theirs)
    signed = Store(backend, signer=Signer([b"0123456789abcdef"]))
    signed.adopt(unsigned.read(theirs[0].key))
    assert signed.read(theirs[0].key) == Found(*theirs)
    assert b'"mac":"' in backend.get(layout.manifest_path(theirs[0].key))


def test_reading_marks_the_manifest_as_used_unless_told_not_to(local, root):
    manifest, blob = entry()
    store = Store(local)
    store.commit(manifest, blob)
    path = root / layout.manifest_path(manifest.key)
    os.utime(path, (1, 1))
    store.read(manifest.key, touch=False)
    assert path.stat().st_mtime == 1
    store.read(manifest.key)
    assert path.stat().st_mtime > 1


def test_capabilities_are_found_out_once():
    backend = FaultyBackend()
    store = Store(backend)
    assert store.known_capabilities is None
    found = in_threads(4, lambda _: store.capabilities())
    assert all(capabilities is found[0] for capabilities in found)
    assert store.known_capabilities is found[0]
    assert sum(path.endswith("-a") for verb, path in backend.calls if verb == "stat") == 1


def test_where_create_is_not_known_to_be_atomic_the_winner_is_looked_up_again():
    """Two may both be told that they created it: who finds another one there has lost."""
    backend = FaultyBackend()
    ours, theirs = entry(value="ours"), entry(value="theirs")
    put = backend.inner.put

    def overwritten_meanwhile(path, data, *, create=False):
        won = put(path, data, create=create)
        if create and path.startswith(layout.MANIFESTS):
            put(layout.object_path(theirs[0].object), theirs[1])
            put(path, theirs[0].seal())
        return won

    backend.inner.put = overwritten_meanwhile
    assert Store(backend).commit(*ours) == Found(*theirs)
