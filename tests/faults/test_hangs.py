"""A store that does not answer: callers wait a deadline a few times, then not at all."""

import threading

import pytest

from stepaudio_cas.runtime.breaker import LONGEST_PAUSE
from stepaudio_cas.store.local import LocalBackend
from tests.faults.conftest import GENEROUS
from tests.support.faulty import VERBS
from tests.support.processes import wait_until
from tests.support.values import Computation, counters, errors, recipe, tokens

SHORT = 0.05


def finishes(work):
    """Run `work` in a thread and return its result; fail if it does not come back."""
    results = []
    thread = threading.Thread(target=lambda: results.append(work()), daemon=True)
    thread.start()
    thread.join(GENEROUS)
    assert results, "the call hangs"
    return results[0]


@pytest.fixture
def backend(make_faulty, root):
    """A disk with locks that hangs as told."""
    return make_faulty(LocalBackend(root))


def set_deadline(cache, seconds):
    for tier in cache.chain.tiers:
        tier._deadline = seconds


def assert_only_late(cache):
    """On a machine with little time a worker may not even have begun: that is `busy`."""
    assert errors(cache)
    assert errors(cache) <= {"error.timeout.faulty", "error.busy.faulty"}


HOT = {"get": "reading", "put": "writing", "try_lock": "locking"}
"""The verbs between a call and its value, and the breaker that each of them opens."""


@pytest.mark.parametrize("verb", HOT)
def test_calls_return_and_the_breaker_opens(open_on, backend, verb):
    cache = open_on(backend, deadline=SHORT)
    backend.hang(verb)
    for number in range(4):
        value = finishes(lambda n=number: cache.get_or_compute(recipe(n), Computation(number=n)))
        assert value == tokens(number)
    tier = cache.chain.tiers[0]
    assert getattr(tier, HOT[verb]).state == "open"
    assert_only_late(cache)
    asked = len(backend.calls)
    finishes(lambda: cache.get_or_compute(recipe(9), Computation(number=9)))
    assert verb not in [called for called, _ in backend.calls[asked:]], "it is not left alone"


@pytest.mark.parametrize("verb", HOT)
def test_it_works_again_by_itself_after_a_pause(open_on, backend, clock, verb):
    cache = open_on(backend, deadline=SHORT)
    backend.hang(verb)
    for number in range(4):
        finishes(lambda n=number: cache.get_or_compute(recipe(n), Computation(number=n)))
    breaker = getattr(cache.chain.tiers[0], HOT[verb])
    backend.mend()
    set_deadline(cache, GENEROUS)
    assert breaker.state == "open"
    clock.advance(LONGEST_PAUSE)
    assert breaker.state == "half-open"
    cache.get_or_compute(recipe(20), Computation(number=20))
    assert breaker.state == "closed"
    cache.get_or_compute(recipe(21), Computation(number=21))
    again = Computation(number=21)
    assert cache.get_or_compute(recipe(21), again) == tokens(21)
    assert again.runs == 0
    assert counters(cache)["hit.faulty"] == 1


@pytest.mark.parametrize("verb", HOT)
def test_while_it_still_hangs_one_call_in_a_pause_tries(open_on, backend, clock, verb):
    cache = open_on(backend, deadline=SHORT)
    backend.hang(verb)
    for number in range(4):
        finishes(lambda n=number: cache.get_or_compute(recipe(n), Computation(number=n)))
    breaker = getattr(cache.chain.tiers[0], HOT[verb])
    clock.advance(LONGEST_PAUSE)
    asked = len(backend.calls)
    for number in range(10, 13):
        finishes(lambda n=number: cache.get_or_compute(recipe(n), Computation(number=n)))
    # A write that gets through looks who was first: that is the trial of the other breaker.
    trials = 2 if verb == "get" else 1
    assert [called for called, _ in backend.calls[asked:]].count(verb) in range(1, trials + 1)
    assert breaker.state == "open"


