from types import SimpleNamespace

import pytest

from stepaudio_cas.runtime import turns as module
from stepaudio_cas.runtime.turns import PATIENCE, Turn
from tests.runtime.helpers import Clock, Lockable, chain, store_entry
from tests.support.faulty import FaultyBackend
from tests.support.values import recipe, tokens

KEY = recipe().key


@pytest.fixture
def backend():
    return Lockable()


@pytest.fixture
def during_pauses(monkeypatch):
    """Let time pass only in pauses, and do what the test says during each."""
    clock = Clock()
    doings = SimpleNamespace(pauses=[], each=lambda: None)

    def sleep(seconds):
        doings.pauses.append(seconds)
        clock.advance(seconds)
        doings.each()

    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=clock, sleep=sleep))
    return doings


def test_a_free_key_is_ours_at_once_and_free_again_afterwards(backend, during_pauses):
    with Turn(chain(backend), KEY) as turn:
        assert turn.hit is None
        assert backend.held == {KEY}
    assert backend.held == set()
    assert during_pauses.pauses == []


def test_it_is_free_again_after_an_exception(backend):
    with pytest.raises(ZeroDivisionError), Turn(chain(backend), KEY):
        raise ZeroDivisionError
    assert backend.held == set()


def test_who_waits_gets_the_result_of_the_one_who_was_first(backend, during_pauses):
    backend.held.add(KEY)

    def each():
        if len(during_pauses.pauses) == 20:
            store_entry(backend.inner)

    during_pauses.each = each
    with Turn(chain(backend), KEY) as turn:
        assert turn.hit.ready.fresh() == tokens()
    assert len(during_pauses.pauses) == 20
    assert backend.held == {KEY}


@pytest.mark.parametrize(("shared", "longest"), [(False, 0.05), (True, 0.25)])
def test_pauses_grow_but_stay_short(backend, during_pauses, shared, longest):
    backend.held.add(KEY)
    subject = chain(backend)
    subject.tiers[0].shared = shared
    with Turn(subject, KEY):
        pass
    assert during_pauses.pauses[:3] == [0.001, 0.002, 0.004]
    assert max(during_pauses.pauses) == longest


def test_when_patience_ends_it_is_our_turn_without_a_lock(backend, during_pauses):
    backend.held.add(KEY)
    with Turn(chain(backend), KEY) as turn:
        assert turn.hit is None
    assert PATIENCE <= sum(during_pauses.pauses) < PATIENCE + 1
    assert backend.held == {KEY}


def test_when_the_first_gives_up_the_next_has_its_turn(backend, during_pauses):
    backend.held.add(KEY)
    during_pauses.each = backend.held.clear
    with Turn(chain(backend), KEY) as turn:
        assert turn.hit is None
        assert backend.held == {KEY}
    assert len(during_pauses.pauses) == 1


def test_what_was_finished_just_before_we_got_the_lock_is_found(backend):
    backend.hooks["try_lock"] = lambda _: store_entry(backend.inner)
    with Turn(chain(backend), KEY) as turn:
        assert turn.hit.ready.fresh() == tokens()
    assert backend.held == set()


def test_an_interrupt_while_looking_leaves_no_lock_behind(backend, monkeypatch):
    subject = chain(backend)

    def find(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(subject, "find", find)
    with pytest.raises(KeyboardInterrupt), Turn(subject, KEY):
        pass
    assert backend.held == set()


@pytest.mark.parametrize("backends", [[], [FaultyBackend()]], ids=["no store", "no locks"])
def test_without_locks_it_is_everybodys_turn(backends, during_pauses):
    with Turn(chain(*backends), KEY) as first, Turn(chain(*backends), KEY) as second:
        assert first.hit is second.hit is None
    assert during_pauses.pauses == []


def test_a_store_that_may_only_be_read_is_not_locked(backend):
    subject = chain(backend, Lockable(), ro=(0,))
    with Turn(subject, KEY):
        assert backend.held == set()
        assert subject.tiers[1].store.backend.held == {KEY}


def test_a_lock_that_fails_does_not_hold_anybody_up(backend, during_pauses):
    backend.fail("try_lock", OSError("no locks on this file system"))
    with Turn(chain(backend), KEY) as turn:
        assert turn.hit is None
    assert during_pauses.pauses == []
