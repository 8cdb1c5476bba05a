import threading

from stepaudio_cas.runtime.flights import Flights
from tests.runtime.helpers import GENEROUS, in_thread, ready
from tests.support.processes import in_child


def test_one_leads_and_the_others_get_the_same_flight():
    flights, barrier = Flights(), threading.Barrier(8)

    def join():
        barrier.wait()
        return flights.join("k")

    joined = [future.result() for future in [in_thread(join) for _ in range(8)]]
    assert len({id(flight) for flight, _ in joined}) == 1
    assert sum(leading for _, leading in joined) == 1


def test_different_keys_have_different_leaders():
    flights = Flights()
    assert [flights.join("a")[1], flights.join("b")[1]] == [True, True]


def test_those_who_wait_get_what_the_leader_landed():
    flights, value = Flights(), ready()
    flight, _ = flights.join("k")
    waiting = [in_thread(flight.wait, GENEROUS) for _ in range(3)]
    flights.finish("k", flight, value)
    assert [future.result() for future in waiting] == [value] * 3


def test_a_leader_that_failed_frees_the_others_with_nothing():
    flights = Flights()
    flight, _ = flights.join("k")
    waiting = in_thread(flight.wait, GENEROUS)
    flights.finish("k", flight, None)
    assert waiting.result() is None


def test_those_who_wait_are_told_nothing_when_their_patience_is_at_an_end():
    flight, _ = Flights().join("k")
    assert flight.wait(0.01) is None


def test_after_landing_the_next_one_leads():
    flights = Flights()
    flight, _ = flights.join("k")
    flights.finish("k", flight, ready())
    assert flights.join("k")[1]


def test_only_the_leading_thread_calls_the_flight_its_own():
    flights = Flights()
    flight, _ = flights.join("k")
    assert flight.mine
    assert in_thread(lambda: flight.mine).result() is False


def test_a_forked_child_leads_anew_whatever_its_parent_was_doing():
    flights = Flights()
    flights.join("k")
    with flights._lock:
        assert in_child(lambda: flights.join("k")[1]) is True


def test_a_child_that_finishes_its_parents_flight_leaves_its_own_flying():
    flights = Flights()
    old, _ = flights.join("k")

    def child():
        new, leading = flights.join("k")
        flights.finish("k", old, None)
        return [leading, flights.join("k")[0] is new]

    assert in_child(child) == [True, True]
