"""A chain of two stores, the lower of which is poisoned, loses things, or is overtaken."""

import threading

import pytest

from stepaudio_cas.store import layout
from stepaudio_cas.store.local import LocalBackend
from stepaudio_cas.store.store import Found, Store
from tests.support.values import Computation, counters, errors, recipe, tokens


@pytest.fixture
def upper(tmp_path):
    return LocalBackend(tmp_path / "upper")


@pytest.fixture
def lower(tmp_path):
    return LocalBackend(tmp_path / "lower")


@pytest.fixture
def fill(open_cache, lower):
    """Let another machine have encoded voice 0 into the lower store."""

    def fill_():
        with open_cache(lower.root, memory="0", deadline=60.0) as cache:
            cache.get_or_compute(recipe(), Computation())

    return fill_


@pytest.fixture
def chain(open_cache, upper, lower):
    return open_cache(f"{upper.root},{lower.root}", memory="0", deadline=60.0)


def only_object(backend):
    [found] = backend.list(layout.OBJECTS)
    return found.path


def value_in(open_cache, backend):
    return open_cache(backend.root, mode="ro", memory="0", deadline=60.0).get(recipe())


def flip(content):
    return content[:-1] + bytes([content[-1] ^ 1])


def test_an_entry_of_the_lower_store_is_promoted_whole(chain, fill, open_cache, upper):
    fill()
    assert chain.get_or_compute(recipe(), None) == tokens()
    assert chain.flush()
    assert value_in(open_cache, upper) == tokens()
    found = counters(chain)
    assert (found["hit.disk2"], found["promoted"], found["stored"]) == (1, 1, 1)
    assert chain.get_or_compute(recipe(), None) == tokens()
    assert counters(chain)["hit.disk"] == 1


@pytest.mark.parametrize("what", ["object", "manifest"])
def test_a_poisoned_entry_is_neither_returned_nor_promoted(
    chain, fill, open_cache, upper, lower, what
):
    fill()
    path = only_object(lower) if what == "object" else layout.manifest_path(recipe().key)
    lower.put(path, flip(lower.get(path)))
    compute = Computation()
    assert chain.get_or_compute(recipe(), compute) == tokens()
    assert compute.runs == 1
    assert chain.flush()
    assert errors(chain) == {f"error.{what}"}
    assert "promoted" not in counters(chain)
    assert value_in(open_cache, upper) == tokens()
    assert value_in(open_cache, lower) == tokens(), "it was not healed"


def test_promotion_checks_the_digest_again(chain, fill, lower, upper, monkeypatch):
    """Between reading and writing the bytes have been in memory for a while."""
    fill()
    read = Store.read

    def read_then_flip(self, key, **options):
        found = read(self, key, **options)
        poisoned = self.backend.url == lower.url and found is not None
        return Found(found.manifest, flip(found.blob)) if poisoned else found

    monkeypatch.setattr(Store, "read", read_then_flip)
    chain.get_or_compute(recipe(), Computation())
    assert chain.flush()
    assert list(upper.list("v1/objects")) == list(upper.list("v1/manifests")) == []
    found = counters(chain)
    assert "promoted" not in found
    assert (found["dropped"], found["error.object"]) == (1, 1)


def test_a_manifest_of_the_lower_store_without_its_object_is_a_miss(chain, fill, lower, open_cache):
    fill()
    lower.delete(only_object(lower))
    compute = Computation()
    assert chain.get_or_compute(recipe(), compute) == tokens()
    assert compute.runs == 1
    assert chain.flush()
    assert errors(chain) == {"error.object-missing"}
    assert value_in(open_cache, lower) == tokens()


def test_a_poisoned_upper_store_is_served_and_healed_by_the_lower_one(
    chain, fill, upper, open_cache
):
    fill()
    chain.get_or_compute(recipe(), None)
    assert chain.flush()
    path = only_object(upper)
    upper.put(path, flip(upper.get(path)))
    assert chain.get_or_compute(recipe(), None) == tokens()
    assert chain.flush()
    assert errors(chain) == {"error.object"}
    assert value_in(open_cache, upper) == tokens()


def test_who_was_first_in_the_lower_store_wins_everywhere(open_cache, upper, lower, make_faulty):
    """Another machine finishes between our look and our write: its artifact replaces ours."""
    chain = open_cache(f"{upper.root},{lower.root}", deadline=60.0)

    def compute():
        with open_cache(lower.root, memory="0", deadline=60.0) as elsewhere:
            elsewhere.put(recipe(), ([1], [1], [1]))
        return [2], [2], [2]

    chain.get_or_compute(recipe(), compute)
    assert chain.flush()
    assert chain.get_or_compute(recipe(), None) == ([1], [1], [1])
    assert value_in(open_cache, upper) == value_in(open_cache, lower) == ([1], [1], [1])
    assert counters(chain)["lost"] == 1


def test_a_lower_store_that_fails_costs_nothing_but_itself(open_on, make_faulty, upper):
    lower = make_faulty()
    cache = open_on(upper, lower)
    for verb in ("get", "put"):
        lower.fail(verb, OSError(5, "broken"))
    compute = Computation()
    for _ in range(3):
        assert cache.get_or_compute(recipe(), compute) == tokens()
    assert compute.runs == 1
    assert cache.flush()
    assert errors(cache) == {"error.store.faulty"}
    assert counters(cache)["hit.disk"] == 2
    assert counters(cache)["dropped"] == 1


def test_an_upper_store_that_fails_leaves_the_lower_one_in_use(open_on, make_faulty, lower, fill):
    fill()
    upper = make_faulty()
    cache = open_on(upper, lower)
    for verb in ("get", "put"):
        upper.fail(verb, OSError(5, "broken"))
    for _ in range(8):
        assert cache.get_or_compute(recipe(), None) == tokens()
    assert counters(cache)["hit.disk"] == 8
    assert cache.chain.tiers[0].reading.state == "open"
    assert cache.get_or_compute(recipe(1), Computation(number=1)) == tokens(1)
    assert cache.flush()
    compute = Computation(number=1)
    assert cache.get_or_compute(recipe(1), compute) == tokens(1)
    assert compute.runs == 0, "the new voice did not reach the store that works"


def test_who_has_lost_in_one_store_hands_the_winner_on_to_the_next(open_cache, tmp_path):
    """Or each of two shared stores would go on with an artifact of its own, and so the fleet."""
    shared, far = tmp_path / "shared", tmp_path / "far"
    disks = [tmp_path / name for name in ("one", "other")]
    one, other = (open_cache(f"{disk},{shared},{far}", memory="0", deadline=60.0) for disk in disks)
    arrived, go_on = threading.Event(), threading.Event()
    distant = one.chain.tiers[2]
    commit = distant.commit

    def delayed(*entry, **how):
        arrived.set()
        assert go_on.wait(60)
        return commit(*entry, **how)

    distant.commit = delayed
    one.put(recipe(), tokens(1))
    assert arrived.wait(60)  # the shared store has it by now
    other.put(recipe(), tokens(2))
    assert other.flush(60)
    go_on.set()
    assert one.flush(60)
    stores = [*disks, shared, far]
    assert [value_in(open_cache, LocalBackend(store)) for store in stores] == [tokens(1)] * 4
