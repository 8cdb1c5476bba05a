import threading

import pytest

from stepaudio_cas.runtime import turns
from tests.runtime.helpers import GENEROUS, in_thread
from tests.support.processes import in_child, in_threads, wait_until
from tests.support.values import Computation, counters, recipe, tokens


@pytest.fixture
def cache(open_cache):
    return open_cache()


class Slow(Computation):
    """Starts when it is asked to, and ends when the test says so."""

    def __init__(self, value=None, error=None):
        super().__init__(value)
        self.begun, self.go_on, self.error = threading.Event(), threading.Event(), error

    def __call__(self):
        value = super().__call__()
        self.begun.set()
        assert self.go_on.wait(GENEROUS)
        if self.error is not None:
            raise self.error
        return value


def asking(cache, compute, number=0):
    return in_thread(lambda: cache.get_or_compute(recipe(number), compute))


def following(monkeypatch, cache):
    """Return a counter of the threads that have joined somebody else's flight."""
    joined, join = [], cache.flights.join

    def counting(key):
        flight, leading = join(key)
        if not leading:
            joined.append(key)
        return flight, leading

    monkeypatch.setattr(cache.flights, "join", counting)
    return joined


def test_of_many_threads_one_computes_and_all_get_values_of_their_own(cache):
    compute = Computation()
    values = in_threads(16, lambda _: cache.get_or_compute(recipe(), compute))
    assert values == [tokens()] * 16
    assert len({id(value[0]) for value in values}) == 16
    assert compute.runs == 1


def test_who_waits_for_another_thread_is_counted_as_a_shared_hit(cache, monkeypatch):
    compute, joined = Slow(), following(monkeypatch, cache)
    first = asking(cache, compute)
    assert compute.begun.wait(GENEROUS)
    second = asking(cache, compute)
    wait_until(lambda: joined)
    compute.go_on.set()
    assert first.result(GENEROUS) == second.result(GENEROUS) == tokens()
    assert compute.runs == 1
    assert counters(cache) == {"miss": 1, "stored": 1, "hit.shared": 1}


@pytest.mark.parametrize("error", [ValueError("theirs"), KeyboardInterrupt()])
def test_when_the_first_fails_those_who_wait_go_on(cache, monkeypatch, error):
    slow, joined, compute = Slow(error=error), following(monkeypatch, cache), Computation()
    first = asking(cache, slow)
    assert slow.begun.wait(GENEROUS)
    second = asking(cache, compute)
    wait_until(lambda: joined)
    slow.go_on.set()
    assert first.exception(GENEROUS) is error
    assert second.result(GENEROUS) == tokens()
    assert compute.runs == 1
    assert cache.get(recipe()) == tokens()


def test_when_the_firsts_result_cannot_be_kept_those_who_wait_compute(cache, monkeypatch):
    slow, joined, compute = Slow(value=object()), following(monkeypatch, cache), Computation()
    first = asking(cache, slow)
    assert slow.begun.wait(GENEROUS)
    second = asking(cache, compute)
    wait_until(lambda: joined)
    slow.go_on.set()
    assert first.result(GENEROUS) is slow.value
    assert second.result(GENEROUS) == tokens()


def test_a_computation_that_asks_for_its_own_key_computes(cache):
    def outer():
        inner = cache.get_or_compute(recipe(), lambda: [1])
        return [*inner, 2]

    assert cache.get_or_compute(recipe(), outer) == [1, 2]
    assert cache.get(recipe()) == [1, 2]


def test_a_computation_may_ask_for_other_keys(cache):
    value = cache.get_or_compute(recipe(), lambda: cache.get_or_compute(recipe(1), Computation()))
    assert value == tokens()


def test_different_keys_do_not_wait_for_each_other(cache):
    slow = Slow()
    first = asking(cache, slow)
    assert slow.begun.wait(GENEROUS)
    assert cache.get_or_compute(recipe(1), Computation()) == tokens()
    slow.go_on.set()
    first.result(GENEROUS)


def test_another_process_waits_for_the_one_that_computes_and_gets_its_result(
    open_cache, monkeypatch
):
    ours, theirs = open_cache(memory="0"), open_cache(memory="0")
    slow, compute, tried = Slow(), Computation([0]), []
    tier = theirs.chain.tiers[0]
    try_lock = tier.try_lock
    monkeypatch.setattr(tier, "try_lock", lambda key: tried.append(try_lock(key)) or tried[-1])
    first = asking(ours, slow)
    assert slow.begun.wait(GENEROUS)
    second = asking(theirs, compute)
    wait_until(lambda: tried)
    assert tried[0] == (False, None)
    slow.go_on.set()
    assert first.result(GENEROUS) == second.result(GENEROUS) == tokens()
    assert compute.runs == 0
    assert counters(theirs) == {"hit.disk": 1}


def test_who_has_lost_patience_computes_and_returns_what_was_first(open_cache, monkeypatch):
    monkeypatch.setattr(turns, "PATIENCE", 0.01)
    ours, theirs = open_cache(memory="0"), open_cache(memory="0")
    slow = Slow(value=[1])
    first = asking(ours, slow)
    assert slow.begun.wait(GENEROUS)
    assert theirs.get_or_compute(recipe(), lambda: [2]) == [2]
    slow.go_on.set()
    assert first.result(GENEROUS) == [2]
    assert counters(ours)["lost"] == 1
    assert ours.get(recipe()) == [2]


def test_a_forked_child_of_a_process_that_computes_does_not_wait_for_it(open_cache, monkeypatch):
    monkeypatch.setattr(turns, "PATIENCE", 0.01)  # the parent rightly holds the lock
    cache, slow = open_cache(), Slow()
    first = asking(cache, slow)
    assert slow.begun.wait(GENEROUS)
    assert in_child(lambda: cache.get_or_compute(recipe(), lambda: [3])) == [3]
    slow.go_on.set()
    assert first.result(GENEROUS) == [3]
