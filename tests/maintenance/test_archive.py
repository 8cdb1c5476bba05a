"""Export files: the same bytes for the same content, taken in again whole."""

import io
import json
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepaudio_cas import make_recipe
from stepaudio_cas.artifact.manifest import open_manifest
from stepaudio_cas.artifact.signing import Signer
from stepaudio_cas.maintenance.archive import INDEX, BadArchive, Reader
from stepaudio_cas.maintenance.exchange import Export
from stepaudio_cas.maintenance.inventory import manifests
from stepaudio_cas.store import layout
from stepaudio_cas.store.local import LocalBackend
from stepaudio_cas.store.memory import MemoryBackend
from stepaudio_cas.store.store import Store
from tests.maintenance.filled import documents, filled, flipped, found, in_memory, readable
from tests.maintenance.tars import exported, imported, unpacked
from tests.support.backends import BACKENDS
from tests.support.values import entry


@pytest.fixture
def source(tmp_path):
    return in_memory(f"{tmp_path}-source", 5)


@pytest.fixture(params=BACKENDS)
def target(request, tmp_path):
    return Store(BACKENDS[request.param](tmp_path))


def test_what_comes_in_is_what_went_out(source, target):
    data, refused = exported(source)
    assert refused == []
    assert imported(target, data) == ([], (5, 0, 0))
    assert documents(target) == documents(source)
    assert imported(target, data) == ([], (0, 5, 0))
    assert found(target) == []


def test_the_same_content_makes_the_same_bytes_wherever_it_is(source, target):
    data, _ = exported(source)
    imported(target, data)
    assert exported(target)[0] == data == exported(source)[0]


def test_the_index_comes_first_and_objects_before_their_manifests(source):
    data, _ = exported(source)
    members = unpacked(data)
    index = json.loads(members[0][1])
    assert members[0][0].name == INDEX
    assert index == {
        "format": 1, "entries": 5, "objects": 5, "fingerprints": 1,
        "bytes": sum(len(content) for _, content in members[1:]),
    }  # fmt: skip
    names = [info.name for info, _ in members]
    keys = [layout.digest_in(name) for name in names if name.startswith(layout.MANIFESTS)]
    assert keys == sorted(keys)
    for key in keys:
        named = source.read(key).manifest
        before = names[: names.index(layout.manifest_path(key))]
        assert layout.object_path(named.object) in before
        assert layout.fingerprint_path(named.fingerprint) in before
    assert {(i.mtime, i.uid, i.gid, i.mode, i.uname) for i, _ in members} == {(0, 0, 0, 0o644, "")}


def test_unpacked_by_tar_it_is_a_store(source, tmp_path):
    with tarfile.open(fileobj=io.BytesIO(exported(source)[0])) as tar:
        tar.extractall(tmp_path / "image", filter="data")
    unpacked_ = Store(LocalBackend(tmp_path / "image"))
    assert readable(unpacked_) == readable(source)
    assert found(unpacked_) == []


def test_an_object_of_two_entries_is_in_it_once(tmp_path):
    store = in_memory(tmp_path, 0)
    for number in (1, 2):
        store.commit(*entry(number, value=([1], [2], [3])))
    data, _ = exported(store)
    assert Reader(io.BytesIO(data)).index[:2] == (2, 1)
    target = in_memory(f"{tmp_path}-target", 0)
    assert imported(target, data) == ([], (2, 0, 0))
    assert readable(target) == readable(store)


def test_what_is_damaged_is_named_and_the_rest_is_written(source):
    source.backend.put(layout.object_path(entry(0)[0].object), b"damaged")
    source.backend.put(layout.manifest_path(entry(1)[0].key), b"damaged")
    data, refused = exported(source)
    assert {r.path for r in refused} == {layout.manifest_path(entry(n)[0].key) for n in (0, 1)}
    assert Reader(io.BytesIO(data)).index.entries == 3


def test_an_entry_that_goes_meanwhile_is_left_out(source):
    kept = list(manifests(source.backend))
    source.backend.delete(layout.manifest_path(kept[0].key))
    source.backend.delete(layout.object_path(kept[0].manifest.object))
    file = io.BytesIO()
    export = Export(source, file)
    assert list(export.run(kept)) == []
    assert export.counts.entries == 4


def test_who_was_first_stays(source, tmp_path):
    target = in_memory(f"{tmp_path}-target", 0)
    ours, blob = entry(0, value=([9], [9], [9]))
    target.commit(ours, blob)
    assert imported(target, exported(source)[0]) == ([], (4, 1, 0))
    assert target.read(ours.key).blob == blob
    assert [kind for kind, _ in found(target)] == []


@pytest.mark.parametrize(("path", "new"), [("object", 0), ("manifest", 1)])
def test_what_is_damaged_there_was_not_first(source, tmp_path, path, new):
    manifest, blob = entry(0)
    target = in_memory(f"{tmp_path}-target", 5)
    where = {
        "object": layout.object_path(manifest.object),
        "manifest": layout.manifest_path(manifest.key),
    }
    target.backend.put(where[path], b"damaged")
    assert imported(target, exported(source)[0]) == ([], (new, 5 - new, 0))
    assert target.read(manifest.key).blob == blob
    assert found(target) == []


def test_what_is_there_and_not_ours_to_judge_stays_and_is_told(source, tmp_path):
    signer, theirs = Signer([b"0123456789abcdef"]), Signer([b"fedcba9876543210"])
    target = Store(MemoryBackend(str(tmp_path)), signer=signer)
    manifest, _ = entry(0)
    path = layout.manifest_path(manifest.key)
    target.backend.put(path, manifest.seal(theirs))
    for dry in (True, False):
        refused, counts = imported(target, exported(source)[0], dry=dry)
        assert counts == (4, 0, 1)
        assert refused[0][0] == path
        assert refused[0][1].startswith("what is there stays: signature")
    assert target.backend.get(path) == manifest.seal(theirs)


