"""Fork and spawn in the middle of use."""

import json
import multiprocessing
import os
import random
import signal
import threading
from contextlib import contextmanager

import pytest

from stepaudio_cas import _fork
from stepaudio_cas.activation import session
from stepaudio_cas.runtime import opening
from stepaudio_cas.store import layout, store
from stepaudio_cas.store.counters import load_tally
from stepaudio_cas.store.local import LocalBackend
from stepaudio_cas.store.probe import Capabilities
from tests.runtime.helpers import GENEROUS, in_thread
from tests.support.faulty import FaultyBackend
from tests.support.processes import in_child, wait_until
from tests.support.values import counters, recipe, tokens
from tests.support.writers import HANGING, PATIENT, ask, ask_anew, end_of, start, watched

METHODS = ("fork", "spawn", "forkserver")


@contextmanager
def in_use(cache, threads=4):
    """Have threads that ask for voices all the time; yield how many calls each has made."""
    calls, failures, over = [0] * threads, [], threading.Event()

    def work(me):
        chance = random.Random(me)
        try:
            while not over.is_set():
                ask(cache, [chance.randrange(100 + calls[me])])
                calls[me] += 1
        except BaseException as error:
            failures.append(error)

    users = [threading.Thread(target=work, args=(n,), daemon=True) for n in range(threads)]
    for user in users:
        user.start()
    try:
        wait_until(lambda: all(calls) or failures)
        yield calls
    finally:
        over.set()
        for user in users:
            user.join(HANGING)
    assert not any(user.is_alive() for user in users), "a thread hangs"
    assert failures == []


def calls_by_process(root):
    """Return how many calls each process says to have served, by its process id."""
    backend, calls = LocalBackend(root), {}
    for entry in backend.list(layout.COUNTERS):
        document = backend.get(entry.path)
        tally = load_tally(document)
        assert tally.total("error.") == 0
        pid = json.loads(document)["process"]["pid"]
        assert pid not in calls
        calls[pid] = tally.total("miss") + tally.total("hit.")
    return calls


