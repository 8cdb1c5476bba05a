"""What verify finds, what it does not, and how a store is covered in parts."""

import os

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from stepaudio_cas.artifact.signing import Signer
from stepaudio_cas.errors import Damaged, Unavailable
from stepaudio_cas.maintenance import verify
from stepaudio_cas.maintenance.findings import Share
from stepaudio_cas.maintenance.verify import Verification
from stepaudio_cas.store import layout
from stepaudio_cas.store.local import LocalBackend
from stepaudio_cas.store.store import Store
from tests.maintenance.filled import (
    MODEL,
    documents,
    fill,
    filled,
    flipped,
    found,
    in_memory,
    later,
)
from tests.support.backends import BACKENDS
from tests.support.faulty import FaultyBackend
from tests.support.values import entry

OURS = Signer([b"0123456789abcdef"])
THEIRS = Signer([b"fedcba9876543210"])


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(verify, "_PATIENCE", 0.0)


@pytest.mark.parametrize("kind", BACKENDS)
def test_a_whole_store_is_all_well(kind, tmp_path):
    store = filled(BACKENDS[kind](tmp_path), 12)
    verification = Verification(store, clock=later)
    assert list(verification.run()) == []
    assert (verification.entries, verification.objects, verification.fingerprints) == (12, 12, 1)


def test_an_empty_store_is_all_well(tmp_path):
    assert found(Store(LocalBackend(tmp_path / "nowhere"))) == []
    assert not (tmp_path / "nowhere").exists()


@pytest.fixture(scope="module")
def small():
    """A store whose documents hypothesis damages, one at a time, and that is put right again."""
    return in_memory("flips", 2)


@given(data=st.data())
@settings(max_examples=120, deadline=None)
def test_any_bit_of_any_document_that_flips_is_found(small, data):
    whole = documents(small)
    path = data.draw(st.sampled_from(sorted(whole)))
    bit = data.draw(st.integers(0, 8 * len(whole[path]) - 1))
    damages(small, path, whole[path], flipped(whole[path], bit))


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_any_document_that_is_cut_anywhere_is_found(small, data):
    whole = documents(small)
    path = data.draw(st.sampled_from(sorted(whole)))
    length = data.draw(st.integers(0, len(whole[path]) - 1))
    damages(small, path, whole[path], whole[path][:length])


def damages(store, path, whole, damaged):
    store.backend.put(path, damaged)
    kinds = [(kind, where) for kind, where in found(store) if kind != "orphan"]
    store.backend.put(path, whole)
    assert [where for _, where in kinds] == [path]
    assert kinds[0][0] in {"object", "manifest", "fingerprint"}
    assert found(store) == []


def test_an_entry_whose_object_is_gone_is_found_and_objects_of_nobody(tmp_path):
    store = in_memory(tmp_path)
    first, second = fill(store, [0, 1])
    store.backend.delete(layout.object_path(first.object))
    store.backend.delete(layout.manifest_path(second.key))
    assert found(store) == [
        ("object-missing", layout.manifest_path(first.key)),
        ("orphan", layout.object_path(second.object)),
    ]


def test_a_young_object_of_nobody_may_belong_to_a_writer(tmp_path):
    store = in_memory(tmp_path)
    store.backend.put(layout.object_path(blake3(b"new").hexdigest()), b"new")
    assert list(Verification(store).run()) == []
    assert len(found(store)) == 1


def test_two_entries_may_share_an_object_and_one_of_them_may_go(tmp_path):
    store = in_memory(tmp_path, 0)
    for number in (1, 2):
        manifest, blob = entry(number, value=([1], [2], [3]))
        store.commit(manifest, blob)
    assert found(store) == []
    store.backend.delete(layout.manifest_path(manifest.key))
    assert found(store) == []


def test_a_manifest_that_lies_about_the_size_is_found(tmp_path):
    store = in_memory(tmp_path)
    manifest, _ = entry(0)
    path = layout.manifest_path(manifest.key)
    store.backend.put(path, manifest._replace(size=manifest.size + 1).seal())
    assert ("size", path) in found(store)


def test_a_manifest_under_another_key_is_found(tmp_path):
    store = in_memory(tmp_path)
    first, second = fill(store, [0, 1])
    path = layout.manifest_path(first.key)
    store.backend.put(path, store.backend.get(layout.manifest_path(second.key)))
    assert found(store) == [
        ("foreign", path), ("orphan", layout.object_path(first.object)),
    ]  # fmt: skip


def test_signatures_are_checked_when_there_is_a_key(tmp_path):
    store = in_memory(tmp_path, 3, signer=OURS)
    assert found(store) == []
    paths = [layout.manifest_path(entry(number)[0].key) for number in (0, 1)]
    manifest, _ = entry(0)
    store.backend.put(paths[0], manifest.seal())
    store.backend.put(paths[1], entry(1)[0].seal(THEIRS))
    assert found(store) == [("signature", paths[1]), ("unsigned", paths[0])]
    assert found(Store(store.backend)) == []


def test_an_entry_of_a_newer_version_is_a_note_and_its_object_no_orphan(tmp_path):
    store = in_memory(tmp_path, 2)
    manifest, _ = entry(0)
    body = manifest.seal()[:-74].replace(b'"format":1', b'"format":2')
    sealed = body + b',"sum":"' + blake3(body).hexdigest().encode() + b'"}'
    store.backend.put(layout.manifest_path(manifest.key), sealed)
    findings = list(Verification(store, clock=later).run())
    assert [(f.kind, f.is_note) for f in findings] == [("format", True)]


