"""Callers own what they get, from wherever it came, and may do with it what they like."""

import threading

import numpy as np
import pytest

from stepaudio_cas.store.local import LocalBackend
from tests.support.processes import wait_until
from tests.support.values import counters, recipe

try:
    import torch
except ImportError:
    torch = None


def make_tokens():
    return [1, 2], [3], [4, 5, 6]


def spoil_tokens(value):
    value[0].append(99)
    value[1].clear()
    value[2][0] = -1


def make_nested():
    return {"a": [1, {"b": [2.5, "c"]}], "d": (["e"], b"f"), "g": {}}


def spoil_nested(value):
    value["a"][1]["b"][0] = 0
    value["a"].append("more")
    value["d"][0].append("more")
    value["g"]["more"] = 1
    del value["a"][0]


def make_arrays():
    return [np.arange(6, dtype="float32").reshape(2, 3)], {"x": np.ones(3, dtype="int16")}


def spoil_arrays(value):
    value[0][0][:] = -1
    value[1]["x"] += 7
    value[0].clear()


def make_tensor():
    return [torch.arange(6, dtype=torch.bfloat16), torch.ones(2, 2)]


def spoil_tensor(value):
    value[0].zero_()
    value[1].mul_(-3)
    value.pop()


KINDS = {
    "tokens": (make_tokens, spoil_tokens),
    "nested": (make_nested, spoil_nested),
    "arrays": (make_arrays, spoil_arrays),
}
if torch is not None:
    KINDS["tensors"] = (make_tensor, spoil_tensor)


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


def equal(one, other):
    if type(one) is not type(other):
        return False
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(equal, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[k], other[k]) for k in one)
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    if torch is not None and isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    return one == other


def spoil_what_comes_back(cache, kind, times=3):
    make, spoil = kind
    for _ in range(times):
        value = cache.get_or_compute(recipe(), make)
        assert equal(value, make())
        spoil(value)


def test_what_was_computed_may_be_changed(open_on, root, kind):
    spoil_what_comes_back(open_on(LocalBackend(root), memory="1MB"), kind, times=1)
    assert equal(open_on(LocalBackend(root)).get(recipe()), kind[0]())


def test_hits_from_memory_may_be_changed(open_on, root, kind):
    cache = open_on(LocalBackend(root), memory="1MB")
    spoil_what_comes_back(cache, kind)
    assert counters(cache) == {"miss": 1, "stored": 1, "hit.memory": 2}


def test_hits_from_disk_may_be_changed(open_on, root, kind):
    cache = open_on(LocalBackend(root), memory="0")
    spoil_what_comes_back(cache, kind)
    assert counters(cache) == {"miss": 1, "stored": 1, "hit.disk": 2}


def test_a_hit_from_disk_that_goes_to_memory_may_be_changed(open_on, root, kind):
    open_on(LocalBackend(root)).get_or_compute(recipe(), kind[0])
    cache = open_on(LocalBackend(root), memory="1MB")
    spoil_what_comes_back(cache, kind)
    assert counters(cache) == {"hit.disk": 1, "hit.memory": 2}


def test_what_is_shared_among_threads_that_waited_may_be_changed(open_on, root, kind):
    cache = open_on(LocalBackend(root), memory="0")
    make, spoil = kind
    results, begun, go_on = [], threading.Event(), threading.Event()

    def slow():
        begun.set()
        assert go_on.wait(60)
        return make()

    def ask():
        value = cache.get_or_compute(recipe(), slow)
        results.append(equal(value, make()))
        spoil(value)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    threads[0].start()
    assert begun.wait(60)
    joined, flight = [], next(iter(cache.flights._flights.values()))
    wait = type(flight).wait
    joining = pytest.MonkeyPatch()
    joining.setattr(
        type(flight), "wait", lambda self, seconds: joined.append(1) or wait(self, seconds)
    )
    try:
        for thread in threads[1:]:
            thread.start()
        wait_until(lambda: len(joined) == 5)
    finally:
        joining.undo()
        go_on.set()
        for thread in threads:
            thread.join(60)
    assert results == [True] * 6
    assert counters(cache)["hit.shared"] == 5


def test_the_winners_value_after_a_lost_race_may_be_changed(open_on, root, kind):
    cache = open_on(LocalBackend(root), memory="1MB")
    make, spoil = kind

    def compute():
        elsewhere = open_on(LocalBackend(root))
        elsewhere.chain.tiers[0].lockable = False
        elsewhere.get_or_compute(recipe(), make)
        return "of the loser"

    value = cache.get_or_compute(recipe(), compute)
    assert counters(cache)["lost"] == 1
    assert equal(value, make())
    spoil(value)
    spoil_what_comes_back(cache, kind)


def test_what_get_and_put_return_may_be_changed(open_on, root, kind):
    cache = open_on(LocalBackend(root), memory="1MB")
    make, spoil = kind
    spoil(cache.put(recipe(), make()))
    for _ in range(2):
        value = cache.get(recipe())
        assert equal(value, make())
        spoil(value)


def test_every_place_in_a_batch_is_a_value_of_its_own(open_on, root, kind):
    cache = open_on(LocalBackend(root), memory="1MB")
    make, spoil = kind
    recipes = [recipe(), recipe(), recipe(1), recipe()]
    for _ in range(3):
        values = cache.get_many(recipes, lambda at: [make() for _ in at])
        for value in values:
            assert equal(value, make())
            spoil(value)
