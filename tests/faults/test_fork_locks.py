"""A fork while our own locks are held: by threads of the parent that the child does not have."""

import contextlib
import threading

import pytest

from stepaudio_cas.runtime.tier import Tier
from stepaudio_cas.store.local import LocalBackend
from tests.support.processes import in_child, wait_until
from tests.support.values import Computation, counters, recipe, tokens

LOCKS = {
    "memory": lambda cache, tier: cache._memory._lock,
    "flights": lambda cache, tier: cache.flights._lock,
    "recorder": lambda cache, tier: cache.recorder._lock,
    "saving": lambda cache, tier: cache.recorder._saving,
    "queue": lambda cache, tier: cache.chain._background._changed,
    "housekeeping": lambda cache, tier: cache._housekeeping._starting,
    "workers": lambda cache, tier: tier._workers._lock,
    "reading": lambda cache, tier: tier.reading._lock,
    "writing": lambda cache, tier: tier.writing._lock,
    "locking": lambda cache, tier: tier.locking._lock,
    "probing": lambda cache, tier: tier.store._probing,
}


@pytest.mark.parametrize("name", [*LOCKS, "all"])
def test_a_child_forked_while_a_lock_of_ours_is_held_is_not_stopped_by_it(open_on, root, name):
    cache = open_on(LocalBackend(root), LocalBackend(f"{root}-2"), memory="1MB")
    cache.get_or_compute(recipe(), Computation())
    assert cache.flush()
    tier = cache.chain.tiers[0]

    def child():
        assert not cache._housekeeping.started, "its thread is the parent's"
        for breaker in (tier.reading, tier.writing, tier.locking):
            breaker.failed()
        values = [cache.get_or_compute(recipe(n), Computation(number=n)) for n in (0, 1, 1)]
        assert values == [tokens(0), tokens(1), tokens(1)]
        cache._housekeeping.start()
        assert tier.run(tier.store.capabilities).create == "atomic"
        return cache.flush(60.0), counters(cache)

    with contextlib.ExitStack() as held:
        for key, lock in LOCKS.items():
            if name in {key, "all"}:
                held.enter_context(lock(cache, tier))
        flushed, counts = in_child(child)
    assert flushed
    assert counts == {"hit.memory": 2, "miss": 1, "stored": 2}


def test_a_child_waits_for_the_parent_that_encodes_and_gets_its_value(open_on, root, tmp_path):
    cache = open_on(LocalBackend(root))
    waits, begun = tmp_path / "waits", threading.Event()

    def slow():
        begun.set()
        wait_until(waits.exists)
        return tokens()

    def child():
        try_lock = Tier.try_lock

        def say_when_waiting(self, key):
            free, lock = try_lock(self, key)
            if not free:
                waits.touch()
            return free, lock

        Tier.try_lock = say_when_waiting
        compute = Computation([0])
        return cache.get_or_compute(recipe(), compute), compute.runs

    thread = threading.Thread(target=cache.get_or_compute, args=(recipe(), slow))
    thread.start()
    assert begun.wait(60)
    assert in_child(child) == [list(tokens()), 0]
    thread.join()