def test_a_lock_that_cannot_be_released_in_time_holds_nobody_up(open_on, backend):
    cache = open_on(backend, deadline=SHORT)
    backend.hang("release")
    for number in range(3):
        value = finishes(lambda n=number: cache.get_or_compute(recipe(n), Computation(number=n)))
        assert value == tokens(number)
    assert counters(cache)["error.lock.faulty"] >= 1


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "release"])
def test_every_verb_has_a_deadline_beside_the_calls_too(open_on, backend, verb):
    """What the housekeeping does: counters, probes, whatever else."""
    cache = open_on(backend, deadline=SHORT)
    tier = cache.chain.tiers[0]
    backend.hang(verb)
    uses = {
        "get": lambda: backend.get("v1/x"),
        "put": lambda: backend.put("v1/x", b""),
        "stat": lambda: backend.stat("v1/x"),
        "delete": lambda: backend.delete("v1/x"),
        "list": lambda: list(backend.list("v1")),
        "try_lock": lambda: backend.try_lock("x"),
    }
    for _ in range(3):
        assert finishes(lambda: tier.run(uses[verb])) is None
    assert tier.writing.state == "open"
    assert_only_late(cache)


@pytest.mark.parametrize("verb", VERBS)
def test_a_probe_that_hangs_holds_up_no_call_and_no_exit(open_on, backend, verb):
    backend.hang(verb)
    cache = open_on(backend, housekeeping=True, deadline=SHORT)
    for number in range(3):
        value = finishes(lambda n=number: cache.get_or_compute(recipe(n), Computation(number=n)))
        assert value == tokens(number)
    finishes(lambda: cache.close() or True)


def test_many_keys_at_once_cost_a_few_deadlines_and_not_one_each(open_on, backend):
    cache = open_on(backend, deadline=SHORT)
    backend.hang("get")
    recipes = [recipe(n) for n in range(200)]
    values = finishes(lambda: cache.get_many(recipes, lambda at: [tokens(n) for n in at]))
    assert values == [tokens(n) for n in range(200)]
    assert cache.chain.tiers[0].reading.state == "open"


def test_many_threads_on_a_hanging_store_all_return(open_on, backend):
    cache = open_on(backend, deadline=SHORT)
    for verb in HOT:
        backend.hang(verb)
    results, before = [], set(threading.enumerate())

    def work(number):
        results.append(cache.get_or_compute(recipe(number), Computation(number=number))[0][0])

    threads = [threading.Thread(target=work, args=(n,), daemon=True) for n in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(GENEROUS)
    assert sorted(results) == list(range(40))
    assert len(set(threading.enumerate()) - before) <= 16, "threads pile up behind a dead store"


def test_what_was_being_written_when_time_was_up_is_whole_in_the_end(open_on, backend, open_cache):
    cache = open_on(backend, deadline=SHORT)
    backend.hang("put")
    assert finishes(lambda: cache.get_or_compute(recipe(), Computation())) == tokens()
    backend.mend()
    backend.hooks.clear()
    other = open_on(backend)
    wait_until(lambda: other.get(recipe()) is not None)
    assert other.get(recipe()) == tokens()
    assert errors(other) == set()


def test_a_lower_tier_that_hangs_does_not_hold_up_the_upper_one(open_on, make_faulty, root):
    slow = make_faulty()
    cache = open_on(LocalBackend(root), slow, deadline=SHORT)
    cache.chain.tiers[0]._deadline = GENEROUS
    slow.hang("put")
    for number in range(4):
        finishes(lambda n=number: cache.get_or_compute(recipe(n), Computation(number=n)))
    again = Computation()
    assert finishes(lambda: cache.get_or_compute(recipe(), again)) == tokens()
    assert again.runs == 0
    assert cache.flush(GENEROUS)
    assert counters(cache)["dropped"] == 4
    assert cache.chain.tiers[1].writing.state == "open"
