import json

import pytest

from stepaudio_cas.maintenance.lease import DURATION, Taken, held
from stepaudio_cas.store import layout
from stepaudio_cas.store.local import LocalBackend
from tests.support.clocked import Clock, ClockedBackend

PATH = f"{layout.LEASES}/gc.json"


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def backend(clock):
    """A store without locks of its own."""
    return ClockedBackend(clock)


def test_where_there_are_locks_the_second_is_refused_until_the_first_is_done(root):
    backend = LocalBackend(root)
    with held(backend, "gc", Clock()) as lease:
        lease.renew()
        with (
            pytest.raises(Taken, match="another gc is at work on file://"),
            held(LocalBackend(root), "gc", Clock()),
        ):
            pass
    with held(backend, "gc", Clock()):
        pass


def test_where_there_are_none_the_second_is_told_who_the_first_is(backend, clock):
    with (
        held(backend, "gc", clock),
        pytest.raises(
            Taken,
            match=r"another gc is at work on memory://.*: process \d+ on .* runs out in 120 s",
        ),
        held(backend, "gc", clock),
    ):
        pass
    assert backend.stat(PATH) is None
    with held(backend, "gc", clock):
        pass


def dead(backend, clock):
    """Take a lease as a process does that is killed."""
    with held(backend, "gc", clock):
        document = backend.get(PATH)
    backend.put(PATH, document)


def test_a_lease_of_the_dead_is_taken_over_when_it_has_run_out_and_not_before(backend, clock):
    dead(backend, clock)
    clock.now += DURATION - 1
    with pytest.raises(Taken, match="runs out in 1 s"), held(backend, "gc", clock):
        pass
    clock.now += 1
    with held(backend, "gc", clock):
        assert backend.get(PATH)


def test_a_lease_that_is_renewed_does_not_run_out(backend, clock):
    with held(backend, "gc", clock) as lease:
        for _ in range(10):
            clock.now += DURATION / 2
            lease.renew()
        with pytest.raises(Taken), held(backend, "gc", clock):
            pass


def test_who_was_taken_for_dead_notices_and_leaves_the_other_ones_lease_alone(backend, clock):
    with held(backend, "gc", clock) as first:
        clock.now += DURATION
        with held(backend, "gc", clock) as second:
            with pytest.raises(Taken, match="this one stops here"):
                first.renew()
            clock.now += DURATION / 2
            second.renew()
        dead(backend, clock)
    assert backend.stat(PATH) is not None


def test_where_creating_overwrites_the_one_whose_document_stands_has_the_lease(backend, clock):
    other = json.dumps({"holder": "the other one"}).encode()

    def overwrite(verb, path):
        if (verb, path) == ("get", PATH):
            backend._documents[PATH] = (other, clock())

    backend.before = overwrite
    with pytest.raises(Taken, match="the other one"), held(backend, "gc", clock):
        pass
    assert backend.get(PATH) == other


@pytest.mark.parametrize("document", [b"{", b"[]", b'{"holder": 1}', bytes(9999)])
def test_a_lease_that_cannot_be_read_holds_until_it_runs_out(backend, clock, document):
    backend.put(PATH, document)
    with pytest.raises(Taken, match="another gc is at work"), held(backend, "gc", clock):
        pass
    if len(document) < 4096:
        clock.now += DURATION
        with held(backend, "gc", clock):
            pass


def test_a_store_that_fails_at_the_end_is_no_error(backend, clock):
    def fail(verb, path):
        if verb == "delete":
            raise OSError("down")

    with held(backend, "gc", clock):
        backend.before = fail


def test_of_two_that_take_over_from_the_dead_the_slower_one_is_refused(backend, clock):
    dead(backend, clock)
    clock.now += DURATION
    other = json.dumps({"holder": "the quicker one"}).encode()

    def quicker(verb, path):
        if (verb, path) == ("delete", PATH):
            backend.before = lambda verb, path: None
            backend.put(PATH, other)

    backend.before = quicker
    with pytest.raises(Taken, match="the quicker one"), held(backend, "gc", clock):
        pass
    assert backend.get(PATH) == other
