import os
import threading

import pytest

from stepaudio_cas.runtime.log import Log
from stepaudio_cas.runtime.recorder import Recorder
from stepaudio_cas.settings import Level
from stepaudio_cas.store import layout
from stepaudio_cas.store.counters import FOLD_AFTER, Subject, fold, load_tally, read_tally
from stepaudio_cas.store.hottest import Heat
from stepaudio_cas.store.local import LocalBackend
from tests.runtime.helpers import GENEROUS, Clock, counted, in_thread
from tests.support.faulty import FaultyBackend
from tests.support.processes import in_children, in_threads, wait_until
from tests.support.values import recipe

WHO = Subject("plugin", "model")


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def backend():
    return FaultyBackend()


@pytest.fixture
def recorder(clock):
    return Recorder(Log(Level.OFF), clock=clock)


def documents(backend):
    return [entry.path for entry in backend.inner.list(layout.COUNTERS)]


def test_counts_add_up_by_subject(recorder):
    recorder.count(WHO, {"miss": 1, "seconds.encode": 0.5})
    recorder.count(WHO, {"miss": 1, "seconds.encode": 0.25})
    recorder.count(Subject(), {"miss": 1})
    tally = recorder.tally()
    assert tally.subjects == {
        WHO: {"miss": 2, "seconds.encode": 0.75}, Subject(): {"miss": 1}
    }  # fmt: skip
    assert tally.total("miss") == 3


def test_a_hit_counts_its_tier_and_its_seconds(recorder):
    recorder.hit(WHO, "disk", 1.5, 0.25)
    recorder.hit(WHO, "memory", 1.5, 0.25)
    assert recorder.tally().subjects[WHO] == {
        "hit.disk": 1, "hit.memory": 1, "seconds.saved": 3.0, "seconds.lookup": 0.5
    }  # fmt: skip


def test_threads_lose_no_counts(recorder):
    def work(number):
        for _ in range(500):
            recorder.count(Subject(str(number % 2)), {"miss": 1})
            recorder.hit(WHO, "memory", 1.0, 1.0)

    in_threads(4, work)
    assert counted(recorder, "miss") == counted(recorder, "hit.") == 2000


def test_a_tally_does_not_change_with_what_is_counted_later(recorder):
    recorder.count(WHO, {"miss": 1})
    tally = recorder.tally()
    recorder.count(WHO, {"miss": 1})
    assert tally.total("miss") == 1


def test_errors_are_counted_each_and_said_once(capfd):
    recorder = Recorder(Log(Level.ERROR))
    for _ in range(5):
        recorder.error("timeout.disk", "disk: it hangs")
    recorder.error("store.disk", "disk: something else")
    assert recorder.tally().totals() == {"error.timeout.disk": 5, "error.store.disk": 1}
    assert capfd.readouterr().err.splitlines() == [
        "stepaudio-cas: disk: it hangs", "stepaudio-cas: disk: something else"
    ]  # fmt: skip


def test_what_is_saved_is_read_back_with_who_and_when(recorder, backend, clock):
    recorder.count(WHO, {"miss": 1, "seconds.encode": 0.5})
    clock.advance(60)
    recorder.save(backend)
    tally = read_tally(backend)
    assert tally.subjects == {WHO: {"miss": 1, "seconds.encode": 0.5}}
    assert (tally.since, tally.updated, tally.processes) == (clock.now - 60, clock.now, 1)


def test_saving_again_replaces_the_document(recorder, backend):
    for _ in range(3):
        recorder.count(WHO, {"miss": 1})
        recorder.save(backend)
    assert len(documents(backend)) == 1
    assert read_tally(backend).total("miss") == 3


def test_nothing_is_written_when_nothing_was_counted(recorder, backend):
    recorder.save(backend)
    assert backend.calls == []
    recorder.count(WHO, {"miss": 1})
    recorder.save(backend)
    backend.calls.clear()
    recorder.save(backend)
    assert backend.calls == []


def test_a_process_that_only_idles_says_from_time_to_time_that_it_lives(recorder, backend, clock):
    recorder.count(WHO, {"miss": 1})
    recorder.save(backend)
    for _ in range(48):
        clock.advance(3600)
        recorder.save(backend)
        assert fold(backend, clock=clock) == 0
        assert clock.now - read_tally(backend).updated <= FOLD_AFTER / 8


def test_what_could_not_be_saved_is_saved_the_next_time(recorder, backend):
    recorder.count(WHO, {"miss": 1})
    backend.fail("put", OSError("down"))
    with pytest.raises(OSError, match="down"):
        recorder.save(backend)
    backend.mend()
    recorder.save(backend)
    assert read_tally(backend).total("miss") == 1


