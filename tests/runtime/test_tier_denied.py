"""Stores that may only be read, and those that take long to be found out about."""

import pytest

from stepaudio_cas.errors import Forbidden
from stepaudio_cas.runtime.log import Log
from stepaudio_cas.runtime.recorder import Recorder
from stepaudio_cas.runtime.tier import DENIED_SECONDS
from stepaudio_cas.settings import Level
from tests.runtime.helpers import GENEROUS, Clock, counted, quiet, store_entry, tier
from tests.support.faulty import FaultyBackend
from tests.support.processes import wait_until
from tests.support.values import entry, recipe

KEY = recipe().key


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def recorder():
    return quiet()


@pytest.fixture
def backend():
    made = FaultyBackend()
    yield made
    made.mend()


@pytest.fixture
def subject(backend, recorder, clock):
    return tier(backend, recorder, clock=clock)


def commit(subject, number=0):
    return subject.commit(*entry(number))


def test_a_store_that_does_not_let_us_write_is_only_read_and_asked_again_much_later(
    subject, backend, recorder, clock
):
    store_entry(backend.inner)
    backend.fail("put", Forbidden("not allowed to write"))
    assert commit(subject) is None
    assert not subject.writable
    assert subject.state()["writable"] is False
    backend.calls.clear()
    assert commit(subject) is None
    assert backend.calls == []
    assert subject.read(KEY) is not None
    assert (subject.reading.state, subject.writing.state) == ("closed", "closed")
    assert counted(recorder, "error.denied.tier") == 1
    backend.mend()
    clock.advance(DENIED_SECONDS)
    assert subject.writable
    assert commit(subject, 1) is not None


def test_that_it_is_only_read_is_said_once_and_loudly(backend, capfd):
    subject = tier(backend, Recorder(Log(Level.ERROR)))
    backend.fail("put", Forbidden("not allowed to write to s3://b: AccessDenied"))
    for number in range(3):
        commit(subject, number)
    said = capfd.readouterr().err
    assert said.count("\n") == 1
    assert "is only read from here on: not allowed to write to s3://b: AccessDenied" in said
    assert "STEPAUDIO_CAS_MODE=ro" in said


def test_of_two_writers_at_once_that_are_refused_one_says_it(backend, capfd):
    subject = tier(backend, Recorder(Log(Level.ERROR)))
    inner = []

    def refuse(path):
        if not inner:
            inner.append(path)
            commit(subject, 1)  # is refused while the other one is still on its way
        raise Forbidden("not allowed to write")

    backend.hooks["put"] = refuse
    commit(subject)
    assert capfd.readouterr().err.count("is only read from here on") == 1


def test_what_may_not_be_read_is_a_failure_of_reading(subject, backend, recorder):
    backend.fail("get", Forbidden("not allowed to read"))
    assert subject.read(KEY) is None
    assert subject.writable
    assert subject.reading.state == "open"
    assert counted(recorder, "error.denied.tier") == 1


def test_a_probe_that_takes_longer_than_a_call_may_is_waited_for_elsewhere(backend, recorder):
    subject = tier(backend, recorder, deadline=0.01)
    backend.hang("stat")
    assert subject.examine(0.01) is None
    assert subject.writing.state == "closed"
    assert counted(recorder, "error.timeout.tier") == 0
    backend.mend()
    wait_until(lambda: subject.store.known_capabilities)
    assert subject.examine(GENEROUS).create == "atomic"


def test_a_probe_that_failed_is_made_again(subject, backend):
    backend.fail("put", OSError("down"))
    assert subject.examine(GENEROUS) is None
    assert subject.store.known_capabilities is None
    backend.mend()
    assert subject.examine(GENEROUS).writable