def test_children_forked_in_the_middle_of_use_work_at_once_and_count_for_themselves(
    root, tmp_path, open_cache
):
    cache = open_cache(f"{root},{tmp_path / 'below'}", **{**PATIENT, "memory": "20kB"})
    forks = 40

    def child(number):
        ask(cache, [0, 1, 10_000 + number // 2])
        assert sum(n for name, n in counters(cache).items() if name[:4] in {"hit.", "miss"}) == 3
        assert cache.flush(GENEROUS)

    with in_use(cache) as calls:
        children = []
        for number in range(forks):
            children.append(start(lambda n=number: child(n)))
            if number > 2:
                assert end_of(children[number - 3]) == 0
        assert [end_of(pid) for pid in children[-3:]] == [0] * 3
    assert cache.flush(GENEROUS)
    assert calls_by_process(root) == {os.getpid(): sum(calls)} | dict.fromkeys(children, 3)


@pytest.mark.parametrize("method", METHODS)
def test_a_child_of_multiprocessing_works_at_once_and_its_counters_are_saved_when_it_ends(
    root, open_cache, method
):
    cache, context, children = open_cache(**PATIENT), multiprocessing.get_context(method), 3
    with in_use(cache) as calls:
        started = [
            context.Process(target=ask_anew, args=(str(root), [0, 1, 10_000 + number]))
            for number in range(children)
        ]
        for process in started:
            process.start()
        for process in started:
            process.join(HANGING + GENEROUS)
        assert [process.exitcode for process in started] == [0] * children
    cache.close()
    pids = [process.pid for process in started]
    assert calls_by_process(root) == {os.getpid(): sum(calls)} | dict.fromkeys(pids, 3)


def test_a_child_of_multiprocessing_that_uses_its_parents_cache_saves_only_its_own_counters(
    root, open_cache
):
    cache, pids = open_cache(), []
    ask(cache, range(5))  # not saved yet
    for number in range(3):
        process = multiprocessing.get_context("fork").Process(
            target=watched(ask), args=(cache, [0, 1, 10 + number])
        )
        process.start()
        process.join(HANGING + GENEROUS)
        assert process.exitcode == 0
        pids.append(process.pid)
    cache.close()
    assert calls_by_process(root) == {os.getpid(): 5} | dict.fromkeys(pids, 3)


def test_a_child_that_has_not_used_the_cache_saves_nothing(root, open_cache):
    cache = open_cache()
    ask(cache, range(5))
    assert in_child(watched(lambda: (cache.flush(GENEROUS), cache.close())[0])) is True
    cache.close()
    assert calls_by_process(root) == {os.getpid(): 5}


def test_a_grandchild_works_too(root, open_cache):
    cache = open_cache(**PATIENT)
    ask(cache, [0])

    def grandchild():
        ask(cache, [0, 1, 2])
        assert cache.flush(GENEROUS)
        return os.getpid()

    def child():
        ask(cache, [0, 1])
        return in_child(grandchild)

    pid = in_child(watched(child))
    assert calls_by_process(root)[pid] == 3


def test_what_waits_in_the_parents_queue_is_written_by_the_parent_alone(root, tmp_path, open_cache):
    cache = open_cache(f"{root},{tmp_path / 'below'}", **PATIENT)
    below = cache.chain.tiers[1].store
    below.backend = gate = FaultyBackend(below.backend)
    gate.hang("put")
    ask(cache, range(3))
    wait_until(lambda: gate.calls)
    assert len(cache.chain._background) == 3

    def child():
        gate.calls.clear()
        return [cache.flush(GENEROUS), gate.calls, counters(cache)]

    assert in_child(watched(child)) == [True, [], {}]
    gate.mend()
    assert cache.flush(GENEROUS)
    assert len(list(gate.list(layout.MANIFESTS))) == 3
    assert counters(cache) == {"miss": 3, "stored": 6}


@contextmanager
def encoding(cache):
    """Have a thread in the middle of an encode of voice 0, holding its lock."""
    begun, go_on = threading.Event(), threading.Event()

    def compute():
        begun.set()
        assert go_on.wait(GENEROUS)
        return tokens()

    asked = in_thread(lambda: cache.get_or_compute(recipe(), compute))
    try:
        assert begun.wait(GENEROUS)
        yield
    finally:
        go_on.set()
        asked.result(GENEROUS)


def is_locked(root):
    lock = LocalBackend(root).try_lock(recipe().key)
    if lock is not None:
        lock.release()
    return lock is None


@pytest.mark.parametrize("method", METHODS)
def test_a_lock_held_when_a_child_was_made_is_still_held_when_the_child_has_ended(
    root, open_cache, method
):
    cache = open_cache(**PATIENT)
    with encoding(cache):
        child = multiprocessing.get_context(method).Process(target=ask_anew, args=(str(root), [1]))
        child.start()
        child.join(HANGING + GENEROUS)
        assert child.exitcode == 0
        assert is_locked(root)
    assert not is_locked(root)


def test_a_child_that_lives_on_does_not_hold_the_lock_of_a_parent_that_was_killed(root, open_cache):
    said, say = os.pipe()
    stay, go = os.pipe()

    def parent():
        with encoding(open_cache(**PATIENT)):
            if os.fork() == 0:
                os.close(go)
                os.write(say, b"!")
                os.read(stay, 1)  # ends when the test does
                os._exit(0)
            signal.pause()

    pid = start(parent)
    assert os.read(said, 1) == b"!"
    assert is_locked(root)
    os.kill(pid, signal.SIGKILL)
    end_of(pid)
    assert not is_locked(root)
    for pipe in (said, say, stay, go):
        os.close(pipe)


def test_a_computation_that_forks_ends_well_in_both_processes(root, open_cache):
    cache, results = open_cache(**PATIENT), os.pipe()

    def compute():
        pid = os.fork()
        assert pid == 0 or end_of(pid) == 0
        return [os.getpid()]

    parent = os.getpid()
    try:
        value = cache.get_or_compute(recipe(), compute)
        if os.getpid() != parent:
            os.write(results[1], b"%d %d" % (value[0], is_locked(root)))
    finally:
        if os.getpid() != parent:
            os._exit(0)
    child, locked = map(int, os.read(results[0], 100).split())
    assert child != parent
    assert locked  # by the parent, which was in the middle of its encode
    assert value == [child]
    assert cache.get(recipe()) == [child]
    assert not is_locked(root)
    for pipe in results:
        os.close(pipe)


def test_a_child_forked_while_the_store_is_being_probed_can_probe_it(open_cache, root, monkeypatch):
    begun, go_on = threading.Event(), threading.Event()

    def probe(_):
        begun.set()
        assert go_on.wait(GENEROUS)
        return Capabilities(writable=True)

    monkeypatch.setattr(store, "probe", probe)
    subject = store.Store(LocalBackend(root))
    first = in_thread(subject.capabilities)
    assert begun.wait(GENEROUS)

    def child():
        go_on.set()
        return in_thread(subject.capabilities).result(GENEROUS).writable

    assert in_child(child) is True
    go_on.set()
    assert first.result(GENEROUS).writable


def test_a_child_forked_while_the_shared_cache_is_being_opened_can_open_it(monkeypatch):
    begun, go_on = threading.Event(), threading.Event()

    def open_cache():
        begun.set()
        assert go_on.wait(GENEROUS)
        return "opened"

    monkeypatch.setattr(opening, "open_cache", open_cache)
    subject = session.Session()
    first = in_thread(subject.cache)
    assert begun.wait(GENEROUS)

    def child():
        go_on.set()
        return in_thread(subject.cache).result(GENEROUS)

    assert in_child(child) == "opened"
    go_on.set()
    assert first.result(GENEROUS) == "opened"


class Told:
    """Is told of a fork, or fails when it is."""

    def __init__(self, error=None):
        self.error, self.told = error, False
        _fork.survive_fork(self)

    def _after_fork(self):
        self.told = True
        if self.error is not None:
            raise self.error


def test_one_that_fails_after_a_fork_does_not_keep_the_others_from_being_told():
    things = [Told() for _ in range(20)] + [Told(OSError("closed"))] + [Told() for _ in range(20)]
    assert in_child(lambda: [thing.told for thing in things]) == [True] * 41


def test_a_child_forked_in_the_middle_of_a_release_closes_no_file_of_others(root, monkeypatch):
    lock, close, seen = LocalBackend(root).try_lock("name"), os.close, []

    def close_and_fork(fd):
        monkeypatch.setattr(os, "close", close)
        close(fd)
        reused = os.open(root, os.O_RDONLY)
        assert reused == fd
        seen.append(in_child(lambda: os.fstat(reused).st_ino))
        close(reused)

    monkeypatch.setattr(os, "close", close_and_fork)
    lock.release()
    assert seen == [root.stat().st_ino]