def test_a_fingerprint_that_is_missing_is_told_once(tmp_path):
    store = in_memory(tmp_path)
    path = layout.fingerprint_path(MODEL.id)
    store.backend.delete(path)
    assert found(store) == [("fingerprint-missing", path)]


@pytest.mark.parametrize(
    "path",
    [
        f"{layout.OBJECTS}/ab/readme.txt",
        f"{layout.OBJECTS}/ab/{'cd' * 32}",
        f"{layout.OBJECTS}/ab/deeper/{'ab' * 32}",
        f"{layout.MANIFESTS}/ab/{'ab' * 32}",
        f"{layout.FINGERPRINTS}/{'ab' * 32}",
        f"{layout.PINS}/ab/{'ab' * 31}",
    ],
)
def test_names_that_are_not_ours_are_told(tmp_path, path):
    store = in_memory(tmp_path)
    store.backend.put(path, b"?")
    assert found(store) == [("stray", path)]


def test_on_a_disk_they_are_told_beside_the_shards_too(root):
    store = filled(LocalBackend(root), 2)
    store.backend.put(f"{layout.OBJECTS}/zz/file", b"?")
    store.backend.put(f"{layout.MANIFESTS}/file", b"?")
    assert found(store) == [
        ("stray", f"{layout.MANIFESTS}/file"), ("stray", f"{layout.OBJECTS}/zz"),
    ]  # fmt: skip


def test_what_killed_writers_left_is_told_when_it_is_old(root):
    store = filled(LocalBackend(root), 2)
    [manifest, _] = fill(store, [0, 1])
    path = f"{layout.MANIFESTS}/{manifest.key[:2]}/.tmp-1-abc"
    (root / path).write_bytes(b"{")
    assert list(Verification(store).run()) == []
    assert found(store) == [("leftover", path)]


@pytest.mark.parametrize("of", [1, 3, 7, 256])
def test_the_parts_cover_the_store_and_nothing_twice(tmp_path, of):
    store = in_memory(tmp_path, 40)
    backend = store.backend
    for number in range(0, 40, 4):
        manifest, _ = entry(number)
        backend.put(layout.object_path(manifest.object), b"damaged")
        other, _ = entry(number + 1)
        backend.put(layout.manifest_path(other.key), b"damaged")
        backend.delete(layout.object_path(entry(number + 2)[0].object))
        backend.delete(layout.manifest_path(entry(number + 3)[0].key))
    backend.put(layout.fingerprint_path(MODEL.id), b"damaged")
    backend.put(f"{layout.PINS}/stray", b"")
    whole = found(store)
    parts = [Verification(store, Share(number, of), clock=later) for number in range(1, of + 1)]
    findings = [(f.kind, f.path) for part in parts for f in part.run()]
    assert sorted(findings) == whole
    assert len(set(findings)) == len(whole) >= 42
    assert sum(part.entries for part in parts) == 30
    assert sum(part.objects for part in parts) == 30


def test_as_many_steps_are_made_as_were_said(tmp_path):
    store = in_memory(tmp_path)
    for share in (Share(), Share(1, 3), Share(3, 3)):
        verification, steps = Verification(store, share), []
        list(verification.run(lambda steps=steps: steps.append(1)))
        assert len(steps) == verification.steps


def test_a_document_that_cannot_be_read_is_a_finding(tmp_path):
    backend = FaultyBackend(in_memory(tmp_path).backend)
    bad = layout.object_path(entry(2)[0].object)

    def refuse(path):
        if path == bad:
            raise OSError(5, "Input/output error")

    backend.hooks["get"] = refuse
    assert found(Store(backend)) == [("unreadable", bad)]


def test_a_manifest_that_cannot_be_read_may_refer_to_anything(tmp_path):
    backend = FaultyBackend(in_memory(tmp_path).backend)
    bad = layout.manifest_path(entry(2)[0].key)

    def refuse(path):
        if path == bad:
            raise OSError(5, "Input/output error")

    backend.hooks["get"] = refuse
    assert found(Store(backend)) == [("unreadable", bad)]


def test_a_store_that_does_not_answer_ends_it(tmp_path):
    backend = FaultyBackend(in_memory(tmp_path, 80).backend)
    backend.fail("get", ConnectionError("gone"))
    with pytest.raises(Unavailable, match="does not answer: ConnectionError: gone"):
        found(Store(backend))
    backend.mend()
    backend.fail("list", ConnectionError("gone"))
    with pytest.raises(ConnectionError):
        found(Store(backend))


def test_a_backend_that_answers_in_bulk_is_asked_in_bulk(tmp_path):
    class Bulky(FaultyBackend):
        asked = 0

        def get_many(self, paths, **options):
            self.asked += 1
            return [self.one(path) for path in paths]

        def one(self, path):
            return Damaged("too-large", "") if path == self.large else self.inner.get(path)

    store = in_memory(tmp_path, 30)
    backend = Bulky(store.backend)
    backend.large = layout.object_path(entry(3)[0].object)
    assert found(Store(backend)) == []  # the second look, at it alone, shows that it is whole
    assert backend.asked > 0
    assert [verb for verb, _ in backend.calls].count("get") == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_a_finding(root):
    store = filled(LocalBackend(root), 3)
    path = layout.object_path(entry(1)[0].object)
    (root / path).chmod(0)
    assert found(store) == [("unreadable", path)]
