import errno
import threading
from types import SimpleNamespace

import pytest

from stepaudio_cas.artifact.manifest import Manifest
from stepaudio_cas.errors import Damaged, Unavailable
from stepaudio_cas.runtime.breaker import FIRST_PAUSE, LONGEST_PAUSE
from stepaudio_cas.runtime.log import Log
from stepaudio_cas.runtime.recorder import Recorder
from stepaudio_cas.settings import Level
from stepaudio_cas.store import layout
from tests.runtime.helpers import Clock, Lockable, counted, quiet, store_entry, tier
from tests.support.faulty import FaultyBackend
from tests.support.processes import wait_until
from tests.support.values import entry, recipe

KEY = recipe().key
FAILURES = [
    OSError(errno.EIO, "I/O error"),
    ValueError("a client's own"),
    Unavailable("busy", "queue"),
    MemoryError(),
]


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def recorder():
    return quiet()


@pytest.fixture
def backend():
    made = Lockable()
    yield made
    made.mend()


@pytest.fixture
def subject(backend, recorder, clock):
    return tier(backend, recorder, clock=clock)


def commit(subject, number=0):
    return subject.commit(*entry(number))


def break_reading(subject, backend):
    backend.fail("get", OSError("down"))
    for _ in range(3):
        subject.read(KEY)


def test_what_was_committed_is_read(subject):
    standing = commit(subject)
    assert subject.read(KEY) == standing
    assert subject.read(recipe(1).key) is None


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
def test_it_never_raises_whatever_the_store_does(subject, backend, recorder, error):
    lock = subject.try_lock(KEY)[1]
    for verb in ("get", "put", "stat", "delete", "list", "try_lock", "release"):
        backend.fail(verb, error)
    assert subject.try_lock("free") == (True, None)
    assert subject.read(KEY) is None
    assert subject.read_many([KEY, recipe(1).key]) == {}
    assert commit(subject) is None
    assert subject.run(lambda: backend.stat("x")) is None
    assert subject.release(lock) is None
    assert counted(recorder, "error.") == 7


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1)])
def test_not_even_what_a_store_raises_to_end_the_process_comes_out(subject, backend, error):
    backend.fail("get", error)
    assert subject.read(KEY) is None


def test_an_interrupted_trial_does_not_keep_the_breaker_open_for_ever(
    subject, backend, clock, monkeypatch
):
    commit(subject)
    break_reading(subject, backend)
    backend.mend()
    clock.advance(FIRST_PAUSE)
    with monkeypatch.context() as patch:
        patch.setattr(subject._workers, "call", interrupted)
        with pytest.raises(KeyboardInterrupt):
            subject.read(KEY)
    clock.advance(LONGEST_PAUSE)
    assert subject.read(KEY) is not None


def interrupted(*_):
    raise KeyboardInterrupt


def test_a_damaged_entry_is_counted_by_its_kind_and_is_no_failure_of_the_store(
    subject, backend, recorder
):
    manifest, _ = entry()
    commit(subject)
    backend.inner.put(layout.object_path(manifest.object), b"damage")
    assert [subject.read(KEY) for _ in range(5)] == [None] * 5
    backend.inner.delete(layout.object_path(manifest.object))
    assert subject.read(KEY) is None
    backend.inner.put(layout.manifest_path(KEY), b"{}")
    assert subject.read(KEY) is None
    kinds = {k: n for k, n in recorder.tally().totals().items() if k.startswith("error.")}
    assert kinds == {"error.object": 5, "error.object-missing": 1, "error.manifest": 1}
    assert subject.reading.state == "closed"


def test_damage_ends_a_row_of_failures(subject, backend):
    for _ in range(3):
        for _ in range(2):
            backend.fail("get", OSError("down"))
            subject.read(KEY)
        backend.fail("get", Damaged("manifest", "torn"))
        subject.read(KEY)
    assert subject.reading.state == "closed"