def test_after_a_long_pause_it_goes_on_under_another_name_and_counts_nothing_twice(
    recorder, backend, clock
):
    recorder.count(WHO, {"miss": 1})
    recorder.save(backend)
    clock.advance(FOLD_AFTER / 2 + 1)
    recorder.count(WHO, {"miss": 2})
    recorder.count(Subject(), {"raised": 1})
    recorder.save(backend)
    assert len(documents(backend)) == 2
    assert read_tally(backend).totals() == {"miss": 3, "raised": 1}
    recorder.count(WHO, {"miss": 4})
    recorder.save(backend)
    assert len(documents(backend)) == 2
    assert read_tally(backend).total("miss") == 7


def test_what_was_folded_while_it_slept_is_not_counted_twice(recorder, backend, clock):
    other = Recorder(Log(Level.OFF), clock=clock)
    for each in (recorder, other):
        each.count(WHO, {"miss": 1})
        each.save(backend)
    clock.advance(2 * FOLD_AFTER)
    assert fold(backend, clock=clock) == 2
    recorder.count(WHO, {"miss": 1})
    recorder.save(backend)
    assert read_tally(backend).total("miss") == 3


def test_a_new_name_that_could_not_be_written_loses_nothing(recorder, backend, clock):
    recorder.count(WHO, {"miss": 1})
    recorder.save(backend)
    clock.advance(FOLD_AFTER)
    recorder.count(WHO, {"miss": 1})
    backend.fail("put", OSError("down"))
    for _ in range(2):
        with pytest.raises(OSError, match="down"):
            recorder.save(backend)
    backend.mend()
    recorder.save(backend)
    assert read_tally(backend).total("miss") == 2


def test_a_forked_child_counts_from_zero_under_a_name_of_its_own(recorder, root):
    backend = LocalBackend(root)
    recorder.count(WHO, {"miss": 5})
    recorder.save(backend)

    def child(_):
        before = counted(recorder, "miss")
        recorder.count(WHO, {"miss": 1})
        recorder.save(backend)
        return before

    with recorder._lock, recorder._saving:
        assert in_children(3, child) == [0, 0, 0]
    recorder.count(WHO, {"miss": 1})
    recorder.save(backend)
    tally = read_tally(backend)
    assert (tally.total("miss"), tally.processes) == (9, 4)


class Watched:
    """A lock that remembers who has come to it."""

    def __init__(self):
        self.lock, self.came = threading.Lock(), []

    def __enter__(self):
        self.came.append(threading.get_ident())
        self.lock.acquire()

    def __exit__(self, *_):
        self.lock.release()


def test_of_two_savers_at_once_the_later_one_has_the_last_word(recorder, backend):
    recorder._saving = Watched()
    backend.hang("put")
    recorder.count(WHO, {"miss": 1})
    first = in_thread(recorder.save, backend)
    wait_until(lambda: backend.calls)
    recorder.count(WHO, {"miss": 1})
    second = in_thread(recorder.save, backend)
    wait_until(lambda: len(recorder._saving.came) == 2)
    backend.mend()
    first.result(GENEROUS)
    second.result(GENEROUS)
    assert read_tally(backend).total("miss") == 2


def test_a_document_says_which_process_wrote_it(recorder, backend):
    recorder.count(WHO, {"miss": 1})
    recorder.save(backend)
    [path] = documents(backend)
    data = backend.inner.get(path)
    assert f'"pid":{os.getpid()}'.encode() in data
    assert load_tally(data) is not None


def test_the_hottest_keys_are_written_and_read_back(recorder, backend, tmp_path):
    for number in (0, 1, 1):
        recorder.hit(WHO, "disk", 1.5, 0.25, recipe(number))
    recorder.save(backend)
    assert read_tally(backend).hottest.keys == {
        recipe(0).key: Heat(1, 1.5), recipe(1).key: Heat(2, 3.0)
    }  # fmt: skip


def test_hottest_keys_under_another_name_are_counted_once(recorder, backend, clock):
    for day in range(4):
        recorder.hit(WHO, "disk", 1.0, 0.25, recipe(0))
        recorder.hit(WHO, "disk", 1.0, 0.25, recipe(day + 1))
        recorder.save(backend)
        clock.advance(FOLD_AFTER / 2 + 1)
    assert len(documents(backend)) == 4
    hottest = read_tally(backend).hottest
    assert hottest.keys[recipe(0).key] == Heat(4, 4.0)
    assert [hottest.keys[recipe(day + 1).key].hits for day in range(4)] == [1] * 4
