import threading

import pytest

from stepaudio_cas.errors import Bypass
from stepaudio_cas.runtime import turns
from tests.runtime.helpers import GENEROUS, in_thread
from tests.support.processes import in_child, in_threads, wait_until
from tests.support.values import Computation, counters, errors, recipe, tokens


@pytest.fixture
def cache(open_cache):
    return open_cache()


def recipes(*numbers):
    return [recipe(number) for number in numbers]


class Many:
    """Computes a batch, and remembers for which positions it was called."""

    def __init__(self, *numbers):
        self.numbers = numbers
        self.asked = []

    def __call__(self, positions):
        self.asked.append(positions)
        return [tokens(self.numbers[position]) for position in positions]


def ask(cache, *numbers, compute=None, **options):
    many = Many(*numbers)
    values = cache.get_many(recipes(*numbers), compute or many, **options)
    assert values == [tokens(number) for number in numbers]
    return many.asked


def test_what_nobody_has_is_computed_in_one_call(cache):
    assert ask(cache, 3, 1, 2) == [[0, 1, 2]]
    assert counters(cache) == {"miss": 3, "stored": 3}


def test_only_what_is_missing_is_computed_and_the_order_is_kept(open_cache):
    with open_cache() as other:
        ask(other, 1, 3)
    assert ask(open_cache(), 0, 1, 2, 3, 4) == [[0, 2, 4]]


def test_when_all_is_there_nothing_is_computed(cache):
    ask(cache, 0, 1)
    assert ask(cache, 1, 0) == []
    cache.chain.memory.clear()
    assert ask(cache, 1, 0) == []
    assert counters(cache) == {"miss": 2, "stored": 2, "hit.memory": 2, "hit.disk": 2}


def test_what_a_batch_has_computed_is_there_for_single_calls_and_the_other_way_round(cache):
    ask(cache, 0)
    assert cache.get_or_compute(recipe(0), Computation([9])) == tokens(0)
    cache.get_or_compute(recipe(1), Computation(number=1))
    assert ask(cache, 0, 1) == []


def test_a_recipe_that_occurs_twice_is_computed_once_and_its_values_are_apart(cache):
    many = Many(5, 6, 5)
    values = cache.get_many(recipes(5, 6, 5), many)
    assert values == [tokens(5), tokens(6), tokens(5)]
    assert many.asked == [[0, 1]]
    values[0][0].append(99)
    assert values[2] == tokens(5)
    assert ask(cache, 5, 5, 5) == []


def test_no_recipes_mean_no_values_and_no_computation(open_cache):
    for cache in (open_cache(), open_cache(mode="off")):
        assert cache.get_many([], lambda _: 1 / 0) == []


@pytest.mark.parametrize("numbers", [2, 4, 0])
def test_a_computation_that_returns_another_number_of_values_is_told(cache, numbers):
    with pytest.raises(ValueError, match=f"asked for 3 values and returned {numbers}"):
        cache.get_many(recipes(0, 1, 2), lambda _: [tokens()] * numbers)
    assert cache.get(recipe()) is None


@pytest.mark.parametrize("error", [ValueError("theirs"), KeyboardInterrupt(), Bypass("theirs")])
def test_what_the_computation_raises_comes_out_once_and_nothing_is_kept(cache, error):
    calls = []

    def compute(positions):
        calls.append(positions)
        raise error

    with pytest.raises(type(error)) as caught:
        cache.get_many(recipes(0, 1), compute)
    assert caught.value is error
    assert calls == [[0, 1]]
    assert ask(cache, 0, 1) == [[0, 1]]


def test_values_that_cannot_be_kept_are_passed_on_and_the_rest_is_kept(cache):
    odd = object()
    assert cache.get_many(recipes(0, 1), lambda _: [odd, tokens(1)]) == [odd, tokens(1)]
    assert counters(cache)["bypass.unsupported-result"] == 1
    assert ask(cache, 0, 1) == [[0]]


