import threading

import pytest

from stepaudio_cas.runtime.background import Background
from tests.runtime.helpers import GENEROUS, in_thread
from tests.support.processes import in_child, wait_until


@pytest.fixture
def gate():
    event = threading.Event()
    yield event
    event.set()


def blocked(gate, **limits):
    """Return a queue whose thread is busy until the gate opens."""
    queue, busy = Background(**limits), threading.Event()

    def work():
        busy.set()
        gate.wait()

    assert queue.submit(work)
    assert busy.wait(GENEROUS)
    return queue


def test_work_is_done_in_order():
    queue, done = Background(), []
    for number in range(100):
        assert queue.submit(lambda n=number: done.append(n))
    assert queue.flush(GENEROUS) == 0
    assert done == list(range(100))


def test_what_does_not_fit_by_number_is_refused_without_waiting(gate):
    queue = blocked(gate, max_items=2)
    assert [queue.submit(lambda: None) for _ in range(4)] == [True, True, False, False]
    gate.set()
    assert queue.flush(GENEROUS) == 0
    assert queue.submit(lambda: None)


def test_what_does_not_fit_by_bytes_is_refused_until_there_is_room(gate):
    queue = blocked(gate, max_bytes=100)
    assert queue.submit(lambda: None, 60)
    assert not queue.submit(lambda: None, 41)
    assert queue.submit(lambda: None, 40)
    gate.set()
    assert queue.flush(GENEROUS) == 0
    assert queue.submit(lambda: None, 100)


def test_the_bytes_of_work_being_done_still_count(gate):
    queue, busy = Background(max_bytes=100), threading.Event()
    queue.submit(lambda: (busy.set(), gate.wait()), 80)
    assert busy.wait(GENEROUS)
    assert not queue.submit(lambda: None, 21)


def test_work_that_fails_does_not_stop_the_rest():
    queue, done = Background(), []
    queue.submit(lambda: 1 / 0)
    queue.submit(lambda: done.append(1))
    assert queue.flush(GENEROUS) == 0
    assert done == [1]


def test_work_that_exits_does_not_stop_the_rest():
    queue, done = Background(), []

    def leave():
        raise SystemExit

    queue.submit(leave)
    queue.submit(lambda: done.append(1))
    assert queue.flush(GENEROUS) == 0
    assert done == [1]


def test_flush_says_how_much_is_left_when_time_is_up(gate):
    queue = blocked(gate)
    queue.submit(lambda: None)
    assert queue.flush(0.01) == 2
    assert len(queue) == 2
    gate.set()
    assert queue.flush(GENEROUS) == 0
    assert len(queue) == 0


def test_flush_waits_for_work_that_is_being_done(gate):
    queue = blocked(gate)
    flushed = in_thread(queue.flush, GENEROUS)
    wait_until(lambda: queue._changed._waiters or flushed.done())
    gate.set()
    assert flushed.result(GENEROUS) == 0


def test_an_unused_queue_is_flushed_at_once_and_has_no_thread():
    before = threading.active_count()
    assert Background().flush(GENEROUS) == 0
    assert threading.active_count() == before


def test_when_no_thread_can_be_started_work_is_refused(monkeypatch):
    def start(_):
        raise RuntimeError("can't start new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", start)
    queue = Background()
    assert not queue.submit(lambda: None)
    assert len(queue) == 0


def test_a_forked_child_starts_empty_and_works(gate):
    queue = blocked(gate)
    queue.submit(lambda: None, 10)

    def child():
        done = []
        at_first = len(queue)
        queue.submit(lambda: done.append(1))
        return [at_first, queue.flush(GENEROUS), done]

    assert in_child(child) == [0, 0, [1]]
    assert len(queue) == 2


def test_one_thread_does_all_the_work():
    queue, seen = Background(), set()
    for _ in range(20):
        queue.submit(lambda: seen.add(threading.get_ident()))
        queue.flush(GENEROUS)
    wait_until(lambda: len(seen) == 1)