def test_a_store_that_fails_three_times_is_left_alone_and_then_works_again(backend, clock, capfd):
    subject = tier(backend, Recorder(Log(Level.ERROR)), name="disk", clock=clock)
    commit(subject)
    break_reading(subject, backend)
    backend.mend()
    backend.calls.clear()
    assert subject.read(KEY) is None
    assert backend.calls == []
    said = capfd.readouterr().err
    assert "reading from faulty:// failed: down" in said
    assert "is suspended" in said
    clock.advance(FIRST_PAUSE)
    assert subject.read(KEY) is not None
    assert capfd.readouterr().err == "stepaudio-cas: disk: faulty:// works again\n"


@pytest.mark.parametrize(
    ("number", "kind", "remedy"),
    [
        (errno.ENOSPC, "full", "free some space"),
        (errno.EDQUOT, "full", "free some space"),
        (errno.EROFS, "denied", "STEPAUDIO_CAS_MODE=ro"),
        (errno.EACCES, "denied", "STEPAUDIO_CAS_MODE=ro"),
    ],
)
def test_a_full_or_read_only_store_goes_on_serving(backend, clock, capfd, number, kind, remedy):
    recorder = Recorder(Log(Level.ERROR))
    subject = tier(backend, recorder, name="disk", clock=clock)
    commit(subject)
    backend.fail("put", OSError(number, "no"))
    assert commit(subject, 1) is None
    assert (subject.writing.state, subject.reading.state) == ("open", "closed")
    assert subject.read(KEY) is not None
    assert counted(recorder, f"error.{kind}.disk") == 1
    assert remedy in capfd.readouterr().err
    clock.advance(LONGEST_PAUSE - 1)
    assert subject.writing.state == "open"


def test_a_store_that_cannot_be_read_is_still_written(subject, backend):
    break_reading(subject, backend)
    assert (subject.writing.state, subject.reading.state) == ("closed", "open")
    backend.mend()
    assert commit(subject) is not None


def test_many_are_looked_up_at_the_same_time(backend):
    subject = tier(backend)
    for number in range(4):
        commit(subject, number)
    meeting = threading.Barrier(4)
    waited = set()

    def hook(path):
        if path not in waited and path.startswith(layout.MANIFESTS):
            waited.add(path)
            meeting.wait(60)

    backend.hooks["get"] = hook
    keys = [recipe(n).key for n in range(4)]
    assert list(subject.read_many(keys)) == keys


def test_of_many_only_those_that_are_there_come_back(subject):
    for number in (1, 3):
        commit(subject, number)
    keys = [recipe(n).key for n in range(4)]
    found = subject.read_many(keys)
    assert list(found) == [keys[1], keys[3]]
    assert all(found[key].manifest.key == key for key in found)


def test_many_are_not_sent_to_a_store_that_is_being_tried_again(subject, backend, clock):
    break_reading(subject, backend)
    backend.calls.clear()
    clock.advance(FIRST_PAUSE)
    assert subject.read_many([recipe(n).key for n in range(20)]) == {}
    assert len(backend.calls) == 1


