"""What is done around a fork, so that no child waits for a thread that it does not have."""

import os
import threading

import pytest

from stepaudio_cas import _fork
from stepaudio_cas._fork import ForkGuard


class Watched:
    """A lock that tells when somebody asks for it."""

    def __init__(self, lock, asked):
        self._lock = lock
        self._asked = asked

    def acquire(self, timeout):
        self._asked.set()
        return self._lock.acquire(timeout=timeout)

    def release(self):
        self._lock.release()


@pytest.fixture
def guard():
    return ForkGuard()


def forked(work):
    """Run in a forked child; return what it returned, a small number."""
    child = os.fork()
    if not child:
        os._exit(work())
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def enter(guard):
    with guard.entered(patience=0) as inside:
        return int(inside)


def occupied(guard, until):
    """Enter in another thread, which leaves as soon as `until` is set."""
    inside = threading.Event()

    def work():
        with guard.entered():
            inside.set()
            until.wait(60)

    thread = threading.Thread(target=work)
    thread.start()
    assert inside.wait(60)
    return thread


def test_only_one_thread_is_inside(guard):
    leave = threading.Event()
    thread = occupied(guard, leave)
    assert not enter(guard)
    leave.set()
    thread.join()
    assert enter(guard)


def test_a_fork_waits_for_who_is_inside(guard):
    asked = threading.Event()
    thread = occupied(guard, asked)
    guard._lock = Watched(guard._lock, asked)
    assert forked(lambda: enter(guard)) == 1
    thread.join()
    assert enter(guard)


def test_a_child_of_a_fork_that_waited_in_vain_stays_outside(guard, monkeypatch):
    monkeypatch.setattr(_fork, "PATIENCE", 0)
    leave = threading.Event()
    thread = occupied(guard, leave)
    assert forked(lambda: enter(guard)) == 0
    assert forked(lambda: forked(lambda: enter(guard))) == 0
    leave.set()
    thread.join()
    assert enter(guard)
    assert forked(lambda: enter(guard)) == 1


def test_a_fork_from_inside_is_survived(guard, monkeypatch):
    monkeypatch.setattr(_fork, "PATIENCE", 0)
    with guard.entered():
        child = os.fork()
    if not child:
        os._exit(enter(guard))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert enter(guard)
