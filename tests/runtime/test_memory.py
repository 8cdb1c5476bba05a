import threading

import pytest

from stepaudio_cas.runtime.memory import MemoryTier
from tests.runtime.helpers import in_thread, ready
from tests.support.processes import in_child


@pytest.fixture
def tier():
    return MemoryTier(100)


def keys(tier):
    return [key for key in "abcdef" if key in tier._values]


def test_what_was_put_comes_back(tier):
    value = ready(size=40)
    tier.put("a", value)
    assert tier.get("a") is value
    assert tier.get("b") is None
    assert (len(tier), tier.bytes) == (1, 40)


def test_the_least_recently_used_go_when_there_are_too_many_bytes(tier):
    for key in "abc":
        tier.put(key, ready(size=30))
    tier.get("a")
    tier.put("d", ready(size=40))
    assert keys(tier) == ["a", "c", "d"]
    assert tier.bytes == 100
    tier.put("e", ready(size=50))
    assert keys(tier) == ["d", "e"]


def test_exactly_the_limit_is_kept(tier):
    tier.put("a", ready(size=100))
    assert keys(tier) == ["a"]


def test_what_is_larger_than_the_limit_is_not_kept_and_pushes_nothing_out(tier):
    tier.put("a", ready(size=60))
    tier.put("b", ready(size=101))
    assert keys(tier) == ["a"]


def test_a_value_too_large_to_replace_another_takes_the_old_one_away(tier):
    tier.put("a", ready(size=60))
    tier.put("a", ready(size=101))
    assert tier.get("a") is None
    assert tier.bytes == 0


def test_replacing_counts_the_new_size_only(tier):
    tier.put("a", ready(size=60))
    tier.put("a", ready(size=20))
    assert (len(tier), tier.bytes) == (1, 20)


def test_replacing_makes_it_the_most_recently_used(tier):
    for key in "abaa":
        tier.put(key, ready(size=50))
    tier.put("c", ready(size=50))
    assert keys(tier) == ["a", "c"]


def test_a_limit_of_zero_keeps_nothing():
    tier = MemoryTier(0)
    tier.put("a", ready(size=0))
    assert len(tier) == 0


def test_drop_and_clear_forget(tier):
    for key in "ab":
        tier.put(key, ready(size=10))
    tier.drop("a")
    tier.drop("a")
    assert (keys(tier), tier.bytes) == (["b"], 10)
    tier.clear()
    assert (len(tier), tier.bytes) == (0, 0)


def test_many_threads_leave_the_bytes_right():
    tier, barrier = MemoryTier(500), threading.Barrier(4)

    def work(seed):
        barrier.wait()
        for n in range(500):
            tier.put(f"{(n * seed) % 37}", ready(size=n % 40))
            tier.drop(f"{n % 11}")

    for future in [in_thread(work, seed) for seed in (1, 3, 5, 7)]:
        future.result()
    assert tier.bytes == sum(value.size for value in tier._values.values()) <= 500


def test_a_forked_child_has_the_values_even_if_the_lock_was_held(tier):
    tier.put("a", ready([1, 2], size=10))

    def child():
        tier.put("b", ready(size=10))
        return [tier.get("a").fresh(), len(tier), tier.bytes]

    with tier._lock:
        assert in_child(child) == [[1, 2], 2, 20]
    assert len(tier) == 1


def test_a_forked_child_corrects_the_sum_that_a_change_under_way_left(tier):
    tier.put("a", ready(size=10))
    tier.bytes = 77  # as if another thread were between two lines of `put`
    assert in_child(lambda: tier.bytes) == 10