def test_what_is_imported_is_signed_with_our_key_and_nothing_else_changes(tmp_path):
    theirs, ours = Signer([b"fedcba9876543210"]), Signer([b"0123456789abcdef"])
    plain = in_memory(f"{tmp_path}-plain", 2)
    signed = in_memory(f"{tmp_path}-signed", 2, signer=theirs)
    plain.commit(*entry(7, extra={"deep": [[[[[[[[[["kept"]]]]]]]]]], "zeta": 1.5}))
    for source in (plain, signed):
        target = Store(MemoryBackend(f"{source.url}-target"), signer=ours)
        data, _ = exported(source)
        refused, counts = imported(target, data)
        assert (refused, counts[2]) == ([], 0)
        for key, (manifest, blob) in readable(source).items():
            assert target.read(key).manifest == manifest
            assert target.read(key).blob == blob
        assert found(target) == []
        again, _ = exported(target)
        third = Store(MemoryBackend(f"{source.url}-third"), signer=ours)
        imported(third, again)
        assert documents(third) == documents(target), "what is signed by us is left as it is"


def test_with_keys_that_only_verify_nothing_is_signed_and_nothing_else_is_taken(tmp_path):
    key = pytest.importorskip("stepaudio_cas.artifact.signing").Ed25519
    pytest.importorskip("cryptography")
    pair = key(private=bytes(range(32)))
    reader = Signer([key(public=pair.public)])
    signed = in_memory(f"{tmp_path}-signed", 2, signer=Signer([pair]))
    plain = in_memory(f"{tmp_path}-plain", 3)
    target = Store(MemoryBackend(str(tmp_path)), signer=reader)
    assert imported(target, exported(signed)[0]) == ([], (2, 0, 0))
    refused, counts = imported(target, exported(plain)[0])
    assert counts == (0, 0, 3)
    assert {reason.partition(":")[0] for _, reason in refused} == {"unsigned"}


def test_without_a_key_a_signature_comes_along(tmp_path):
    signer = Signer([b"0123456789abcdef"])
    source = in_memory(f"{tmp_path}-source", 2, signer=signer)
    target = in_memory(f"{tmp_path}-target", 0)
    imported(target, exported(source)[0])
    assert documents(target) == documents(source)
    sealed = target.backend.get(layout.manifest_path(entry(0)[0].key))
    assert open_manifest(sealed, entry(0)[0].key, signer)


def test_a_dry_run_says_what_is_new_and_writes_nothing(source, target):
    data, _ = exported(source)
    assert imported(target, data, dry=True, pinning=True) == ([], (5, 0, 0))
    assert list(target.backend.list("v1")) == []


def test_what_is_imported_may_be_pinned_new_or_not(source, target):
    data, _ = exported(source)
    imported(target, data)
    imported(target, data, pinning=True)
    pins = {layout.digest_in(entry.path) for entry in target.backend.list(layout.PINS)}
    assert pins == readable(source).keys()


def test_voices_baked_into_an_image_are_hits(open_cache, root, tmp_path):
    cache = open_cache(root)
    recipes = [make_recipe("voice/1", params={"voice": number}) for number in range(4)]
    values = [
        cache.get_or_compute(recipe, lambda n=number: ([n], [n, n], [7]))
        for number, recipe in enumerate(recipes)
    ]
    cache.flush()
    data, _ = exported(Store(LocalBackend(root)))
    assert imported(Store(LocalBackend(tmp_path / "image")), data) == ([], (4, 0, 0))
    image = open_cache(tmp_path / "image", memory="0")
    assert [image.get(recipe) for recipe in recipes] == values
    assert image.stats()["counters"]["hit.disk"] == 4


SMALL = exported(in_memory("archive-damage", 3))[0]
WHOLE = readable(in_memory("archive-damage", 3))


def survives(data, name):
    """However it is damaged: what is imported is right, and what is missing is told."""
    target = Store(MemoryBackend(name))
    MemoryBackend._spaces[name].clear()
    try:
        refused, counts = imported(target, data)
    except BadArchive:
        assert list(target.backend.list("v1")) == []
        return
    there = readable(target)
    assert there == {key: WHOLE[key] for key in there}
    assert len(there) == counts[0]
    assert counts[0] == len(WHOLE) or refused
    assert found(target) in ([], [("fingerprint-missing", *_models())])


def _models():
    return [path for path in documents(in_memory("archive-damage", 3)) if "/fingerprints/" in path]


@given(st.integers(0, 8 * len(SMALL) - 1))
@settings(max_examples=150, deadline=None)
def test_any_bit_of_it_may_flip(bit):
    survives(flipped(SMALL, bit), "archive-flipped")


@given(st.integers(0, len(SMALL) - 1))
@settings(max_examples=100, deadline=None)
def test_it_may_be_cut_anywhere(length):
    data = SMALL[:length]
    survives(data, "archive-cut")


def test_a_file_that_is_cut_between_two_members_is_told_to_be_cut(tmp_path):
    members = unpacked(SMALL)
    at = members[-1][0].offset
    target = in_memory(tmp_path, 0)
    refused, counts = imported(target, SMALL[:at])
    assert (refused, counts) == ([("", f"it is cut off at {at} bytes")], (2, 0, 1))
    refused, counts = imported(target, SMALL[:at] + bytes(1024))
    assert counts == (0, 2, 1)
    assert "2 of 3 entries" in refused[0][1]


def test_a_store_of_another_backend_has_the_same_archive(root):
    assert exported(filled(LocalBackend(root), 3))[0] == SMALL
