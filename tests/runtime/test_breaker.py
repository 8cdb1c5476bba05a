import threading

import pytest

from stepaudio_cas.runtime.breaker import FIRST_PAUSE, LONGEST_PAUSE, THRESHOLD, Breaker
from tests.runtime.helpers import Clock, in_thread
from tests.support.processes import in_child


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def breaker(clock):
    return Breaker(clock=clock)


def open_it(breaker):
    for _ in range(THRESHOLD):
        breaker.failed()


def test_it_stays_closed_for_two_failures_and_opens_at_the_third(breaker):
    assert [breaker.failed(), breaker.failed()] == [False, False]
    assert breaker.allows()
    assert breaker.failed()
    assert breaker.state == "open"
    assert not breaker.allows()


def test_a_success_between_failures_starts_the_count_again(breaker):
    for _ in range(10):
        breaker.failed()
        breaker.failed()
        assert not breaker.succeeded()
    assert breaker.state == "closed"


def test_after_its_pause_one_call_may_try_and_no_second_meanwhile(breaker, clock):
    open_it(breaker)
    clock.advance(FIRST_PAUSE - 0.001)
    assert not breaker.allows()
    clock.advance(0.001)
    assert breaker.state == "half-open"
    assert [breaker.allows(), breaker.allows()] == [True, False]


def test_of_many_threads_one_gets_the_trial(breaker, clock):
    open_it(breaker)
    clock.advance(FIRST_PAUSE)
    barrier = threading.Barrier(8)

    def ask():
        barrier.wait()
        return breaker.allows()

    answers = [future.result() for future in [in_thread(ask) for _ in range(8)]]
    assert sorted(answers) == [False] * 7 + [True]


def test_a_trial_that_works_closes_it(breaker, clock):
    open_it(breaker)
    clock.advance(FIRST_PAUSE)
    assert breaker.allows()
    assert breaker.succeeded()
    assert breaker.state == "closed"
    assert [breaker.allows(), breaker.allows()] == [True, True]


def test_each_trial_that_fails_doubles_the_pause_up_to_the_longest(breaker, clock):
    open_it(breaker)
    pause, pauses = FIRST_PAUSE, []
    for _ in range(8):
        clock.advance(pause)
        assert breaker.allows()
        assert not breaker.failed()
        pause = min(pause * 2, LONGEST_PAUSE)
        pauses.append(pause)
        clock.advance(pause - 0.001)
        assert not breaker.allows()
        clock.advance(0.001 - pause)
    assert pauses[:3] == [10, 20, 40]
    assert pauses[-2:] == [LONGEST_PAUSE, LONGEST_PAUSE]


def test_once_closed_the_next_pause_is_the_first_again(breaker, clock):
    open_it(breaker)
    clock.advance(FIRST_PAUSE)
    breaker.allows()
    breaker.failed()
    clock.advance(FIRST_PAUSE * 2)
    breaker.allows()
    breaker.succeeded()
    open_it(breaker)
    clock.advance(FIRST_PAUSE)
    assert breaker.allows()


def test_failures_of_calls_that_were_under_way_do_not_lengthen_the_pause(breaker, clock):
    open_it(breaker)
    for _ in range(5):
        assert not breaker.failed()
    clock.advance(FIRST_PAUSE)
    assert breaker.state == "half-open"


def test_a_final_failure_opens_it_at_once_for_the_longest_pause(breaker, clock):
    assert breaker.failed(final=True)
    clock.advance(LONGEST_PAUSE - 0.001)
    assert not breaker.allows()
    clock.advance(0.001)
    assert breaker.allows()


def test_a_forked_child_starts_closed(breaker):
    open_it(breaker)
    assert in_child(lambda: [breaker.state, breaker.allows()]) == ["closed", True]
    assert breaker.state == "open"


def test_a_fork_while_another_thread_holds_its_lock_leaves_the_child_free(breaker):
    with breaker._lock:
        assert in_child(lambda: breaker.failed(final=True)) is True
