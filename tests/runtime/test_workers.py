import threading
from queue import Empty, SimpleQueue

import pytest

from stepaudio_cas.errors import Unavailable
from stepaudio_cas.runtime import workers as module
from stepaudio_cas.runtime.workers import Workers
from tests.runtime.helpers import GENEROUS
from tests.support.processes import in_child, wait_until


@pytest.fixture
def gate():
    """Hold up whoever waits for it, until the test is over at the latest."""
    event = threading.Event()
    yield event
    event.set()


def threads_of(name):
    return [thread for thread in threading.enumerate() if thread.name == name]


def no_more_threads(monkeypatch):
    def start(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)


def test_the_result_comes_back_from_another_thread():
    assert Workers("w").call(threading.get_ident, GENEROUS) != threading.get_ident()


def failing(error):
    def fail():
        raise error

    return fail


def test_an_exception_is_the_very_one_that_was_raised():
    error = ValueError("mine")
    with pytest.raises(ValueError) as caught:
        Workers("w").call(failing(error), GENEROUS)
    assert caught.value is error


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_what_would_end_the_process_comes_out_as_a_failure_of_the_store(error):
    with pytest.raises(Unavailable) as caught:
        Workers("w").call(failing(error), GENEROUS)
    assert caught.value.kind == "store"
    assert caught.value.__cause__ is error


def test_a_worker_outlives_what_its_tasks_raise():
    pool = Workers("survivor", max_threads=1)
    for _ in range(3):
        with pytest.raises(Unavailable):
            pool.call(failing(SystemExit()), GENEROUS)
    assert pool.call(lambda: 7, GENEROUS) == 7
    assert len(threads_of("survivor")) == 1


def test_the_caller_of_a_task_that_hangs_gets_a_timeout(gate):
    task = Workers("w").start(gate.wait)
    wait_until(lambda: task.started)
    with pytest.raises(Unavailable) as caught:
        task.wait(0.01)
    assert caught.value.kind == "timeout"


def test_when_all_threads_hang_callers_get_busy_and_their_tasks_are_not_run_later(gate):
    pool, ran = Workers("hung", max_threads=2), []
    hung = [pool.start(gate.wait) for _ in range(2)]
    wait_until(lambda: all(task.started for task in hung))
    with pytest.raises(Unavailable) as caught:
        pool.call(lambda: ran.append(1), 0.02)
    assert caught.value.kind == "busy"
    assert len(threads_of("hung")) == 2
    gate.set()
    assert pool.call(lambda: "again", GENEROUS) == "again"
    assert pool.call(lambda: "again", GENEROUS) == "again"
    assert ran == []


def test_no_more_threads_are_started_than_allowed(gate):
    pool = Workers("bounded", max_threads=3)
    tasks = [pool.start(gate.wait) for _ in range(10)]
    wait_until(lambda: sum(task.started for task in tasks) == 3)
    assert len(threads_of("bounded")) == 3
    gate.set()
    assert [task.wait(GENEROUS) for task in tasks] == [True] * 10


def test_calls_one_after_the_other_share_a_thread():
    pool = Workers("shared")
    for number in range(50):
        assert pool.call(lambda n=number: n, GENEROUS) == number
        wait_until(lambda: pool._waiting == 1)
    assert len(threads_of("shared")) == 1


def test_without_a_single_thread_callers_are_told_at_once_and_later_served(monkeypatch):
    pool = Workers("w")
    with monkeypatch.context() as patch:
        no_more_threads(patch)
        for _ in range(3):
            with pytest.raises(Unavailable) as caught:
                pool.start(lambda: 1)
            assert caught.value.kind == "no-threads"
    assert pool.call(lambda: 1, GENEROUS) == 1
    wait_until(lambda: pool._waiting == 1)  # and what was refused is not waited for


def test_when_no_thread_can_be_added_those_there_do_the_work(monkeypatch, gate):
    pool = Workers("w")
    first = pool.start(gate.wait)
    wait_until(lambda: first.started)
    no_more_threads(monkeypatch)
    second = pool.start(lambda: 2)
    gate.set()
    assert [first.wait(GENEROUS), second.wait(GENEROUS)] == [True, 2]


def test_idle_threads_end_but_for_the_last(monkeypatch):
    monkeypatch.setattr(module, "_IDLE_SECONDS", 0.01)
    pool, barrier = Workers("idle"), threading.Barrier(4)
    for task in [pool.start(barrier.wait) for _ in range(4)]:
        task.wait(GENEROUS)
    wait_until(lambda: len(threads_of("idle")) == 1)
    assert pool.call(lambda: 1, GENEROUS) == 1


def test_the_last_thread_stays_because_at_exit_none_can_be_started(monkeypatch):
    idle = threading.Event()

    class Impatient(SimpleQueue):
        waits = 0

        def get(self, timeout):
            self.waits += 1
            if 1 < self.waits < 5:
                raise Empty
            if self.waits == 5:
                idle.set()
            return super().get(timeout=GENEROUS)

    monkeypatch.setattr(module, "SimpleQueue", Impatient)
    pool = Workers("w")
    assert pool.call(lambda: 1, GENEROUS) == 1
    assert idle.wait(GENEROUS)
    no_more_threads(monkeypatch)
    assert pool.call(lambda: 2, GENEROUS) == 2


def test_a_forked_child_has_threads_of_its_own(gate):
    pool = Workers("w", max_threads=1)
    task = pool.start(gate.wait)
    wait_until(lambda: task.started)
    assert in_child(lambda: pool.call(lambda: 5, GENEROUS)) == 5
