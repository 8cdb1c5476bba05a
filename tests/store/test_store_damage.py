"""What is in a store but is not what it should be: never returned, healed by the next commit."""

import pytest
from blake3 import blake3

from stepaudio_cas.artifact import codec
from stepaudio_cas.artifact.manifest import MAX_BYTES
from stepaudio_cas.artifact.signing import Signer
from stepaudio_cas.errors import Damaged
from stepaudio_cas.store import layout
from stepaudio_cas.store.store import Found, Store
from tests.support.faulty import FaultyBackend
from tests.support.values import entry

OURS, THEIRS = Signer([b"0123456789abcdef"]), Signer([b"fedcba9876543210"])


def kind_of_damage(store, key):
    with pytest.raises(Damaged) as damage:
        store.read(key)
    return damage.value.kind


def spoil_manifest(change):
    def spoil(backend, manifest):
        path = layout.manifest_path(manifest.key)
        backend.put(path, change(backend.get(path)))

    return spoil


def spoil_object(change):
    def spoil(backend, manifest):
        path = layout.object_path(manifest.object)
        backend.put(path, change(backend.get(path)))

    return spoil


def remove_object(backend, manifest):
    backend.delete(layout.object_path(manifest.object))


def copy_from_another_key(backend, manifest):
    other, blob = entry(99)
    Store(backend).commit(other, blob)
    content = backend.get(layout.manifest_path(other.key))
    backend.put(layout.manifest_path(manifest.key), content)


def reseal(**fields):
    def spoil(backend, manifest):
        changed = manifest._replace(**fields)
        backend.put(layout.manifest_path(manifest.key), changed.seal())

    return spoil


DAMAGES = {
    "manifest flipped": ("manifest", spoil_manifest(lambda b: b.replace(b"test/1", b"test/2"))),
    "manifest cut": ("manifest", spoil_manifest(lambda b: b[:-1])),
    "manifest empty": ("manifest", spoil_manifest(lambda b: b"")),
    "manifest foreign bytes": ("manifest", spoil_manifest(lambda b: b"\x00" * 400)),
    "manifest huge": ("too-large", spoil_manifest(lambda b: b"{" * (MAX_BYTES + 1))),
    "manifest of another key": ("foreign", copy_from_another_key),
    "object flipped": ("object", spoil_object(lambda b: b"\xff" + b[1:])),
    "object cut": ("object", spoil_object(lambda b: b[:-1])),
    "object empty": ("object", spoil_object(lambda b: b"")),
    "object longer": ("too-large", spoil_object(lambda b: b + b"x")),
    "object gone": ("object-missing", remove_object),
    "size too small": ("too-large", reseal(size=1)),
    "size too large": ("object", reseal(size=10_000)),
    "size absurd": ("too-large", reseal(size=codec.MAX_BYTES + 1)),
    "size negative": ("manifest", reseal(size=-1)),
    "object is no digest": ("manifest", reseal(object="../../../etc/passwd")),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_never_read_and_the_next_commit_heals_it(store, damage):
    kind, spoil = DAMAGES[damage]
    manifest, blob = entry()
    store.commit(manifest, blob)
    spoil(store.backend, manifest)
    assert kind_of_damage(store, manifest.key) == kind
    healed = store.commit(manifest._replace(label="healed"), blob)
    assert healed.blob == blob
    assert store.read(manifest.key).blob == blob


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_does_not_count_as_first(store, damage):
    manifest, blob = entry(value="first")
    store.commit(manifest, blob)
    DAMAGES[damage][1](store.backend, manifest)
    second = entry(value="second")
    assert store.commit(*second) == Found(*second)
    assert store.read(manifest.key) == Found(*second)


def test_who_heals_at_the_same_time_as_another_gets_the_others_artifact():
    backend = FaultyBackend()
    first, second, damaged = entry(value="first"), entry(value="second"), b"damaged"
    path = layout.manifest_path(first[0].key)
    backend.put(path, damaged)
    store = Store(backend)

    def another_heals_meanwhile(deleted):
        backend.mend()
        assert store.commit(*first) == Found(*first)

    backend.hooks["delete"] = another_heals_meanwhile
    assert store.commit(*second) == Found(*first)
    assert store.read(first[0].key) == Found(*first)


def test_a_manifest_that_vanishes_again_and_again_ends_in_our_own_value():
    backend = FaultyBackend()
    manifest, blob = entry()
    backend.put = lambda path, data, *, create=False: not create
    assert Store(backend).commit(manifest, blob) == Found(manifest, blob)


def test_an_entry_of_a_newer_format_is_left_as_it_is(store):
    manifest, blob = entry()
    path = layout.manifest_path(manifest.key)
    newer = seal_again(manifest.seal().replace(b'"format":1', b'"format":2'))
    store.backend.put(path, newer)
    assert kind_of_damage(store, manifest.key) == "format"
    with pytest.raises(Damaged):
        store.commit(manifest, blob)
    assert store.backend.get(path) == newer


def test_an_entry_signed_with_another_key_is_left_as_it_is(backend):
    manifest, blob = entry()
    theirs, ours = Store(backend, signer=THEIRS), Store(backend, signer=OURS)
    theirs.commit(manifest, blob)
    sealed = backend.get(layout.manifest_path(manifest.key))
    assert kind_of_damage(ours, manifest.key) == "signature"
    with pytest.raises(Damaged):
        ours.commit(*entry(value="ours"))
    assert backend.get(layout.manifest_path(manifest.key)) == sealed
    assert theirs.read(manifest.key) == Found(manifest, blob)


def test_an_unsigned_entry_in_a_signed_store_is_not_read_and_is_replaced(backend):
    unsigned, ours = entry(value="of a stranger"), entry(value="ours")
    Store(backend).commit(*unsigned)
    signed = Store(backend, signer=OURS)
    assert kind_of_damage(signed, ours[0].key) == "unsigned"
    assert signed.commit(*ours) == Found(*ours)
    assert signed.read(ours[0].key) == Found(*ours)


def test_a_signed_entry_is_read_by_who_has_no_key(backend):
    Store(backend, signer=OURS).commit(*entry())
    assert Store(backend).read(entry()[0].key) == Found(*entry())


def test_an_entry_signed_with_an_older_key_is_read_after_rotation(backend):
    Store(backend, signer=OURS).commit(*entry())
    rotated = Signer([b"a new secret of ours", b"0123456789abcdef"])
    assert Store(backend, signer=rotated).read(entry()[0].key) == Found(*entry())


def test_a_signed_manifest_that_was_changed_and_summed_again_is_not_read(backend):
    manifest, blob = entry()
    signed = Store(backend, signer=OURS)
    signed.commit(manifest, blob)
    path = layout.manifest_path(manifest.key)
    backend.put(path, seal_again(backend.get(path).replace(b"test/1", b"test/2")))
    assert kind_of_damage(signed, manifest.key) == "signature"


def seal_again(sealed):
    """Give a changed manifest a sum that matches, as anybody can."""
    body = sealed.rpartition(b',"sum":"')[0]
    return body + b',"sum":"' + blake3(body).hexdigest().encode() + b'"}'
