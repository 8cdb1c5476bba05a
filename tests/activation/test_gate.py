"""Requests and voices take turns at the model."""

import threading

import pytest

from stepaudio_cas.activation.gate import Gate
from tests.support.processes import in_child


@pytest.fixture
def gate():
    return Gate(quiet=0.0, patience=60.0)


def test_an_idle_host_is_there_for_one_voice_at_a_time(gate):
    assert gate.take(0.0)
    assert not gate.take(0.0)
    gate.give_back()
    assert gate.take(0.0)


def test_as_long_as_one_of_several_requests_runs_there_is_none(gate):
    gate.enter()
    gate.enter()
    gate.leave()
    assert not gate.take(0.0)
    gate.leave()
    assert gate.take(0.0)


def test_after_a_request_the_host_has_to_be_quiet_for_a_while():
    gate = Gate(quiet=1000.0)
    assert gate.take(0.0)  # before the first one, nobody knows of any
    gate.give_back()
    gate.enter()
    gate.leave()
    assert not gate.take(0.0)


def test_a_voice_begins_when_the_last_request_ends(gate):
    gate.enter()
    order = []
    voice = threading.Thread(target=lambda: order.append(gate.take(60.0)))
    voice.start()
    order.append("the request ends")
    gate.leave()
    voice.join(60)
    assert order == ["the request ends", True]


def test_a_request_waits_until_the_voice_is_given_back(gate):
    assert gate.take(0.0)
    order, waits = [], threading.Event()

    def request():
        waits.set()
        gate.wait()
        order.append("request")

    thread = threading.Thread(target=request)
    thread.start()
    assert waits.wait(60)
    order.append("given back")
    gate.give_back()
    thread.join(60)
    assert order == ["given back", "request"]


def test_where_no_voice_is_in_hand_nothing_is_waited_for(gate):
    gate.wait()


def test_it_is_not_waited_for_ever():
    gate = Gate(patience=0.0)
    assert gate.take(0.0)
    gate.wait()


def test_a_closed_gate_lets_no_voice_in(gate):
    gate.close()
    assert not gate.take(60.0)


def test_a_child_knows_nothing_of_who_was_in_the_parent(gate):
    gate.enter()
    gate._changed.acquire()  # somebody else is just at it
    try:
        assert in_child(lambda: (gate.running, gate.take(0.0))) == [0, True]
    finally:
        gate._changed.release()
