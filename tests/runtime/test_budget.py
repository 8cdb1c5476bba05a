import threading

import pytest

from stepaudio_cas.runtime.budget import LEAST, LONGEST, MANY, SHARE, Budget
from tests.runtime.helpers import GENEROUS, Lockable, chain, counted, quiet, tier
from tests.support.faulty import FaultyBackend
from tests.support.values import recipe

KEY = recipe().key


def test_where_nothing_is_known_a_store_gets_the_longest_time():
    assert Budget().seconds("new") == LONGEST


@pytest.mark.parametrize(
    ("encode", "budget"), [(2.0, 2.0 * SHARE), (0.01, LEAST), (60.0, LONGEST), (0.0, LONGEST)]
)
def test_a_store_gets_a_share_of_the_encode_within_bounds(encode, budget):
    subject = Budget()
    subject.learn("kind", encode)
    assert subject.seconds("kind") == pytest.approx(budget)
    assert subject.seconds("another kind") == LONGEST


def test_the_mean_follows_what_is_measured():
    subject = Budget()
    for _ in range(50):
        subject.learn("kind", 4.0)
    for _ in range(50):
        subject.learn("kind", 2.0)
    assert subject.seconds("kind") == pytest.approx(2.0 * SHARE, rel=0.01)


def test_a_batch_gets_more_but_not_as_many_times_more():
    subject = Budget()
    subject.learn("kind", 2.0)
    assert subject.seconds("kind", 2) == pytest.approx(2 * 2.0 * SHARE)
    assert subject.seconds("kind", 1 + MANY) == 2 * LONGEST


def test_several_stores_divide_it_among_themselves():
    subject = Budget(stores=2)
    subject.learn("kind", 2.0)
    with subject.call("kind"):
        assert subject.account.left("one") == subject.account.left("other") == SHARE
        subject.account.spend("one", 1.0)
        assert subject.account.left("one") < 0 < subject.account.left("other")


def test_an_operators_own_deadline_is_the_only_one():
    subject = Budget(5.0)
    assert subject.deadline == 5.0
    with subject.call("kind"):
        assert subject.account is None


def test_a_call_within_a_call_has_an_account_of_its_own_and_so_has_each_thread():
    subject, seen = Budget(), []
    with subject.call("outer"):
        outer = subject.account
        with subject.call("inner"):
            assert subject.account is not outer
        assert subject.account is outer
        thread = threading.Thread(target=lambda: seen.append(subject.account))
        thread.start()
        thread.join()
        with subject.waiting():
            subject.account.spend("one", 100.0)
        assert subject.account.left("one") == outer.size
    assert subject.account is None
    assert seen == [None]


@pytest.fixture
def grants(monkeypatch):
    """The seconds that each verb was given, and a store that takes all of them."""
    given = []

    def watch(subject):
        def call(function, seconds):
            given.append(seconds)
            subject._budget.account.spend(subject.name, seconds)
            raise OSError("it hangs")

        monkeypatch.setattr(subject._workers, "call", call)
        return given

    return watch


def test_all_that_one_call_asks_of_a_store_stays_within_its_budget(grants):
    budget = Budget()
    budget.learn("kind", 2.0)
    subject = tier(FaultyBackend(), deadline=LONGEST, budget=budget)
    given = grants(subject)
    with budget.call("kind"):
        for _ in range(3):
            subject.read(KEY)
        assert not subject.in_time
    assert sum(given) == pytest.approx(2.0 * SHARE)


def test_what_is_refused_for_want_of_time_is_no_failure_of_the_store():
    budget, recorder = Budget(), quiet()
    subject = tier(FaultyBackend(), recorder, budget=budget)
    with budget.call("kind"):
        budget.account.spend(subject.name, 100.0)
        assert subject.read(KEY) is None
        assert subject.try_lock(KEY) == (True, None)
    assert counted(recorder, "error.") == 0
    assert subject.reading.calm


def test_a_local_store_is_not_budgeted():
    budget = Budget()
    subject = tier(FaultyBackend(), budget=budget)
    subject.shared = False
    with budget.call("kind"):
        budget.account.spend(subject.name, 100.0)
        assert subject.in_time
        subject.read(KEY)
        assert subject.store.backend.calls


@pytest.mark.parametrize("breaker", ["reading", "writing"])
def test_nobody_waits_for_the_lock_of_a_store_that_has_just_failed(breaker):
    backend = Lockable()
    backend.held.add(KEY)
    subject = chain(backend)
    assert subject.tiers[0].try_lock(KEY) == (False, None)
    getattr(subject.tiers[0], breaker).failed()
    assert subject.tiers[0].try_lock(KEY) == (True, None)


def test_an_encode_that_has_cost_its_budget_is_uploaded_in_the_background(open_cache, monkeypatch):
    from stepaudio_cas.runtime import opening

    backend = FaultyBackend()
    monkeypatch.setattr(opening, "open_backend", lambda _: backend)
    cache = open_cache("faulty://", memory="0")

    def compute():
        cache.budget.account.spend("faulty", 100.0)
        assert not backend.inner.get("x")
        return [1]

    assert cache.get_or_compute(recipe(), compute) == [1]
    assert cache.flush(GENEROUS)
    assert cache.get(recipe()) == [1]
