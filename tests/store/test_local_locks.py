"""Locks of a store on a disk: exclusive, freed by death, and none of a forked child's business."""

import fcntl
import gc
import os
import signal
import subprocess
import sys
import threading

import pytest

from stepaudio_cas.store import layout
from stepaudio_cas.store.backend import Locking
from stepaudio_cas.store.local import LocalBackend
from tests.support.processes import in_child, in_threads, start_program


def lock_file(root, name="name"):
    return root / layout.LEASES / f"{name}.lock"


def test_a_local_backend_says_that_it_has_locks(local):
    assert isinstance(local, Locking)


def test_a_held_lock_is_refused_to_everybody_else_and_free_after_its_release(local, root):
    held = local.try_lock("name")
    assert local.try_lock("name") is None
    assert LocalBackend(root).try_lock("name") is None
    assert in_child(lambda: local.try_lock("name") is None) is True
    held.release()
    assert in_child(lambda: local.try_lock("name") is not None) is True
    assert local.try_lock("name") is not None


def test_locks_of_different_names_are_different(local):
    held = [local.try_lock("one"), local.try_lock("two")]
    assert None not in held


def test_the_file_of_a_lock_goes_with_it(local, root):
    held = local.try_lock("name")
    assert lock_file(root).exists()
    held.release()
    assert not lock_file(root).exists()
    held.release()  # a second time does nothing
    again = local.try_lock("name")
    held.release()
    assert lock_file(root).exists()
    assert local.try_lock("name") is None
    again.release()


def test_a_lock_that_nobody_refers_to_any_more_is_free(local, root):
    """Its release may have been given up, because a store that hung took all the threads."""
    held = local.try_lock("name")
    assert local.try_lock("name") is None
    del held
    gc.collect()
    assert not lock_file(root).exists()
    assert local.try_lock("name") is not None


def test_a_lock_is_freed_by_kill_9_even_of_a_process_that_has_started_others(local, root):
    holder = start_program("hold_lock", root, "name")
    try:
        child = int(holder.stdout.readline())
        assert local.try_lock("name") is None
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        assert lock_file(root).exists()
        held = local.try_lock("name")
        assert held is not None
        held.release()
        os.kill(child, signal.SIGKILL)
    finally:
        holder.kill()
        holder.communicate()


def test_a_lock_on_a_file_that_was_just_removed_is_no_lock(local, root, monkeypatch):
    """Its holder removes the file before unlocking: who has opened it before is too late."""
    held, flock = local.try_lock("name"), fcntl.flock

    def lock_after_the_holder_let_go(fd, operation):
        monkeypatch.setattr(fcntl, "flock", flock)
        held.release()
        flock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", lock_after_the_holder_let_go)
    assert local.try_lock("name") is None
    winner = local.try_lock("name")
    assert winner is not None
    assert local.try_lock("name") is None


def test_a_lock_on_a_file_that_was_replaced_is_no_lock(local, root, monkeypatch):
    held, flock, others = local.try_lock("name"), fcntl.flock, []

    def lock_after_another_has_it(fd, operation):
        monkeypatch.setattr(fcntl, "flock", flock)
        held.release()
        others.append(local.try_lock("name"))
        flock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", lock_after_another_has_it)
    assert local.try_lock("name") is None
    assert others[0] is not None


def test_one_of_many_threads_holds_the_lock_at_any_time(local):
    inside, rounds = [], []
    check = threading.Lock()

    def work(number):
        for _ in range(200):
            lock = local.try_lock("name")
            if lock is None:
                continue
            with check:
                inside.append(number)
                assert inside == [number]
            with check:
                inside.clear()
                rounds.append(number)
            lock.release()

    in_threads(6, work)
    assert rounds


def test_a_forked_child_neither_frees_nor_keeps_the_lock_of_its_parent(local):
    held = local.try_lock("name")

    def child():
        held.release()  # not its to release
        return local.try_lock("name") is None

    assert in_child(child) is True
    assert local.try_lock("name") is None
    held.release()
    assert local.try_lock("name") is not None


def test_a_forked_child_that_lives_on_does_not_hold_the_lock_when_the_parent_lets_go(local):
    held = local.try_lock("name")
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writer)
        os.read(reader, 1)
        os._exit(0)
    try:
        held.release()
        assert local.try_lock("name") is not None
    finally:
        os.close(writer)
        os.close(reader)
        os.waitpid(child, 0)


def test_no_lock_is_inherited_by_a_program_that_is_started(local, root):
    held = local.try_lock("name")
    code = (
        "import os, sys; here = os.stat(sys.argv[1])\n"
        "for fd in range(3, 256):\n"
        "    try: assert not os.path.samestat(os.fstat(fd), here), fd\n"
        "    except OSError: pass\n"
    )
    program = [sys.executable, "-c", code, lock_file(root)]
    subprocess.run(program, close_fds=False, check=True)
    held.release()


def test_a_failure_of_the_lock_itself_is_raised_and_leaves_nothing_open(local, monkeypatch):

    def flock(fd, operation):
        raise OSError(37, "No locks available")

    local.try_lock("name").release()
    before = len(os.listdir("/dev/fd"))
    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(OSError, match="No locks"):
        local.try_lock("name")
    assert len(os.listdir("/dev/fd")) == before