def test_duplicates_of_what_cannot_be_kept_are_computed_each(cache):
    made = []

    def compute(positions):
        made.extend(object() for _ in positions)
        return made[-len(positions) :]

    values = cache.get_many(recipes(0, 0), compute)
    assert len(set(map(id, values))) == 2


def test_a_computation_may_return_any_iterable(cache):
    assert cache.get_many(recipes(0, 1), lambda p: (tokens(n) for n in p)) == [tokens(0), tokens(1)]


def test_restore_is_applied_to_what_was_found(cache):
    ask(cache, 0)
    values = cache.get_many(recipes(0, 1), lambda _: [[1]], restore=lambda value: ("moved", value))
    assert values == [("moved", tokens(0)), [1]]


def test_each_value_is_asked_whether_to_keep_it_and_packed(cache):
    options = {"keep": lambda value: value != [2], "pack": lambda value: [*value, "packed"]}
    asked = []

    def compute(positions):
        asked.append(positions)
        return [[position] for position in positions]

    first = cache.get_many(recipes(0, 1, 2), compute, **options)
    again = cache.get_many(recipes(0, 1, 2), compute, **options)
    assert first == [[0], [1], [2]]
    assert again == [[0, "packed"], [1, "packed"], [2]]
    assert asked == [[0, 1, 2], [2]]


def test_a_failure_of_ours_leaves_the_host_to_compute(cache, monkeypatch):
    def fail(*_args, **_options):
        raise RuntimeError("a bug of ours")

    for number, (owner, name) in enumerate(
        [(cache.chain, "find_many"), (cache.chain, "keep"), (cache.flights, "join")]
    ):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, fail)
            assert ask(cache, number, number + 10) == [[0, 1]], name
    assert errors(cache) == {"error.internal"}


class Slow(Many):
    """Begins, and ends when the test says so, perhaps with an exception."""

    def __init__(self, *numbers, error=None):
        super().__init__(*numbers)
        self.begun, self.go_on, self.error = threading.Event(), threading.Event(), error

    def __call__(self, positions):
        self.begun.set()
        assert self.go_on.wait(GENEROUS)
        if self.error is not None:
            raise self.error
        return super().__call__(positions)


def begin(cache, slow):
    future = in_thread(lambda: cache.get_many(recipes(*slow.numbers), slow))
    assert slow.begun.wait(GENEROUS)
    return future


def test_what_another_thread_is_computing_is_waited_for(cache):
    slow, many = Slow(0, 1), Many(1, 2)
    first = begin(cache, slow)
    second = in_thread(lambda: cache.get_many(recipes(1, 2), many))
    wait_until(lambda: many.asked == [[1]])
    slow.go_on.set()
    assert first.result(GENEROUS) == [tokens(0), tokens(1)]
    assert second.result(GENEROUS) == [tokens(1), tokens(2)]
    assert many.asked == [[1]]
    assert counters(cache)["hit.shared"] == 1


def test_a_single_call_waits_for_a_batch_and_gets_its_value(cache):
    slow, compute = Slow(0, 1), Computation([9])
    first = begin(cache, slow)
    second = in_thread(lambda: cache.get_or_compute(recipe(1), compute))
    slow.go_on.set()
    assert first.result(GENEROUS) == [tokens(0), tokens(1)]
    assert second.result(GENEROUS) == tokens(1)
    assert compute.runs == 0


def test_what_another_thread_failed_to_compute_is_computed_and_kept(cache):
    slow, many = Slow(0, 1, error=ValueError("theirs")), Many(2, 1)
    first = begin(cache, slow)
    second = in_thread(lambda: cache.get_many(recipes(2, 1), many))
    wait_until(lambda: many.asked == [[0]])
    slow.go_on.set()
    assert isinstance(first.exception(GENEROUS), ValueError)
    assert second.result(GENEROUS) == [tokens(2), tokens(1)]
    assert many.asked == [[0], [1]]
    assert cache.get(recipe(1)) == tokens(1)
    assert counters(cache)["miss"] == 2