def test_many_find_nothing_where_no_thread_can_be_started(subject, recorder, monkeypatch):
    def start(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    assert subject.read_many([KEY, recipe(1).key]) == {}
    assert counted(recorder, "error.no-threads.tier") >= 1


def test_a_hanging_store_costs_a_deadline_three_times_and_then_nothing(backend, recorder):
    subject = tier(backend, recorder, deadline=0.02)
    backend.hang("get")
    assert [subject.read(KEY) for _ in range(10)] == [None] * 10
    assert counted(recorder, "error.") == 3
    assert len(backend.calls) <= 3
    assert subject.reading.state == "open"


def test_the_deadline_of_a_write_grows_with_its_size(subject):
    seen = []
    subject._workers = SimpleNamespace(call=lambda work, seconds: seen.append(seconds) or work())
    manifest, _ = entry()
    subject._deadline = 1.0
    subject.commit(manifest._replace(size=30_000_000), bytes(30_000_000))
    subject.read(KEY)
    assert seen == [4.0, 1.0]


def test_a_read_only_tier_writes_nothing_and_marks_nothing_used(backend):
    subject = tier(backend, writable=False)
    store_entry(backend.inner)
    touched = []
    backend.get = lambda path, **options: (
        touched.append(options.get("touch")), backend.inner.get(path, **options)
    )[1]  # fmt: skip
    assert subject.read(KEY) is not None
    assert commit(subject, 1) is None
    assert subject.try_lock(KEY) == (True, None)
    assert subject.run(lambda: backend.put("x", b"")) is None
    assert backend.calls == []
    assert touched == [False, False]


def test_a_free_lock_is_taken_and_a_taken_one_says_to_wait(subject, backend):
    go_on, lock = subject.try_lock(KEY)
    assert go_on
    assert backend.held == {KEY}
    assert subject.try_lock(KEY) == (False, None)
    subject.release(lock)
    assert backend.held == set()


def test_where_there_are_no_locks_everybody_goes_on():
    assert tier(FaultyBackend()).try_lock(KEY) == (True, None)


def test_where_a_lock_cannot_be_had_in_time_everybody_goes_on(backend, recorder):
    subject = tier(backend, recorder, deadline=0.02)
    backend.hang("try_lock")
    assert subject.try_lock(KEY) == (True, None)
    assert counted(recorder, "error.") == 1


def test_locks_that_fail_and_writes_that_fail_do_not_hide_each_other(subject, backend):
    backend.fail("try_lock", OSError(errno.ENOLCK, "no locks available"))
    for _ in range(3):
        subject.try_lock(KEY)
    assert commit(subject) is not None
    backend.mend()
    backend.fail("put", OSError("down"))
    for number in range(3):
        subject.try_lock(str(number))
        commit(subject, number)
    assert subject.writing.state == "open"


def test_a_lock_that_comes_after_its_deadline_is_let_go(backend):
    subject = tier(backend)
    start = subject._workers.start

    def impatient(function, _):
        task = start(function)
        wait_until(lambda: backend.calls)
        return task.wait(0.0)

    subject._workers = SimpleNamespace(call=impatient)
    backend.hang("try_lock")
    assert subject.try_lock(KEY) == (True, None)
    backend.mend()
    wait_until(lambda: ("release", KEY) in backend.calls)
    assert backend.held == set()


def test_a_lock_is_released_even_while_the_store_is_left_alone(subject, backend):
    _, lock = subject.try_lock(KEY)
    backend.fail("put", OSError(errno.ENOSPC, "full"))
    commit(subject)
    assert subject.writing.state == "open"
    subject.release(lock)
    assert backend.held == set()


def test_a_lock_that_cannot_be_released_is_counted(subject, backend, recorder):
    _, lock = subject.try_lock(KEY)
    backend.fail("release", OSError("gone"))
    subject.release(lock)
    assert counted(recorder, "error.lock.tier") == 1


def test_its_state_is_said_for_people_who_watch(subject, backend):
    expected = {
        "name": "tier", "url": "faulty://", "writable": True, "reading": "closed",
        "writing": "closed", "locking": "closed", "capabilities": None,
    }  # fmt: skip
    assert subject.state() == expected
    subject.run(subject.store.capabilities)
    break_reading(subject, backend)
    state = subject.state()
    assert state["reading"] == "open"
    assert state["capabilities"]["create"] == "atomic"
    assert state["capabilities"]["locks"] is True


def test_the_one_that_stands_comes_back_from_a_commit(subject):
    first = commit(subject)
    other, blob = entry(0, ([9], [9]))
    assert subject.commit(other, blob) == first
    assert isinstance(first.manifest, Manifest)
    assert subject.commit(other, blob, overwrite=True).manifest == other
