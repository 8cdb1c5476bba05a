"""Counting anew: what was counted before is written down, and readers subtract it."""

import pytest

from stepaudio_cas.errors import Unavailable
from stepaudio_cas.identity.digest import digest_bytes
from stepaudio_cas.runtime.log import Log
from stepaudio_cas.runtime.recorder import Recorder
from stepaudio_cas.settings import Level
from stepaudio_cas.store import layout
from stepaudio_cas.store.counters import (
    FOLD_AFTER,
    Subject,
    Tally,
    dump_tally,
    fold,
    read_tally,
    zero,
)
from stepaudio_cas.store.hottest import Heat, Hottest
from tests.runtime.helpers import Clock
from tests.support.faulty import FaultyBackend
from tests.support.values import recipe

WHO = Subject("plugin", "model")
HOUR = 3600.0


@pytest.fixture
def backend():
    return FaultyBackend()


@pytest.fixture
def clock():
    return Clock()


def save(backend, name, updated, misses, host="a", **fields):
    tally = Tally(updated - 1, updated, 1, {WHO: {"miss": misses}}, **fields)
    backend.put(f"{layout.COUNTERS}/{name}.json", dump_tally(tally, {"host": host}))


def zeros(backend):
    return [e.path for e in backend.inner.list(layout.COUNTERS) if "/zero-" in e.path]


def test_what_was_counted_before_is_no_longer_told(backend, clock):
    save(backend, "one", clock.now - 1, 7, hottest=Hottest({digest_bytes(b""): Heat(5, 2.5)}))
    zero(backend, clock=clock)
    tally = read_tally(backend)
    assert (tally.subjects, tally.hottest.keys, tally.since) == ({}, {}, clock.now)


def test_a_process_that_goes_on_counting_loses_nothing_and_needs_not_be_told(backend, clock):
    recorder = Recorder(Log(Level.OFF), clock=clock)
    for _ in range(3):
        recorder.hit(WHO, "memory", 1.5, 0.25, recipe())
    recorder.count(WHO, {"miss": 1})
    recorder.save(backend)
    recorder.count(WHO, {"miss": 10})  # not yet written when the counters are zeroed
    zero(backend, clock=clock)
    clock.advance(5)
    recorder.hit(WHO, "memory", 1.5, 0.25, recipe())
    recorder.hit(WHO, "memory", 1.5, 0.25, recipe(1))
    recorder.save(backend)
    tally = read_tally(backend)
    assert tally.subjects == {
        WHO: {"miss": 10, "hit.memory": 2, "seconds.saved": 3.0, "seconds.lookup": 0.5}
    }
    assert tally.hottest.keys == {recipe().key: Heat(1, 1.5), recipe(1).key: Heat(1, 1.5)}
    assert (tally.processes, tally.machines) == (1, read_tally(backend).machines)


def test_zeroing_again_counts_from_the_second_time_and_leaves_one_document(backend, clock):
    save(backend, "one", clock.now, 7)
    zero(backend, clock=clock)
    save(backend, "one", clock.now, 9)
    clock.advance(60)
    zero(backend, clock=clock)
    assert read_tally(backend).subjects == {}
    assert read_tally(backend).since == clock.now
    assert len(zeros(backend)) == 1
    save(backend, "one", clock.now, 10)
    assert read_tally(backend).total("miss") == 1


def test_of_two_that_zero_at_once_the_later_counts_stand_whosever_clock_is_ahead(backend, clock):
    save(backend, "one", clock.now, 7)

    def another(path):
        backend.mend()
        save(backend, "one", clock.now, 9)
        zero(backend, clock=lambda: clock.now - 500)

    backend.hooks["put"] = another
    zero(backend, clock=clock)
    assert read_tally(backend).subjects == {}


def test_a_zero_that_died_before_it_removed_the_last_one_is_right(backend, clock):
    save(backend, "one", clock.now, 7)
    zero(backend, clock=clock)
    save(backend, "one", clock.now, 9)
    backend.fail("delete", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        zero(backend, clock=clock)
    backend.mend()
    assert len(zeros(backend)) == 2
    assert read_tally(backend).subjects == {}


def test_folding_before_and_after_changes_nothing(backend, clock):
    old = clock.now - 2 * FOLD_AFTER
    for number in (1, 2):
        save(backend, f"old{number}", old, number)
    zero(backend, clock=clock)
    save(backend, "new1", clock.now, 10)
    save(backend, "new2", clock.now, 20)
    for _ in range(4):
        tally = read_tally(backend)
        assert (tally.total("miss"), tally.processes) == (30, 2)
        clock.advance(FOLD_AFTER + 1)
        fold(backend, clock=clock)
    assert len(zeros(backend)) == 1
    assert len(list(backend.list(layout.COUNTERS))) == 2


def test_what_a_fold_has_under_way_is_not_counted_as_new(backend, clock):
    """Listed before the fold wrote its document, read after it removed the others."""
    for number in (1, 2):
        save(backend, f"old{number}", clock.now - 2 * FOLD_AFTER, number)

    def folding(path):
        backend.mend()
        fold(backend, clock=clock)

    backend.hooks["get"] = folding
    zero(backend, clock=clock)
    assert read_tally(backend).subjects == {}


def test_counters_that_never_hold_still_are_left_as_they_are(backend, clock):
    backend.hooks["list"] = lambda path: save(backend, f"new{len(backend.calls)}", clock.now, 1)
    with pytest.raises(Unavailable, match="try again"):
        zero(backend, clock=clock)
    backend.mend()
    assert zeros(backend) == []


def test_only_processes_that_may_have_counted_since_are_told(backend, clock):
    save(backend, "ended", clock.now - 10 * HOUR, 1, host="gone")
    save(backend, "alive", clock.now - 2 * HOUR, 1, host="there")
    zero(backend, clock=clock)
    assert read_tally(backend).processes == 1
    clock.advance(HOUR)
    save(backend, "alive", clock.now, 2, host="there")
    save(backend, "another", clock.now, 1, host="new")
    tally = read_tally(backend)
    assert (tally.processes, tally.machines) == (2, {"there", "new"})


def test_what_is_lost_is_never_counted_below_nothing(backend, clock):
    save(backend, "one", clock.now, 7)
    save(backend, "two", clock.now, 2)
    zero(backend, clock=clock)
    backend.delete(f"{layout.COUNTERS}/one.json")
    save(backend, "two", clock.now, 3)
    assert read_tally(backend).total("miss") == 0
    zero(backend, clock=clock)
    save(backend, "two", clock.now, 4)
    assert read_tally(backend).total("miss") == 1


def test_sums_in_another_order_leave_no_dust(backend, clock):
    parts = [0.1, 0.2, 0.3, 1e9, 0.7]
    for number, seconds in enumerate(parts):
        tally = Tally(1.0, 1.0 + number, 1, {WHO: {"seconds.saved": seconds}})
        backend.put(f"{layout.COUNTERS}/{number}.json", dump_tally(tally, {}))
    zero(backend, clock=clock)
    fold(backend, clock=clock)
    assert read_tally(backend).subjects == {}


def test_an_empty_store_can_be_zeroed(backend, clock):
    zero(backend, clock=clock)
    save(backend, "one", clock.now + 1, 1)
    assert read_tally(backend).total("miss") == 1
