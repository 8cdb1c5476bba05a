"""What verify mends: from another store, else by quarantine; and what it leaves alone."""

import pytest
from blake3 import blake3

from stepaudio_cas.artifact.signing import Signer
from stepaudio_cas.maintenance.quarantine import quarantine, quarantine_path
from stepaudio_cas.maintenance.repair import Repairer
from stepaudio_cas.maintenance.verify import Verification
from stepaudio_cas.store import layout
from stepaudio_cas.store.local import LocalBackend
from stepaudio_cas.store.memory import MemoryBackend
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
from tests.support.values import Computation, entry, recipe, tokens

FIRST, BLOB = entry(0)
OBJECT, MANIFEST = layout.object_path(FIRST.object), layout.manifest_path(FIRST.key)
FINGERPRINT = layout.fingerprint_path(MODEL.id)


@pytest.fixture(params=BACKENDS)
def store(request, tmp_path):
    return filled(BACKENDS[request.param](tmp_path))


@pytest.fixture
def donor(tmp_path):
    return in_memory(f"{tmp_path}-donor")


def mend(store, *donors, **options):
    """Verify and repair; without orphans, which damaged manifests leave."""
    repairer = Repairer(store, donors, **options)
    findings = Verification(store, repairer=repairer, clock=later).run()
    return [finding for finding in findings if finding.kind != "orphan"]


def aside(store):
    """What is in quarantine."""
    backend = store.backend
    return {entry.path: backend.get(entry.path) for entry in backend.list(layout.QUARANTINE)}


@pytest.mark.parametrize("path", [OBJECT, MANIFEST, FINGERPRINT])
@pytest.mark.parametrize("how", ["damaged", "gone"])
def test_what_another_store_has_whole_is_copied(store, donor, path, how):
    whole = {**documents(donor), **documents(store)}
    if how == "damaged":
        store.backend.put(path, flipped(whole[path], 99))
    elif path != MANIFEST:
        store.backend.delete(path)
    findings = mend(store, donor)
    if (how, path) != ("gone", MANIFEST):
        assert [(f.done, f.mended) for f in findings] == [(f"copied from {donor.url}", True)]
    assert found(store) == []
    assert aside(store) == {}
    assert store.read(FIRST.key).blob == BLOB
    assert documents(store).keys() == whole.keys()
    assert store.backend.get(FINGERPRINT) == MODEL.document


@pytest.mark.parametrize("path", [OBJECT, MANIFEST, FINGERPRINT])
def test_what_no_store_has_is_set_aside_and_never_lost(store, path):
    damaged = flipped(store.backend.get(path), 77)
    store.backend.put(path, damaged)
    findings = mend(store)
    assert findings[0].done == f"moved to {quarantine_path(path, damaged)}"
    assert not any(f.mended for f in findings)
    assert aside(store)[quarantine_path(path, damaged)] == damaged
    assert store.backend.get(path) is None
    assert {kind for kind, _ in found(store)} <= {"orphan", "fingerprint-missing"}


def test_the_entry_is_then_a_miss_and_heals(root, open_cache):
    cache = open_cache(memory="0")
    cache.get_or_compute(recipe(), Computation())
    cache.flush()
    [path] = [p for p in (root / layout.OBJECTS).rglob("*") if p.is_file()]
    path.write_bytes(b"damaged")
    store = Store(LocalBackend(root))
    assert [f.kind for f in mend(store)] == ["object", "object-missing"]
    again = Computation()
    assert cache.get_or_compute(recipe(), again) == tokens()
    assert cache.get_or_compute(recipe(), again) == tokens()
    assert (again.runs, found(store)) == (1, [])
    assert not any(name.startswith("error.") for name in cache.stats()["counters"])


def test_an_entry_whose_artifact_is_another_one_elsewhere_is_replaced_whole(store, donor):
    """Two encodes of one voice differ; the object that is damaged here is nowhere else."""
    other, blob = entry(0, value=([9], [9], [9]), fingerprint=MODEL.id)
    donor.commit(other, blob, overwrite=True)
    donor.backend.delete(OBJECT)
    store.backend.put(OBJECT, b"damaged")
    findings = mend(store, donor)
    assert [(f.kind, f.mended) for f in findings] == [("object", False), ("object-missing", True)]
    assert store.read(FIRST.key).blob == blob
    assert found(store) == []


def test_a_donor_that_is_damaged_too_is_passed_over(store, donor, tmp_path):
    third = in_memory(f"{tmp_path}-third")
    for path in (OBJECT, MANIFEST, FINGERPRINT):
        donor.backend.put(path, b"damaged")
        store.backend.put(path, b"damaged")
    assert {f.done for f in mend(store, donor, third)} == {f"copied from {third.url}"}
    assert found(store) == []