def test_a_computation_that_asks_for_its_own_keys_does_not_wait_for_itself(cache):
    def outer(positions):
        inner = cache.get_many(recipes(0, 1), Many(0, 1))
        return [inner[position] for position in positions]

    asked = in_thread(lambda: cache.get_many(recipes(0, 1), outer))
    assert asked.result(GENEROUS) == [tokens(0), tokens(1)]


def test_what_another_process_is_computing_is_waited_for(open_cache):
    ours, theirs = open_cache(memory="0"), open_cache(memory="0")
    slow, many = Slow(0, 1), Many(1, 2)
    first = begin(ours, slow)
    second = in_thread(lambda: theirs.get_many(recipes(1, 2), many))
    wait_until(lambda: many.asked == [[1]])
    slow.go_on.set()
    assert first.result(GENEROUS) == [tokens(0), tokens(1)]
    assert second.result(GENEROUS) == [tokens(1), tokens(2)]
    assert many.asked == [[1]]


def test_what_another_process_does_not_deliver_is_computed_and_kept(open_cache):
    ours, theirs = open_cache(memory="0"), open_cache(memory="0")
    slow, many = Slow(0, 1, error=ValueError("theirs")), Many(1, 2)
    first = begin(ours, slow)
    second = in_thread(lambda: theirs.get_many(recipes(1, 2), many))
    wait_until(lambda: many.asked == [[1]])
    slow.go_on.set()
    assert isinstance(first.exception(GENEROUS), ValueError)
    assert second.result(GENEROUS) == [tokens(1), tokens(2)]
    assert many.asked == [[1], [0]]
    assert theirs.get(recipe(1)) == tokens(1)


def test_what_was_finished_between_looking_and_locking_is_not_computed(open_cache, monkeypatch):
    ours, theirs = open_cache(memory="0"), open_cache(memory="0")
    lock = ours.chain.tiers[0].try_lock

    def late(key):
        ask(theirs, 0)
        return lock(key)

    monkeypatch.setattr(ours.chain.tiers[0], "try_lock", late)
    assert ask(ours, 0, 1) == [[1]]


def test_who_comes_second_returns_what_was_first(cache, open_cache):
    def compute(positions):
        with open_cache(memory="0") as other:
            other.put(recipe(1), ["first"])
        return [["ours"] for _ in positions]

    assert cache.get_many(recipes(0, 1), compute) == [["ours"], ["first"]]
    assert counters(cache)["lost"] == 1
    assert cache.get(recipe(1)) == ["first"]


def test_batches_that_overlap_in_opposite_order_do_not_block_each_other(open_cache):
    caches = [open_cache(memory="0"), open_cache(memory="0"), open_cache()]
    meeting = threading.Barrier(3)
    orders = [range(8), range(7, -1, -1), [3, 5, 1, 7, 0, 2, 6, 4]]

    def work(number):
        meeting.wait(GENEROUS)
        return ask(caches[number], *orders[number])

    runs = in_threads(3, work)
    assert sum(len(positions) for asked in runs for positions in asked) == 8


def test_threads_of_one_cache_with_overlapping_batches_compute_each_key_once(cache):
    runs = in_threads(6, lambda n: ask(cache, *[(n + k) % 6 for k in range(4)]))
    assert sum(len(positions) for asked in runs for positions in asked) == 6


def test_locks_are_let_go_after_a_batch_whatever_came_of_it(cache, open_cache, monkeypatch):
    monkeypatch.setattr(turns, "PATIENCE", 0.0)
    with pytest.raises(ZeroDivisionError):
        cache.get_many(recipes(0, 1), lambda _: 1 / 0)
    tier = open_cache().chain.tiers[0]
    for number in (0, 1):
        go_on, lock = tier.try_lock(recipe(number).key)
        assert go_on
        tier.release(lock)


def test_a_forked_child_has_its_batches_too(cache):
    ask(cache, 0)
    assert in_child(lambda: ask(cache, 0, 1, 2)) == [[1, 2]]
