"""Bits that flip and files that are cut: never a wrong value, always counted, always healed."""

import pytest

from stepaudio_cas.identity.digest import digest_bytes
from stepaudio_cas.store import layout
from stepaudio_cas.store.local import LocalBackend
from stepaudio_cas.store.store import Store
from tests.support import values
from tests.support.values import Computation, counters, errors, recipe, tokens


class Entry:
    """One entry on disk whose two files a test damages."""

    def __init__(self, cache, root, value):
        self.cache = cache
        self.value = value
        self.recipe = recipe()
        cache.get_or_compute(self.recipe, Computation(value))
        [self.manifest] = (root / layout.MANIFESTS).rglob("*.json")
        [self.object] = [p for p in (root / layout.OBJECTS).rglob("*") if p.is_file()]

    def survives(self, path, damaged):
        """Damage a file, and hold the cache to all three promises."""
        path.write_bytes(damaged)
        again, before = Computation(self.value), self.cache.stats()["errors"]
        assert self.cache.get_or_compute(self.recipe, again) == self.value
        assert again.runs == 1, "a damaged entry was taken for a whole one"
        counted = self.cache.stats()["errors"] - before
        assert counted >= 1, "nothing was counted"
        assert self.cache.get_or_compute(self.recipe, again) == self.value
        assert again.runs == 1, "it was not healed"
        assert self.cache.stats()["errors"] == before + counted


@pytest.fixture(params=["tokens", "value"])
def entry(request, open_cache, root):
    value = tokens() if request.param == "tokens" else {"a": (1, 2.5, "b"), "c": [None, b"\x00"]}
    return Entry(open_cache(memory="0", deadline=60.0), root, value)


def flips(content):
    for position in range(len(content)):
        changed = bytearray(content)
        changed[position] ^= 1 << position % 8
        yield bytes(changed)


def test_every_byte_of_a_manifest_may_flip(entry):
    for damaged in flips(entry.manifest.read_bytes()):
        entry.survives(entry.manifest, damaged)
    assert errors(entry.cache) == {"error.manifest"}


def test_every_byte_of_an_object_may_flip(entry):
    for damaged in flips(entry.object.read_bytes()):
        entry.survives(entry.object, damaged)
    assert errors(entry.cache) == {"error.object"}


def test_a_manifest_may_be_cut_anywhere(entry):
    content = entry.manifest.read_bytes()
    for length in range(1, len(content)):
        entry.survives(entry.manifest, content[:length])
    assert errors(entry.cache) == {"error.manifest"}


def test_an_object_may_be_cut_anywhere(entry):
    content = entry.object.read_bytes()
    for length in range(len(content)):
        entry.survives(entry.object, content[:length])
    assert errors(entry.cache) == {"error.object"}


def test_files_may_be_empty_or_zeroed_or_longer(entry):
    for path in (entry.manifest, entry.object):
        content = path.read_bytes()
        for damaged in (b"", bytes(len(content)), content + b"\x00", content * 2):
            entry.survives(path, damaged)
    assert errors(entry.cache) == {"error.manifest", "error.object", "error.too-large"}


def test_a_manifest_longer_than_any_is_healed(entry):
    entry.survives(entry.manifest, b"{" * (2 << 20))
    assert errors(entry.cache) == {"error.too-large"}


def test_an_object_that_is_gone_is_a_miss(entry):
    entry.object.unlink()
    again = Computation(entry.value)
    assert entry.cache.get_or_compute(entry.recipe, again) == entry.value
    assert entry.cache.get_or_compute(entry.recipe, again) == entry.value
    assert again.runs == 1
    assert errors(entry.cache) == {"error.object-missing"}


def test_the_manifest_of_another_key_is_not_this_ones(entry):
    other = recipe(1)
    entry.cache.get_or_compute(other, Computation(number=1))
    content = (entry.manifest.parents[1] / other.key[:2] / f"{other.key}.json").read_bytes()
    entry.survives(entry.manifest, content)
    assert errors(entry.cache) == {"error.foreign"}


def test_the_object_of_another_entry_is_not_this_ones(entry):
    entry.cache.get_or_compute(recipe(1), Computation(number=1))
    others = [p for p in entry.object.parents[1].rglob("*") if p.is_file() and p != entry.object]
    entry.survives(entry.object, others[0].read_bytes())
    assert errors(entry.cache) <= {"error.object", "error.too-large"}


def test_damage_that_a_non_deterministic_host_heals_gives_one_value_again(entry):
    """The object that takes its place has another name; both values are never seen again."""
    entry.object.write_bytes(b"damaged")
    second = entry.cache.get_or_compute(entry.recipe, lambda: ([1], [2], [3]))
    third = entry.cache.get_or_compute(entry.recipe, lambda: ([4], [5], [6]))
    assert second == third == ([1], [2], [3])


@pytest.mark.parametrize("codec", ["tokens/2", "value/1", "tokens/1"])
def test_an_object_that_is_whole_but_cannot_be_decoded_is_computed(open_cache, root, codec):
    """Of a newer version, say. It is nobody's damage: its digest matches."""
    manifest, _ = values.entry(codec=codec)
    blob = b"\xc1 is no msgpack"
    manifest = manifest._replace(size=len(blob), object=digest_bytes(blob))
    Store(LocalBackend(root)).commit(manifest, blob)
    cache, compute = open_cache(memory="0"), Computation()
    assert cache.get_or_compute(recipe(), compute) == tokens()
    assert compute.runs == 1
    assert errors(cache) == {"error.undecodable"}
    assert "stored" not in counters(cache), "nothing of ours was stored"


def test_a_batch_heals_what_is_damaged_and_computes_nothing_else(open_cache, root):
    cache = open_cache(memory="0", deadline=60.0)
    recipes = [recipe(n) for n in range(6)]
    cache.get_many(recipes, lambda at: [tokens(n) for n in at])
    for number in (1, 4):
        path = root / layout.manifest_path(recipes[number].key)
        path.write_bytes(path.read_bytes()[:-1])
    asked = []

    def compute(at):
        asked.append(list(at))
        return [tokens(n) for n in at]

    for _ in range(2):
        assert cache.get_many(recipes, compute) == [tokens(n) for n in range(6)]
    assert asked == [[1, 4]]
    assert errors(cache) == {"error.manifest"}