@pytest.mark.parametrize("path", [OBJECT, MANIFEST, FINGERPRINT])
def test_while_a_donor_does_not_answer_nothing_is_touched(store, donor, path):
    down = FaultyBackend(donor.backend, "faulty://down")
    down.fail("get", ConnectionError("no route"))
    store.backend.put(path, b"damaged")
    [finding] = mend(store, Store(down))
    assert finding.done == "left as it is: faulty://down does not answer: no route"
    assert (store.backend.get(path), aside(store)) == (b"damaged", {})
    down.mend()
    [finding] = mend(store, Store(down))
    assert finding.mended


def test_a_dry_run_says_what_it_would_do_and_does_nothing(store, donor):
    donor.backend.delete(MANIFEST)
    store.backend.put(OBJECT, b"damaged")
    store.backend.put(MANIFEST, b"damaged")
    store.backend.put(FINGERPRINT, b"damaged")
    before = documents(store)
    findings = mend(store, donor, dry=True)
    assert {f.path: (f.done, f.mended) for f in findings} == {
        OBJECT: (f"would be copied from {donor.url}", False),
        MANIFEST: ("would be moved to quarantine", False),
        FINGERPRINT: (f"would be copied from {donor.url}", False),
    }
    assert (documents(store), aside(store)) == (before, {})


def newer(manifest):
    body = manifest.seal()[:-74].replace(b'"format":1', b'"format":2')
    return body + b',"sum":"' + blake3(body).hexdigest().encode() + b'"}'


def test_what_is_not_ours_to_judge_is_never_touched(tmp_path, donor):
    ours, theirs = Signer([b"0123456789abcdef"]), Signer([b"fedcba9876543210"])
    store, plain = in_memory(f"{tmp_path}-signed", 3, signer=ours), in_memory(tmp_path, 3)
    for here, sealed in ((store, FIRST.seal(theirs)), (plain, newer(FIRST))):
        here.backend.put(MANIFEST, sealed)
        assert [f.done for f in mend(here, donor)] == ["left as it is: not ours to judge"]
        assert here.backend.get(MANIFEST) == sealed
        assert aside(here) == {}


def test_an_unsigned_entry_in_a_signed_store_is_set_aside(tmp_path):
    store = in_memory(tmp_path, 2)
    signed = Store(store.backend, signer=Signer([b"0123456789abcdef"]))
    assert {f.kind for f in mend(signed)} == {"unsigned"}
    assert len(aside(store)) == 2


def test_what_a_killed_writer_left_is_removed_and_foreign_names_stay(root):
    store = filled(LocalBackend(root), 1)
    left = root / layout.MANIFESTS / FIRST.key[:2] / ".tmp-1-a"
    foreign = left.with_name("notes.txt")
    for path in (left, foreign):
        path.write_bytes(b"?")
    assert [(f.kind, f.done) for f in mend(store, dry=True)] == [
        ("leftover", "would be removed"), ("stray", ""),
    ]  # fmt: skip
    assert left.exists()
    assert [(f.kind, f.done) for f in mend(store)] == [("leftover", "removed"), ("stray", "")]
    assert (left.exists(), foreign.exists()) == (False, True)


def test_what_has_changed_meanwhile_is_not_set_aside(tmp_path):
    backend = MemoryBackend(str(tmp_path))
    backend.put(OBJECT, b"healed")
    assert quarantine(backend, OBJECT, b"damaged") is None
    assert backend.get(OBJECT) == b"healed"


def test_the_same_damage_twice_and_another_one_are_all_kept(tmp_path):
    backend = MemoryBackend(str(tmp_path))
    for damage in (b"one", b"one", b"two"):
        backend.put(OBJECT, damage)
        assert quarantine(backend, OBJECT, damage) is not None
    kept = [backend.get(entry.path) for entry in backend.list(layout.QUARANTINE)]
    assert sorted(kept) == [b"one", b"two"]


def test_an_object_shared_by_two_entries_is_mended_for_both(tmp_path, donor):
    store = in_memory(tmp_path, 0)
    for number in (1, 2):
        manifest, blob = entry(number, value=([1], [2], [3]))
        store.commit(manifest, blob)
        donor.commit(manifest, blob)
    store.backend.put(layout.object_path(manifest.object), b"damaged")
    assert [f.mended for f in mend(store, donor)] == [True]
    assert found(store) == []


def test_pins_stay_when_an_entry_is_set_aside(tmp_path):
    store = in_memory(tmp_path)
    store.backend.put(layout.pin_path(FIRST.key), b"")
    store.backend.put(MANIFEST, b"damaged")
    mend(store)
    assert store.backend.get(layout.pin_path(FIRST.key)) == b""
    fill(store, [0])
    assert found(store) == []
